"""The pictures of the window: widgets that are fed arrays, and know no sound, no timer and no controller."""
