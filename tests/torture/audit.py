"""What this process does besides computing, as Python's audit hooks tell it; a hook stays until the process ends."""

import os
import pathlib
import sys
import tempfile

# A reader of files does none of it: code that is run or loaded, other processes, the network, changes of the disk.
FORBIDDEN = (
    *("exec", "compile", "import", "code.__new__", "function.__new__", "pickle.", "marshal.", "ctypes."),
    *("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "socket.", "urllib.", "http."),
    *("os.remove", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.truncate", "os.ch", "shutil."),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MEMORY = "/dev/shm/lensless-"
_TEMPORARY = tempfile.gettempdir()  # found now: it takes a lock and opens files, of which the hook would hear
_OUR_CHILDREN = ("hardware.driver_process", "hardware.recording.sandbox_child")
_LIBRARIES = tuple(
    map(str, (sys.prefix, sys.base_prefix, pathlib.Path(__file__).resolve().parents[2], "/proc", "/sys"))
)


class Audit:
    """From its making on: `events` that are forbidden, and the files that were `opened`; `mine` may be written."""

    def __init__(self):
        self.mine = ""
        self.events: list[str] = []
        self.opened: set[str] = set()
        sys.addaudithook(self._hear)

    def clear(self) -> None:
        self.events.clear()
        self.opened.clear()

    def _hear(self, event: str, arguments: tuple) -> None:
        if event == "open":
            self._hear_open(*arguments)
        elif event == "compile" and arguments[1] == "<unknown>":
            return  # a literal, such as the header of a .npy, is parsed so; to run it would be the event "exec"
        elif event.startswith(FORBIDDEN) and not _is_ours(event, arguments):
            self.events.append(f"{event} {str(arguments)[:100]}")

    def _hear_open(self, path: object, mode: str | None, flags: int) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):  # a handle that is open already
            return
        path = os.fsdecode(path)
        # The words of a child go into a file without a name, its frames into one in memory.
        ours = path in (_TEMPORARY, os.devnull) or path == self.mine or path.startswith(_MEMORY)
        if flags & _WRITES and not ours:
            self.events.append(f"open {path[:100]} {mode} {flags}")
        # An editable installation stands in sys.path by a name that is no folder; plug-ins are looked for there, too.
        if not ours and not path.startswith(_LIBRARIES) and path not in sys.path:
            self.opened.add(path)


def _is_ours(event: str, arguments: tuple) -> bool:
    """A child process of ours, or the end of the memory that its frames came through."""
    if event == "os.remove":
        return str(arguments[0]).startswith(_MEMORY)
    command = arguments[1] if event == "subprocess.Popen" else []
    return command[:3] == [sys.executable, "-P", "-m"] and command[3] in _OUR_CHILDREN
