"""How fast scenes are collected, beside what display and camera allow."""

import contextlib
import pathlib
import tempfile

import numpy as np

from hardware import Recording
from hardware.errors import ConfigurationError
from lensless.app.collection.collect import Asked, Wish, collect
from lensless.app.screen import Screen

RIG, FPS, REFRESH_HZ, SCENES = "cannula-v1", 30, 60, 450
SETTLE_FRAMES = 1


def run(screen: Screen, folder: pathlib.Path | None) -> dict:
    """Collect from a display of 60 Hz with a camera of 30 frames/s, both simulated in time.

    Possible is one scene in every two frames: one frame passes while the display settles, and one is kept.
    """
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"--folder {folder}: expected a folder that exists; make it, or leave the option out")
    with contextlib.ExitStack() as stack:
        place = folder or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lensless-collect-")))
        out = place / "collected"
        camera, display = f"simulated:{RIG}?fps={FPS}", f"simulated?refresh_hz={REFRESH_HZ}"
        wish = Wish(RIG, out, Asked("glyphs", "test", SCENES), camera, display)
        facts = collect(wish, screen)
        steps = _steps(out / "run-00000")
    possible = FPS / (SETTLE_FRAMES + 1)
    share = facts["scenes_per_second"] / possible
    rows = [
        ["scenes collected per second", f"{facts['scenes_per_second']:.2f}", "with the looks at black and bright"],
        ["possible", f"{possible:.2f}", f"{FPS} frames/s, {SETTLE_FRAMES} frame to settle, 1 to keep"],
        ["share of the possible", f"{share:.1%}", "goal 95 %"],
        ["scenes that took a frame more", f"{np.mean(steps > SETTLE_FRAMES + 1):.1%}", "looks at light apart"],
    ]
    screen.table("", ["", "", ""], rows)
    return {
        "rig": RIG, "scenes": SCENES, "camera_fps": FPS, "display_hz": REFRESH_HZ,
        "scenes_per_second": facts["scenes_per_second"], "possible_per_second": possible, "share": share,
        "late_share": float(np.mean(steps > SETTLE_FRAMES + 1)), "settle_s": facts["display"]["settle"]["settle_s"],
        "shown_again": facts["shown_again"],
    }  # fmt: skip


def _steps(run: pathlib.Path) -> np.ndarray:
    """Frames of the camera from scene to scene, without those between which the light was looked at."""
    with Recording.open(run) as recording:
        rows = np.concatenate(list(recording.rows()))
    scenes = rows["scene_id"] >= 0
    return np.diff(rows["sequence"])[scenes[1:] & scenes[:-1]]
