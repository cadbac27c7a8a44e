"""Total variation by the alternating direction method of multipliers: few iterations, each with a closed inner step.

    minimise 1/2 |A x - y|^2 + weight TV(x), x in a box

is split by z = D x, which total variation shortens, and u = x, which the box clamps. What is left in x is quadratic,
and its solution closed (Boyd et al. 2011, doi:10.1561/2200000016, section 3; the penalty is balanced by the residuals,
section 3.4.1).

- A model whose matrix can be written down: (A* A + penalty (D* D + I))^-1, inverted once for each penalty. (A singular
  value decomposition of A alone would want a third split, and many more iterations.)
- A mask: a convolution on a period, of which the sensor sees a part. A third split, v = H x, keeps the crop out of x,
  so that the inverse is diagonal in the Fourier plane (Almeida and Figueiredo 2013, doi:10.1109/TIP.2013.2258354). The
  period is wider than the scene: beyond it u is 0 and z free, and the total variation is that of the scene alone.
"""

import abc
import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import Channels, ForwardModel, Mask
from lensless.recon.checks import Box, check_problem
from lensless.recon.solution import Solution
from lensless.recon.total_variation import gradient, gradient_adjoint, shrink

_RELAX = 1.8  # (Boyd et al., section 3.4.3)
MOST_POINTS = 8192
_PENALTY = 3e-3  # of the square of the norm: what 9 problems of three kinds of masks, at three weights, end best with
_SENSOR = 0.1  # penalty of the split of H x, whose own curvature is 1
_LOOK_EVERY, _UNBALANCED, _BALANCED_BY = 10, 5.0, 2.0


@torch.no_grad()
def admm(
    A: ForwardModel,
    y: Tensor,
    weight: float = 1e-3,
    iterations: int = 100,
    tolerance: float = 1e-4,
    box: Box = (0.0, 1.0),
    penalty: float | None = None,
) -> Solution:
    """The scene in the box that minimises 1/2 |A x - y|^2 + weight TV(x), TV isotropic.

    Args:
        A: a mask, or channels of masks; or a model whose matrix A* A, (H W)^2 numbers, has room.
        y: measurements, (B, C, H', W').
        weight: of the total variation; 0: least squares in the box.
        iterations: at most.
        tolerance: of the primal and the dual residual, each relative, below which it ends; 0: never.
        box: (lowest, highest) of a scene; (0, inf) is non-negativity.
        penalty: with which it begins; chosen by the model's norm by default.

    Raises:
        ConfigurationError: an argument that cannot be.
    """
    check_problem("admm", A, y, weight, box, iterations, tolerance)
    if penalty is not None and not (isinstance(penalty, int | float) and math.isfinite(penalty) and penalty > 0):
        raise ConfigurationError(f"admm: penalty = {penalty!r}; expected a finite number above 0")
    masks = _masks_of(A, y.shape[1])
    if masks is not None and len({mask.period for mask, _ in masks}) > 1:  # nothing but the weight couples channels
        one = [
            admm(Channels([m], [w]), y[:, k : k + 1], weight, iterations, tolerance, box, penalty)
            for k, (m, w) in enumerate(masks)
        ]
        change, done = max(s.change for s in one), max(s.iterations for s in one)
        return Solution.of(A, y, weight, torch.cat([s.x for s in one], 1), change, done, tolerance)
    split = _Dense(A, y, weight, box, penalty) if masks is None else _Fourier(masks, y, weight, box, penalty)
    change, done = math.inf, 0
    while done < iterations:
        done += 1
        looked = done % _LOOK_EVERY == 0 or done == iterations
        residuals = split.step(looked)
        if not looked:
            continue
        change = max(residuals)
        if change < tolerance:
            break
        if done < iterations / 2:
            split.balance(*residuals)
    return Solution.of(A, y, weight, split.x.to(y.dtype), change, done, tolerance)


