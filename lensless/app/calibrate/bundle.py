"""From what was measured to the folder of a measured rig, its table and its page."""

import dataclasses
import pathlib

import numpy as np
import torch

from calibration import Calibration
from calibration.estimate import Estimate
from calibration.sensor import SensorReport
from hardware.frame import FrameMeta
from hardware.rig import RigSpec, dark_growth
from lensless.app import text_file
from lensless.app.calibrate import page
from lensless.app.calibrate.matrix import MatrixReport
from lensless.app.calibrate.moves import DISTANCE, RodMoves
from lensless.app.measured_rig import write_measured
from lensless.app.screen import Screen

PAGE = "calibration.html"
_CLIP_SIGMAS = 4  # of the fixed pattern and of a frame's noise, below the full well


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Everything that a calibration has found out.

    Args:
        design: the rig as it was planned.
        meta: facts of a frame.
        exposure_s: at which the rig is used.
        sensor, matrix: what was measured.
        provenance: of the recordings: camera, display, settings.
    """

    design: RigSpec
    meta: FrameMeta
    exposure_s: float
    sensor: SensorReport
    matrix: MatrixReport
    provenance: dict

    def calibration(self) -> Calibration:
        """What turns raw frames of this camera into measurements."""
        sensor, gain = self.sensor, self.sensor.transfer.gain_electrons_per_dn.value
        flat = 1.0 if sensor.flat is None else sensor.flat
        clip_dn = None
        if sensor.transfer.saturation_dn is not None:
            spread_dn = sensor.dsnu.pixel.value / gain + np.sqrt(sensor.variance(0.0, self.exposure_s))
            level = float(np.median(sensor.dark.at(self.exposure_s))) + sensor.transfer.saturation_dn
            clip_dn = min(level - _CLIP_SIGMAS * float(spread_dn) - 1, self.meta.full_scale_dn)
        return Calibration(
            camera_id=self.meta.camera_id, shape=self.sensor.dark.bias_dn.shape, bit_depth=self.meta.bit_depth,
            gain_db=self.meta.gain_db, exposure_s=(self.exposure_s, self.exposure_s),
            dark_dn=sensor.dark.at(self.exposure_s), white_dn=self.matrix.white_dn, flat=flat,
            defects=sensor.defects.any, clip_dn=clip_dn, frames=sensor.frames, dark_std_dn=sensor.dark.std_dn,
            # Where no lamp told the response of the pixels, it stands in the matrix, and is not unknown.
            flat_std=0.0 if sensor.flat_std is None else sensor.flat_std, cfa=self.meta.cfa,
        )  # fmt: skip

    def spec(self, calibration: Calibration) -> RigSpec:
        """The design, with what was measured in place of what was planned."""
        sensor, matrix = self.sensor, self.matrix
        gain = sensor.transfer.gain_electrons_per_dn.value
        value = lambda estimate, otherwise: otherwise if estimate is None else float(estimate.value)  # noqa: E731
        old = self.design.sensor
        temperature_c = old.temperature_c if sensor.temperature_c is None else sensor.temperature_c
        doubling_c = value(sensor.doubling_c, old.dark_doubling_c)
        dark_e_per_s = old.dark_electrons_per_s
        if sensor.dark_electrons_per_s is not None:  # measured at its temperature; a rig file tells it at 20 degrees C
            dark_e_per_s = max(0.0, float(sensor.dark_electrons_per_s.value)) / dark_growth(temperature_c, doubling_c)
        measured = dataclasses.replace(
            old, serial=self.meta.camera_id, white_electrons=matrix.white_dn * gain,
            full_well_electrons=value(sensor.transfer.full_well_electrons, old.full_well_electrons),
            read_noise_electrons=float(sensor.transfer.read_noise_electrons.value),
            dark_electrons_per_s=dark_e_per_s, temperature_c=temperature_c, dark_doubling_c=doubling_c,
            exposure_s=self.exposure_s, prnu=0.0 if sensor.prnu is None else float(sensor.prnu.pixel.value),
            dsnu_electrons=float(sensor.dsnu.pixel.value), column_electrons=float(sensor.dsnu.column.value),
            row_electrons=float(sensor.dsnu.row.value), bit_depth=self.meta.bit_depth,
            black_level_dn=max(0, round(float(np.median(sensor.dark.bias_dn)))), gain_electrons_per_dn=gain,
        )  # fmt: skip
        posed = self.design
        if matrix.pose is not None:
            posed = RodMoves(self.design).spec({name: float(found.value) for name, found in matrix.pose.items()})
        return dataclasses.replace(
            posed, id=f"{self.design.id}@{calibration.id[:8]}", sensor=measured,
            scene=dataclasses.replace(posed.scene, dark_level=max(0.0, matrix.dark_level)),
        )  # fmt: skip

    def numbers(self) -> dict:
        """For programs."""
        sensor, matrix = self.sensor, self.matrix
        plain = lambda estimate: {"value": estimate.value, "std": estimate.std}  # noqa: E731
        return {
            "sensor": {name: plain(estimate) | {"unit": unit} for name, estimate, unit in sensor.rows()},
            "temperature_c": sensor.temperature_c,
            "linearity_error": None if sensor.linearity is None else sensor.linearity.error,
            "defects": sensor.defects.counts(),
            "dark_level": matrix.dark_level,
            "matrix": {
                "patterns": self.provenance["same"]["patterns"]["kind"], "frames_of_a_pattern": matrix.used,
                "relative_error": matrix.error, "before_regularisation": matrix.decoded.relative_error,
                "way": matrix.way, "rank": matrix.rank, "asymmetry": matrix.asymmetry,
                "modes_above_noise": matrix.modes,
                "left_out": matrix.left_out,
                "specks": None if matrix.shadows is None else matrix.shadows.specks,
                "shadow_step_px": None if matrix.shadows is None else matrix.shadows.step_px.tolist(),
                "pose": None if matrix.pose is None else {name: plain(found) for name, found in matrix.pose.items()},
            },
            "made_from": self.provenance,
        }  # fmt: skip

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value with its unit, note), for people."""
        sensor, matrix = self.sensor, self.matrix
        notes = {} if sensor.temperature_c is None else {"dark current": f"at {sensor.temperature_c:.1f} °C"}
        rows = [(name, f"{estimate} {unit}", notes.get(name, "")) for name, estimate, unit in sensor.rows()]
        if sensor.linearity is not None:
            rows.append(("linearity error", f"{sensor.linearity.error:.2%}", f"largest {sensor.linearity.worst:.2%}"))
        counts = ", ".join(f"{count} {kind}" for kind, count in sensor.defects.counts().items() if count)
        rows.append(("defective pixels", str(int(sensor.defects.any.sum())), counts or "none"))
        rows.append(("black of the display", f"{matrix.dark_level:.2%}", "of white"))
        rows.append(("white", f"{Estimate(matrix.white_dn, 0.0)} DN", "above dark, in the brightest pixel"))
        kind = self.provenance["same"]["patterns"]["kind"]
        rows.append(("matrix, relative error", f"{matrix.decoded.relative_error:.1%}", f"{kind}, as it came"))
        specks = None if matrix.shadows is None else matrix.shadows.specks
        by = "the design where it stands" if specks is None else f"the shadows of {specks} specks"
        way = {
            "design": f"{by}, and rank {matrix.rank} beyond",
            "symmetric": f"symmetric, rank {matrix.rank}", "low rank": f"rank {matrix.rank}",
        }[matrix.way]  # fmt: skip
        rows.append(("after regularisation", f"{matrix.error:.1%}", f"expected; {way}"))
        rows += pose_rows(matrix.pose or {})
        rows.append(("modes above noise", str(matrix.modes), f"of {len(matrix.singular_values)}"))
        if matrix.left_out:
            rows.append(("frames left out", str(matrix.left_out), "they disagreed with two others of their pattern"))
        return rows


