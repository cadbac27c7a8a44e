"""C1 with a sensor board: pulled out and put in again through real pseudo-terminals, each time under another name."""

import dataclasses
import os
import random
import time

import numpy as np
import pytest
from recording_tools import AT_NIGHT, wait_for

from hardware import CameraSettings, SimulatedCamera
from hardware.emulators.board import EmulatedBoard
from hardware.emulators.board_on_line import BoardOnLine
from hardware.emulators.terminal import Terminal
from hardware.same_camera import SameCamera
from hardware.stream import Ring, Stream

pytestmark = pytest.mark.alone

if os.name != "posix":
    pytest.skip("no pseudo-terminals here", allow_module_level=True)

SHAPE = (24, 32)


def expose(settings: CameraSettings, sequence: int) -> np.ndarray:
    return np.random.default_rng(sequence).integers(0, 4096, SHAPE).astype(np.uint16)


def check_unplugging(folder, cycles: int, seed: int) -> None:
    """Unplugged, restarted in mid-frame, or silent; in every third outage another board is plugged in for a while."""
    draw, told, frames = random.Random(seed), [], []
    noticed_s, back_s, names = [], [], set()
    sensor = SimulatedCamera(expose, camera_id="S", shape=SHAPE, bit_depth=12, black_level_dn=0, exposure_s=0.001)
    board = EmulatedBoard(sensor, packet_bytes=100)
    ours, other = board.hello, dataclasses.replace(board.hello, serial="ANOTHER")

    def seen(kind: str) -> int:
        return sum(event.kind == kind for event in told)

    with (
        BoardOnLine(board, Terminal(folder / "board"), fps=400) as line,
        Stream(
            SameCamera(f"serial:{folder / 'board'}?exposure_s=0.002"), ring=Ring(2**20), on_event=told.append
        ) as stream,
    ):
        for cycle in range(cycles):
            frames.append(stream.get(5))
            names.add(line.terminal.path)
            line.do(draw.choice(("unplug", "unplug", "restart", "restart", "stall 2.5")))
            noticed_s.append(wait_for(lambda: seen("lost") > cycle, 3))  # noqa: B023
            if cycle % 3 == 2:
                others, board.hello = seen("other camera"), other
                line.do("unplug")
                line.do("replug")
                wait_for(lambda: seen("other camera") > others)  # noqa: B023
                board.hello = ours
            while stream.get(timeout_s=0) is not None:  # what came before
                pass
            line.do("unplug")
            line.do("replug")
            begin_s = time.monotonic()
            frames.append(stream.get(10))
            back_s.append(time.monotonic() - begin_s)
            wait_for(lambda: seen("back") > cycle)  # noqa: B023
        counts = stream.counts
        assert counts.captured == counts.delivered + sum(counts.dropped.values()) + counts.in_ring
    assert {frame.meta.camera_id for frame in frames} == {"board-EMULATED-1"}
    assert {frame.meta.exposure_s for frame in frames} == {0.002}
    numbers = [frame.meta.sequence for frame in frames]
    assert numbers == sorted(set(numbers))
    assert max(noticed_s) < 2 and max(back_s) < 5
    print(
        f"\n{cycles} cycles under {len(names)} names, noticed after {max(noticed_s):.2f} s at most, frames at most "
        f"{max(back_s):.2f} s after the return; another board was left alone {seen('other camera')} times"
    )


def test_a_board_that_is_unplugged_comes_back_by_itself(tmp_path):
    check_unplugging(tmp_path, 5, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 600)
def test_a_board_that_is_unplugged_50_times_comes_back_by_itself(tmp_path):
    check_unplugging(tmp_path, 1000 if AT_NIGHT else 50, seed=2)
