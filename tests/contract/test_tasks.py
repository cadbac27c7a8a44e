"""One battery that every task passes. A new task adds one line to `tiny.TASKS`."""

import dataclasses
import json

import numpy as np
import pytest
import skimage.metrics
import tiny
import torch

from hardware.errors import ConfigurationError
from lensless.nn.unet import UNet
from lensless.tasks import Classify, ClassifyReconstruction, PictureTask, Reconstruct, ReconstructLearned, build
from lensless.tasks.classify import MOST_NUMBERS
from lensless.train import fabric_on

TASKS = {**tiny.TASKS, "classify_picture": tiny.classify_picture}
SHAPES = (16, 16), (12, 12)  # scene, sensor: smaller, and no pixel would reach the rim of the deepest kernels
SCENES = tiny.scenes(shape=SHAPES[0])
PICTURES = SCENES.pictures.float() / 255


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param](*SHAPES)


def measurements(task) -> torch.Tensor:
    """What a calibrated camera sees of the scenes, or the sharp picture for the task that takes it."""
    if task.kind == "classify-picture":
        return PICTURES
    setting = tiny.setting(*SHAPES) if task.colours == 1 else tiny.colour_setting(*SHAPES)
    return setting.simulator()(SCENES.fit((task.colours, *SHAPES[0])) / 255, torch.Generator().manual_seed(0))


def pictures(task) -> torch.Tensor:
    return SCENES.fit(task.picture_shape).float() / 255


def test_unets_see_pictures_about_the_level_of_the_training_scenes_in_units_of_their_spread(task):
    if isinstance(task, ClassifyReconstruction):
        task = task.reconstruct
    stages = [module for module in task.modules() if isinstance(module, UNet)]
    assert stages or not isinstance(task, Reconstruct | ReconstructLearned)
    shown = pictures(task)
    for stage in stages:
        assert float(stage.level) == pytest.approx(float(shown.mean()), rel=1e-4)
        assert float(stage.spread) == pytest.approx(
            float(shown.std(correction=0)), rel=0.02
        )  # the sample's is a little more


