"""`lensless board-emulator`: a sensor board without hardware, that any program can open as a serial port."""

import contextlib
import pathlib
import re
import sys
import threading
import time

from hardware import open_camera
from hardware.emulators.board import EmulatedBoard
from hardware.errors import CameraLost, ConfigurationError, LenslessError
from hardware.serial_board.messages import MOST_LAMPS
from lensless.app.screen import Screen


def run(
    screen: Screen,
    camera: str,
    link: pathlib.Path | None,
    serial: str,
    fps: float,
    baud: int | None,
    faults: list[str],
    matrix: tuple[int, int] | None,
    seconds: float | None,
) -> dict:
    """Speak the protocol until Ctrl-C, the end of `seconds`, or "quit"; returns what was sent.

    Args:
        screen: where to tell of it.
        camera: address of what the board's sensor sees.
        link: symbolic link that follows the device, as one of /dev/serial/by-id does.
        serial: the board's own number.
        fps: frames per second at most; baud: speed of the line, None: without a limit.
        faults: to begin with, see `hardware.emulators.board_on_line.FAULTS`; others are read from standard input.
        matrix: (rows, columns) of lamps.
        seconds: how long; None: without end.

    Raises:
        ConfigurationError: a camera, link or fault that cannot be; or there are no pseudo-terminals here.
    """
    try:
        from hardware.emulators.board_on_line import FAULTS, BoardOnLine, fault_of
        from hardware.emulators.terminal import Terminal, check_link
    except ImportError as error:  # tty
        raise ConfigurationError("emulated boards need pseudo-terminals: Linux or macOS") from error
    if not 1 <= len(serial) <= 64 or not serial.isprintable():
        raise ConfigurationError(f"--serial {serial!r:.100}; expected 1 to 64 printable characters")
    if link is not None:
        check_link(link)
    for fault in faults:
        fault_of(fault)
    with contextlib.ExitStack() as open_things:
        with screen.working(f"opening {camera}"):
            sensor = open_things.enter_context(open_camera(camera))
            board = EmulatedBoard(sensor, serial, matrix=matrix)
        terminal = open_things.enter_context(Terminal(link))
        line = open_things.enter_context(BoardOnLine(board, terminal, fps=fps, baud=baud))
        for fault in faults:
            line.do(fault)
        address = f"serial:{link or terminal.path}"
        screen.say(f"A board that sees {camera} is at {terminal.path}. Open it in another window:")
        screen.say(f"    lensless check {address}\n    lensless record {address} --frames 100 --out recording")
        screen.table("Faults on demand: type one, or quit", ["", ""], _help(FAULTS))
        done = threading.Event()
        threading.Thread(target=_listen, args=(line, terminal, screen, done), daemon=True).start()
        began_s = time.monotonic()
        end = "stopped"
        try:
            while not done.wait(0.1) and (seconds is None or time.monotonic() - began_s < seconds):
                line.check()
        except KeyboardInterrupt:
            pass
        except CameraLost as error:  # a recording has an end
            end = str(error)
        screen.say(f"{line.board.taken} frames were taken; {end}.")
        return {"frames": line.board.taken, "seconds": time.monotonic() - began_s, "address": address}


def lamps_of(text: str) -> tuple[int, int]:
    """(rows, columns) of a text such as "8x8".

    Raises:
        ConfigurationError: it is none.
    """
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if not found or not 1 <= int(found[1]) * int(found[2]) <= MOST_LAMPS:
        raise ConfigurationError(f"--matrix {text!r:.50}; expected ROWSxCOLUMNS of 1 to {MOST_LAMPS} lamps, e.g. 8x8")
    return int(found[1]), int(found[2])


def _help(faults: dict[str, tuple[str, str]]) -> list[list[str]]:
    return [[f"{name} {number}".strip(), what] for name, (number, what) in faults.items()]


def _listen(line, terminal, screen: Screen, done: threading.Event) -> None:
    """Faults from standard input, one to a line; its end changes nothing."""
    for text in sys.stdin:
        order = text.strip()
        if order in ("quit", "exit"):
            done.set()
            return
        if order:
            try:
                line.do(order)
            except LenslessError as error:
                screen.say(str(error))
            else:
                screen.say(f"{order}: done" + (f"; the board is at {terminal.path}" if order == "replug" else ""))
