"""What a rig can see."""

import pathlib

from lensless.app import pages
from lensless.app.load import open_device
from lensless.app.rig import open_rig
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.app.text_file import write


def inspect(
    rig: str, frames: int | None, rays: int | None, page: pathlib.Path | None, device: str, screen: Screen
) -> None:
    """Singular values of a rig's forward model and its modes above noise: on the screen, as JSON, and as a page."""
    opened = open_rig(rig, str(open_device(device)), rays)
    with screen.working(f"forward model of {rig}"):
        setting = Setting.of(opened, frames)
        found = pages.inspect(setting)
    model, spec = opened.forward_model, opened.spec
    values = model.singular_values().cpu().numpy()
    screen.table(f"\n{spec.id}: what it can see", ["", ""], _rows(setting, found, values))
    screen.say("A mode counts where a scene of independent pixels (0.3 of white rms) exceeds the noise at half light.")
    if sampled := pages.sampling(setting):
        screen.say(sampled)
    if page is not None:
        write(page, pages.inspection_page(setting))
        screen.say(f"look at it: {page.resolve()}")
    screen.result(
        {
            "rig": spec.id, "fingerprint": spec.fingerprint, "frames": setting.frames,
            "sampling_error": model.sampling_error, "unknowns": found["unknowns"],
            "modes_1_frame": found["modes_1_frame"], "modes": found["modes"], "singular_values": values.tolist(),
            "signal_to_noise_1_frame": found["signal_to_noise"].tolist(),
        }
    )  # fmt: skip


def _rows(setting: Setting, found: dict, values) -> list[list[str]]:
    spec, error = setting.rig.spec, setting.rig.forward_model.sampling_error
    scene, sensor = spec.scene, spec.sensor
    ranks = [rank for rank in (2, 10, 50, 128, len(values)) if rank <= len(values)]
    modes = [(1, found["modes_1_frame"]), (setting.frames, found["modes"])]
    return [
        ["scene", f"{scene.shape[0]} x {scene.shape[1]} pixels, {scene.distance_mm:g} mm away"],
        ["sensor", f"{sensor.shape[0]} x {sensor.shape[1]} pixels, {sensor.bit_depth} bits, {sensor.serial}"],
        ["sampling error", f"{error:.1%} of the matrix (rays)" if error else "none: closed form"],
        *([f"singular value {rank}", f"{values[rank - 1] / values[0]:.2e} of the largest"] for rank in ranks),
        *(
            [f"modes above noise, {frames} frame(s)", f"{count} of {found['unknowns']:,}"]
            for frames, count in dict.fromkeys(modes)
        ),
    ]