def batch(task) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of the network and targets."""
    return task.prepare(measurements(task)).detach(), task.target(pictures(task), SCENES.labels)


def descend(task, steps: int, rate: float = 3e-3) -> list[float]:
    """The loss after each step of gradient descent on one batch, without weight decay: that moves every number."""
    inputs, target = batch(task)
    optimizer = torch.optim.Adam(task.parameter_groups(), lr=rate)
    task.train()
    losses = []
    for _ in range(steps):
        loss = task.training_loss(task.network, inputs, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_its_description_makes_it_again(task):
    described = json.loads(json.dumps(task.config()))
    again = build(described)
    assert type(again) is type(task) and again.config() == task.config() and again.numbers() == task.numbers()
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in task.state_dict().items()
    }


def test_its_state_holds_all_that_decides_its_output(task):
    descend(task, 2)
    again = build(task.config())
    again.load_state_dict(task.state_dict())
    again.check()
    y = measurements(task)
    with torch.no_grad():
        assert torch.equal(again.eval()(y), task.eval()(y))


def test_its_output_has_the_shape_of_what_it_claims(task):
    y = measurements(task)
    count = len(y)
    with torch.no_grad():
        output = task.eval()(y)
    assert output.shape == (count, *(task.picture_shape if isinstance(task, PictureTask) else [len(tiny.CLASSES)]))
    assert output.dtype == torch.float32 and bool(output.isfinite().all())
    target = task.target(pictures(task), SCENES.labels)
    assert task.loss(output, target).shape == () and task.metric(output, target).shape == (count,)


def test_pre_processing_has_nothing_to_train(task):
    y = measurements(task)
    before = task.prepare(y)
    assert not before.requires_grad
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.normal_()
    assert torch.equal(task.prepare(y), before)


def test_its_trainable_numbers_are_those_that_descent_changes(task):
    before = {name: value.clone() for name, value in task.state_dict().items()}
    spreads = {f"network.{name}" for name, _ in task.network.named_buffers() if "running" in name or "tracked" in name}
    descend(task, 5)
    changed = {name: int((value != before[name]).sum()) for name, value in task.state_dict().items()}
    trained = {f"network.{name}" for name, _ in task.network.named_parameters()}
    named = [id(parameter) for parameter in task.network.parameters()]
    assert named == [id(parameter) for group in task.parameter_groups() for parameter in group["params"]]
    assert sum(changed[name] for name in trained) == task.numbers().trainable
    assert {name for name, count in changed.items() if count} <= trained | spreads


def test_its_numbers_are_all_that_it_stores(task):
    assert sum(dataclasses.astuple(task.numbers())) == sum(value.numel() for value in task.state_dict().values())


def test_loss_falls_on_one_batch(task):
    losses = descend(task, 60 if task.kind != "reconstruct-cycle" else 15, rate=1e-2)
    assert sum(losses[-5:]) / 5 < losses[0] - 0.001 * abs(losses[0])


def test_its_metric_is_higher_where_it_is_right(task):
    target = task.target(pictures(task), SCENES.labels)
    right = target if isinstance(task, PictureTask) else torch.nn.functional.one_hot(SCENES.labels, 4).float()
    wrong = 1 - right
    assert bool((task.metric(right, target) > task.metric(wrong, target)).all())
    assert task.loss(right, target) < task.loss(wrong, target)


def test_psnr_is_that_of_scikit_image():
    draw = np.random.default_rng(0)
    pictures = draw.random((5, 1, 8, 8)).astype(np.float32)
    estimates = (pictures + 0.3 * draw.standard_normal(pictures.shape)).astype(np.float32)
    found = tiny.reconstruct().metric(torch.from_numpy(estimates), torch.from_numpy(pictures))
    expected = [
        skimage.metrics.peak_signal_noise_ratio(picture, estimate.clip(0, 1), data_range=1)
        for picture, estimate in zip(pictures, estimates, strict=True)
    ]
    assert found.numpy() == pytest.approx(expected, rel=1e-5)


def test_accuracy_is_the_share_of_right_labels():
    logits = torch.tensor([[0.0, 2, 1, 0], [5, 4, 3, 2], [0, 0, 0, 1], [-3, -1, -2, -9]])
    found = tiny.classify().metric(logits, torch.tensor([1, 1, 3, 2]))
    assert found.tolist() == [1, 0, 1, 0]


def test_the_loss_of_a_reconstruction_is_its_psnr_in_other_units():
    """Mean log of the squared error: -10 / ln 10 times it is the mean PSNR, as long as nothing is clamped."""
    draw = torch.Generator().manual_seed(0)
    pictures = 0.3 + 0.4 * torch.rand(6, 1, 8, 8, generator=draw)
    estimates = pictures + 0.1 * torch.rand(6, 1, 8, 8, generator=draw)
    task = tiny.reconstruct()
    mean_db = task.metric(estimates, pictures).mean()
    assert float(task.loss(estimates, pictures)) * -10 / np.log(10) == pytest.approx(float(mean_db), abs=0.05)


def test_an_untrained_reconstruction_is_one_step_from_wiener_to_the_data():
    task = tiny.reconstruct(*SHAPES)
    estimate = task.prepare(measurements(task))
    with torch.no_grad():
        consistency = task.network.consistency
        expected = consistency(estimate, consistency.measured(estimate))
        assert torch.allclose(task(measurements(task)), expected, atol=1e-6)


def test_a_private_classifier_takes_at_most_128_numbers():
    arguments = {"scene_shape": (16, 16), "sensor_shape": (20, 20), "classes": ("a", "b"), "reads": 300}
    assert Classify(**arguments, count=MOST_NUMBERS).numbers().from_calibration == 128 * 300 + 300
    for count in (MOST_NUMBERS + 1, 0, -1, 12.5):
        with pytest.raises(ConfigurationError, match=r"numbers per frame = .* from 1 to 128") as caught:
            Classify(**arguments, count=count)
        assert caught.value.exit_code == 2
    with pytest.raises(ConfigurationError, match=r"pixels that are read = 300; .* 1 to 299"):
        Classify(**{**arguments, "sensor_shape": (13, 23)}, count=20)


def tensors_in(module: torch.nn.Module, y: torch.Tensor) -> list[torch.Tensor]:
    """Everything that goes into, or comes out of, any module in a forward pass, and everything that it stores."""
    seen = [*module.state_dict().values()]

    def note(_, given, result) -> None:
        seen.extend(one for one in (*given, result) if isinstance(one, torch.Tensor))

    hooks = [part.register_forward_hook(note) for part in module.modules()]
    with torch.no_grad():
        module.eval()(y)
    for hook in hooks:
        hook.remove()
    return seen


def is_scene(tensor: torch.Tensor, shape: tuple[int, int], batch_size: int) -> bool:
    pixels = shape[0] * shape[1]
    return pixels in tensor.shape or tensor.shape[-2:] == shape or tensor.numel() in (pixels, batch_size * pixels)


def test_no_tensor_of_a_private_classifier_lives_in_scene_coordinates():
    """The scene's 12 x 16 = 192 pixels appear nowhere; in a reconstruction, by the same test, they do."""
    scene, sensor, count = (12, 16), (10, 13), 5
    y = torch.rand(count, 1, *sensor)
    private = tensors_in(tiny.classify(scene, sensor), y)
    assert len(private) > 20 and not any(is_scene(tensor, scene, count) for tensor in private)
    numbers = [tensor for tensor in private if tensor.ndim > 1 and tensor.shape[0] == count and tensor is not y]
    assert max(tensor[0].numel() for tensor in numbers if tensor.ndim == 2) <= MOST_NUMBERS
    assert any(is_scene(tensor, scene, count) for tensor in tensors_in(tiny.reconstruct(scene, sensor), y))


