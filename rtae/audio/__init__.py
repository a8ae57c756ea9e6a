"""The outside of the sound: files and devices. One library is known to each file, and to no other."""
