"""The camera `simulated:RIG?scenes=NAME&split=SPLIT&seed=N&count=N&rays=N&frames=N`: a rig before scene after scene.

`covered=1` covers its sensor instead.
`simulated:RIG?display=FILE` looks at what another process shows there, and `fps=N` goes on by itself as a live camera.
"""

import re
import urllib.parse
from collections.abc import Iterator

import torch

from hardware import SimulatedCamera
from hardware.display import shown_in
from hardware.errors import ConfigurationError
from hardware.surroundings import surroundings_of
from lensless.app.rig import MOST_RAYS, Rig, open_rig
from lensless.data.scenes import Scenes, load_scenes

DEFAULTS = {
    "scenes": "glyphs", "split": "test", "seed": "0", "count": "", "rays": "", "frames": "", "display": "", "fps": "",
    "covered": "",
}  # fmt: skip
OF_SCENES = ("scenes", "split", "count", "frames")  # they say which scenes are shown
_RANGES = {
    "seed": (0, 2**63 - 1), "count": (1, 100_000), "rays": (2, MOST_RAYS), "frames": (1, 100_000), "fps": (1, 10_000),
    "covered": (0, 1),
}  # fmt: skip
MOST_SCENES = 500  # where the address names no count


def open_simulated(place: str) -> SimulatedCamera:
    """The camera of a simulated rig before a display.

    Args:
        place: what stands behind `simulated:`. Each scene stays for `frames` frames, by default as many as the rig
            averages; `count` scenes are shown in turn, by default up to 500.

    Raises:
        ConfigurationError: no such rig, or an unknown option.
    """
    name, options = options_of(place)
    rig, seed = rig_of(name, options), int(options["seed"] or 0)
    fps = float(options["fps"]) if options["fps"] else None
    if is_covered(options):
        refuse_scenes(place, options, "a covered sensor sees none")
        if options["display"]:
            raise ConfigurationError(f"camera address 'simulated:{place}': covered, it sees no display; leave one out")
        darkness = torch.zeros(rig.spec.sensor.shape)
        return rig.camera(lambda: darkness, seed, fps)
    if file := options["display"]:
        refuse_scenes(place, options, f"scenes are what '{file}' shows")
        shape = rig.spec.scene.planes_shape
        shown_in(file, shape)  # said now, and not with the first frame
        rig.forward_model  # noqa: B018 (traced now: a live camera that gives nothing for seconds is taken for lost)
        return rig.camera_at(lambda start_ns, stop_ns: shown_in(file, shape), seed, fps, lambda: surroundings_of(file))
    frames = int(options["frames"] or rig.spec.sensor.frames)
    light = light_of_scenes(rig, _scenes(options, seed), frames)
    rig.forward_model  # noqa: B018 (as above)
    return rig.camera(lambda: next(light), seed, fps)


def rig_of(name: str, options: dict[str, str]) -> Rig:
    """The rig of an address."""
    return open_rig(name, rays=int(options["rays"]) if options["rays"] else None)


def is_covered(options: dict[str, str]) -> bool:
    """Whether an address puts the cap on."""
    return bool(int(options["covered"] or 0))


def refuse_scenes(place: str, options: dict[str, str], why: str) -> None:
    """Raises ConfigurationError if the options of an address say which scenes are shown."""
    for name in OF_SCENES:
        if options[name] != DEFAULTS[name]:
            raise ConfigurationError(f"camera address 'simulated:{place}': {why}; leave {name}={options[name]} out")


def options_of(place: str) -> tuple[str, dict[str, str]]:
    """The rig and the options of an address, all of them; those that it leaves out are the defaults.

    Raises:
        ConfigurationError: an unknown option, or one that is no number.
    """
    name, _, query = place.partition("?")
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    if not name:
        raise ConfigurationError(f"camera address 'simulated:{place}' names no rig; expected e.g. simulated:cannula-v1")
    unknown = options.keys() - DEFAULTS.keys()
    if unknown:
        raise ConfigurationError(
            f"camera address 'simulated:{place}': unknown option {sorted(unknown)[0]!r}; known: {', '.join(DEFAULTS)}"
        )
    options = DEFAULTS | options
    for key, (least, most) in _RANGES.items():
        if options[key] and not (re.fullmatch(r"\d{1,19}", options[key]) and least <= int(options[key]) <= most):
            raise ConfigurationError(
                f"camera address 'simulated:{place}': {key} = {options[key]!r}; "
                f"expected a whole number, {least} to {most}"
            )
    return name, options


def _scenes(options: dict[str, str], seed: int) -> Scenes:
    if options["count"] or options["scenes"] == "glyphs":  # glyphs are drawn: only as many as are shown
        return load_scenes(options["scenes"], options["split"], seed, int(options["count"] or MOST_SCENES))
    scenes = load_scenes(options["scenes"], options["split"], seed)
    shown = min(MOST_SCENES, len(scenes))
    return scenes.subset([at * len(scenes) // shown for at in range(shown)])


def light_of_scenes(rig: Rig, scenes: Scenes, frames: int) -> Iterator[torch.Tensor]:
    """Illuminance on the sensor, (H', W'), `frames` times for each scene; then from the first scene again."""
    dark, model = rig.spec.scene.dark_level, rig.forward_model
    pictures = scenes.fit(rig.spec.scene.picture_shape)
    while True:
        for picture in pictures:
            radiance = dark + (1 - dark) * picture.float().div(255).to(rig.device)
            light = model.A(radiance[None])[0, 0]
            for _ in range(frames):
                yield light
