"""What `lensless train` does between its options and its result."""

import dataclasses
import pathlib
import shlex

from calibration import Calibration
from hardware.errors import ConfigurationError
from lensless.app import pairs
from lensless.app.load import open_device, setting_of
from lensless.app.network_wish import NetworkWish
from lensless.app.new_tasks import new_after_reconstruction
from lensless.app.options import DEFAULT_RIG
from lensless.app.results import check_out
from lensless.app.rig import Rig, open_rig
from lensless.app.rig_file import file_name
from lensless.app.screen import Screen
from lensless.app.search_job import searched
from lensless.app.setting import Perturbed, Setting
from lensless.app.training import RECIPES, check_scenes, train
from lensless.data.measured_scenes import MeasuredScenes, PairSource
from lensless.data.scenes import Scenes, load_scenes, picked
from lensless.evaluate.figures import HEADS, shown
from lensless.tasks import PictureTask, Task
from lensless.train import checkpoint
from lensless.train.recipe import Recipe

LEAST_VALIDATION = 200  # scenes; where fewer training scenes are asked for, so are fewer of these


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be trained on: the options of the commands, as they were given."""

    rig: str | None
    scenes: str
    frames: int | None
    rays: int | None
    seed: int
    device: str
    count: int | None
    data: pathlib.Path | None
    download: bool
    calibration: pathlib.Path | None = None
    perturbed: int = 0
    strength: float = 1.0

    def open_rig(self) -> Rig:
        """The rig, of which nothing is traced yet."""
        return open_rig(self.rig or DEFAULT_RIG, str(open_device(self.device)), self.rays)

    def setting(self, rig: Rig, screen: Screen) -> Setting:
        """The rig in use."""
        real = None if self.calibration is None else Calibration.load(self.calibration)
        with screen.working(f"forward model and calibration of {rig.id}"):
            setting = Setting.of(rig, self.frames, real)
            sampling = rig.forward_model.sampling_error
        if sampling:
            screen.say(f"  its matrix carries a sampling error of {sampling:.1%}")
        return setting

    def source(self, setting: Setting, screen: Screen) -> Setting | Perturbed:
        """What the training sees: the rig in use, and with it as many perturbed copies as are wanted."""
        if not self.perturbed:
            return setting
        source = Perturbed(setting, self.perturbed, self.strength)
        for perturbed in screen.track(source.settings[1:], "perturbed rigs", self.perturbed):
            _ = perturbed.rig.forward_model  # traced here, where there is a bar
        return source

    def scene_sets(self) -> tuple[Scenes, Scenes]:
        """Training and validation."""
        training = load_scenes(self.scenes, "train", self.seed, self.count, self.data, self.download)
        validation = load_scenes(self.scenes, "val", self.seed, None, self.data, self.download)
        return training, self._fewer(validation)

    def recorded_sets(
        self, source: PairSource, setting: Setting, screen: Screen
    ) -> tuple[MeasuredScenes, MeasuredScenes]:
        """Training and validation, with their measurements.

        Raises:
            ConfigurationError: recorded frames cannot be perturbed.
        """
        if self.perturbed:
            raise ConfigurationError(
                f"--perturbed simulates rigs that drifted, and {source.name} was recorded; train on its pictures, "
                "shown:PATH, or leave the option out"
            )
        training, validation = pairs.sets(source, setting, ("train", "val"), screen)
        return picked(training, self.count, self.seed), self._fewer(validation)

    def _fewer(self, validation: Scenes) -> Scenes:
        return validation if self.count is None else validation.spread(max(LEAST_VALIDATION, self.count // 10))

    def folder(self, kind: str, rig_id: str) -> pathlib.Path:
        """Where the checkpoint goes if nobody said."""
        scenes = file_name(self.scenes.replace(":", "-").replace("/", "-")).strip("-")
        frames = f"-{self.frames}-frames" if self.frames else ""
        perturbed = f"-perturbed{self.perturbed}x{self.strength:g}" if self.perturbed else ""
        return pathlib.Path("runs") / f"{kind}-{file_name(rig_id)}-{scenes}{frames}{perturbed}-{self.seed}"


def recipe(
    kind: str,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int,
    precision: str | None,
    augment: float = 1.0,
    shards: int | None = None,
) -> Recipe:
    """The recipe of a task, with what was asked for put in its place; scenes are moved `augment` times as far."""
    asked = {
        "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "precision": precision,
        "shards": shards,
    }  # fmt: skip
    given = {name: value for name, value in asked.items() if value is not None}
    asked_for = dataclasses.replace(RECIPES[kind], seed=seed, **given)
    if asked_for.augmentation is None or augment == 1:
        return asked_for
    return dataclasses.replace(asked_for, augmentation=asked_for.augmentation.times(augment) if augment else None)


def train_front(
    kind: str, wish: Wish, chosen: Recipe, out: pathlib.Path | None, workers: int, screen: Screen,
    network: NetworkWish | None = None,
) -> None:  # fmt: skip
    """Train a task that takes frames."""
    recorded = pairs.source_of(wish.scenes, screen)
    device = str(open_device(wish.device))
    rig = wish.open_rig() if recorded is None else pairs.rig_of(recorded, wish.rig, device, wish.rays)
    out = out or wish.folder(kind, rig.id)
    check_out(out)
    if recorded is None:
        training, validation = wish.scene_sets()
        check_scenes(kind, training, validation, chosen)
        setting = wish.setting(rig, screen)  # last: it may take a minute
    else:
        setting = pairs.setting_of(recorded, rig, wish.frames, wish.calibration, screen)
        training, validation = wish.recorded_sets(recorded, setting, screen)
        check_scenes(kind, training, validation, chosen)
    with screen.working(f"what of {kind} is fixed"):
        task = (network or NetworkWish()).make(kind, setting, training, chosen.seed)
    source = wish.source(setting, screen)
    if network is not None and network.search:
        task = searched(task, network.budget, source, training, validation, chosen, out, workers, screen)
    _run(task, source, training, validation, chosen, out, workers, screen, wish.scenes)


def train_after(
    reconstruction: pathlib.Path, wish: Wish, chosen: Recipe, out: pathlib.Path | None, workers: int, screen: Screen,
    network: NetworkWish | None = None,
) -> None:  # fmt: skip
    """Train a classifier of the pictures that a trained reconstruction gives."""
    found = checkpoint.load(reconstruction)
    if not isinstance(found.task, PictureTask):
        raise ConfigurationError(
            f"--after {reconstruction}: a {found.task.kind!r} checkpoint; expected one of `lensless train reconstruct`"
        )
    setting = setting_of(found, str(reconstruction), wish.device, wish.rig)
    out = out or wish.folder("classify-reconstruction", setting.rig.id)
    check_out(out)
    recorded = pairs.source_of(wish.scenes, screen)
    if recorded is None:
        training, validation = wish.scene_sets()
    else:
        pairs.check_trained_for(found.card, setting, recorded, str(reconstruction), screen)
        training, validation = wish.recorded_sets(recorded, setting, screen)
    check_scenes("classify-reconstruction", training, validation, chosen)
    task = new_after_reconstruction(found.task.to(setting.device), training, seed=chosen.seed)
    task = (network or NetworkWish()).within_budget(task, chosen.seed)
    if network is not None and network.search:
        task = searched(task, network.budget, setting, training, validation, chosen, out, workers, screen)
    _run(task, setting, training, validation, chosen, out, workers, screen, wish.scenes)


def _run(
    task: Task, source: Setting | Perturbed, training: Scenes, validation: Scenes, chosen: Recipe, out: pathlib.Path,
    workers: int, screen: Screen, said: str,
) -> None:  # fmt: skip
    numbers, metric = task.numbers(), task.metric_name
    if isinstance(training, MeasuredScenes) and chosen.augmentation is not None:
        screen.say("recorded scenes are not moved for training: the camera never saw them moved")
        chosen = dataclasses.replace(chosen, augmentation=None)
    if not isinstance(training, MeasuredScenes):
        for note in training.notes:
            screen.say(f"  {note}")
    if shrunk := training.shrunk(task.picture_shape):
        screen.say(f"  {shrunk}")
    screen.say(f"{task.kind}: {numbers.trainable:,} trainable parameters")
    for line in task.sharing_notes():
        screen.say(f"  {line}")
    screen.say(f"scenes: {len(training):,} of {training.name}; checkpoint: {out}")
    with screen.training(task.kind, metric) as watch:
        result = train(task, source, training, validation, chosen, out, workers, watch)
    best, seconds = result.best, result.history[-1].seconds
    screen.say(
        f"best epoch {best.epoch + 1} of {len(result.history)}: {HEADS[metric]} {shown(metric, best.validation)} "
        f"on {len(validation):,} validation scenes; {seconds:.0f} s"
    )
    has_place = said.partition(":")[0] in pairs.PLACES
    again = ["lensless", "evaluate", str(out), *(["--scenes", said] if has_place else [])]
    screen.say(f"next: {shlex.join(again)}")
    screen.result(
        {
            "checkpoint": str(out), "task": task.kind, "metric": metric, "validation": best.validation,
            "epoch": best.epoch + 1, "seconds": seconds, "numbers": dataclasses.asdict(numbers),
        }
    )  # fmt: skip
