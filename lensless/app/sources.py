"""Measurements from wherever frames come from: recordings, cameras, picture files."""

import dataclasses
import itertools
import math
import os
import pathlib
import time
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from calibration import Calibration
from hardware import CameraSettings, Frame, FrameMeta, Recording, open_camera
from hardware.errors import CalibrationMismatch, ConfigurationError, FrameSaturated, InputError
from hardware.recording.schema import NO_SCENE
from hardware.replay import SUFFIX, recordings_at
from lensless.app.rig_file import read_spec
from lensless.app.simulated import options_of
from lensless.data.collection_facts import channels_of, in_channels

_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
FRAME_FILES = (".npy", ".png", ".tif", ".tiff")
PIXEL_LIMIT = 64_000_000


@dataclasses.dataclass(frozen=True)
class Seen:
    """One measurement.

    `y` (1, 1, H', W'), white = 1; `label`, the name `truth` of its class and `scene` (C, h, w) uint8 where the source
    knows them, else -1 and None; `name` for people.
    """

    y: torch.Tensor
    name: str
    label: int = -1
    scene: np.ndarray | None = None
    truth: str | None = None


@dataclasses.dataclass(frozen=True)
class Refused:
    """A measurement that cannot be used, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class _Shot:
    frame: Frame
    name: str
    label: int = -1
    scene_key: int | None = None
    scene: np.ndarray | None = None
    truth: str | None = None


def measurements(
    source: str,
    calibration: Calibration,
    frames: int,
    count: int | None = None,
    *,
    scenes: bool = False,
    rays: int | None = None,
) -> Iterator[Seen | Refused]:
    """Calibrated measurements, each the mean of `frames` frames of one scene; a saturated one is refused alone.

    Args:
        source: a recording (.h5), a folder of them, a raw frame in a file, or a camera address.
        calibration: of the camera; it refuses frames of another.
        frames: averaged into each measurement.
        count: how many measurements at most; of a camera, which never ends, 1 by default.
        scenes: whether the pictures that a recording holds are read, too.
        rays: of a simulated camera whose address says none; with others its rig would be a slightly different one.

    Raises:
        InputError: nothing there, not a frame, or frames left over that make no whole measurement.
        CalibrationMismatch: frames of another camera, or with other settings.
    """
    shots = _shots(source, calibration, frames, scenes, rays)
    seen = _averaged(shots, calibration, frames, source)
    endless = not os.path.exists(source)
    return itertools.islice(seen, count or (1 if endless else None))


def rigs_of(source: str) -> list[tuple[str, str]]:
    """Id and fingerprint of every rig that the source names: a simulated camera its own, recordings theirs."""
    scheme, _, place = source.partition(":")
    if scheme == "simulated":
        spec = read_spec(options_of(place)[0])
        return [(spec.id, spec.fingerprint)]
    rigs = [facts.get("rig") for facts in provenances(source)]
    return [
        (str(rig["id"]), str(rig["fingerprint"]))
        for rig in rigs
        if isinstance(rig, dict) and {"id", "fingerprint"} <= rig.keys()
    ]


def provenances(source: str) -> list[dict]:
    """What each recording that the source names says of how it was made; of other sources nothing."""
    scheme, _, place = source.partition(":")
    path = pathlib.Path(place if scheme == "replay" else source)
    if not os.path.exists(path) or (path.is_file() and path.suffix != SUFFIX):  # false for what can be no name, too
        return []
    said = []
    for file in recordings_at(path):
        with Recording.open(file) as recording:
            said.append(recording.provenance)
    return said


def _shots(source: str, calibration: Calibration, frames: int, scenes: bool, rays: int | None) -> Iterable[_Shot]:
    path = pathlib.Path(source)
    if not os.path.exists(path) and source.partition(":")[0] in ("replay", "simulated"):  # replay:FILE.h5, too
        return _live(source, calibration, frames, rays)
    if os.path.isdir(path) or path.suffix == SUFFIX:
        return _recorded(path, scenes)
    if path.suffix.lower() in FRAME_FILES:
        return [_Shot(read_frame(path, calibration), path.name)]
    if os.path.exists(path):
        kinds = ", ".join((SUFFIX, *FRAME_FILES))
        raise InputError(f"'{path}' is no frame by its name; expected a recording or a raw frame ({kinds})")
    if ":" not in source:
        raise InputError(
            f"'{source}' does not exist; expected a recording, a raw frame, or a camera address like replay:FOLDER"
        )
    return _live(source, calibration, frames, rays)


def _recorded(path: pathlib.Path, scenes: bool) -> Iterator[_Shot]:
    for file in recordings_at(path):
        with Recording.open(file) as recording:
            named = recording.provenance.get("classes")
            classes = named if isinstance(named, list) else []
            ids = recording.scene_ids
            channels = channels_of(recording.provenance, str(file))
            looks = (ids == NO_SCENE) & (ids >= 0).any()  # at black and white, between scenes
            for index, label in enumerate(recording.labels.tolist()):
                if looks[index]:
                    continue
                scene = in_channels(recording.scene(index), channels) if scenes and recording.has_scenes else None
                truth = str(classes[label]) if 0 <= label < len(classes) else None
                yield _Shot(recording[index], f"{file.name}#{index}", label, recording.scene_key(index), scene, truth)


def _live(address: str, calibration: Calibration, frames: int, rays: int | None) -> Iterator[_Shot]:
    with open_camera(completed(address, frames, rays)) as camera:
        if (wanted := settings_for(address, calibration)) is not None:
            camera.configure(wanted)
        for frame in camera.frames():
            yield _Shot(frame, f"frame {frame.meta.sequence}")


def settings_for(address: str, calibration: Calibration) -> CameraSettings | None:
    """What a camera is asked for, so that its frames fit the calibration; None: a recording cannot be exposed again."""
    if address.startswith("replay:"):
        return None
    return CameraSettings(exposure_s=calibration.exposure_s[0], gain_db=calibration.gain_db)


def completed(address: str, frames: int, rays: int | None) -> str:
    """What the address of a simulated camera leaves out: each scene is shown for one whole measurement, through the
    matrix that the checkpoint knows.
    """
    scheme, _, place = address.partition(":")
    if scheme != "simulated":
        return address
    asked = options_of(place)[1]
    if asked["frames"] and int(asked["frames"]) % frames:
        raise ConfigurationError(
            f"camera address {address!r}: frames = {asked['frames']} of each scene, but the checkpoint averages "
            f"{frames}; leave that option out, or ask for a multiple"
        )
    missing = {name: value for name, value in (("frames", frames), ("rays", rays)) if value and not asked[name]}
    options = "&".join(f"{name}={value}" for name, value in missing.items())
    return address + ("&" if "?" in address else "?") * bool(options) + options


def _averaged(shots: Iterable[_Shot], calibration: Calibration, frames: int, source: str) -> Iterator[Seen | Refused]:
    shots = iter(shots)
    while group := list(itertools.islice(shots, frames)):
        first = group[0]
        if len(group) < frames:
            raise InputError(
                f"'{source}': {len(group)} frames left over, a measurement takes {frames}; record whole groups, "
                "or average fewer: --frames with a solver, or a checkpoint that was trained so"
            )
        for other in group[1:]:
            if (other.label, other.scene_key) != (first.label, first.scene_key):
                raise CalibrationMismatch(
                    f"'{source}': {first.name} and {other.name} show different scenes, and a measurement averages "
                    f"{frames} frames of one; record {frames} frames of each scene, or average fewer"
                )
        try:
            total = sum(calibration.apply(shot.frame).y.astype(np.float64) for shot in group)
        except FrameSaturated as error:  # one scene that is too bright; the others are none the worse for it
            yield Refused(first.name, str(error))
            continue
        y = torch.from_numpy((total / frames).astype(np.float32))[None, None]
        yield Seen(y, first.name, first.label, first.scene, first.truth)


def read_frame(path: pathlib.Path, calibration: Calibration) -> Frame:
    """A raw frame from a file of numbers; the facts that the file cannot say are those of the calibration.

    Raises:
        InputError: missing, not a frame, of floating point or with colours.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would keep us waiting for ever
            raise ValueError("it is no plain file")
        pixels = _read_numbers(path) if path.suffix.lower() == ".npy" else _read_picture(path)
    except FileNotFoundError:
        raise InputError(f"'{path}' does not exist; expected a raw frame") from None
    except Exception as error:  # decoders raise nearly anything on damaged files; whatever it is, this file is at fault
        raise InputError(
            f"'{path}' cannot be read as a frame: {error}; expected unsigned numbers, (rows, columns)"
        ) from error
    if pixels.dtype.kind not in "ui" or pixels.ndim != 2:
        raise InputError(
            f"'{path}' holds {pixels.dtype} of shape {pixels.shape}; expected the unsigned digital numbers of the "
            "sensor, (rows, columns), as it gave them: not normalised, and not in colour; save one raw channel"
        )
    if pixels.size == 0 or pixels.min() < 0 or pixels.max() > 65_535:
        raise InputError(f"'{path}' holds no pixels, or values outside 0 .. 65535; expected digital numbers")
    settings = CameraSettings(exposure_s=calibration.exposure_s[0], gain_db=calibration.gain_db)
    meta = FrameMeta(
        sequence=0, t_host_ns=time.monotonic_ns(), exposure_s=settings.exposure_s, gain_db=settings.gain_db,
        bit_depth=calibration.bit_depth, black_level_dn=0, pixel_format=f"Mono{calibration.bit_depth}",
        camera_id=calibration.camera_id, settings_id=settings.id,
    )  # fmt: skip
    if pixels.dtype.itemsize == 1 and calibration.bit_depth > 8:
        shape = "" if pixels.shape == calibration.shape else f" of shape {pixels.shape}"
        expected = f" of shape {calibration.shape}" if shape else ""
        raise CalibrationMismatch(
            f"'{path}' holds 8-bit numbers{shape}, camera {calibration.camera_id!r} gives {calibration.bit_depth} "
            f"bits{expected}; "
            "save raw frames as 16-bit numbers, or use a checkpoint of the camera that took this one"
        )
    if not pixels.any():
        raise InputError(f"'{path}' holds 0 in every pixel, which no sensor gives; expected a raw frame")
    high = 2**calibration.bit_depth - 1
    if pixels.max() > high:
        raise InputError(
            f"'{path}': a pixel holds {pixels.max()}, the camera has {calibration.bit_depth} bits, at most {high}; "
            "save raw frames without scaling them, or use a checkpoint of the camera that took this one"
        )
    return Frame(pixels.astype(np.uint8 if calibration.bit_depth <= 8 else np.uint16), meta)


def _read_numbers(path: pathlib.Path) -> np.ndarray:
    with path.open("rb") as file:
        read_header = _NPY_HEADERS.get(np.lib.format.read_magic(file))
        if read_header is None:
            raise ValueError("its version is of arrays with named fields")
        shape, _, dtype = read_header(file)  # which may claim anything; nothing is read yet
        if dtype.kind not in "buif" or dtype.itemsize > 8:
            raise ValueError(f"it holds {dtype}")
        _check_size(shape)
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def _check_size(shape: tuple[int, ...]) -> None:
    if math.prod(shape) > PIXEL_LIMIT:
        raise ValueError(f"{' x '.join(map(str, shape))} pixels, at most {PIXEL_LIMIT:,} are read")


def _read_picture(path: pathlib.Path) -> np.ndarray:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it warns of fewer pixels than we read
        return _numbers_of(path)


def _numbers_of(path: pathlib.Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path, formats=("PNG", "TIFF")) as picture:
        _check_size(picture.size)
        if picture.mode == "P":
            raise ValueError("its numbers stand for colours of a palette")
        if getattr(picture, "is_animated", False):  # to count them takes minutes where they are many
            raise ValueError("it holds several pictures, one frame is read at a time")
        return np.asarray(picture)
