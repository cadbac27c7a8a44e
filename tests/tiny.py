"""A rig, scenes and tasks so small that a whole training takes a second."""

import functools
import pathlib

import torch
import torch.nn.functional as F

from lensless.app.new_tasks import new_classify, new_learned, new_reconstruct
from lensless.app.rig import Rig
from lensless.app.rig_file import check_spec
from lensless.app.setting import Setting
from lensless.app.training import train
from lensless.data.augment import Augmentation
from lensless.data.measured_scenes import MeasuredScenes
from lensless.data.scenes import Scenes
from lensless.tasks import (
    Classify,
    ClassifyPicture,
    ClassifyReconstruction,
    Reconstruct,
    ReconstructCycle,
    ReconstructLearned,
    Task,
)
from lensless.train.recipe import Recipe

CLASSES = ("top left", "top right", "bottom left", "bottom right")
RECIPE = Recipe(epochs=4, batch_size=16, augmentation=Augmentation(shift_px=0.5), seed=1)


def facts(scene: tuple[int, int] = (8, 8), sensor: tuple[int, int] = (12, 12), **sensor_changes) -> dict:
    """Of a bare sensor with a few specks; noise and all."""
    return {
        "id": "tiny",
        "scene": {"shape": scene, "distance_mm": 20.0, "width_mm": 10.0, "dark_level": 0.01},
        "cover_glass": {"height_mm": 0.7, "specks": 6, "speck_radius_um": 20.0, "seed": 3},
        "sensor": {
            "serial": "TINY-1", "shape": sensor, "pitch_um": 20.0, "white_electrons": 9000.0,
            "full_well_electrons": 10000.0, "read_noise_electrons": 5.0, "dark_electrons_per_s": 10.0,
            "exposure_s": 0.1, "prnu": 0.01, "dsnu_electrons": 3.0, "column_electrons": 2.0, "bit_depth": 12,
            "black_level_dn": 64, "gain_electrons_per_dn": 2.5, "frames": 4, **sensor_changes,
        },
    }  # fmt: skip


def rig(*shapes: tuple[int, int], **sensor_changes) -> Rig:
    return Rig(check_spec(facts(*shapes, **sensor_changes), "tiny"))


def colour_facts(*shapes: tuple[int, int]) -> dict:
    """The same before a display in colours, under a mosaic."""
    told = facts(*shapes, mosaic="RGGB")
    return told | {"id": "tiny-colour", "scene": told["scene"] | {"colours_nm": (630.0, 530.0, 460.0)}}


@functools.cache
def colour_setting(*shapes: tuple[int, int]) -> Setting:
    return Setting.of(Rig(check_spec(colour_facts(*shapes), "tiny-colour")))


@functools.cache
def setting(*shapes: tuple[int, int]) -> Setting:
    return Setting.of(rig(*shapes))


def scenes(count: int = 80, seed: int = 0, shape: tuple[int, int] = (8, 8)) -> Scenes:
    """Smooth pictures with one bright quarter, which is their class."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    coarse = 0.3 * torch.rand(count, 1, 4, 4, generator=draw)
    for label, (row, column) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        coarse[labels == label, :, row : row + 2, column : column + 2] += 0.6
    pictures = F.interpolate(coarse, shape, mode="bilinear").mul(255).to(torch.uint8)
    return Scenes(pictures, labels, CLASSES, f"blobs-{seed}", torch.arange(count))


def measured(count: int = 80, seed: int = 0) -> MeasuredScenes:
    """The same with what a camera recorded of them."""
    shown = scenes(count, seed)
    values = setting().simulator()(shown.pictures / 255, torch.Generator().manual_seed(seed))[:, 0].numpy()
    return MeasuredScenes(
        shown.pictures, shown.labels, CLASSES, f"recorded:{shown.name}", shown.groups, values=values,
        rows=torch.arange(count), origin=str(seed),
    )  # fmt: skip


def reconstruct(*shapes: tuple[int, int]) -> Reconstruct:
    torch.manual_seed(0)
    return new_reconstruct(setting(*shapes), scenes(shape=(shapes or [(8, 8)])[0]), 2, 8)


def shared_stages(*shapes: tuple[int, int]) -> Reconstruct:
    some = scenes(shape=(shapes or [(8, 8)])[0])
    return new_reconstruct(setting(*shapes), some, 3, 8, shared=True, loss="l1+l2")


def learned(*shapes: tuple[int, int]) -> ReconstructLearned:
    return new_learned(setting(*shapes), scenes(shape=(shapes or [(8, 8)])[0]), 12, 8, 8)


def cycle(*shapes: tuple[int, int]) -> ReconstructCycle:
    """With planes that are larger than scene and sensor: it takes none so small."""
    scene, sensor = shapes or [(8, 8), (12, 12)]
    torch.manual_seed(0)
    task = ReconstructCycle(scene, sensor, 24, 4)
    task.fit(setting(*shapes).simulator()(scenes(shape=scene).pictures / 255))
    return task


def colours(*shapes: tuple[int, int]) -> Reconstruct:
    """Of a display in colours and a sensor under a mosaic."""
    return new_reconstruct(colour_setting(*shapes), scenes(shape=(shapes or [(8, 8)])[0]), 2, 8)


def classify(*shapes: tuple[int, int]) -> Classify:
    torch.manual_seed(0)
    task = new_classify(setting(*shapes), scenes(shape=(shapes or [(8, 8)])[0]), 20, (24, 12))
    return task


def classify_reconstruction(*shapes: tuple[int, int]) -> ClassifyReconstruction:
    front = reconstruct(*shapes)
    return ClassifyReconstruction(front, CLASSES, (4, 4, 4))


def classify_picture(*shapes: tuple[int, int]) -> ClassifyPicture:
    torch.manual_seed(0)
    return ClassifyPicture((shapes or [(8, 8)])[0], CLASSES, (4, 4, 4))


TASKS = {
    make.__name__: make
    for make in (reconstruct, shared_stages, learned, cycle, colours, classify, classify_reconstruction)
}


def setting_of(task: Task) -> Setting:
    """What it is trained for."""
    return setting() if task.colours == 1 else colour_setting()


def run(folder: pathlib.Path, task: Task | None = None, recipe: Recipe = RECIPE, **options):
    """A whole training in `folder`, or the rest of one."""
    validation = scenes(20, seed=9)
    chosen = options.pop("scenes", None) or scenes()
    task = task or reconstruct()
    return train(task, setting_of(task), chosen, validation, recipe, folder, **options)
