"""A sensor of known truth, in plain numpy and by its own formulas: what calibration is checked against."""

import dataclasses
import os
from collections.abc import Callable, Iterator

import numpy as np
from shots import META

from calibration.stack import Stack
from hardware import Frame

AT_NIGHT = bool(os.environ.get("LENSLESS_TORTURE"))  # the counts of the night


@dataclasses.dataclass(frozen=True, eq=False)
class Planted:
    """Electrons are counted, read with noise, cut off where the well is full, and rounded to numbers."""

    seed: int
    shape: tuple[int, int] = (64, 64)
    gain_electrons_per_dn: float = 7.5
    read_noise_electrons: float = 5.0
    dark_electrons_per_s: float = 10.0
    full_well_electrons: float = 25_000.0
    prnu: float = 0.01
    dsnu_electrons: float = 2.0
    row_electrons: float = 0.0
    column_electrons: float = 0.0
    bit_depth: int = 12
    black_dn: float = 64.0
    spoil: Callable[[np.ndarray, np.random.Generator, float], np.ndarray] | None = None  # of electrons: defects
    bend: Callable[[np.ndarray], np.ndarray] | None = None  # of electrons: a sensor that is not linear

    def __post_init__(self):
        draw = np.random.default_rng([self.seed, 1])
        height, width = self.shape
        response = 1 + self.prnu * draw.standard_normal(self.shape)
        offset = self.dsnu_electrons * draw.standard_normal(self.shape)
        offset += self.row_electrons * draw.standard_normal((height, 1))
        offset += self.column_electrons * draw.standard_normal((1, width))
        object.__setattr__(self, "response", response)
        object.__setattr__(self, "offset_electrons", offset)
        object.__setattr__(self, "draw", np.random.default_rng([self.seed, 2]))

    def frames(self, n: int, exposure_s: float, light: np.ndarray | float = 0.0, flicker: float = 0.0, **facts):
        """`light` in electrons per second."""
        for _ in range(n):
            strength = 1 + flicker * self.draw.standard_normal()
            yield self.frame(exposure_s, light * strength, **facts)

    def frame(self, exposure_s: float, light: np.ndarray | float = 0.0, **facts) -> Frame:
        mean = light * exposure_s * self.response + self.dark_electrons_per_s * exposure_s
        electrons = self.draw.poisson(mean) + self.read_noise_electrons * self.draw.standard_normal(self.shape)
        if self.bend is not None:
            electrons = self.bend(electrons)
        if self.spoil is not None:
            electrons = self.spoil(electrons, self.draw, exposure_s)
        electrons = np.minimum(electrons, self.full_well_electrons) + self.offset_electrons
        dn = np.rint(electrons / self.gain_electrons_per_dn + self.black_dn).clip(0, 2**self.bit_depth - 1)
        meta = dataclasses.replace(
            META, exposure_s=exposure_s, bit_depth=self.bit_depth, black_level_dn=self.black_dn, **facts
        )
        return Frame(dn.astype(np.uint16), meta)

    def stack(self, n: int, exposure_s: float, light: np.ndarray | float = 0.0, flicker: float = 0.0) -> Stack:
        return Stack.of(self.frames(n, exposure_s, light, flicker))

    def darks(self, exposures_s: tuple[float, ...], n: int) -> list[Stack]:
        return [self.stack(n, exposure_s) for exposure_s in exposures_s]

    def ramp(self, exposures_s: tuple[float, ...], n: int, light: np.ndarray | float) -> Iterator[Stack]:
        return [self.stack(n, exposure_s, light) for exposure_s in exposures_s]


def drawn(seed: int, **facts) -> Planted:
    """A sensor whose numbers are drawn."""
    draw = np.random.default_rng([seed, 0])
    bits = int(draw.choice([10, 12, 14]))
    well = draw.uniform(6_000, 30_000)
    gain = well / (2**bits * draw.uniform(0.7, 1.2))
    random = dict(
        gain_electrons_per_dn=gain, read_noise_electrons=max(draw.uniform(1.5, 8), 0.5 * gain),
        dark_electrons_per_s=draw.uniform(5, 50), full_well_electrons=well, prnu=draw.uniform(0.003, 0.015),
        dsnu_electrons=draw.uniform(1, 5), row_electrons=draw.uniform(0, 2), column_electrons=draw.uniform(0, 3),
        bit_depth=bits, black_dn=round(2**bits * 0.02) + 8,
    )  # fmt: skip
    return Planted(seed, **random | facts)
