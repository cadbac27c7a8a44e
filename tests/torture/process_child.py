"""A program that records through `RecordingProcess`: process_child.py PATH LIMIT_BYTES ROTATE_FRAMES BEHIND_FRAMES.

Prints the number of acknowledged frames as it rises; LIMIT_BYTES above 0 is a disk that fills.
BEHIND_FRAMES above 0 are sent to a writer that sleeps; then the program waits to be killed.
"""

import os
import resource
import signal
import sys

from recording_child import SCENE_SHAPE, end_with, frame, say, scene

from hardware.errors import LenslessError
from hardware.recording.process import RecordingProcess


def main(path: str, limit_bytes: str, rotate_frames: str, behind_frames: str) -> None:
    options = {} if path.endswith(".h5") else {"rotate_frames": int(rotate_frames)}
    try:
        with RecordingProcess(path, frame(0), {"seed": 1}, SCENE_SHAPE, reserve_bytes=0, **options) as writer:
            say("writer", writer._child.pid)
            if int(limit_bytes):  # of the writer alone: shared memory is a file, too
                resource.prlimit(writer._child.pid, resource.RLIMIT_FSIZE, (int(limit_bytes), int(limit_bytes)))
            if int(behind_frames):
                os.kill(writer._child.pid, signal.SIGSTOP)
            for index in range(int(behind_frames) or 10**6):
                writer.append(frame(index), index % 10, scene(index))
                if not int(behind_frames):
                    say("acknowledged", writer.acknowledged)
            say("sent", len(writer))
            signal.pause()
    except LenslessError as error:
        end_with(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
