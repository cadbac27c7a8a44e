"""An HDF5 file of frames and pictures that another program wrote, as pairs to learn from.

    frames     (N, H', W')               unsigned: raw digital numbers, which need a calibration; or floating point:
                                         measurements, white = 1
    pictures   (N, h, w) or (N, 1, h, w) uint8, or floating point in [0, 1], which is rounded to 8 bits
    labels     (N,)                      whole numbers from 0, -1 unknown; may be missing

Each row is one scene. What a picture shows decides its split (80 : 10 : 10), so copies stay together.
"""

import difflib
import functools
import hashlib
import pathlib
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from calibration import Calibration
from hardware import CameraSettings, Frame, FrameMeta
from hardware.errors import CalibrationMismatch, ConfigurationError, FrameSaturated, InputError
from hardware.recording import foreign
from hardware.recording.foreign import Dataset
from lensless.data import array_cache
from lensless.data.download import pin_of
from lensless.data.measured_scenes import MeasuredScenes, Origin, Track
from lensless.data.scene_set import content_groups, fall_into

USUAL = {
    "frames": ("frames", "measurements", "captures", "diffuser", "raw", "y", "inputs"),
    "pictures": ("pictures", "scenes", "images", "ground_truth", "lensed", "x", "targets"),
    "labels": ("labels", "label", "classes", "targets_class"),
}
MOST_CLASSES = 10_000
_CODE = 1  # goes up when measurements are computed in another way: what was cached is then computed again


