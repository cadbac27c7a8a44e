"""What a rig can see: computed here, from its forward model, its noise and its scenes."""

import dataclasses
import math
import pathlib
import shlex

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.app import inspection_page, pages
from lensless.app.linear_estimates import Estimates, Noise, linear_estimates
from lensless.app.load import open_device
from lensless.app.nearby import Perturbation, perturbations
from lensless.app.rig import Rig, open_rig
from lensless.app.rig_file import file_name
from lensless.app.screen import Screen
from lensless.app.setting import Setting, statistics_of
from lensless.app.text_file import check_place, write
from lensless.data.scenes import Scenes, load_scenes
from lensless.optics import analysis

FINE_RAYS, FINE_PIXELS, FINER = 2**20, 33, 8  # points near the axis, so many times closer than the scene's pixels


@dataclasses.dataclass(frozen=True)
class Field:
    """Maps over the scene, (H, W) float64, and the correlation of point-spread functions close to the axis.

    `width_px` and `crosstalk` are of the resolution matrix for the frames of the setting, `half_px` is where the
    correlation falls to 1/2; `fine_deg` and `fine_correlation` are None for a bare sensor.
    """

    width_px: Tensor
    crosstalk: Tensor
    half_px: Tensor
    fine_deg: Tensor | None
    fine_correlation: Tensor | None


@dataclasses.dataclass(frozen=True)
class Inspection:
    """All that is known of a rig; `scene_bits` and `white_bits` per number of frames."""

    setting: Setting
    scenes: str
    seen: pages.Seen
    white_bits: dict[int, float]
    scene_bits: dict[int, float]
    field: Field
    perturbations: list[Perturbation]
    estimates: Estimates


def inspect(
    rig: str, scenes: str, frames: int | None, rays: int | None, page: pathlib.Path | None, device: str,
    screen: Screen, data: pathlib.Path | None = None, download: bool = False,
) -> None:  # fmt: skip
    """What a rig can see: on the screen, as JSON, and as a page (`inspect-RIG.html` unless told otherwise)."""
    opened = open_rig(rig, str(open_device(device)), rays)
    if opened.spec.scene.channels > 1:
        raise ConfigurationError(
            f"rig {opened.id!r} has a display in colours, and inspect looks at one of them so far; copy its file, with "
            "scene.wavelength_nm in place of scene.colours_nm and without sensor.mosaic"
        )
    options = {"--scenes": scenes, "--frames": frames, "--rays": rays}
    given = [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    command = " ".join(["lensless inspect", shlex.quote(rig), *given])
    page = page or pathlib.Path(f"inspect-{file_name(opened.id)}.html")
    check_place(page, "name another file with --page")
    training = load_scenes(scenes, "train", 0, None, data, download)
    test = load_scenes(scenes, "test", 0, None, data)
    with screen.working(f"forward model of {rig}"):
        setting = Setting.of(opened, frames)
        opened.forward_model  # noqa: B018 (it is computed here, and kept)
    found = look(setting, training, test, screen)
    screen.table(f"\n{opened.id}: what it can see", ["", ""], inspection_page.rows(found))
    screen.say("A mode counts where a scene of independent pixels (0.3 of white rms) exceeds the noise at half light.")
    if sampled := pages.sampling(setting):
        screen.say(sampled)
    if beware := pages.saturation(setting, found.estimates.saturated):
        screen.say(f"beware: {beware}")
    write(page, inspection_page.page(found, command))
    screen.say(f"look at it: {page.resolve()}")
    screen.result(inspection_page.facts(found))


def look(setting: Setting, training: Scenes, test: Scenes, screen: Screen) -> Inspection:
    """Everything there is to say of a rig; moments of the scenes are those of `training`."""
    model = setting.rig.forward_model
    pictures = statistics_of(training, model.picture_shape, setting.device)
    dark = setting.rig.spec.scene.dark_level
    with screen.working("what stands above the noise"):
        gram = model.gram()
        J = analysis.information(model, setting.sensor.variance(pages.half_light(setting), 1))
        seen = pages.inspect(setting, J, gram)
        by_scene = analysis.scene_signal_to_noise((1 - dark) ** 2 * J, pictures.covariance)
        counts = list(seen.modes)
    with screen.working("how finely"):
        field = _field(setting, J, gram)
    noise = Noise.of(setting, pictures)
    with screen.working(f"linear estimates of {training.name.partition('/')[0]}"):
        estimates = linear_estimates(setting, pictures, test, noise, gram)
    moved = perturbations(setting, pictures, noise, screen.working)
    return Inspection(
        setting, training.name.partition("/")[0], seen,
        {n: analysis.information_bits(seen.signal_to_noise * n**0.5) for n in counts},
        {n: analysis.information_bits(by_scene * n**0.5) for n in counts},
        field, moved, estimates,
    )  # fmt: skip


def _field(setting: Setting, J: Tensor, gram: Tensor) -> Field:
    model = setting.rig.forward_model
    R = analysis.resolution_matrix(J * setting.frames)
    correlation = analysis.psf_correlation(model, gram)
    width, crosstalk = (part.reshape(model.scene_shape).cpu() for part in (analysis.width(R), analysis.crosstalk(R)))
    half = analysis.half_distance(correlation, model.scene_shape).cpu()
    return Field(width, crosstalk, half, *(_near_axis(setting.rig) if setting.rig.spec.cannula else (None, None)))


def _near_axis(rig: Rig) -> tuple[Tensor, Tensor]:
    """Angles between two points in a row close to the axis (degrees), and the mean correlation of what they make."""
    scene = rig.spec.scene
    tangent = math.tan(math.radians(scene.fov_deg / 2)) / scene.shape[1] / FINER  # of half a fine pixel
    fov_deg = 2 * math.degrees(math.atan(tangent * FINE_PIXELS))
    strip = dataclasses.replace(scene, shape=(1, FINE_PIXELS), fov_deg=fov_deg)
    fine = Rig(dataclasses.replace(rig.spec, scene=strip), str(rig.device), min(rig.rays, FINE_RAYS)).forward_model
    correlation = analysis.psf_correlation(fine).cpu()
    apart = torch.arange(FINE_PIXELS // 2 + 1, dtype=torch.float64)
    means = [correlation.diagonal(int(distance)).mean() for distance in apart]
    return torch.rad2deg(torch.atan(2 * tangent * apart)), torch.stack(means)
