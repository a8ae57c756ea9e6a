"""What the window is put together from; none of it knows the sound. Signals go out, `set_...` comes in."""
