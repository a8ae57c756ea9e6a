"""The shipped models, each in a folder of its own, and the catalogue that finds them and the user's."""

from .catalogue import available, find, shipped_folder, user_folder

__all__ = ["available", "find", "shipped_folder", "user_folder"]
