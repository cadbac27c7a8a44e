"""Collection promise: a kill at any instant costs no scene, and none comes twice, when the command is given again."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from collection_tools import check_collection, write_rig
from recording_tools import AT_NIGHT, TESTS, wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills process groups")

SCENES, FRAMES = 60, 2


def command(folder, rig) -> subprocess.Popen:
    arguments = [
        "record", f"simulated:{rig}?fps=100", "--scenes", "glyphs", "--rig", rig, "--count", SCENES,
        "--display", "simulated?refresh_hz=120", "--settle-s", "0.01", "--gamma", "1", "--out", folder / "out",
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "optics_free", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def killed_again_and_again(folder, kills: int, seed: int) -> None:
    rig, draw = write_rig(folder), random.Random(seed)
    for kill in range(kills):
        with command(folder, rig) as child:
            run = folder / "out" / f"run-{kill:05d}"
            wait_for(lambda run=run, child=child: run.exists() or child.poll() is not None, 60)
            time.sleep(draw.uniform(0.0, 0.5))
            # The command alone, whose writer ends what it was given; or both, in the middle of a write.
            kind, whom = draw.choice([(os.kill, child.pid), (os.killpg, child.pid)])
            if child.poll() is None:
                kind(whom, signal.SIGKILL)
    with command(folder, rig) as child:
        said = child.communicate()[0]
    assert child.returncode == 0, said
    check_collection(folder / "out", rig, SCENES, FRAMES)


@pytest.mark.slow
def test_a_collection_that_was_killed_goes_on_without_a_gap_and_without_a_scene_twice(tmp_path):
    killed_again_and_again(tmp_path, 1, 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_many_times(tmp_path):
    for trial in range(50 if AT_NIGHT else 5):
        (tmp_path / str(trial)).mkdir()
        killed_again_and_again(tmp_path / str(trial), 3, 100 + trial)


@pytest.mark.slow
def test_ctrl_c_ends_in_order_and_says_how_to_go_on(tmp_path):
    rig = write_rig(tmp_path)
    with command(tmp_path, rig) as child:
        wait_for((tmp_path / "out" / "run-00000").exists, 60)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        said = child.communicate()[0]
    assert child.returncode == 130 and "given again, the command goes on from there" in said
    with command(tmp_path, rig) as child:
        said = child.communicate()[0]
    assert child.returncode == 0 and "are there" in said
    assert check_collection(tmp_path / "out", rig, SCENES, FRAMES) == 2
