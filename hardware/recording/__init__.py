"""Raw frames in HDF5: crash safe and checksummed. The only place that knows HDF5."""

from hardware.recording.reader import Recording
from hardware.recording.rotation import FolderWriter
from hardware.recording.writer import RecordingWriter

__all__ = ["FolderWriter", "Recording", "RecordingWriter"]
