"""A rig so small that scenes are collected in no time, and what must be true of a collection."""

import collections
import pathlib

import numpy as np

from hardware import Recording
from hardware.replay import recordings_at
from lensless.app.collection.plan import Plan, scene_sets
from lensless.app.rig import open_rig

RIG = """
id = "small-v1"
[scene]
shape = [16, 12]
width_mm = 12.0
distance_mm = 20.0
dark_level = 0.01
[cover_glass]
height_mm = 0.7
specks = 6
speck_radius_um = 20.0
seed = 3
[sensor]
serial = "SMALL-1"
shape = [20, 24]
pitch_um = 20.0
white_electrons = 9000.0
full_well_electrons = 10000.0
read_noise_electrons = 5.0
dark_electrons_per_s = 10.0
exposure_s = 0.004
prnu = 0.01
dsnu_electrons = 3.0
column_electrons = 2.0
bit_depth = 12
black_level_dn = 64
gain_electrons_per_dn = 2.5
frames = 2
"""


def write_rig(folder: pathlib.Path, white_electrons: float = 9000.0) -> pathlib.Path:
    """The rig file, with as much light as that."""
    path = folder / f"small-{white_electrons:g}.toml"
    path.write_text(RIG.replace("white_electrons = 9000.0", f"white_electrons = {white_electrons}"))
    return path


def check_collection(path: pathlib.Path, rig_file: pathlib.Path, count: int, frames: int) -> int:
    """Every scene once and whole, each with its own picture, label and light; returns in how many runs.

    What a scene that was interrupted has left behind is passed over, as by who trains on it, and so is what came after
    the last good look at black and bright.
    """
    rig = open_rig(str(rig_file))
    plan = Plan.of(scene_sets("glyphs", None, count, 0, None, False), rig.spec.scene.shape, frames, 0)
    whole: dict[int, int] = collections.Counter()
    light, seen = [], []
    runs = recordings_at(path)
    for run in runs:
        with Recording.open(run) as recording:
            recording.verify()
            ids, labels = recording.scene_ids, recording.labels
            ids = ids[: np.flatnonzero(ids < 0).max(initial=-1) + 1]
            groups = collections.Counter(ids[ids >= 0].tolist())
            whole.update(one for one, times in groups.items() if times == frames)
            assert max(groups.values(), default=0) <= frames
            for at in np.flatnonzero(ids >= 0).tolist():
                assert labels[at] == plan.labels[ids[at]]
                assert (recording.scene(at) == plan.pictures[ids[at]]).all()
                light.append(plan.radiance(ids[at]).mean())
                seen.append(recording[at].pixels.mean())
    assert whole == dict.fromkeys(range(count), 1)
    # On this rig the mean of a frame follows that of its scene, and of no other.
    assert np.corrcoef(light, seen)[0, 1] > 0.99
    return len(runs)
