"""The picture of what a speck does: an inverted pinhole, whose shadow shows the scene upside down."""

import pathlib

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lensless.app.bench.specks_rigs import RIG, Cell
from lensless.app.rig import Rig
from lensless.app.rig_file import read_spec
from lensless.evaluate.drawing import STYLE
from lensless.optics.bare_sensor import speck_centres_mm

HALF_WINDOW_UM = 130.0


def draw(picture: Tensor, device: str, path: pathlib.Path) -> None:
    """Write the picture (PNG): a scene (H, W) in [0, 1], its raw frame, and the shadow of one speck seen closely."""
    spec = read_spec(RIG)
    x = spec.scene.dark_level + (1 - spec.scene.dark_level) * picture[None, None].to(device)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 7.4), layout="constrained")
        axes = figure.subplots(3, 4)
        frame = _frame(Cell(frames=1).spec(), x, device)
        _show(axes[0, 0], picture.cpu().numpy(), "the scene")
        _show(axes[0, 1], frame, "raw frame: five specks")
        _show(axes[0, 2], _window(frame, spec), "one of them, one frame")
        many = sum(_frame(Cell().spec(), x, device, seed) for seed in range(100)) / 100
        _show(axes[0, 3], _window(many, spec), "the same, 100 frames")
        for row, waves in ((1, True), (2, False)):
            for at, radius_um in zip(axes[row], (5.0, 10.0, 20.0, 40.0), strict=True):
                light = Rig(Cell(radius_um=radius_um, waves=waves).spec(), device).forward_model.A(x)[0, 0]
                edge = "waves" if waves else "a sharp edge"
                _show(at, _window(light.cpu().numpy(), spec), f"radius {radius_um:g} um, {edge}")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def _frame(spec, x: Tensor, device: str, seed: int = 0) -> np.ndarray:
    """Digital numbers of one exposure, less the fixed pattern that a calibration would take away."""
    rig = Rig(spec, device)
    noise = rig.noise()
    light = rig.forward_model.A(x)[0, 0].clamp_min(0)
    exposed = noise.expose(light, torch.Generator(device).manual_seed(seed))
    return (exposed - noise.mean_dn(torch.zeros_like(light))).div(noise.response).cpu().numpy()


def _window(frame: np.ndarray, spec) -> np.ndarray:
    """The surroundings of the first speck's shadow that lies well inside the sensor."""
    pitch_um, glass = spec.sensor.pitch_um, spec.cover_glass
    height, width = spec.sensor.shape
    centres = speck_centres_mm(glass.specks, (height * pitch_um * 1e-3, width * pitch_um * 1e-3), glass.seed)
    half = round(HALF_WINDOW_UM / pitch_um)
    for y_mm, x_mm in centres:
        row, column = round(y_mm * 1e3 / pitch_um + height / 2), round(x_mm * 1e3 / pitch_um + width / 2)
        if half <= row <= height - half and half <= column <= width - half:
            return frame[row - half : row + half, column - half : column + half]
    raise ValueError("no speck lies well inside the sensor")


def _show(axes, picture: np.ndarray, title: str) -> None:
    low, high = np.percentile(picture, [0.1, 99.9])
    axes.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
