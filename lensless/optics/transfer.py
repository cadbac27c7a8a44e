"""A measured matrix as a forward model: dense, or of low rank, and on disk in half precision where noise allows it."""

import math
import os
import pathlib
from collections.abc import Iterator

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import transfer_file
from lensless.optics.checks import check_range
from lensless.optics.operator import GRAM_FLOOR, ForwardModel, gram_of, noise_reach, real_tensor

_ENTRIES_AT_ONCE = 2**24
_LARGEST_HALF = 65504.0
# What facts that do not fit each other raise.
_UNFIT = (ConfigurationError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


class TransferMatrix(ForwardModel):
    """Any measured matrix, dense or as the product of two factors of low rank; y = A x is y = left (right x).

    Column j is the measurement of scene pixel j alone at full light, in units of white = 1; its scale is taken as it
    is. Light is not negative, but a measurement of none may be, by its noise: such entries are kept.
    `sampling_error` is the share of noise in the matrix (its Frobenius norm by `noise_std`), and of what was cut off.

    Args:
        matrix: (H' W', H W), row-major in both planes; with `right`, the left factor (H' W', r).
        scene_shape, sensor_shape: rows and columns.
        noise_std: of an entry, white = 1: one number, or one for each sensor cell.
        right: the right factor, (r, H W).
        negative_to: how many `noise_std` an entry may lie below zero, infinity for any; by default what noise alone
            exceeds in one of 1000 matrices of that size, at least 5.
        truncation_error: what the factors lack of the matrix that they stand for, as a share of its Frobenius norm.

    Raises:
        ConfigurationError: another shape, columns that hold NaN or infinity, entries negative beyond noise.
    """

    def __init__(
        self,
        matrix: ArrayLike | Tensor,
        scene_shape: tuple[int, int] = (32, 32),
        sensor_shape: tuple[int, int] = (64, 64),
        noise_std: float | ArrayLike | Tensor = 0.0,
        *,
        right: ArrayLike | Tensor | None = None,
        negative_to: float | None = None,
        truncation_error: float = 0.0,
    ):
        super().__init__(scene_shape, sensor_shape)
        left = real_tensor(matrix, "matrix")
        right = None if right is None else real_tensor(right, "right").to(left)
        self._check_shapes(left, right)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)
        self.register_buffer("noise_std", self._checked_noise(noise_std), persistent=False)
        self._check_finite()
        self._check_negative(
            noise_reach(len(left) * math.prod(self.scene_shape)) if negative_to is None else negative_to
        )
        check_range("TransferMatrix", "truncation_error", truncation_error, least=0, most=1)
        self.truncation_error = float(truncation_error)
        self.sampling_error = math.hypot(self._share_of_noise(), self.truncation_error)

    @classmethod
    def low_rank(
        cls, left: ArrayLike | Tensor, right: ArrayLike | Tensor, scene_shape=(32, 32), sensor_shape=(64, 64),
        noise_std: float | ArrayLike | Tensor = 0.0, negative_to: float | None = None,
    ) -> "TransferMatrix":  # fmt: skip
        """A = left @ right, (H' W', r) and (r, H W), which is never multiplied out to be applied."""
        return cls(left, scene_shape, sensor_shape, noise_std, right=right, negative_to=negative_to)

    @property
    def rank(self) -> int | None:
        """Columns of the left factor; None if the matrix is dense."""
        return None if self.right is None else len(self.right)

    def A(self, x: Tensor) -> Tensor:
        x_flat = self._flat_scene(x)
        inner = x_flat if self.right is None else x_flat @ self.right.T
        return (inner @ self.left.T).reshape(*x.shape[:2], *self.sensor_shape)

    def A_adjoint(self, y: Tensor) -> Tensor:
        inner = self._flat_measurement(y) @ self.left
        flat = inner if self.right is None else inner @ self.right
        return flat.reshape(*y.shape[:2], *self.scene_shape)

    def as_matrix(self) -> Tensor:
        return self.left if self.right is None else self.left @ self.right

    def rows(self, pixels: Tensor) -> Tensor:
        return self.left[pixels] if self.right is None else self.left[pixels] @ self.right

    def gram(self, weights: Tensor | None = None) -> Tensor:
        if self.right is None:
            return super().gram(weights)
        left = self.left if weights is None else self.left * weights.sqrt().to(self.left.dtype)[:, None]
        right = self.right.double()
        return right.T @ gram_of(left) @ right

    def singular_values(self) -> Tensor:
        if self.right is None:
            return super().singular_values()
        core, _, _ = self._core()
        s = torch.linalg.svdvals(core)
        return torch.cat([s, s.new_zeros(max(0, min(len(self.left), self.right.shape[1]) - len(s)))])

    def svd(self, rank: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        if self.right is None:
            return super().svd(rank)
        core, basis, scene_basis = self._core()
        U, s, Vh = torch.linalg.svd(core, full_matrices=False)
        keep = int((s > GRAM_FLOOR * s[0]).sum())
        keep = keep if rank is None else min(keep, rank)
        U, s, Vh = basis @ U[:, :keep], s[:keep], Vh[:keep] @ scene_basis.T
        return U.to(self.left), s.to(self.left), Vh.to(self.left)

    def _core(self) -> tuple[Tensor, Tensor, Tensor]:
        """A = basis @ core @ scene_basis.T, the bases orthonormal, float64."""
        basis, above = torch.linalg.qr(self.left.double())
        scene_basis, beside = torch.linalg.qr(self.right.double().T)
        return above @ beside.T, basis, scene_basis

    def compressed(self, tolerance: float) -> "TransferMatrix":
        """The model of lowest rank whose relative Frobenius error is at most `tolerance`, as two factors.

        `truncation_error` of the result states the error, `rank` the rank; the factors are smaller than the matrix
        if rank (H' W' + H W) < H' W' H W.

        Raises:
            ConfigurationError: a tolerance outside [1e-6, 1); singular values are not known better than to 1e-7.
        """
        check_range("TransferMatrix", "tolerance", tolerance, least=1e-6, below=1)
        squares = self.singular_values().square()
        left_out = (squares.flip(0).cumsum(0).flip(0) / squares.sum()).sqrt()  # error of keeping the first k
        kept = max(1, int((left_out > tolerance).sum()))
        U, s, Vh = self.svd(kept)
        error = float(left_out[len(s)]) if len(s) < len(left_out) else 0.0
        return TransferMatrix(
            U * s, self.scene_shape, self.sensor_shape, self.noise_std, right=Vh, negative_to=math.inf,
            truncation_error=math.hypot(self.truncation_error, error),
        )  # fmt: skip

    def save(self, path: str | os.PathLike) -> str:
        """Write the model to a file, at once or not at all.

        Returns:
            How the numbers stand in it: "float16" if that changes no entry of the matrix by more than its `noise_std`,
            else "float32".

        Raises:
            StorageError: it cannot be written; what stood there stays.
        """
        exact = {"left": self.left.float()} | ({} if self.right is None else {"right": self.right.float()})
        scales = {name: _scale_to_half(factor) for name, factor in exact.items()}
        half = {name: (factor * scales[name]).half() for name, factor in exact.items()}
        fits = self._equals_within_noise(**{name: factor.float() / scales[name] for name, factor in half.items()})
        facts = {
            "scene_shape": self.scene_shape,
            "sensor_shape": self.sensor_shape,
            "truncation_error": self.truncation_error,
            "scales": scales if fits else dict.fromkeys(scales, 1.0),
        }
        stored = (half if fits else exact) | {"noise_std": self.noise_std.float()}
        transfer_file.write(pathlib.Path(path), stored, facts)
        return "float16" if fits else "float32"

    @classmethod
    def load(cls, path: str | os.PathLike) -> "TransferMatrix":
        """The model in a file that `save` wrote, in float32, on the CPU.

        Raises:
            InputError: missing, damaged, or something else.
        """
        tensors, facts = transfer_file.read(pathlib.Path(path))
        try:
            factors = {name: tensors[name].float() / scale for name, scale in facts["scales"].items()}
            return cls(
                factors["left"], facts["scene_shape"], facts["sensor_shape"], tensors["noise_std"],
                right=factors.get("right"), negative_to=math.inf, truncation_error=facts["truncation_error"],
            )  # fmt: skip
        except _UNFIT as error:
            raise transfer_file.refusal(path, f"{type(error).__name__}: {error}") from error

    def _pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """The matrix by some of its rows at once, so that factors are never multiplied out as a whole."""
        count = max(1, _ENTRIES_AT_ONCE // math.prod(self.scene_shape))
        for begin in range(0, len(self.left), count):
            rows = slice(begin, begin + count)
            yield rows, self.left[rows] if self.right is None else self.left[rows] @ self.right

    def _equals_within_noise(self, left: Tensor, right: Tensor | None = None) -> bool:
        noise = self.noise_std.reshape(-1, 1).expand(len(left), 1)
        for rows, exact in self._pieces():
            other = left[rows] if right is None else left[rows] @ right
            if not bool(((other - exact).abs() <= noise[rows]).all()):  # NaN is not
                return False
        return True

    def _check_shapes(self, left: Tensor, right: Tensor | None) -> None:
        cells, pixels = math.prod(self.sensor_shape), math.prod(self.scene_shape)
        found = tuple(tuple(factor.shape) for factor in (left, right) if factor is not None)
        if right is None and found != ((cells, pixels),):
            raise ConfigurationError(
                f"TransferMatrix: matrix has shape {found[0]}, expected {(cells, pixels)} (sensor cells, scene pixels)"
            )
        rank = left.shape[-1] if left.ndim == 2 else 0
        if right is not None and (not rank or found != ((cells, rank), (rank, pixels))):
            raise ConfigurationError(
                f"TransferMatrix: factors have shapes {found[0]} and {found[1]}, "
                f"expected ({cells}, rank) and (rank, {pixels}) for {cells} sensor cells and {pixels} scene pixels"
            )

    def _checked_noise(self, noise_std: float | ArrayLike | Tensor) -> Tensor:
        """Of shape () or (H' W',)."""
        noise = real_tensor(noise_std, "noise_std").to(self.left)
        if noise.numel() == 1:
            noise = noise.reshape(())
        elif tuple(noise.shape) in (self.sensor_shape, (len(self.left),)):
            noise = noise.flatten()
        else:
            raise ConfigurationError(
                f"TransferMatrix: noise_std has shape {tuple(noise.shape)}; expected one number, or {self.sensor_shape}"
            )
        if not bool(((noise >= 0) & noise.isfinite()).all()):
            raise ConfigurationError("TransferMatrix: noise_std holds values outside [0, inf), white = 1")
        return noise

    def _check_finite(self) -> None:
        if self.right is not None and not bool(self.left.isfinite().all()):
            raise ConfigurationError("TransferMatrix: the left factor holds NaN or infinity; expected finite numbers")
        bad = torch.nonzero(~(self.left if self.right is None else self.right).isfinite().all(0)).flatten()
        if len(bad):
            row, column = divmod(int(bad[0]), self.scene_shape[1])
            raise ConfigurationError(
                f"TransferMatrix: {len(bad)} of {math.prod(self.scene_shape)} columns hold NaN or infinity, the first "
                f"that of scene pixel (row {row}, column {column}); measure them again"
            )

    def _check_negative(self, reach: float) -> None:
        check_range("TransferMatrix", "negative_to", reach, least=0)
        if reach == math.inf:
            return
        worst, place, lowest = 0.0, None, 0.0
        rounding = 8 * torch.finfo(self.left.dtype).eps * max(float(piece.amax()) for _, piece in self._pieces())
        limit = -reach * self.noise_std.reshape(-1, 1).expand(len(self.left), 1) - rounding
        for rows, piece in self._pieces():
            beyond = limit[rows] - piece
            if float(beyond.max()) > worst:
                worst, at = float(beyond.max()), divmod(int(beyond.argmax()), piece.shape[1])
                place, lowest = (rows.start + at[0], at[1]), float(piece[at])
        if place is not None:
            (cell_row, cell_column), (row, column) = (
                divmod(index, shape[1])
                for index, shape in zip(place, (self.sensor_shape, self.scene_shape), strict=True)
            )
            raise ConfigurationError(
                f"TransferMatrix: the column of scene pixel (row {row}, column {column}) is {lowest:g} at sensor cell "
                f"(row {cell_row}, column {cell_column}), white = 1; light is not negative, and noise allows "
                f"{float(limit[place[0]]):.3g}: measure it again with its dark frame, or state its noise_std"
            )

    def _share_of_noise(self) -> float:
        if self.right is None:
            norm = float(torch.linalg.vector_norm(self.left, dtype=torch.float64))
        else:
            norm = float((gram_of(self.left) * gram_of(self.right.T)).sum().clamp_min(0).sqrt())
        if not norm:
            raise ConfigurationError("TransferMatrix: every entry is 0; expected a matrix that passes light")
        noise = self.noise_std.double().expand(len(self.left)).norm() * math.prod(self.scene_shape) ** 0.5
        return float(noise) / norm


def _scale_to_half(factor: Tensor) -> float:
    """The power of two, exact in every format, that brings the largest entry just into the range of float16."""
    largest = float(factor.abs().max())
    return 2.0 ** max(-120, min(120, math.floor(math.log2(_LARGEST_HALF / largest)))) if largest else 1.0
