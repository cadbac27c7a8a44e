"""Record a simulated rig as one records a real one: show a scene, take frames, store both."""

import pathlib

import numpy as np

from hardware import Recording
from hardware.errors import ConfigurationError
from lensless.app.rig import Rig
from lensless.app.screen import Screen
from lensless.app.version import code_version
from lensless.data.scenes import Scenes


def record(rig: Rig, scenes: Scenes, out: pathlib.Path, frames: int, seed: int, screen: Screen) -> dict:
    """Write `frames` raw frames of each scene to a recording, and the calibration of the sensor beside it.

    Raises:
        StorageError: the recording exists, or the disk is full.
        ConfigurationError: a name that is no recording's.
    """
    if out.suffix != ".h5":
        raise ConfigurationError(f"--out {out}: expected a name that ends in .h5")
    with screen.working(f"forward model and calibration of {rig.id}"):
        calibration = rig.calibrate()
        camera, display = rig.camera_at_display(seed)
    beside = out.with_suffix(".calibration.npz")
    pictures = scenes.fit(rig.spec.scene.shape)[:, 0].numpy()
    provenance = {
        "rig": {"id": rig.spec.id, "fingerprint": rig.spec.fingerprint}, "rays": rig.rays,
        "calibration": calibration.id, "scenes": scenes.name, "classes": list(scenes.classes),
        "seed": seed, "frames": frames, "code": code_version(),
    }  # fmt: skip
    with camera, screen.working(f"recording {len(scenes):,} scenes, {frames} frame(s) each"):
        display.show(_shown(pictures[0]))
        first = camera.snap(1)[0]
        with Recording.create(out, first, provenance, rig.spec.scene.shape) as writer:
            calibration.save(beside)
            for picture, label in zip(pictures, scenes.labels.tolist(), strict=True):
                display.show(_shown(picture))
                for frame in camera.snap(frames):
                    writer.append(frame, label, picture)
            count = len(writer)
    screen.say(f"{count:,} raw frames in {out}, calibration of the sensor in {beside}")
    return {"recording": str(out), "calibration": str(beside), "frames": count, **provenance}


def _shown(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255
