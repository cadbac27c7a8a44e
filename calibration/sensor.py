"""Everything that dark and bright frames tell of a sensor, each number with its error, in one go."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from calibration.dark import DarkSignal, doubling_temperature, rates_of, stands_out
from calibration.defects import Defects, find_defects
from calibration.estimate import Estimate
from calibration.flat import measure_flat_of
from calibration.linearity import Linearity, measure_linearity
from calibration.noise import PhotonTransfer, photon_transfer
from calibration.nonuniformity import Pattern, dark_nonuniformity, response_nonuniformity
from calibration.stack import Stack
from hardware.errors import CalibrationMismatch


@dataclasses.dataclass(frozen=True, eq=False)
class SensorReport:
    """What was found out.

    Args:
        dark, defects, transfer: see there.
        linearity: None where the exposure was not changed.
        dsnu: of the dark frame at the shortest exposure, electrons.
        prnu: of the response, as a share; None without frames of an even lamp.
        flat, flat_std: response of each pixel and its standard error, (H, W); None without frames of an even lamp.
        frames: how many dark frames there were at the shortest exposure.
        rates_dn_per_s: dark current at each temperature, the coldest first; none without frames at several.
        doubling_c: rise in temperature that doubles it; None without frames at several.
    """

    dark: DarkSignal
    defects: Defects
    transfer: PhotonTransfer
    linearity: Linearity | None
    dsnu: Pattern
    prnu: Pattern | None
    flat: np.ndarray | None
    flat_std: np.ndarray | None
    frames: int
    rates_dn_per_s: tuple[tuple[float, Estimate], ...] = ()
    doubling_c: Estimate | None = None

    @classmethod
    def of(cls, dark: Sequence[Stack], lit: Sequence[Stack], lamp: Stack | None = None) -> Self:
        """Measure a sensor.

        Args:
            dark: stacks of the covered sensor, those of the shortest exposure first.
            lit: stacks of one steady light at several exposures, or of several lights at one; even or not.
            lamp: a stack under an even lamp, about half full.

        Raises:
            CalibrationMismatch: what each measurement raises; or light on a sensor that is said to be covered.
        """
        _check_covered(dark, lit)
        defects = find_defects(dark, [*lit, *([] if lamp is None else [lamp])], even=False)
        if lamp is not None:
            defects = defects | find_defects(dark, [lamp])
        bad = defects.any
        signal = DarkSignal.of(dark, bad)
        transfer = photon_transfer(signal, lit, bad)
        gain = transfer.gain_electrons_per_dn
        varied = len({stack.exposure_s for stack in lit}) > 1
        flat, flat_std = (None, None) if lamp is None else measure_flat_of(lamp, signal.at(lamp.exposure_s))
        return cls(
            signal, defects, transfer, measure_linearity(signal, lit, transfer.saturation_dn, bad) if varied else None,
            dark_nonuniformity(dark[0], bad) * gain,
            None if lamp is None else response_nonuniformity(lamp, signal, bad), flat, flat_std, dark[0].frames,
        )  # fmt: skip

    def with_temperatures(self, warm: Sequence[Stack]) -> Self:
        """The same, with how dark current grows.

        Args:
            warm: stacks of the covered sensor at other temperatures, of two exposures or more at each. Its own dark
                current is one more, if it stands out.

        Raises:
            CalibrationMismatch: what `rates_of` and `doubling_temperature` raise.
        """
        rates, own = rates_of(warm, self.defects.any), self.dark.mean_rate_dn_per_s
        if own is not None and stands_out(own) and self.temperature_c is not None:
            rates = sorted([(self.temperature_c, own), *rates], key=lambda rate: rate[0])
        return dataclasses.replace(self, rates_dn_per_s=tuple(rates), doubling_c=doubling_temperature(rates))

    @property
    def temperature_c(self) -> float | None:
        """Of the covered sensor; None where the camera does not tell."""
        return self.dark.temperature_c

    @property
    def dark_electrons_per_s(self) -> Estimate | None:
        """Mean over the good pixels; None where the exposure was not changed."""
        rate = self.dark.mean_rate_dn_per_s
        return None if rate is None else rate * self.transfer.gain_electrons_per_dn

    def variance(self, signal_dn: np.ndarray, exposure_s: float) -> np.ndarray:
        """Of one frame, DN^2, from what it holds above dark."""
        return np.maximum(signal_dn, 0) / self.transfer.gain_electrons_per_dn.value + self.dark.variance_at(exposure_s)

    def rows(self) -> list[tuple[str, Estimate, str]]:
        """(name, value, unit) of every number."""
        rows = [
            ("gain", self.transfer.gain_electrons_per_dn, "e-/DN"),
            ("read noise", self.transfer.read_noise_electrons, "e-"),
            ("dark current", self.dark_electrons_per_s, "e-/s"),
            ("dark current doubles every", self.doubling_c, "°C"),
            ("full well", self.transfer.full_well_electrons, "e-"),
            ("DSNU, pixels", self.dsnu.pixel, "e-"),
            ("DSNU, rows", self.dsnu.row, "e-"),
            ("DSNU, columns", self.dsnu.column, "e-"),
        ]
        if self.prnu is not None:
            percent = self.prnu * 100.0
            rows += [("PRNU, pixels", percent.pixel, "%"), ("PRNU, rows", percent.row, "%")]
            rows += [("PRNU, columns", percent.column, "%")]
        return [row for row in rows if row[1] is not None]


def _check_covered(dark: Sequence[Stack], lit: Sequence[Stack]) -> None:
    """Raises CalibrationMismatch where frames of a covered sensor are as bright as lit ones."""
    covered = float(np.median(dark[0].mean))
    brightest = max(float(np.percentile(stack.mean, 99)) for stack in lit)
    if brightest - covered < 10 * float(np.sqrt(np.median(dark[0].variance))):
        raise CalibrationMismatch(
            f"the covered sensor gives {covered:.1f} DN, under the brightest light {brightest:.1f} DN: it was lit when "
            "it was to be covered, or the display is off; take both again"
        )
