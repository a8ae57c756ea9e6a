"""From a checkpoint to a playable model folder, refusing whatever does not verify."""
