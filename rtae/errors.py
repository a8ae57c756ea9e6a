"""The errors of RTAE: one root, and children that are also the built-in exception that fits.

A message says what was given, what is allowed, and what to do about it. The command line prints it as one line and
ends with exit code 1; the window shows it as it is.
"""


class RtaeError(Exception):
    """Anything that is the outside world's fault and not a defect of the program."""


class AudioFileError(RtaeError, OSError):
    """An audio file cannot be read or written: missing, empty, broken, of an unknown format, or an impossible path."""


class DeviceError(RtaeError, OSError):
    """No sound card, no sound library, or a device that refuses what is asked of it."""


class DisturbedError(DeviceError):
    """What was to be measured could not be, since sound was lost meanwhile; it may be found the next time."""


class ModelError(RtaeError, ValueError):
    """A model folder is missing, incomplete, damaged, or from another version of the program."""


class ParameterError(RtaeError, ValueError):
    """A parameter has an unknown name or a value outside of its range."""


class PresetError(RtaeError, ValueError):
    """A file of settings cannot be read or written: a preset, a recorded performance, a controller's bindings."""


class TrainingError(RtaeError, RuntimeError):
    """A training run cannot start or cannot go on: no usable audio, a checkpoint that does not fit, a loss of NaN."""


class ExportError(RtaeError, RuntimeError):
    """An export did not verify; nothing was written."""


class MissingExtraError(RtaeError, ImportError):
    """An optional part of the program is not installed."""