def _masks_of(A: ForwardModel, channels: int) -> list[tuple[Mask, float]] | None:
    """The mask of each channel and its weight; None for another kind of model."""
    if isinstance(A, Mask):
        return [(A, 1.0)] * channels
    if isinstance(A, Channels) and all(isinstance(model, Mask) for model in A.models):
        return list(zip(A.models, A.weights, strict=True))
    return None


class _Split(abc.ABC):
    """Iterates: z and x are what D x and x are split into, a and b their scaled multipliers."""

    x: Tensor
    _a: Tensor
    _b: Tensor
    _penalty: float

    @abc.abstractmethod
    def step(self, looked: bool) -> tuple[float, float] | None:
        """One iteration; the primal and the dual residual, relative, where they are looked at."""

    @abc.abstractmethod
    def _set_penalty(self, penalty: float) -> None:
        """Compute what depends on the penalty."""

    def balance(self, primal: float, dual: float) -> None:
        """Another penalty, where one residual is far above the other."""
        by = _BALANCED_BY if primal > _UNBALANCED * dual else 1 / _BALANCED_BY if dual > _UNBALANCED * primal else 1.0
        if by != 1:
            self._set_penalty(self._penalty * by)
            self._a, self._b = self._a / by, self._b / by


class _Dense(_Split):
    """Of a model of which A* A is at hand.

    In float64 whatever y is: the inverse is as large as 1 / penalty, and in float32 its rounding errors keep the
    residuals of a cannula near 1e-2 for ever.
    """

    def __init__(self, A: ForwardModel, y: Tensor, weight: float, box: Box, penalty: float | None):
        self._weight, self._box = weight, box
        points = math.prod(A.scene_shape)
        if points > MOST_POINTS:
            raise ConfigurationError(
                f"admm: scenes of {points} pixels, limit {MOST_POINTS} for a model that is no mask, as it inverts a "
                "matrix of that size; use fista"
            )
        gram = A.gram()  # of channels, a block for each
        self._gram = torch.stack([gram[at : at + points, at : at + points] for at in range(0, len(gram), points)])
        each = torch.eye(points, dtype=torch.float64, device=y.device).reshape(points, 1, *A.scene_shape)
        self._smooth = each.flatten(1) + gradient_adjoint(gradient(each)).flatten(1)
        norm2 = float(torch.linalg.matrix_norm(self._gram, 2).max())
        self._set_penalty(max(_PENALTY * norm2, 10 * weight) if penalty is None else penalty)
        self._adjoint = A.A_adjoint(y).double()
        self.x = torch.zeros_like(self._adjoint).clamp_(*box)
        self._z = self.x.new_zeros(2, *self.x.shape)
        self._a, self._b = torch.zeros_like(self._z), torch.zeros_like(self.x)

    def _set_penalty(self, penalty: float) -> None:
        factor = torch.linalg.cholesky(self._gram + penalty * self._smooth)
        self._penalty, self._inverse = penalty, torch.cholesky_inverse(factor)

    def step(self, looked: bool) -> tuple[float, float] | None:
        pulled = gradient_adjoint(self._z - self._a) + self.x - self._b
        right = self._adjoint + self._penalty * pulled
        x = (right.flatten(2).transpose(0, 1) @ self._inverse).transpose(0, 1).reshape(right.shape)
        slopes, z_before, u_before = gradient(x), self._z, self.x
        a, b = self._a + torch.lerp(z_before, slopes, _RELAX), self._b + torch.lerp(u_before, x, _RELAX)
        self._z, self.x = shrink(a, self._weight / self._penalty), b.clamp(*self._box)
        self._a, self._b = a - self._z, b - self.x
        if not looked:
            return None
        primal = _norm(slopes - self._z, x - self.x) / max(_norm(slopes, x), _norm(self._z, self.x), 1e-30)
        moved = gradient_adjoint(self._z - z_before) + self.x - u_before
        dual = _norm(moved) / max(_norm(gradient_adjoint(self._a) + self._b), 1e-30)
        return primal, dual


