"""The window: a client of the sound, which draws and sends parameters. It never computes audio."""
