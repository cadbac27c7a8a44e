"""`lensless bench apply`: how fast a calibration corrects frames on one core, beside the bare arithmetic."""

import numpy as np

from calibration import Calibration
from hardware import Frame, FrameMeta
from lensless.app.bench.timing import Compared, compare
from lensless.app.screen import Screen
from lensless.app.version import code_version

SHAPE, FRAMES = (1080, 1920), 20
DEFECTS, CLIPPED = 2000, 500
PROMISED_PER_S = 60


def run(screen: Screen) -> dict:
    """Measure, show, and return the figures. `apply` is numpy alone, which takes one core for it."""
    with screen.working(f"{FRAMES} frames of 1080p, ours and bare numpy by turns"):
        found = applied()
    ours, bare = FRAMES / found.ours_s, FRAMES / found.reference_s
    rows = [
        ["Calibration.apply", f"{ours:.0f} frames/s", f"{PROMISED_PER_S}"],
        ["(frame - dark) / (flat white) alone", f"{bare:.0f} frames/s", ""],
    ]
    screen.table("1080p, 16 bits, with dark frame, flat, defective and clipped pixels", ["", "found", "promised"], rows)
    return {"frames_per_s": ours, "bare_frames_per_s": bare, "code": code_version()}


def applied() -> Compared:
    """Seconds for all frames, of each side."""
    draw = np.random.default_rng(0)
    dark = (64 + draw.standard_normal(SHAPE)).astype(np.float32)
    flat = (1 + 0.01 * draw.standard_normal(SHAPE)).astype(np.float32)
    defects = np.zeros(SHAPE, bool)
    defects.flat[draw.choice(defects.size, DEFECTS, replace=False)] = True
    calibration = Calibration(
        camera_id="BENCH", shape=SHAPE, bit_depth=12, gain_db=0.0, exposure_s=(0.01, 0.01), dark_dn=dark,
        white_dn=3000.0, flat=flat, defects=defects,
    )  # fmt: skip
    pixels = draw.integers(64, 3000, SHAPE).astype(np.uint16)
    pixels.flat[draw.choice(pixels.size, CLIPPED, replace=False)] = 4095
    meta = FrameMeta(
        sequence=0, t_host_ns=0, exposure_s=0.01, gain_db=0.0, bit_depth=12, black_level_dn=64, pixel_format="Mono12",
        camera_id="BENCH", settings_id="bench",
    )  # fmt: skip
    frame, white = Frame(pixels, meta), np.float32(3000)
    calibration.apply(frame)  # its id is computed once
    return compare(
        lambda: [calibration.apply(frame) for _ in range(FRAMES)],
        lambda: [(pixels - dark) / (flat * white) for _ in range(FRAMES)],
    )
