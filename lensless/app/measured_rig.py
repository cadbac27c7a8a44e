"""A rig as it was measured: a folder that `lensless calibrate` writes, and that serves wherever a rig is named.

rig.json             the design that it is of, and what was measured in its place
calibration.npz      what turns its raw frames into measurements
matrix.safetensors   its transfer matrix
"""

import dataclasses
import json
import pathlib

import torch

from calibration import Calibration
from hardware.errors import CalibrationMismatch, ConfigurationError, InputError, StorageError
from hardware.rig import RigSpec
from lensless.app import text_file
from lensless.app.rig import Rig
from lensless.app.rig_file import check_spec, shipped_rigs
from lensless.optics import ForwardModel, TransferMatrix

FORMAT = "optics-free measured rig 1"
FACTS, CALIBRATION, MATRIX = "rig.json", "calibration.npz", "matrix.safetensors"
_LARGEST_BYTES = 2**22


class MeasuredRig(Rig):
    """A rig of which matrix and sensor were measured.

    Args:
        spec: of the design, with what was measured in place of what was planned.
        matrix: the file of its transfer matrix.
        calibration: of its sensor.
        device: where forward model and sensor live.

    Raises:
        ConfigurationError, InputError: a matrix of another shape, or none.
    """

    def __init__(self, spec: RigSpec, matrix: pathlib.Path, calibration: Calibration, device: str = "cpu"):
        super().__init__(spec, device)
        self.rays, self.matrix_file, self.own_calibration = None, matrix, calibration

    def _forward_model(self) -> ForwardModel:
        model = TransferMatrix.load(self.matrix_file)
        for what, got, expected in (
            ("scenes", model.scene_shape, tuple(self.spec.scene.shape)),
            ("a sensor", model.sensor_shape, tuple(self.spec.sensor.shape)),
        ):
            if got != expected:
                raise InputError(
                    f"'{self.matrix_file}' is of {what} of {got}, the rig beside it of {expected}; calibrate again"
                )
        return model.to(self.device)

    def calibrate(self, seed: int = 0, frames: int = 0) -> Calibration:
        """That of the sensor, as it was measured."""
        return self.own_calibration

    def check_camera_of(self, seen: Rig, address: str) -> None:
        """Raises CalibrationMismatch if the simulated camera at an address is not the one that was calibrated."""
        if seen.spec.sensor.serial != self.own_calibration.camera_id:
            raise CalibrationMismatch(
                f"camera {address!r} is {seen.spec.sensor.serial!r}, rig {self.id!r} was measured with "
                f"{self.own_calibration.camera_id!r}; calibrate this one"
            )

    def keep_beside(self, folder: pathlib.Path) -> None:
        """Put the matrix into a checkpoint's folder.

        Raises:
            ConfigurationError: another one is there.
            StorageError: no room, or the folder cannot be written.
        """
        place = folder / MATRIX
        content = self.matrix_file.read_bytes()
        if place.exists() and place.read_bytes() != content:
            raise ConfigurationError(f"{place} is of another calibration than this; choose another folder with --out")
        if not place.exists():
            part = place.with_name(place.name + ".part")
            try:
                part.write_bytes(content)
                part.replace(place)
            except OSError as error:
                raise StorageError(f"cannot write {place}: {error.strerror}; choose another disk with --out") from error


def is_measured(source: str | pathlib.Path) -> bool:
    """Whether that names the folder of a measured rig."""
    try:
        return (pathlib.Path(source) / FACTS).is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def is_rig(source: str | pathlib.Path) -> bool:
    """Whether that names a rig: the folder of a measured one, a rig file, or one that comes with the package."""
    return (
        is_measured(source) or pathlib.Path(source).suffix == ".toml" or str(source).partition("~")[0] in shipped_rigs()
    )


def open_measured(folder: str | pathlib.Path, device: str = "cpu") -> MeasuredRig:
    """The rig in a folder.

    Raises:
        InputError: something is missing or damaged, or does not belong together.
    """
    folder = pathlib.Path(folder)
    facts = read_facts(folder)
    calibration = Calibration.load(folder / CALIBRATION)
    if facts.get("calibration") != calibration.id:
        raise InputError(
            f"'{folder / CALIBRATION}' is calibration {calibration.id}, {FACTS} beside it is of "
            f"{facts.get('calibration')!r:.40}; copy the whole folder again, or calibrate again"
        )
    try:
        spec = check_spec(facts.get("spec"), f"in '{folder / FACTS}'")
    except ConfigurationError as error:
        raise InputError(str(error)) from error
    return MeasuredRig(spec, folder / MATRIX, calibration, device)


def read_facts(folder: pathlib.Path) -> dict:
    """What the folder says of the rig.

    Raises:
        InputError: missing, damaged, or of something else.
    """
    path = folder / FACTS
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError(f"it has more than {_LARGEST_BYTES} bytes")
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise ValueError(f"its format is not '{FORMAT}'")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{path}' is no measured rig ({error}); take a copy of the whole folder, or calibrate again"
        ) from error
    return facts


def write_measured(
    folder: pathlib.Path, spec: RigSpec, calibration: Calibration, matrix: torch.Tensor, noise_std: torch.Tensor,
    found: dict,
) -> None:  # fmt: skip
    """Write the folder; `found` are the numbers that were measured, for people and programs. rig.json comes last: a
    folder without it is not finished.

    Raises:
        StorageError: it cannot be written.
    """
    (folder / FACTS).unlink(missing_ok=True)
    calibration.save(folder / CALIBRATION, overwrite=True)
    TransferMatrix(matrix, spec.scene.shape, spec.sensor.shape, noise_std).save(folder / MATRIX)
    facts = {"format": FORMAT, "spec": dataclasses.asdict(spec), "calibration": calibration.id, "measured": found}
    text_file.write(folder / FACTS, json.dumps(facts, indent=2) + "\n", "name another folder with --out")
