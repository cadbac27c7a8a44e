"""An emulated board on a pseudo-terminal, with faults on demand."""

import queue
import threading
import time

import numpy as np

from hardware.closing import Closing
from hardware.emulators.board import EmulatedBoard
from hardware.emulators.terminal import Terminal
from hardware.errors import ConfigurationError, LenslessError

IDLE_S = 0.02
# Name: what stands behind it, what it does.
FAULTS = {
    "noise": ("SHARE", "change this share of all bytes from now on, at random; 0: none"),
    "loss": ("SHARE", "lose this share of all bytes from now on, at random; 0: none"),
    "stall": ("SECONDS", "say nothing for so long, and answer nothing"),
    "unplug": ("", "vanish, in the middle of whatever goes on"),
    "replug": ("", "come back under another name, started anew; the link follows"),
    "restart": ("", "start anew in the middle of a frame, plugged in"),
    "flash": ("FRAMES", "light fills every pixel of that many frames"),
    "mode": ("", "change to the other resolution by itself"),
}


def fault_of(text: str) -> tuple[str, float]:
    """(name, number) of a fault such as "noise 0.001" or "unplug".

    Raises:
        ConfigurationError: no such fault, or not its number.
    """
    name, _, number = text.strip().partition(" ")
    known = "; ".join(f"{one} {FAULTS[one][0]}".strip() for one in FAULTS)
    if name not in FAULTS or bool(number) != bool(FAULTS[name][0]):
        raise ConfigurationError(f"board emulator: no fault {text!r:.100}; expected one of: {known}")
    try:
        value = float(number or 0)
    except ValueError:
        value = -1.0
    if not 0 <= value <= (1 if FAULTS[name][0] == "SHARE" else 3600):
        raise ConfigurationError(
            f"board emulator: {text!r:.100}; expected {FAULTS[name][0]} from 0 on; one of: {known}"
        )
    return name, value


class BoardOnLine(Closing):
    """Runs a board on a terminal, in a thread, until it is closed.

    Args:
        board: what speaks; its camera is left open.
        terminal: where; closed with this.
        fps: frames per second, at most; None: as fast as they come and are taken.
        baud: bits per second of the line, 10 to a byte; None: without a limit.
        seed: of the noise.
    """

    def __init__(
        self,
        board: EmulatedBoard,
        terminal: Terminal,
        *,
        fps: float | None = None,
        baud: int | None = None,
        seed: int = 0,
    ):
        self.board, self.terminal = board, terminal
        self._period_s, self._byte_s = 0.0 if fps is None else 1 / fps, 0.0 if baud is None else 10 / baud
        self._random = np.random.default_rng(seed)
        self._shares = {"noise": 0.0, "loss": 0.0}
        self._orders: queue.Queue[tuple[str, float, threading.Event]] = queue.Queue()
        self._closed, self._due_s = threading.Event(), 0.0
        self._failure: LenslessError | None = None
        self._thread = threading.Thread(target=self._run, name="board emulator", daemon=True)
        self._thread.start()

    def do(self, fault: str) -> None:
        """One of `FAULTS`, e.g. "noise 0.001" or "unplug"; returns when it has happened (of a stall: begun).

        Raises:
            ConfigurationError: no such fault, or not its number.
        """
        name, value = fault_of(fault)
        if name in self._shares:
            self._shares[name] = value
            return
        if name == "mode":
            self.board.switch_mode()
            return
        if name == "flash":
            self.board.flash(round(value))
            return
        done = threading.Event()
        self._orders.put((name, value, done))
        while not done.wait(0.1) and self._thread.is_alive():
            pass

    def check(self) -> None:
        """Raises what the board's camera has ended with, if it has."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End; a second call does nothing."""
        self._closed.set()
        self.terminal.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._speak()
        except LenslessError as error:  # of its camera: a recording has an end
            self._failure = error
            self.terminal.unplug()

    def _speak(self) -> None:
        while not self._closed.is_set():
            self._obey_orders()
            if not self.terminal.plugged:
                self._closed.wait(IDLE_S)
                continue
            ahead_s = max(0.0, self._due_s - time.monotonic()) if self.board.begins_frame else 0.0
            busy = self.board.in_frame or self.board.begins_frame
            if data := self.terminal.read(min(ahead_s, IDLE_S) if busy else IDLE_S):
                self._write(self.board.take(self._disturbed(data)))
            elif busy and not ahead_s:
                if self.board.begins_frame:
                    self._due_s = max(self._due_s + self._period_s, time.monotonic())
                self._write(self.board.next_packet())

    def _obey_orders(self) -> None:
        # A restart waits until a frame is under way, if there are any.
        while not self._orders.empty() and not (self._orders.queue[0][0] == "restart" and self.board.begins_frame):
            name, value, done = self._orders.get()
            match name:
                case "stall":
                    done.set()
                    self._closed.wait(value)
                case "unplug":
                    self.terminal.unplug()
                case "replug":
                    self.board.restart()
                    self.terminal.replug()
                case "restart":
                    hello = self.board.restart()
                    done.set()  # it may have to wait until somebody reads
                    self._write(hello)
            done.set()

    def _write(self, data: bytes) -> None:
        if data:
            # A host that does not read must not keep its board from what is to befall it.
            self.terminal.write(self._disturbed(data), lambda: not self._orders.empty())
            if self._byte_s:
                self._closed.wait(len(data) * self._byte_s)

    def _disturbed(self, data: bytes) -> bytes:
        """`data` after the noise of the line."""
        if not any(self._shares.values()):
            return data
        damaged = np.frombuffer(data, np.uint8).copy()
        hit = self._random.random(len(damaged)) < self._shares["noise"]
        damaged[hit] = self._random.integers(0, 256, int(hit.sum()))
        return damaged[self._random.random(len(damaged)) >= self._shares["loss"]].tobytes()
