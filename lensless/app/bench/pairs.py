"""`lensless bench pairs`: training that is fed from recorded frames, beside training from tensors in memory."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import platform
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import torch

from hardware import Recording
from lensless.app.bench.timing import compare, seconds
from lensless.app.new_tasks import new_classify, new_reconstruct
from lensless.app.rig import Rig, open_rig
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.app.training import RECIPES
from lensless.app.version import code_version
from lensless.data.measured_scenes import MeasuredScenes
from lensless.data.recorded import Collection
from lensless.data.scenes import Scenes, load_scenes
from lensless.tasks import Task
from lensless.train import fabric_on
from lensless.train.batches import SceneBatches
from lensless.train.inputs import RecordedInputs

PROMISED = 0.95
SCENES, STEPS, ROUNDS = 2000, 4, 40  # short turns: what else runs on the machine then slows both
TASKS = {"reconstruct": new_reconstruct, "classify": new_classify}


def run(screen: Screen, device: str) -> dict:
    """Measure, show, and return the figures."""
    found = {
        "device": device, "machine": platform.machine(), "processors": os.cpu_count(),
        "threads": torch.get_num_threads(), "torch": torch.__version__, "code": code_version(),
    }  # fmt: skip
    rig = open_rig("cannula-v1", device, rays=2**17)
    with tempfile.TemporaryDirectory(prefix="lensless-bench-") as folder, _cache_in(folder):
        with screen.working(f"recording {SCENES:,} scenes before {rig.id}"):
            path = recorded(pathlib.Path(folder) / "scenes.h5", rig, load_scenes("glyphs", "train", 0, SCENES))
            setting = Setting.of(rig)
        with screen.working("reading and calibrating them"):
            pairs, opening = opened(path, setting)
        found["opening"] = opening
        screen.say(
            f"  {opening['frames']:,} frames: {opening['first_s']:.1f} s at first, {opening['again_s']:.2f} s again"
        )
        for name, make in TASKS.items():
            with screen.working(f"training to {name}"):
                found[name] = feeding(name, make(setting, pairs), pairs, setting)
            one = found[name]
            screen.say(
                f"  {name}: {one['steps_per_s']:.0f} steps per second from disk, {one['from_memory_per_s']:.0f} from "
                f"memory: {one['share_of_its_speed']:.1%} of its speed (promised: at least {PROMISED:.0%}), "
                f"{one['share_of_the_speed_of_ready_batches']:.1%} of that of batches that lie ready"
            )
    return found


def recorded(path: pathlib.Path, rig: Rig, scenes: Scenes) -> pathlib.Path:
    """A recording of one frame of each scene."""
    camera, display = rig.camera_at_display(0)
    pictures = scenes.fit(rig.spec.scene.shape)[:, 0].numpy()
    provenance = {
        "rig": {"id": rig.spec.id, "fingerprint": rig.spec.fingerprint}, "rays": rig.rays, "scenes": scenes.name,
        "classes": list(scenes.classes), "frames": 1, "splits": {"train": [0, len(scenes)]},
    }  # fmt: skip
    with camera, Recording.create(path, camera.snap(1)[0], provenance, rig.spec.scene.shape) as writer:
        for scene_id, (picture, label) in enumerate(zip(pictures, scenes.labels.tolist(), strict=True)):
            display.show(picture.astype(np.float32) / 255)
            writer.append(camera.snap(1)[0], label, picture, scene_id=scene_id)
    return path


def opened(path: pathlib.Path, setting: Setting) -> tuple[MeasuredScenes, dict]:
    """The pairs, and how long it takes to get them: at first, and when their measurements are in the cache."""
    found: list[MeasuredScenes] = []

    def get() -> None:
        found.append(Collection.open(path).scenes("train", setting.calibration, lambda items, what, total: items))

    first_s, again_s = seconds(get), seconds(get)
    return found[-1], {"frames": SCENES, "first_s": first_s, "again_s": again_s}


def feeding(name: str, task: Task, pairs: MeasuredScenes, setting: Setting) -> dict:
    """Steps of a training from recorded pairs in mapped files, from the same in memory, and from ready batches."""
    recipe = dataclasses.replace(RECIPES[name], augmentation=None)
    fabric = fabric_on(setting.device, recipe.precision)
    network, optimizer = fabric.setup(task.network, torch.optim.AdamW(task.network.parameters(), lr=1e-4))
    batches = SceneBatches(pairs.fit(task.scene_shape), pairs.labels, recipe)

    def fed(in_memory_bytes: int) -> Iterator[tuple]:
        inputs_of = RecordedInputs(task, pairs, setting.device, fabric.autocast, in_memory_bytes)
        for position in itertools.count():
            pictures, labels, at = fabric.to_device(batches[divmod(position, batches.steps_per_epoch)])
            yield inputs_of(pictures, at), task.target(pictures, labels)

    def train(source: Iterator[tuple]) -> None:
        for inputs, target in itertools.islice(source, STEPS):
            loss = task.loss(network(inputs), target)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()

    disk, memory = fed(0), fed(2**40)
    ready = itertools.cycle(list(itertools.islice(memory, batches.steps_per_epoch)))
    found = compare(_steps(train, disk), _steps(train, memory), ROUNDS)
    beside_ready = compare(_steps(train, disk), _steps(train, ready), ROUNDS)
    return {
        "steps_per_s": STEPS / found.ours_s, "from_memory_per_s": STEPS / found.reference_s,
        "share_of_its_speed": found.ratio, "promised": PROMISED, "batch_size": recipe.batch_size,
        "share_of_the_speed_of_ready_batches": beside_ready.ratio,
    }  # fmt: skip


def _steps(train: Callable, source: Iterator[tuple]) -> Callable[[], None]:
    return lambda: train(source)


@contextlib.contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    """A cache of its own, so that nothing is found there from before; the matrix of the rig is traced in it, too."""
    before = os.environ.get("OPTICS_FREE_CACHE")
    os.environ["OPTICS_FREE_CACHE"] = str(pathlib.Path(folder) / "cache")
    try:
        yield
    finally:
        if before is None:
            del os.environ["OPTICS_FREE_CACHE"]
        else:
            os.environ["OPTICS_FREE_CACHE"] = before
