"""Every error that this project raises on purpose, and the exit code that the command line gives it.

    LenslessError                 1   anything of ours
      TrainingDiverged            1   the loss or a weight is no longer a finite number
      ProcessLost                 1   another of the processes that train together ended
      ConfigurationError          2   an option, a rig file or a geometry that cannot be
      DeviceError                 3   a device did not do what was asked
        DeviceLost                3   it is gone: unplugged, switched off
        CameraError               3   a camera did not
          CameraLost              3   and it will not come back
        StageError                3   a stage did not
      Unrecognisable              3   a lost camera that could not be told from another is not waited for
      StorageError                4   disk full, not writable, or already being written
        Overrun                   4   frames came faster than they could be taken, and none may be dropped
      InputError                  5   a file that is missing, truncated, or not what it claims to be
      CalibrationMismatch         6   frame, calibration, checkpoint and rig do not belong together
        FrameSaturated            6   too many pixels of this one frame are clipped; the next may be good

Each message says what happened, where, what was got, what was expected and what to do next.
"""


class LenslessError(Exception):
    """Base of all errors with a message for people; `exit_code` is what a command ends with."""

    exit_code = 1


class TrainingDiverged(LenslessError):
    """The loss or a weight is no longer a finite number."""


class ProcessLost(LenslessError):
    """Another of the processes that train together ended; it may have said why."""


class ConfigurationError(LenslessError):
    exit_code = 2


class DeviceError(LenslessError):
    """A device did not do what was asked."""

    exit_code = 3


class DeviceLost(DeviceError):
    """A device is gone: unplugged, or switched off."""


class CameraError(DeviceError):
    """A camera did not do what was asked."""


class CameraLost(CameraError):
    """The device is gone for good, or did not come back within the stated tries.

    Args:
        message: for people.
        frames: how many it is known to have taken after the last one that was delivered; they are lost with it.
    """

    def __init__(self, message: str, frames: int = 0):
        super().__init__(message)
        self.frames = frames


class StageError(DeviceError):
    """A stage did not do what was asked, or does not know where it stands."""


class Unrecognisable(LenslessError):
    """A lost camera that nothing tells from another one; waiting for it could bring the wrong one."""

    exit_code = 3


class StorageError(LenslessError):
    exit_code = 4


class Overrun(StorageError):
    """Frames came faster than they could be taken, and none may be dropped."""


class InputError(LenslessError):
    exit_code = 5


class CalibrationMismatch(LenslessError):
    exit_code = 6


class FrameSaturated(CalibrationMismatch):
    """Too many pixels of this one frame are clipped; the next may be good."""
