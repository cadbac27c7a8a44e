"""Scenes that come with what a camera measured of them, in the commands: opened, held against a rig, calibrated."""

import pathlib
from collections.abc import Sequence

from calibration import Calibration
from hardware.errors import CalibrationMismatch, ConfigurationError, InputError
from lensless.app.options import DEFAULT_RIG
from lensless.app.perturbation import drift_of
from lensless.app.rig import Rig, open_rig
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.data.measured_scenes import MeasuredScenes, PairSource
from lensless.data.pairs_file import PairsFile
from lensless.data.recorded import Collection
from lensless.train.checkpoint import check_rig

KINDS = {"recorded": Collection.open, "pairs": PairsFile.open}
PLACES = ("folder", "shown", *KINDS)  # kinds of scenes that lie where the user says, and no card remembers


def source_of(scenes: str, screen: Screen) -> PairSource | None:
    """What opens `recorded:PATH` or `pairs:FILE`; None for scenes that are simulated.

    Raises:
        InputError: nothing there, or not what it should be.
    """
    kind, _, rest = scenes.partition(":")
    if kind not in KINDS or not rest:
        return None
    with screen.working(f"looking through {rest}"):
        return KINDS[kind](rest)


def rig_of(source: PairSource, rig: str | None, device: str, rays: int | None) -> Rig:
    """The rig that the frames are of, which must be `rig` where one is named.

    Raises:
        CalibrationMismatch: they are of another one.
        ConfigurationError: no such rig, or frames that do not say theirs.
    """
    origin = source.origin
    if origin.rig_id is None:
        if rig is None:
            raise ConfigurationError(
                f"{source.name} does not say which rig its frames are of: name it with --rig, e.g. --rig {DEFAULT_RIG}"
            )
        return open_rig(rig, device, rays)
    try:
        spec = open_rig(rig or origin.rig_id).spec
    except ConfigurationError as error:
        if rig is not None:
            raise
        raise ConfigurationError(
            f"{source.name} is of rig {origin.rig_id!r}: name its file with --rig ({error})"
        ) from error
    if (spec.id, spec.fingerprint) != (origin.rig_id, origin.fingerprint):
        raise CalibrationMismatch(
            f"{source.name} is of rig {origin.rig_id!r} (fingerprint {origin.fingerprint[:12]}), not of "
            f"{spec.id!r} ({spec.fingerprint[:12]}); name the rig that it was recorded with"
        )
    return open_rig(rig or origin.rig_id, device, rays or origin.rays)


def setting_of(
    source: PairSource, rig: Rig, frames: int | None, calibration: pathlib.Path | None, screen: Screen
) -> Setting:
    """The rig in use, with the calibration of the sensor that took the frames.

    Raises:
        ConfigurationError: another number of frames than were recorded.
        InputError: no calibration.
        CalibrationMismatch: one of another sensor.
    """
    recorded = source.origin.frames
    if frames is not None and recorded not in (None, frames):
        raise ConfigurationError(
            f"--frames {frames}: {source.name} holds {recorded} frames of each scene; leave the option out"
        )
    real = source.calibration() if source.raw and calibration is None else calibration and Calibration.load(calibration)
    if real is None:
        screen.say(
            f"{source.name} holds measurements: the checkpoint gets the calibration of the rig's simulated sensor"
        )
    with screen.working(f"forward model and calibration of {rig.id}"):
        if real is not None and real.id == rig.calibrate().id:
            real = None  # the rig's own simulated sensor, known better than by its calibration
        setting = Setting.of(rig, recorded or frames or 1, real)
        _ = rig.forward_model.sampling_error  # computed here, where there is a bar
    return setting


def sets(source: PairSource, setting: Setting, splits: Sequence[str], screen: Screen) -> list[MeasuredScenes]:
    """Scenes of each split; what was left out is said."""
    calibration = setting.calibration if source.raw else None
    found = [source.scenes(split, calibration, screen.track) for split in splits]
    sensor = tuple(setting.rig.spec.sensor.shape)
    if (shape := tuple(found[0].values.shape[1:])) != sensor:
        raise InputError(
            f"{source.name}: frames of {' x '.join(map(str, shape))}, the sensor of rig {setting.rig.id!r} has "
            f"{' x '.join(map(str, sensor))}; name the rig that they are of with --rig"
        )
    for note in dict.fromkeys(note for scenes in found for note in scenes.notes):
        screen.say(f"  {note}")
    return found


def check_trained_for(card: dict, setting: Setting, source: PairSource, where: str, screen: Screen) -> None:
    """Refuse frames of another rig, or of other measurements, than a checkpoint was trained for.

    Raises:
        CalibrationMismatch: another rig, or another number of frames.
    """
    origin = source.origin
    if origin.rig_id is not None:
        drift = drift_of(setting.rig.spec, origin.rig_id, origin.fingerprint)
        if drift is None:
            check_rig(card, origin.rig_id, origin.fingerprint, where)
        else:
            screen.say(
                f"these frames are of {setting.rig.id} after it drifted (seed {drift[0]}, strength {drift[1]:g})"
            )
    if origin.frames not in (None, setting.frames):
        raise CalibrationMismatch(
            f"{where}: trained for measurements of {setting.frames} frames, {source.name} holds {origin.frames} of "
            "each scene; train one with as many --frames, or record as many"
        )
