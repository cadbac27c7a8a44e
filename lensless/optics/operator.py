"""The forward model: what every rig is to the rest of the project, a linear map from scene to measurement."""

import abc

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.linalg import eigh_tridiagonal
from scipy.special import ndtri
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.optics.checks import checked_shape

# Singular values come from the Gram matrix in float64: exact to this share of the largest one.
GRAM_FLOOR = 1e-7


class ForwardModel(nn.Module, abc.ABC):
    """A linear, noiseless map y = A x from scene radiance to sensor illuminance.

    Scene `x` is (B, C, H, W), linear radiance, white = 1. Measurement `y` is (B, C, H', W'); y = 1 is the brightest
    pixel of an all-white scene. Every channel passes the same map, unless `channels` says how many there are; a colour
    mosaic makes one channel of them, which `measured_channels` says.

    `sampling_error` is the relative Frobenius error of a model built by sampling, as estimated from two
    independent halves of its samples; 0 for a model in closed form. `sampling_spectrum` holds the singular values of
    that error, largest first, float64; None for a model in closed form, or where they were not estimated.
    """

    channels: int | None = None  # None: any number, all alike; else C, and matrix and vectors go channel first
    measured_channels: int | None = None  # of a measurement, where they are not as many as the scene's

    def __init__(
        self,
        scene_shape: tuple[int, int],
        sensor_shape: tuple[int, int],
        sampling_error: float = 0.0,
        sampling_spectrum: Tensor | None = None,
    ):
        super().__init__()
        self.scene_shape, self.sensor_shape = checked_shapes(scene_shape, sensor_shape)
        self.sampling_error = float(sampling_error)
        self.sampling_spectrum = sampling_spectrum

    @abc.abstractmethod
    def A(self, x: Tensor) -> Tensor:
        """Measurement of scenes: (B, C, H, W) -> (B, C, H', W')."""

    @abc.abstractmethod
    def A_adjoint(self, y: Tensor) -> Tensor:
        """The transpose of `A`: (B, C, H', W') -> (B, C, H, W), so that <A x, y> = <x, A_adjoint y>."""

    @abc.abstractmethod
    def as_matrix(self) -> Tensor:
        """The map as a dense matrix, (H' W', H W), row-major in both planes."""

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one scene; C is 1 where any number will do."""
        return self.channels or 1, *self.scene_shape

    def forward(self, x: Tensor) -> Tensor:
        return self.A(x)

    def normal(self, x: Tensor) -> Tensor:
        """A* A x."""
        return self.A_adjoint(self.A(x))

    def rows(self, pixels: Tensor) -> Tensor:
        """The rows of the matrix that belong to these flat indices of pixels: (n,) -> (n, H W)."""
        return self.as_matrix()[pixels]

    def gram(self, weights: Tensor | None = None) -> Tensor:
        """A* A as a dense float64 matrix, (H W, H W); with `weights` of the pixels, (H' W',), A* diag(weights) A."""
        matrix = self.as_matrix()
        return gram_of(matrix if weights is None else matrix * weights.sqrt().to(matrix.dtype)[:, None])

    def norm(self) -> float:
        """The largest singular value of A."""
        return float(self.singular_values()[0])

    def singular_values(self) -> Tensor:
        """Singular values, largest first, float64; below 1e-7 of the largest they are rounding errors."""
        matrix = self.as_matrix()
        rows, columns = matrix.shape
        small = gram_of(matrix if rows >= columns else matrix.T)
        return roots(small)

    def svd(self, rank: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The leading `rank` terms of A = U diag(s) Vh, in the dtype of the model.

        Returns U (H' W', r), s (r,), Vh (r, H W). Directions with s below 1e-7 of the largest are left out: the Gram
        matrix, through which the decomposition goes because it is small, does not know them. For the same reason the
        smaller plane's vectors are orthonormal to rounding, the larger one's only to rounding times (s[0] / s)^2 in
        float64, and times s[0] / s in float32.
        """
        return leading_svd(self.as_matrix(), rank)

    def A_dagger(self, y: Tensor) -> Tensor:
        """The pseudo-inverse: the shortest x of those with the smallest |A x - y|."""
        U, s, Vh = self.svd()
        x = (self._flat_measurement(y) @ U) / s @ Vh
        return x.reshape(len(y), -1, *self.scene_shape)

    def vectors(self, x: Tensor) -> Tensor:
        """Scenes (B, C, H, W) as the matrix takes them: (B, C, H W), or (B, 1, C H W) where it mixes channels."""
        return x.flatten(2) if self.channels is None else x.flatten(1).unsqueeze(1)

    def scene_channels(self, y: Tensor) -> int:
        """How many channels the scenes of measurements (B, C, H', W') have."""
        return y.shape[1] if self.channels is None else self.channels

    def _flat_scene(self, x: Tensor) -> Tensor:
        return _flat(x, self.scene_shape, self.channels)

    def _flat_measurement(self, y: Tensor) -> Tensor:
        return _flat(y, self.sensor_shape, self.measured_channels or self.channels)


