"""Recordings of scenes, as a collection leaves them: with numbers, splits and what was shown."""

import pathlib
from collections.abc import Iterable

import numpy as np

from hardware import Recording
from lensless.app.rig import Rig
from lensless.data.scenes import Scenes


def provenance(rig: Rig, scenes: Scenes, frames: int, splits: dict) -> dict:
    return {
        "rig": {"id": rig.spec.id, "fingerprint": rig.spec.fingerprint}, "rays": rig.rays, "calibration": None,
        "scenes": scenes.name, "classes": list(scenes.classes), "frames": frames, "splits": splits, "seed": 0,
        "code": "test",
    }  # fmt: skip


def record(
    path: pathlib.Path,
    rig: Rig,
    scenes: Scenes,
    ids: Iterable[int],
    splits: dict,
    /,
    frames: int = 2,
    torn: int | None = None,
    noise_seed: int = 0,
    **other_facts,
) -> pathlib.Path:
    """Scene `i` of the set is shown under id i; a dark frame comes first, and of scene `torn` one frame is missing."""
    camera, display = rig.camera_at_display(noise_seed)
    shape = rig.spec.scene.shape
    pictures = scenes.fit(shape)[:, 0].numpy()
    facts = provenance(rig, scenes, frames, splits) | other_facts
    with camera, Recording.create(path, camera.snap(1)[0], facts, shape) as writer:
        display.show(np.zeros(shape, np.float32))
        writer.append(camera.snap(1)[0], -1, np.zeros(shape, np.uint8))
        for scene_id in ids:
            display.show(pictures[scene_id].astype(np.float32) / 255)
            for frame in camera.snap(frames - (scene_id == torn)):
                writer.append(frame, int(scenes.labels[scene_id]), pictures[scene_id], scene_id=scene_id)
    return path
