"""LenslessPiCam's ADMM on a problem of ours: what it minimises, in its units and in ours.

Its `ADMM` (release 1.0.8) minimises over pictures X >= 0 of a whole plane, about twice as high and wide as the sensor,

    1/2 |crop(psf' * X') - y'|^2 + tau |D X'|_1,

where |D X|_1 is the sum of all differences to neighbours, without a root (anisotropic), the last row's neighbour being
the first. Beside the sensor it may find light, too. The convolution is ours with a scene as large as that plane, to the
last pixel. With psf' = p psf and y' = d y, X' = (d / p) X and tau = p d weight, that is d^2 times

    1/2 |A X - y|^2 + weight |D X|_1.

Its loaders set |psf'| = 1 and max y' = 1, which its penalties mu1, mu2, mu3 are made for: so do we.
"""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
from typing import Self

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import Channels, Mask

CHILD = pathlib.Path(__file__).with_name("lenslesspicam_child.py")
DEFAULTS = (1e-6, 1e-5, 4e-5)


@dataclasses.dataclass(frozen=True, eq=False)
class Theirs:
    """A problem as LenslessPiCam takes it.

    Args:
        psfs: ours, (C, H, W), with the weight of each channel, on a sensor of that size.
        y: what was measured, (1, C, H, W).
        weight: of the total variation, in our units.
        plane: scenes of its plane to what was measured, in our units.
        psf_factor, data_factor: its PSF and its data over ours.
    """

    psfs: Tensor
    y: Tensor
    weight: float
    plane: Channels
    psf_factor: float
    data_factor: float

    @classmethod
    def of(cls, masks: Channels, y: Tensor, weight: float) -> Self:
        """Masks whose scene, sensor and PSF have one shape, as LenslessPiCam wants it."""
        psfs = torch.stack([w * mask.psf.double() for mask, w in zip(masks.models, masks.weights, strict=True)])
        shape = tuple(next_fast_len(2 * n - 1, real=True) for n in psfs.shape[1:])
        wide = [Mask(psf, shape, tuple(psf.shape), dtype=torch.float64) for psf in psfs]
        scales = [float(psf.max() / mask.psf.max()) for psf, mask in zip(psfs, wide, strict=True)]
        plane = Channels(wide, scales)  # white = 1 of a wider scene is another
        return cls(psfs, y.double(), weight, plane, 1 / float(psfs.norm()), 1 / float(y.max()))

    @property
    def tau(self) -> float:
        return self.weight * self.psf_factor * self.data_factor

    def picture(self, plane: Tensor) -> Tensor:
        """What lies before the sensor, (1, C, H, W), of a whole plane."""
        rows, columns = self._before_sensor
        return plane[..., rows, columns]

    def on_plane(self, picture: Tensor) -> Tensor:
        """A picture with darkness around it."""
        plane = torch.zeros(*picture.shape[:2], *self.plane.scene_shape, dtype=picture.dtype)
        rows, columns = self._before_sensor
        plane[..., rows, columns] = picture
        return plane

    @property
    def _before_sensor(self) -> tuple[slice, slice]:
        # The middle of N pixels is N // 2, there and here. (Its own crop is a pixel off where N is odd.)
        starts = [wide // 2 - n // 2 for wide, n in zip(self.plane.scene_shape, self.psfs.shape[1:], strict=True)]
        return tuple(slice(start, start + n) for start, n in zip(starts, self.psfs.shape[1:], strict=True))

    def objective(self, plane: Tensor) -> float:
        """What it minimises, in our units and float64; pictures (1, C, rows, columns) of its plane, clamped at 0."""
        X = plane.double().clamp_min(0)
        variation = (X - X.roll(1, -2)).abs().sum() + (X - X.roll(1, -1)).abs().sum()
        return float((self.plane.A(X) - self.y).square().sum() / 2 + self.weight * variation)


class Process:
    """LenslessPiCam in an environment of its own, as both have one import name; for `with`.

    Args:
        python: the interpreter of that environment.
        theirs: the problem.
        folder: where the arrays pass; the process runs there, without PYTHONPATH.
        iterations: of each run.

    Raises:
        ConfigurationError: no such interpreter, or no LenslessPiCam in its environment.
    """

    def __init__(self, python: pathlib.Path, theirs: Theirs, folder: pathlib.Path, iterations: int):
        self._theirs, self._folder = theirs, folder
        np.savez(
            folder / "in.npz", psf=_last(theirs.psfs * theirs.psf_factor), y=_last(theirs.y[0] * theirs.data_factor),
            tau=theirs.tau, iterations=iterations,
        )  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
        try:
            self._process = subprocess.Popen(
                [python.absolute(), "-I", CHILD], cwd=folder, env=environment, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise ConfigurationError(
                f"--lenslesspicam {python}: {error.strerror}; expected the interpreter of an environment in which "
                "`pip install lensless==1.0.8 torch torchvision` was said"
            ) from error
        self.version = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> int:
        """End it; what it ended with."""
        with contextlib.suppress(BrokenPipeError):  # it has ended before
            self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait()

    def run(self, penalties: tuple[float, float, float]) -> tuple[float, Tensor]:
        """Seconds of all iterations, and the picture of its plane, (1, C, rows, columns), in our units."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which the missing answer tells
            print(*penalties, file=self._process.stdin, flush=True)
        seconds = float(self._answer())
        found = torch.from_numpy(np.load(self._folder / "out.npy")).double()
        return seconds, found.permute(2, 0, 1)[None] * (self._theirs.psf_factor / self._theirs.data_factor)

    def _answer(self) -> str:
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise ConfigurationError(
                f"LenslessPiCam ended with {self._close()}; try in its environment: python -c 'from "
                "lensless.recon.admm import ADMM'"
            )
        return answer


def _last(channels_first: Tensor) -> np.ndarray:
    return channels_first.permute(1, 2, 0).float().numpy()
