"""From a folder of songs to a checkpoint: data, losses, the loop. Offline only: this package needs torch."""