def test_a_frozen_reconstruction_stays_as_it_is():
    task = tiny.classify_reconstruction()
    before = {name: value.clone() for name, value in task.reconstruct.state_dict().items()}
    task.train()
    assert not task.reconstruct.training and task.network.training
    assert not any(parameter.requires_grad for parameter in task.reconstruct.parameters())
    descend(task, 3)
    assert all(torch.equal(value, before[name]) for name, value in task.reconstruct.state_dict().items())
    with pytest.raises(ConfigurationError, match="expected 'reconstruct'"):
        type(task)(tiny.classify(), tiny.CLASSES)


@pytest.mark.parametrize("shapes", [((9, 8), (12, 12)), ((8, 10), (12, 12)), ((8, 8), (0, 12)), ((8,), (12, 12))])
def test_a_reconstruction_refuses_shapes_that_its_network_cannot_take(shapes):
    with pytest.raises(ConfigurationError, match=r"(scene|sensor)_shape = "):
        Reconstruct(*shapes)


def test_numbers_that_are_not_finite_are_found(task):
    task.check()
    with torch.no_grad():
        next(task.network.parameters())[0] = torch.nan
    with pytest.raises(ConfigurationError, match="not finite"):
        task.check()


def test_bfloat16_inside_costs_little_and_stays_inside(task):
    y = measurements(task)
    with torch.no_grad():
        exact = task.eval()(y)
        with fabric_on(torch.device("cpu"), "bf16-mixed").autocast():
            rounded, prepared = task(y), task.prepare(y)
    # bfloat16 has 8 bits; an untrained network may give large numbers, and normalised planes of 3 x 3 pixels differ.
    off = (exact - rounded.float()).abs()
    if task.kind == "reconstruct-cycle":
        assert off.mean() <= 0.05
    else:
        assert off.max() <= 0.02 * exact.abs().max().clamp_min(1)
    if isinstance(task, PictureTask):  # what goes on to the metric, or to Wiener's estimate, is not rounded to 8 bits
        assert rounded.dtype == prepared.dtype == torch.float32