@dataclass(frozen=True)
class PairsFile:
    """The pairs of one file: `frames`, `pictures` and, where there are some, `labels` are its arrays."""

    path: pathlib.Path
    frames: Dataset
    pictures: Dataset
    labels: Dataset | None

    @classmethod
    def open(cls, address: str) -> "PairsFile":
        """Look at FILE.h5, or at FILE.h5?frames=NAME&pictures=NAME&labels=NAME, of unknown origin.

        Raises:
            ConfigurationError: an option that there is not.
            InputError: no such arrays in the file, or arrays that do not belong together.
        """
        place, _, query = address.partition("?")
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if asked.keys() - USUAL.keys():
            raise ConfigurationError(
                f"pairs:{address}: option '{min(asked.keys() - USUAL.keys())}' is unknown; there are {', '.join(USUAL)}"
            )
        path = pathlib.Path(place).expanduser()
        found = foreign.datasets(path)
        chosen = {role: _chosen(role, asked.get(role), found, path) for role in USUAL}
        file = cls(path, chosen["frames"], chosen["pictures"], chosen["labels"])
        file._check()
        return file

    @property
    def name(self) -> str:
        return f"pairs:{self.path.name}"

    @property
    def origin(self) -> Origin:
        return Origin(frames=1 if self.raw else None)

    @property
    def raw(self) -> bool:
        return self.frames.dtype.kind == "u"

    def calibration(self) -> Calibration:
        """The one that lies beside the file. Raises InputError if there is none."""
        beside = self.path.with_suffix(".calibration.npz")
        if beside.is_file():
            return Calibration.load(beside)
        raise InputError(
            f"'{self.path}': its frames are raw numbers, and no calibration lies beside it ('{beside}'); measure one "
            "(README: Your own rig) and name it with --calibration FILE.npz, or store measurements (floating point, "
            "white = 1)"
        )

    def has(self, split: str) -> bool:
        """True: which split a picture falls into is known when it is read."""
        return True

    def scenes(self, split: str, calibration: Calibration | None, track: Track) -> MeasuredScenes:
        """The pictures that fall into a split, with their measurements; those that are overexposed are left out.

        Args:
            calibration: for raw frames; None where the file holds measurements.

        Raises:
            InputError: none is left.
        """
        pictures, labels = self._pictures(), self._labels()
        classes = tuple(map(str, range(int(labels.max()) + 1)))
        groups = content_groups(list(pictures))
        at, key = fall_into(groups, split), self._key(calibration)
        values = array_cache.rows(key, self.frames.shape, functools.partial(self._measured, calibration, track))
        usable = ~np.isnan(values[at, 0, 0])
        refused, at = int((~usable).sum()), at[usable]
        if not len(at):
            raise InputError(
                f"'{self.path}' has {len(pictures)} pairs and none that can be used falls into '{split}' ({refused} "
                "are overexposed); expected about 80 of 100 in train and 10 each in val and test: add pairs"
            )
        notes = (
            (f"{refused:,} pairs of '{split}' were refused: too many of their pixels are clipped",) if refused else ()
        )
        return MeasuredScenes(
            torch.from_numpy(pictures[at]).unsqueeze(1), torch.from_numpy(labels[at]), classes, f"{self.name}/{split}",
            torch.from_numpy(groups[at]), notes, values=values, rows=torch.from_numpy(at), origin=key,
        )  # fmt: skip

    def _check(self) -> None:
        form = "frames (N, H, W), pictures (N, h, w) or (N, 1, h, w), labels (N,)"
        kinds = {"frames": ("uf", (3,)), "pictures": ("uf", (3, 4)), "labels": ("ui", (1,))}
        for role, (kind, dimensions) in kinds.items():
            one = getattr(self, role)
            if one is None:
                continue
            fits = one.dtype.kind in kind and len(one.shape) in dimensions and one.shape[:1] == self.frames.shape[:1]
            if role == "pictures":
                fits = (
                    fits and (len(one.shape) == 3 or one.shape[1] == 1) and one.dtype.str not in ("<u2", "<u4", "<u8")
                )
            if role == "frames":
                fits = fits and one.dtype.str not in ("<u4", "<u8")
            if one.problem or not fits:
                raise InputError(
                    f"'{self.path}': {role} '{one}' cannot be used; expected {form}, as many of each, frames of 8 "
                    "or 16 bits without sign or floating point, pictures of 8 bits or floating point"
                )

    def _pictures(self) -> np.ndarray:
        """(N, h, w) uint8."""
        blocks = []
        for block in foreign.values(self.path, self.pictures):
            if block.dtype.kind == "f":
                if not (np.isfinite(block).all() and block.min() >= 0 and block.max() <= 1):
                    raise InputError(
                        f"'{self.path}': pictures '{self.pictures.name}' hold values outside of 0 (black) to 1 "
                        "(white); divide them, or store 8 bits"
                    )
                block = (block * 255).round()
            blocks.append(block.astype(np.uint8))
        return np.concatenate(blocks).reshape(len(self), *self.pictures.shape[-2:])

    def __len__(self) -> int:
        return self.frames.shape[0]

    def _labels(self) -> np.ndarray:
        if self.labels is None:
            return np.full(len(self), -1, np.int64)
        labels = np.concatenate(list(foreign.values(self.path, self.labels)))
        low, high = int(labels.min()), int(labels.max())
        if low < -1 or high >= MOST_CLASSES:
            raise InputError(
                f"'{self.path}': labels '{self.labels.name}' run from {low} to {high}; expected 0 to "
                f"{MOST_CLASSES - 1}, and -1 where unknown"
            )
        return labels.astype(np.int64)

    def _key(self, calibration: Calibration | None) -> str:
        facts = [_CODE, pin_of(self.path).sha256, self.frames.name, calibration.id if self.raw else None]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

    def _measured(self, calibration: Calibration | None, track: Track) -> Iterator[np.ndarray]:
        """Measurements in blocks; NaN in those that are saturated."""
        rows = (row for block in foreign.values(self.path, self.frames) for row in block)
        for at, row in enumerate(track(rows, f"reading {self.name}", len(self))):
            yield (self._calibrated(row, at, calibration) if self.raw else self._checked(row, at))[None]

    def _checked(self, row: np.ndarray, at: int) -> np.ndarray:
        with np.errstate(over="ignore"):
            row = row.astype(np.float32)
        if not np.isfinite(row).all():  # of a float64 what float32 cannot hold, too
            raise InputError(f"'{self.path}': frame {at} holds numbers that are not finite; leave it out")
        return row

    def _calibrated(self, row: np.ndarray, at: int, calibration: Calibration) -> np.ndarray:
        if row.dtype.itemsize == 1 < calibration.bit_depth / 8:
            raise CalibrationMismatch(
                f"'{self.path}': frames of 8 bits, calibration {calibration.id} is of {calibration.bit_depth}; name "
                "another with --calibration, or store frames as the sensor gave them"
            )
        if int(row.max()) >= 2**calibration.bit_depth:
            raise InputError(
                f"'{self.path}', frame {at}: a pixel holds {row.max()}, the camera has {calibration.bit_depth} bits"
            )
        pixels = row.astype(np.uint8 if calibration.bit_depth <= 8 else np.uint16)
        try:
            return calibration.apply(Frame(pixels, _meta(calibration, at))).y
        except FrameSaturated:
            return np.full(calibration.shape, np.nan, np.float32)


def _meta(calibration: Calibration, at: int) -> FrameMeta:
    """The facts that the file cannot say are those of the calibration."""
    settings = CameraSettings(exposure_s=calibration.exposure_s[0], gain_db=calibration.gain_db)
    return FrameMeta(
        sequence=at, t_host_ns=time.monotonic_ns(), exposure_s=settings.exposure_s, gain_db=settings.gain_db,
        bit_depth=calibration.bit_depth, black_level_dn=0, pixel_format=f"Mono{calibration.bit_depth}",
        camera_id=calibration.camera_id, settings_id=settings.id,
    )  # fmt: skip


def _chosen(role: str, asked: str | None, found: dict[str, Dataset], path: pathlib.Path) -> Dataset | None:
    """The array of a role: the one that was named, or the only one with a usual name."""
    if asked is not None:
        if asked in found:
            return found[asked]
    else:
        usual = [name for name in USUAL[role] if name in found]
        if usual or role == "labels":
            return found[usual[0]] if usual else None
    nearest = difflib.get_close_matches(asked or role, found, n=1, cutoff=0.0)
    hint = f"; the nearest name is '{nearest[0]}': pairs:{path}?{role}={nearest[0]}" if nearest else ""
    listed = ", ".join(map(str, found.values())) or "no arrays of numbers"
    raise InputError(f"'{path}' has no {role} '{asked or role}'; it holds {listed}{hint}")
