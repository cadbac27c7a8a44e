"""The camera `simulated:RIG?scenes=NAME&split=SPLIT&seed=N&count=N&rays=N`: a rig before one scene after another."""

import urllib.parse
from collections.abc import Iterator

import torch

from hardware import SimulatedCamera
from hardware.errors import ConfigurationError
from lensless.app.rig import Rig, open_rig
from lensless.data.scenes import Scenes, load_scenes

DEFAULTS = {"scenes": "glyphs", "split": "test", "seed": "0", "count": "500", "rays": ""}


def open_simulated(place: str) -> SimulatedCamera:
    """The camera of a simulated rig before a display; each scene stays for as many frames as the rig averages.

    Args:
        place: what stands behind `simulated:`.

    Raises:
        ConfigurationError: no such rig, or an unknown option.
    """
    name, _, query = place.partition("?")
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    unknown = options.keys() - DEFAULTS.keys()
    if unknown:
        raise ConfigurationError(
            f"camera address 'simulated:{place}': unknown option {sorted(unknown)[0]!r}; known: {', '.join(DEFAULTS)}"
        )
    options = DEFAULTS | options
    for key in ("seed", "count", "rays"):
        if options[key] and not options[key].isdecimal():
            raise ConfigurationError(
                f"camera address 'simulated:{place}': {key} = {options[key]!r}; expected a whole number"
            )
    rig = open_rig(name, rays=int(options["rays"]) if options["rays"] else None)
    seed = int(options["seed"])
    scenes = load_scenes(options["scenes"], options["split"], seed, int(options["count"]))
    light = light_of_scenes(rig, scenes, rig.spec.sensor.frames)
    return rig.camera(lambda: next(light), seed)


def light_of_scenes(rig: Rig, scenes: Scenes, frames: int) -> Iterator[torch.Tensor]:
    """Illuminance on the sensor, (H', W'), `frames` times for each scene; then from the first scene again."""
    dark, model = rig.spec.scene.dark_level, rig.forward_model
    pictures = scenes.fit(rig.spec.scene.shape)
    while True:
        for picture in pictures:
            radiance = dark + (1 - dark) * picture.float().div(255).to(rig.device)
            light = model.A(radiance[None])[0, 0]
            for _ in range(frames):
                yield light