class _Fourier(_Split):
    """Of masks. Beside z and x there is v, which H x is split into; c is its multiplier.

    All live on the period. Where nothing is asked of a split, it is what it splits, and its multiplier is 0: outside of
    the scene for z, outside of the sensor for v. Only what differs from that is computed in the plane, the rest in
    Fourier's.
    """

    def __init__(self, masks: list[tuple[Mask, float]], y: Tensor, weight: float, box: Box, penalty: float | None):
        self._weight, self._box = weight, box
        first = masks[0][0]
        self._period, self._scene = first.period, (slice(first.scene_shape[0]), slice(first.scene_shape[1]))
        self._seen = first.seen
        self._y = y[..., *first.lit]
        self._H = torch.stack([mask.transfer * w for mask, w in masks])
        self._power = self._H.abs().square()
        self._smooth = _laplacian(self._period, y)
        self._set_penalty(max(_PENALTY * float(self._power.max()), 30 * weight) if penalty is None else penalty)
        self._b = y.new_zeros(*y.shape[:2], *self._period)
        self._X, self._beside = torch.fft.rfft2(self._b), torch.zeros_like(self._b)
        self.x = y.new_zeros(*y.shape[:2], *first.scene_shape).clamp_(*box)
        self._z = y.new_zeros(2, *self.x.shape)
        self._a, self._slopes = torch.zeros_like(self._z), torch.zeros_like(self._z)
        self._v = self._y / (1 + _SENSOR)
        self._c, self._Hx = -self._v, torch.zeros_like(self._y)

    def _set_penalty(self, penalty: float) -> None:
        """What each transform of the right side is multiplied with; see `step`."""
        inverse = 1 / (_SENSOR * self._power + penalty * (self._smooth + 1))
        self._penalty, self._of_plane = penalty, penalty * inverse
        self._of_sensor = _SENSOR * inverse * self._H.conj()
        self._of_before = (penalty * self._smooth + _SENSOR * self._power) * inverse

    def step(self, looked: bool) -> tuple[float, float] | None:
        plane = self._b.neg()
        in_scene = plane[..., *self._scene]
        in_scene += self.x
        in_scene += gradient_adjoint(self._z - self._a - self._slopes)
        torch.sub(self._v - self._c, self._Hx, out=self._beside[..., *self._seen])
        self._X = torch.fft.rfft2(plane).mul_(self._of_plane).add_(self._X.mul_(self._of_before))
        self._X.addcmul_(torch.fft.rfft2(self._beside), self._of_sensor)
        x = torch.fft.irfft2(self._X, s=self._period)
        self._Hx = torch.fft.irfft2(self._H * self._X, s=self._period)[..., *self._seen]
        self._slopes = gradient(x[..., *self._scene])
        before = self._z, self.x, self._v
        self._a += self._slopes
        self._b += x
        self._c += self._Hx
        self._z = shrink(self._a, self._weight / self._penalty)
        self.x = self._b[..., *self._scene].clamp(*self._box)  # and 0 beyond the scene
        self._v = (self._y + _SENSOR * self._c) / (1 + _SENSOR)
        self._a -= self._z
        self._b[..., *self._scene] -= self.x
        self._c -= self._v
        if not looked:
            return None
        here, x[..., *self._scene] = (self._z, self.x, self._v), x[..., *self._scene] - self.x
        size = max(_norm(*here), 1e-30)
        primal = _norm(self._slopes - self._z, x, self._Hx - self._v) / size
        return primal, _norm(*(new - old for new, old in zip(here, before, strict=True))) / size


def _laplacian(period: tuple[int, int], like: Tensor) -> Tensor:
    """Eigenvalues of D* D on a periodic plane, as `torch.fft.rfft2` orders them."""
    rows, columns = period
    down = 2 - 2 * torch.cos(2 * math.pi * torch.arange(rows, dtype=torch.float64) / rows)
    right = 2 - 2 * torch.cos(2 * math.pi * torch.arange(columns // 2 + 1, dtype=torch.float64) / columns)
    return (down[:, None] + right).to(like)


def _norm(*parts: Tensor) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in parts))