def pose_rows(pose: dict[str, Estimate], drift: bool = False) -> list[tuple[str, str, str]]:
    """Where a rig stands, or how far it has moved since it was calibrated, for people."""
    said = {
        "shift_x_mm": ("to the right", "mm", "or looks there: a tilt looks the same"),
        "shift_y_mm": ("downwards", "mm", "or looks there"),
        "roll_deg": ("turned", "deg", ""),
        "sensor_shift_x_um": ("sensor behind the relay, to the right", "um", ""),
        "sensor_shift_y_um": ("sensor behind the relay, downwards", "um", ""),
        DISTANCE: ("further from the display", "%", ""),
    }
    rows = []
    for name, found in pose.items():
        label, unit, note = said[name]
        found = found * 100 if unit == "%" else found
        # How well a place is known is a matter of the design, which noise does not tell.
        value, note = (f"{found.value:+.3g}", note) if not drift else (f"{found.value:+.3g} +- {found.std:.1g}", note)
        rows.append((f"{'has moved' if drift else 'stands'}: {label}", f"{value} {unit}", note))
    return rows


def write(out: pathlib.Path, found: Found, screen: Screen) -> dict:
    """Write calibration, matrix, facts and page; say what was found."""
    calibration = found.calibration()
    spec = found.spec(calibration)
    numbers = found.numbers()
    matrix = torch.from_numpy(np.ascontiguousarray(found.matrix.matrix))
    # What is left of the noise is spread as it was before, and smaller.
    smaller = found.matrix.error / max(found.matrix.decoded.relative_error, 1e-9)
    noise = torch.from_numpy((found.matrix.noise * min(1.0, smaller)).astype(np.float32))
    write_measured(out, spec, calibration, matrix, noise, numbers)
    with screen.working("page"):
        text_file.write(out / PAGE, page.page(found, spec, calibration))
    screen.table(f"{spec.id}", ["", "", ""], [list(row) for row in found.rows()])
    screen.say(f"page: {out / PAGE}")
    return {"folder": str(out), "rig": spec.id, "calibration": calibration.id, **numbers}
