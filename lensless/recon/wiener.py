"""The best linear estimate: Wiener's filter, from mean and covariance of the scenes and the noise of the sensor."""

import dataclasses

import torch
from torch import Tensor

from lensless.optics import ForwardModel


@dataclasses.dataclass(frozen=True)
class SceneStatistics:
    """First two moments of scenes, float64: `mean` (N,) and `covariance` (N, N), N = C H W; fitted on training scenes.

    `prior` is what a filter takes for the covariance, (N, N): what few scenes tell of all others; None: the same.
    """

    mean: Tensor
    covariance: Tensor
    prior: Tensor | None = None

    @property
    def regular_covariance(self) -> Tensor:
        """The prior with 1e-4 added to each variance: pixels that are black in every scene have none."""
        prior = self.covariance if self.prior is None else self.prior
        return prior + 1e-4 * torch.eye(len(self.mean), dtype=torch.float64, device=self.mean.device)

    @property
    def level(self) -> Tensor:
        """Mean of all pixels of all scenes, ()."""
        return self.mean.mean()

    @property
    def spread(self) -> Tensor:
        """Standard deviation of all pixels of all scenes, (); above 0 also where they are all alike."""
        return (self.covariance.diagonal().mean() + self.mean.var(correction=0)).sqrt().clamp_min(0.01)

    def each_alone(self, channels: int) -> "SceneStatistics":
        """The same of scenes of so many channels, with nothing told of one by another."""
        prior = None if self.prior is None else _blocks_alone(self.prior, channels)
        return SceneStatistics(self.mean, _blocks_alone(self.covariance, channels), prior)

    @classmethod
    def of(cls, scenes: Tensor) -> "SceneStatistics":
        """Moments of scenes (B, C, H, W).

        A sample's covariance knows no more directions than it has scenes, and a filter made with it sees nothing else.
        The prior is mixed with the covariance of the scenes if they were stationary, by the share that is nearest to
        the true one in the mean (Ledoit and Wolf 2004, doi 10.1016/S0047-259X(03)00096-4): of 20,000 digits about a
        thousandth, of 300 photographs most of it.
        """
        flat = scenes.flatten(1).double()
        mean = flat.mean(0)
        centred = flat - mean
        sample = centred.T @ centred / len(flat)
        even = stationary(centred.reshape(scenes.shape))
        distance = float((sample - even).square().sum())
        doubt = (float(centred.square().sum(1).square().mean()) - float(sample.square().sum())) / len(flat)
        share = 1.0 if distance <= doubt else max(0.0, doubt) / distance
        return cls(mean, sample, even.lerp_(sample, 1 - share))


def _blocks_alone(covariance: Tensor, channels: int) -> Tensor:
    blocks = covariance.unflatten(0, (channels, -1)).unflatten(2, (channels, -1))  # (C, H W, C, H W)
    return torch.block_diag(*(blocks[channel, :, channel] for channel in range(channels)))


def stationary(centred: Tensor) -> Tensor:
    """The covariance of scenes (B, C, H, W) about their mean if it hung on the distance of two pixels alone, (N, N).

    The mean product of all pairs at each distance. Those at far distances are few: what they know only by chance is
    drawn to 0 by a normal curve as wide as the scene. Negative power in the spectrum is cut off, so that it is a
    covariance.
    """
    count, channels, rows, columns = centred.shape
    period = (2 * rows, 2 * columns)  # black around a scene, so that no pair is taken across its rim
    power = sum(_power(block, period) for block in centred.split(256)) / count
    weights = [_weights(side, centred) for side in (rows, columns)]
    lags = torch.fft.irfft2(power, period) * weights[0][:, None] * weights[1]
    spectrum = torch.fft.rfft2(lags).permute(2, 3, 0, 1)  # (2 H, W + 1, C, C), Hermitian
    values, vectors = torch.linalg.eigh((spectrum + spectrum.mH) / 2)
    spectrum = (vectors * values.clamp_min(0).unsqueeze(-2)) @ vectors.mH
    lags = torch.fft.irfft2(spectrum.permute(2, 3, 0, 1), period)  # (C, C, 2 H, 2 W)
    down = (torch.arange(rows)[:, None] - torch.arange(rows)) % period[0]
    right = (torch.arange(columns)[:, None] - torch.arange(columns)) % period[1]
    by_row = lags[:, :, down]  # (C, C, H, H, 2 W)
    return by_row[..., right].permute(0, 2, 4, 1, 3, 5).reshape(channels * rows * columns, -1)


def _power(block: Tensor, period: tuple[int, int]) -> Tensor:
    spectrum = torch.fft.rfft2(block, period)
    return torch.einsum("bchw,bdhw->cdhw", spectrum, spectrum.conj())


