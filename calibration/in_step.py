"""Do a frame and a scene belong together? Looked at for every scene, and not assumed.

Before it begins, the light of each of some coarse blocks of the display is measured. What a frame holds of those
patterns is then compared with what its own scene would give, and with what the scene before would give: a display that
stalls, a window that was covered, or a picture that comes a frame late shows at once.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from calibration.show_and_snap import ShowAndSnap
from hardware import Frame
from hardware.errors import CalibrationMismatch

BLOCKS = 8  # along each side
_CELLS = 64  # along each side, into which frames are averaged
_DARK_FRAMES, _NOISE_FRAMES, _BLOCK_FRAMES = 32, 8, 2
_KNOWN_SCENES, _MARGIN, _LEAST_MISFIT, _MOST_MISFIT = 32, 2.0, 0.05, 0.5
_SAME = 0.002  # of the light's square: 4 % of the light itself, which may drift a little
_DARKEST = 0.25  # of the usual light of a scene, squared: below it is held to what that is
_LEAST_TELLING = 25.0  # how far two scenes must differ in the frame, in standard deviations of its noise


@dataclasses.dataclass(frozen=True)
class Told:
    """What a frame says of the scene that it was taken of.

    Args:
        of_before: share of the scene before in what differs between the two, 0 for a frame of its own scene, 1 for one
            of the scene before; None where the two look alike to the sensor.
        apart2: square of how far apart the two scenes are in the frame, in units of its noise: what `of_before` weighs.
        misfit: what its own scene does not explain, as a share of what tells scenes from each other; None as long as
            that is not known, or too little to be seen.
        most_misfit: the most that a frame of its own scene has, by what some were found to have.
        light: (k,) what the frame holds of the measured patterns, in units of the noise of one frame.
    """

    of_before: float | None
    apart2: float
    misfit: float | None
    most_misfit: float = 1.0
    light: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    def same_light(self, other: "Told") -> bool:
        """Whether two frames of one scene, shown at different times, differ by noise alone, or by next to nothing."""
        apart = self.light - other.light
        return float(apart @ apart) < 4 * len(apart) + _SAME * float(self.light @ self.light)

    @property
    def of_the_one_before(self) -> bool:
        """Whether the scene before explains the frame better than its own."""
        return self.of_before is not None and self.of_before > 0.5

    @property
    def belongs(self) -> bool:
        """Whether nothing says that the frame is of another scene than its own."""
        return (self.misfit is None or self.misfit <= self.most_misfit) and not self.of_the_one_before


class InStep:
    """Coarse patterns of a rig, as they were measured. Made by `InStep.measure`.

    With z the frame less its dark, in units of its noise, along the leading singular vectors U of the measured blocks
    C = U S V^T, and z(scene) = S V^T (mean radiance of each block), the share of the scene before is the projection

        of_before = <z - z(own), z(before) - z(own)> / |z(before) - z(own)|^2

    Args:
        dark: (n,) cells of a frame before a black display.
        modes: (n, k); gains: (k, blocks), so that gains @ block means is what a scene gives along them.
        noise: of one cell of one frame of a bright display, DN.
        blocks: along each side.
    """

    def __init__(self, dark: np.ndarray, modes: np.ndarray, gains: np.ndarray, noise: float, blocks: int):
        self._dark, self._modes, self._gains, self._noise, self._blocks = dark, modes, gains, noise, blocks
        self.most_misfit = _MOST_MISFIT
        self._spread2, self._usual2 = 0.0, 1.0
        self._light, self._first_rise_dn = 1.0, None

    @classmethod
    def measure(cls, rig: ShowAndSnap, bright: float = 1.0, blocks: int = BLOCKS) -> "InStep":
        """Show block after block.

        Args:
            rig: display and camera; a frame more than it takes to settle is waited for here.
            bright: level at which the whole display does not clip.
            blocks: along each side.

        Raises:
            CalibrationMismatch: the camera tells no block from another.
        """
        dark = _steady(rig, np.zeros(rig.shape, np.float32), _DARK_FRAMES)
        lit = _steady(rig, np.full(rig.shape, bright, np.float32), _NOISE_FRAMES)
        of_blocks = np.stack([_steady(rig, block, _BLOCK_FRAMES) for block in _blocks(rig.shape, blocks)])
        noise, block_noise, dark_noise = (
            float(np.sqrt(shots.var(-2, ddof=1).mean())) for shots in (lit, of_blocks, dark)
        )
        dark = dark.mean(0)
        columns = (of_blocks.mean(1) - dark).T
        U, s, Vt = np.linalg.svd(columns / noise, full_matrices=False)
        # The largest singular value that noise alone gives: of the blocks, and of the dark that all of them share.
        cells, count = columns.shape
        of_blocks_alone = block_noise * (np.sqrt(cells) + np.sqrt(count)) / np.sqrt(_BLOCK_FRAMES)
        kept = s * noise > 1.2 * (of_blocks_alone + dark_noise * np.sqrt(cells * count / _DARK_FRAMES))
        if not kept.any():
            raise CalibrationMismatch(
                "display and camera: the light of no part of the display stands out of the noise of a frame; expected "
                "to see at least some of it: more light, a longer exposure, or a rig that is nearer"
            )
        return cls(dark, U[:, kept].astype(np.float32), s[kept, None] * Vt[kept], noise, blocks)

    def learn(self, rig: ShowAndSnap, scenes: Sequence[np.ndarray]) -> None:
        """Look at scenes that have stood for longer than they need: how well do blocks of the display explain them?

        Args:
            rig: display and camera.
            scenes: pictures (H, W) like those to come; some of them are shown.

        Raises:
            CalibrationMismatch: they are hardly explained; display or camera is not linear, or they are not in step.
        """
        known = scenes[:: max(1, len(scenes) // _KNOWN_SCENES)]
        expected = np.stack([self._expected(scene) for scene in known])
        self._spread2 = float(np.square(expected - expected.mean(0)).sum(1).mean())
        self._usual2 = float(np.square(expected).sum(1).mean())
        if not self.tells_scenes:
            return
        misfits = [self.look(rig(scene, 2)[1:], scene, None).misfit for scene in known]
        if (usual := float(np.median(misfits))) > _MOST_MISFIT:
            raise CalibrationMismatch(
                f"{usual:.0%} of what tells scenes from each other is not explained by what blocks of the display gave "
                f"one by one, limit {_MOST_MISFIT:.0%}; is what the display shows linear (--gamma), is the settle time "
                "long enough (--settle-s), and does nothing adapt to the picture (automatic exposure, contrast)?"
            )
        self.most_misfit = min(_MOST_MISFIT, max(_LEAST_MISFIT, _MARGIN * max(misfits)))

    @property
    def tells_scenes(self) -> bool:
        """Whether scenes differ by more than the noise of a frame along the patterns that are known."""
        return self._spread2 > _LEAST_TELLING**2

    def follow(self, black: Sequence[Frame], bright: Sequence[Frame]) -> None:
        """Take in how light it is now, from frames of a black and of a bright display: what drifts is followed."""
        self._dark = cells_of(black)
        rise_dn = float((cells_of(bright) - self._dark).mean())
        self._first_rise_dn = rise_dn if self._first_rise_dn is None else self._first_rise_dn
        self._light = rise_dn / self._first_rise_dn

    @property
    def modes(self) -> int:
        """How many patterns stand out of the noise of a frame."""
        return len(self._gains)

    def look(self, frames: Sequence[Frame], own: np.ndarray, before: np.ndarray | None) -> Told:
        """What frames (of one scene) say of their scene and of the one before; pictures (H, W) are radiances."""
        z = (cells_of(frames) - self._dark) @ self._modes / self._noise
        expected = self._expected(own)
        rest = z - expected
        # Blocks explain a scene the worse the more light it has.
        light2 = max(float(expected @ expected) / self._usual2, _DARKEST)
        misfit = float(rest @ rest) / (self._spread2 * light2) if self.tells_scenes else None
        apart = expected * 0 if before is None else self._expected(before) - expected
        apart2 = float(apart @ apart)
        of_before = float(rest @ apart) / apart2 if apart2 > _LEAST_TELLING**2 else None
        return Told(of_before, apart2, misfit, self.most_misfit, z)

    def _expected(self, picture: np.ndarray) -> np.ndarray:
        rows, columns = (_edges(side, self._blocks) for side in picture.shape)
        sums = np.add.reduceat(np.add.reduceat(picture, rows[:-1], 0), columns[:-1], 1)
        return self._light * (self._gains @ (sums / np.outer(np.diff(rows), np.diff(columns))).ravel())


def cells_of(frames: Sequence[Frame]) -> np.ndarray:
    """The mean of some frames as float32, averaged into at most 64 x 64 cells, flat."""
    return cells(np.mean([frame.pixels for frame in frames], 0, dtype=np.float32))


def cells(pixels: np.ndarray) -> np.ndarray:
    """A picture (H, W) or (H, W, C), averaged into at most 64 x 64 cells, flat."""
    if pixels.ndim == 3:
        pixels = pixels.mean(2)
    rows, columns = (-(-side // _CELLS) for side in pixels.shape)
    height, width = pixels.shape[0] // rows * rows, pixels.shape[1] // columns * columns
    return pixels[:height, :width].reshape(height // rows, rows, width // columns, columns).mean((1, 3)).ravel()


def _steady(rig: ShowAndSnap, picture: np.ndarray, n: int) -> np.ndarray:
    """Cells (n, cells) of frames of a picture, from the second frame on: the first has only just settled."""
    return np.stack([cells_of([frame]) for frame in rig(picture, n + 1)[1:]])


def _edges(side: int, blocks: int) -> np.ndarray:
    return np.linspace(0, side, min(blocks, side) + 1).round().astype(int)


def _blocks(shape: tuple[int, int], blocks: int) -> list[np.ndarray]:
    rows, columns = (_edges(side, blocks) for side in shape)
    pictures = []
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            picture = np.zeros(shape, np.float32)
            picture[top:bottom, left:right] = 1
            pictures.append(picture)
    return pictures