class DenseModel(ForwardModel):
    """Base of the models that are kept as one dense matrix, (H' W', H W)."""

    def __init__(
        self, matrix: Tensor, scene_shape, sensor_shape, sampling_error: float = 0.0,
        sampling_spectrum: Tensor | None = None,
    ):  # fmt: skip
        super().__init__(scene_shape, sensor_shape, sampling_error, sampling_spectrum)
        expected = (self.sensor_shape[0] * self.sensor_shape[1], self.scene_shape[0] * self.scene_shape[1])
        if tuple(matrix.shape) != expected:
            raise ConfigurationError(
                f"matrix has shape {tuple(matrix.shape)}, expected {expected} (sensor cells, scene pixels)"
            )
        self.register_buffer("matrix", matrix, persistent=False)

    def A(self, x: Tensor) -> Tensor:
        y = self._flat_scene(x) @ self.matrix.T
        return y.reshape(*x.shape[:2], *self.sensor_shape)

    def A_adjoint(self, y: Tensor) -> Tensor:
        x = self._flat_measurement(y) @ self.matrix
        return x.reshape(*y.shape[:2], *self.scene_shape)

    def as_matrix(self) -> Tensor:
        return self.matrix


def _flat(image: Tensor, shape: tuple[int, int], channels: int | None) -> Tensor:
    fits = image.ndim == 4 and tuple(image.shape[-2:]) == shape
    if not fits or channels not in (None, image.shape[1]):
        raise ConfigurationError(
            f"forward model: got an array of shape {tuple(image.shape)}, "
            f"expected (batch, {channels or 'channels'}, {shape[0]}, {shape[1]})"
        )
    return image.flatten(2)


def checked_shapes(scene_shape, sensor_shape) -> tuple[tuple[int, int], tuple[int, int]]:
    """Both shapes as plain integers.

    Raises:
        ConfigurationError: one is not (rows, columns), each a whole number of at least 1.
    """
    return checked_shape("scene_shape", scene_shape), checked_shape("sensor_shape", sensor_shape)


def real_tensor(array: ArrayLike | Tensor, name: str) -> Tensor:
    """An array of real numbers as a tensor of floating point; a copy, unless it is a tensor already.

    Raises:
        ConfigurationError: it holds something else.
    """
    try:
        tensor = array.detach() if isinstance(array, Tensor) else torch.from_numpy(np.array(array))
    except (TypeError, ValueError) as error:  # words, objects, ragged rows
        raise ConfigurationError(f"{name} holds no numbers ({error}); expected real numbers") from error
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise ConfigurationError(f"{name} holds {tensor.dtype}; expected real numbers")
    return tensor if tensor.is_floating_point() else tensor.float()


def noise_reach(entries: int) -> float:
    """How many standard deviations off one of so many numbers is, by normal noise, in one of 1000 cases; at least 5."""
    return max(5.0, -float(ndtri(1e-3 / entries)))


def largest_singular_value(A: ForwardModel, like: Tensor, steps: int = 300) -> float:
    """|A| of a model whose matrix is too large to write down, by Lanczos' iteration on A* A.

    It starts from positive numbers, which no largest direction of a matrix without negative entries is orthogonal to.
    Without reorthogonalisation, since that spoils multiplicities only. Exact to the square root of the precision of
    `like` in the worst case (the residual of the Ritz pair, by which it stops), far better as a rule.

    Args:
        like: a tensor with the dtype and the device of the model.
    """
    tolerance = torch.finfo(like.dtype).eps ** 0.5
    shape = (1, A.channels or 1, *A.scene_shape)
    v = 0.5 + torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(like)
    v, before = v / v.norm(), torch.zeros_like(v)
    diagonal, beside = [], [0.0]
    for _ in range(steps):
        w = A.normal(v).sub_(before, alpha=beside[-1])
        diagonal.append(float((w * v).sum()))
        w.sub_(v, alpha=diagonal[-1])
        beside.append(float(w.norm()))
        square, ritz = eigh_tridiagonal(diagonal, beside[1:-1], select="i", select_range=(len(diagonal) - 1,) * 2)
        if beside[-1] * abs(ritz[-1, 0]) <= tolerance * square[0]:
            break
        v, before = w / beside[-1], v
    return float(square[0]) ** 0.5


def gram_of(tall: Tensor, rows_at_once: int = 16384) -> Tensor:
    """tall.T @ tall in float64, in pieces, so that no float64 copy of the whole matrix is made."""
    total = torch.zeros(tall.shape[1], tall.shape[1], dtype=torch.float64, device=tall.device)
    for piece in tall.split(rows_at_once):
        piece = piece.double()
        total.addmm_(piece.T, piece)
    return total


def roots(J: Tensor) -> Tensor:
    """Roots of the eigenvalues of a symmetric matrix, largest first; those that rounding made negative count as 0."""
    return torch.linalg.eigvalsh(J).flip(0).clamp_min(0).sqrt()


def leading_svd(
    matrix: Tensor, rank: int | None = None, exact_right: bool | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """`ForwardModel.svd` of any dense matrix; `exact_right` says that Vh is orthonormal to rounding, else U is."""
    if not (matrix.shape[0] >= matrix.shape[1] if exact_right is None else exact_right):
        U, s, Vh = _svd_of_tall(matrix.T, rank)
        return Vh.T.contiguous(), s, U.T.contiguous()
    return _svd_of_tall(matrix, rank)


def _svd_of_tall(matrix: Tensor, rank: int | None) -> tuple[Tensor, Tensor, Tensor]:
    squares, V = torch.linalg.eigh(gram_of(matrix))
    s = squares.flip(0).clamp_min(0).sqrt()
    keep = int((s > GRAM_FLOOR * s[0]).sum())
    keep = keep if rank is None else min(keep, rank)
    s, V = s[:keep].to(matrix.dtype), V.flip(1)[:, :keep].to(matrix.dtype)
    return matrix @ (V / s), s, V.T.contiguous()
