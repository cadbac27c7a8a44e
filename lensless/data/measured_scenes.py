"""Scenes that come with what a camera measured of them: pairs to learn from that nobody simulates."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from calibration import Calibration
from lensless.data.scene_set import Scenes

Track = Callable[[Iterable, str, int], Iterator]  # the items, what is done with them, how many: a progress bar


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredScenes(Scenes):
    """Scenes and their measurements.

    `values` (M, H', W') float32, white = 1, in memory or in a mapped file; `rows` (N,) int64 says which of them belongs
    to which scene; `origin` identifies what the measurements were made of.
    """

    values: np.ndarray
    rows: Tensor
    origin: str

    def subset(self, indices: Tensor | Sequence[int]) -> "MeasuredScenes":
        at = torch.as_tensor(indices, dtype=torch.int64)
        return replace(super().subset(at), rows=self.rows[at])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{super().fingerprint()} {self.origin}".encode())
        digest.update(self.rows.numpy().data)
        return digest.hexdigest()[:16]

    def measurements(self, at: Tensor, reads: Tensor | None = None) -> Tensor:
        """Measurements (B, 1, H', W') of the scenes at positions `at` (B,), or (B, 1, n) of n pixels; on the CPU.

        Args:
            reads: flat indices of the pixels that are read; None reads them all.
        """
        y = torch.from_numpy(self.values[self.rows[at.cpu()].numpy()]).unsqueeze(1)
        return y if reads is None else y.flatten(2)[:, :, reads.cpu()]


@dataclass(frozen=True)
class Origin:
    """What pairs say of how they came about; None is what they do not say.

    `rig_id` and `fingerprint` of the rig, `rays` of its simulation, `frames` averaged into one measurement.
    """

    rig_id: str | None = None
    fingerprint: str | None = None
    rays: int | None = None
    frames: int | None = None


class PairSource(Protocol):
    """Where scenes with measurements come from."""

    name: str
    origin: Origin
    raw: bool  # whether its frames are raw, and need a calibration

    def calibration(self) -> Calibration:
        """The calibration that lies beside the frames.

        Raises:
            InputError: there is none.
        """

    def has(self, split: str) -> bool:
        """Whether it holds scenes of this split, as far as can be told before they are read."""

    def scenes(self, split: str, calibration: Calibration | None, track: Track) -> MeasuredScenes:
        """The scenes of a split; their measurements are computed once, and kept in the cache.

        Raises:
            InputError: no scenes in this split, or damaged ones.
            CalibrationMismatch: the calibration is of another camera.
        """
