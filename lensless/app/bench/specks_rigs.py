"""The rigs of `lensless bench specks`: bare sensors that differ in one fact at a time."""

import dataclasses

from hardware.rig import RigSpec
from lensless.app.rig_file import read_spec

RIG = "bare-v1-short"  # no digit fills its well, so saturation does not blur the comparison
BANDWIDTH_NM = 60.0  # of a green sub-pixel; assumed
NEAR_WIDTH_MM = 4.0  # of a scene as near as 1 or 10 mm: as wide as the sensor
NEAR_WHITE_ELECTRONS = 8000.0  # there a digit lights some pixels like an all-white scene; they must not saturate


@dataclasses.dataclass(frozen=True)
class Cell:
    """One rig of the comparison, and how many of its frames are averaged."""

    specks: int = 5
    radius_um: float = 20.0
    waves: bool = True
    distance_mm: float = 250.0
    frames: int = 100

    @property
    def name(self) -> str:
        shadow = "waves" if self.waves else "sharp"
        return f"{self.specks}-specks-{self.radius_um:g}um-{shadow}-{self.distance_mm:g}mm-{self.frames}-frames"

    def spec(self) -> RigSpec:
        """The facts of the rig."""
        base = read_spec(RIG)
        near, sensor = {}, base.sensor
        if self.distance_mm < 100:
            near = {"width_mm": NEAR_WIDTH_MM}
            sensor = dataclasses.replace(sensor, white_electrons=NEAR_WHITE_ELECTRONS)
        return dataclasses.replace(
            base,
            id=f"{RIG}-{self.name}",
            scene=dataclasses.replace(base.scene, distance_mm=self.distance_mm, bandwidth_nm=BANDWIDTH_NM, **near),
            sensor=sensor,
            cover_glass=dataclasses.replace(
                base.cover_glass, specks=self.specks, speck_radius_um=self.radius_um, diffraction=self.waves
            ),
        )


CELLS = list(
    dict.fromkeys(
        [
            *(Cell(specks=count, frames=frames) for frames in (100, 1) for count in (0, 1, 2, 5, 20)),
            *(Cell(radius_um=radius, waves=waves) for radius in (5.0, 10.0, 20.0, 40.0) for waves in (True, False)),
            *(Cell(specks=count, distance_mm=distance) for distance in (1.0, 10.0) for count in (0, 5)),
            *(Cell(specks=0, distance_mm=distance, frames=1) for distance in (1.0, 10.0)),
        ]
    )
)
