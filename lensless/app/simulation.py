"""Record a simulated rig as one records a real one: show a scene, take frames, store both."""

import pathlib
import shutil

from hardware import Recording
from hardware.errors import ConfigurationError, StorageError
from lensless.app.collection.plan import Plan
from lensless.app.rig import Rig
from lensless.app.screen import Screen, counted
from lensless.app.text_file import check_place
from lensless.app.version import code_version
from lensless.data.scenes import Scenes


def record(rig: Rig, scenes: Scenes, split: str, out: pathlib.Path, frames: int, seed: int, screen: Screen) -> dict:
    """Write `frames` raw frames of each scene of a split to a recording, and the calibration of the sensor beside it.

    Raises:
        StorageError: the recording exists, its folder does not, or the disk is full.
        ConfigurationError: a name that is no recording's.
    """
    if out.suffix != ".h5":
        raise ConfigurationError(f"--out {out}: expected a name that ends in .h5")
    if not out.resolve().parent.is_dir():
        raise StorageError(f"--out {out}: its folder does not exist; make it, or name another")
    beside = out.with_suffix(".calibration.npz")
    for taken in (out, beside):  # said before minutes of work, and before half of the two is written
        if taken.exists():
            raise StorageError(f"'{taken}' exists; nothing is ever overwritten: choose another name with --out")
    check_place(out, "name another with --out")
    with screen.working(f"forward model and calibration of {rig.id}"):
        calibration = rig.calibrate()
        camera, display = rig.camera_at_display(seed)
        rig.forward_model  # noqa: B018 (it is computed here, and kept)
    plan = Plan.of({split: scenes}, rig.spec.scene.picture_shape, frames, seed)
    provenance = plan.provenance() | {
        "rig": {"id": rig.spec.id, "fingerprint": rig.spec.fingerprint}, "rays": rig.rays,
        "calibration": calibration.id, "code": code_version(),
    }  # fmt: skip
    with camera:
        display.show(plan.radiance(0))
        first = camera.snap(1)[0]
        _check_room(out, len(plan) * frames * first.pixels.nbytes)
        with Recording.create(out, first, provenance, rig.spec.scene.planes_shape) as writer:
            calibration.save(beside)
            ids = screen.track(range(len(plan)), f"recording, {counted(frames, 'frame')} each", len(plan))
            for scene_id in ids:
                display.show(plan.radiance(scene_id))
                for frame in camera.snap(frames):
                    label, picture = int(plan.labels[scene_id]), plan.pictures[scene_id]
                    writer.append(frame, label, picture, scene_id=scene_id)
            count = len(writer)
    screen.say(f"{counted(count, 'raw frame')} in {out}, calibration of the sensor in {beside}")
    return {"recording": str(out), "calibration": str(beside), "frames": count, **provenance}


def _check_room(out: pathlib.Path, needed: int) -> None:
    """Say at once that a recording will not fit, and not after an hour."""
    folder = out.resolve().parent
    if folder.is_dir() and (free := shutil.disk_usage(folder).free) < needed:
        raise StorageError(
            f"recording {out}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; ask for fewer scenes "
            "(--count) or frames (--frames), or choose another disk"
        )
