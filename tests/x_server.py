"""A desktop without a monitor: Xvfb, with a window manager or without, and what is on it."""

import contextlib
import os
import select
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

from hardware.window.monitors import Desktop, Monitor

START_S = 20.0


class XServer:
    """An X server that runs, and to which DISPLAY leads."""

    def __init__(self, process: subprocess.Popen, size: tuple[int, int]):
        self.process = process
        self.all = Monitor(number=0, left_px=0, top_px=0, width_px=size[0], height_px=size[1])

    def coloured(self) -> np.ndarray:
        """What is on the whole desktop now, (height, width) of 0xRRGGBB, through a connection of its own."""
        with Desktop() as desktop:
            return desktop.read(self.all).copy()

    def seen(self) -> np.ndarray:
        """What is on the whole desktop now, as grey levels 0 to 255."""
        pixels = self.coloured()
        grey = pixels & 0xFF
        assert (pixels == grey * 0x010101).all()
        return grey.astype(np.uint8)

    def split(self, **sizes: str) -> None:
        """Make monitors of parts of it, e.g. LEFT="1920/508x1080/286+0+0"."""
        output = "screen"  # the one output that Xvfb has
        for name, size in sizes.items():
            run("xrandr", "--setmonitor", name, size, output)
            output = "none"


def run(program: str, *arguments: str) -> None:
    """A tool of X, to its end; skips where it is not installed."""
    needs(program)
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=START_S)


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@contextlib.contextmanager
def x_server(size: tuple[int, int]) -> Iterator[XServer]:
    """Xvfb with one screen of (width, height) pixels; DISPLAY leads to it meanwhile. Skips where there is none."""
    needs("Xvfb")
    pytest.importorskip("mss", reason="mss is not installed")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        reading, writing = os.pipe()
        screen = "x".join(map(str, (*size, 24)))
        process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-noreset", "-nolisten", "tcp", "-screen", "0", screen],
            pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(ended, process)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert select.select([pipe], [], [], START_S)[0], "Xvfb does not start"
            number = pipe.readline().strip()
        patch.setenv("DISPLAY", f":{number}")
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        yield XServer(process, size)


@contextlib.contextmanager
def window_manager() -> Iterator[None]:
    """Openbox on the X server of DISPLAY; skips where it is not installed."""
    for program in ("openbox", "xprop"):
        needs(program)
    process = subprocess.Popen(["openbox"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_managed()
        yield
    finally:
        ended(process)


def _until_managed() -> None:
    for _ in range(1000):
        told = subprocess.run(["xprop", "-root", "_NET_SUPPORTING_WM_CHECK"], capture_output=True, text=True, timeout=9)
        if "window id" in told.stdout:
            return
    pytest.fail("openbox does not start")


def ended(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait()