def _weights(side: int, like: Tensor) -> Tensor:
    """Of each lag on a period of twice the side: one over how many pairs have it, times the normal curve, (2 side,)."""
    lag = torch.fft.fftfreq(2 * side, 1 / (2 * side), dtype=like.dtype, device=like.device).abs()
    pairs = side - lag
    return torch.where(pairs > 0, torch.exp(-0.5 * (lag / side).square()) / pairs.clamp_min(1), 0.0)


@dataclasses.dataclass(frozen=True)
class LinearEstimate:
    """x = offset + matrix y: `matrix` (N, n), `offset` (N,), float32."""

    matrix: Tensor
    offset: Tensor

    def __call__(self, y: Tensor) -> Tensor:
        """Estimates (B, N) from measurements (B, ...) of n numbers each."""
        return y.flatten(1) @ self.matrix.T + self.offset


def wiener(matrix: Tensor, noise_variance: Tensor, scenes: SceneStatistics) -> LinearEstimate:
    """The linear estimate of least mean squared error for y = matrix x + noise.

        x = m + (A* N^-1 A + C^-1)^-1 A* N^-1 (y - A m)

    (Kay, Fundamentals of Statistical Signal Processing I, 1993, theorem 12.1.)

    Args:
        matrix: (n, N), the forward model, or any linear function of a measurement of it.
        noise_variance: (n,), of independent noise, in the units of y squared.
        scenes: mean m and covariance C.
    """
    if len(matrix) < matrix.shape[1]:  # the same, by inverting what is smaller: x = m + C A* (A C A* + N)^-1 (y - A m)
        seen = scenes.regular_covariance @ matrix.double().T
        estimate = torch.linalg.solve(matrix.double() @ seen + noise_variance.double().diag(), seen.T).T
        return LinearEstimate(estimate.float(), (scenes.mean - estimate @ (matrix.double() @ scenes.mean)).float())
    weighted = (matrix.double() / noise_variance.double()[:, None]).T  # A* N^-1
    information = weighted @ matrix.double() + torch.linalg.inv(scenes.regular_covariance)
    estimate = torch.linalg.solve(information, weighted)
    offset = scenes.mean - estimate @ (matrix.double() @ scenes.mean)
    return LinearEstimate(estimate.float(), offset.float())


def wiener_of(A: ForwardModel, noise_variance: Tensor, scenes: SceneStatistics) -> LinearEstimate:
    """`wiener` for a whole forward model; `noise_variance` is (H', W')."""
    return wiener(A.as_matrix(), noise_variance.flatten(), scenes)


def posterior_std(matrix: Tensor, noise_variance: Tensor, scenes: SceneStatistics) -> Tensor:
    """Error bars of `wiener`: the standard deviation of each scene pixel about its estimate, (N,), float64.

    The roots of the diagonal of (A* N^-1 A + C^-1)^-1: noise, and what the measurement does not tell (Kay, section
    12.3). Arguments as of `wiener`.
    """
    weighted = matrix.double() / noise_variance.double()[:, None]
    information = weighted.T @ matrix.double() + torch.linalg.inv(scenes.regular_covariance)
    return torch.linalg.inv(information).diagonal().clamp_min(0).sqrt()


def expected_error(
    information: Tensor,
    scenes: SceneStatistics,
    seen: Tensor | None = None,
    background: Tensor | float = 0.0,
    excess: Tensor | float = 0.0,
) -> float:
    """Mean squared error per scene pixel of `wiener`, in closed form, not clamped.

        ((I - K A') C (I - K A')* + K N' K* + b b*) / N, its trace, with K = P A* N^-1, P = (J + C_r^-1)^-1,
        b = K (A' - A) (m + background)

    The error of the estimate in Kay, Fundamentals of Statistical Signal Processing I, 1993, section 12.3; at A' = A and
    C_r = C it is the trace of P. C_r is the regular covariance, with which the filter was made.

    Args:
        information: J = A* N^-1 A, (N, N), of the matrix and the noise that the filter knows.
        scenes: mean m and covariance C.
        seen: A* N^-1 A' where frames come from another matrix A' than the filter knows.
        background: what else lights the scene in each frame, in units of the scenes, (N,) or a number.
        excess: A* N^-1 (N' - N) N^-1 A, where the noise of the frames, N', is not what the filter was told.
    """
    identity = torch.eye(len(information), dtype=torch.float64, device=information.device)
    posterior = torch.linalg.inv(information + torch.linalg.inv(scenes.regular_covariance))
    seen = information if seen is None else seen
    left = identity - posterior @ seen
    bias = posterior @ ((seen - information) @ (scenes.mean + background))
    noise = (posterior @ (information + excess)) * posterior
    return float((((left @ scenes.covariance) * left).sum() + bias @ bias + noise.sum()) / len(information))
