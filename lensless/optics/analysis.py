"""What a rig can see: how many independent numbers of a scene, how finely, and how much of it a small move upsets.

Most of it follows from one small matrix. With measurements y = A x + noise of the variances N, scenes of the covariance
C, and the information J = A* N^-1 A (scene pixels by scene pixels), the best linear estimate errs by the covariance
(J + C^-1)^-1, and a normal scene puts 1/2 log2 det(1 + J C) bits into a frame (Kay, Fundamentals of Statistical Signal
Processing I, 1993, chapter 12; Cover and Thomas, Elements of Information Theory, 2006, section 9.4).
"""

import dataclasses
import math

import torch
from torch import Tensor

from lensless.optics.operator import ForwardModel, roots

SCENE_RMS = 0.3  # of a scene whose pixels vary independently, white = 1
_ROWS_AT_ONCE = 16384


def matched_filter(A: ForwardModel, noise_variance: Tensor, columns: Tensor) -> Tensor:
    """A* N^-1 of measurements, float64, (H W, k), in pieces: no copy of the matrix is made.

    Args:
        A: forward model.
        noise_variance: of each pixel, white = 1, (H' W',) or (H', W').
        columns: measurements, or another matrix, (H' W', k).
    """
    whole = A.as_matrix()
    total = whole.new_zeros(whole.shape[1], columns.shape[1], dtype=torch.float64)
    pieces = (rows.split(_ROWS_AT_ONCE) for rows in (whole, noise_variance.flatten(), columns))
    for matrix, variance, column in zip(*pieces, strict=True):
        total.addmm_((matrix.double() / variance.double()[:, None]).T, column.double())
    return total


def information(A: ForwardModel, noise_variance: Tensor) -> Tensor:
    """J = A* N^-1 A, float64, (H W, H W); arguments as of `matched_filter`."""
    return A.gram(noise_variance.flatten().reciprocal())


def signal_to_noise(A: ForwardModel, noise_variance: Tensor, scene_rms: float = SCENE_RMS) -> Tensor:
    """Signal over noise of each mode, largest first, float64.

    The modes are those of N^-1/2 A, whose noise is 1: a scene of independent pixels with the standard deviation
    `scene_rms` gives mode k the signal scene_rms s_k. A mode is above the noise where that exceeds 1.

    Args:
        A: forward model.
        noise_variance: of each pixel, white = 1, (H' W',) or (H', W').
    """
    J = information(A, noise_variance)
    return scene_rms * roots(J)[: noise_variance.numel()]


def scene_signal_to_noise(J: Tensor, covariance: Tensor) -> Tensor:
    """The same for scenes of any covariance (H W, H W), from the information J: roots of the eigenvalues of J C."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt()
    return roots(root.T @ J @ root)


def information_bits(ratios: Tensor) -> float:
    """Bits that a frame holds of a normal scene: sum over the modes of 1/2 log2(1 + ratio^2); ratios as above."""
    return float(ratios.square().log1p().sum()) / (2 * math.log(2))


def modes_above_sampling(singular_values: Tensor, sampling_spectrum: Tensor | None) -> int:
    """How many singular values of a sampled matrix its sampling error E cannot have made.

    Those above |E|, its largest singular value: no singular value of A + E is further than |E| from that of A (Weyl),
    so that the exact matrix has these modes, too. A matrix in closed form has them all.

    Args:
        singular_values: of the matrix, largest first.
        sampling_spectrum: `ForwardModel.sampling_spectrum`.
    """
    floor = 0.0 if sampling_spectrum is None else float(sampling_spectrum[0])
    return int((singular_values > floor).sum())


def resolution_matrix(J: Tensor, scene_rms: float = SCENE_RMS) -> Tensor:
    """R = (J + C^-1)^-1 J with C = scene_rms^2: row i says what the best estimate of pixel i is made of, (H W, H W).

    The estimate is R x plus noise, about the mean of the scenes; perfect sight is R = 1 (Backus and Gilbert 1968,
    doi 10.1111/j.1365-246X.1968.tb00216.x).
    """
    prior = torch.eye(len(J), dtype=J.dtype, device=J.device) / scene_rms**2
    return torch.linalg.solve(J + prior, J)


def width(R: Tensor) -> Tensor:
    """Equivalent width of each row of a resolution matrix in scene pixels, (H W,).

    sqrt((sum_j R_ij)^2 / sum_j R_ij^2): 1 for a pixel seen alone, n for the even average of n x n pixels. Not a number
    where a pixel is not seen at all.
    """
    return R.sum(1).abs() / R.square().sum(1).sqrt()


def crosstalk(R: Tensor) -> Tensor:
    """Share of each row of a resolution matrix that lies outside its own pixel: 1 - |R_ii| / sum_j |R_ij|, (H W,)."""
    return 1 - R.diagonal().abs() / R.abs().sum(1)


def psf_correlation(A: ForwardModel, gram: Tensor | None = None) -> Tensor:
    """Pearson's correlation of the point-spread functions of any two scene pixels, (H W, H W) float64.

    Over the sensor pixels that any light reaches: those beyond the end of a rod would make all of them alike.
    `gram` is `A.gram()`, where it is at hand.
    """
    matrix = A.as_matrix()
    lit = int((matrix.sum(1) > 0).sum())
    total = matrix.sum(0, dtype=torch.float64)
    covariance = (A.gram() if gram is None else gram) - total[:, None] * total / lit
    spread = covariance.diagonal().clamp_min(0).sqrt()
    return covariance / (spread[:, None] * spread)


def half_distance(correlation: Tensor, scene_shape: tuple[int, int]) -> Tensor:
    """How far a point moves until its picture has become another one: to a correlation of 1/2, in scene pixels, (H, W).

    The correlation of each pixel with those at the distance 1, 2, ... in its row and column (the mean of up to four)
    falls through 1/2 there, on straight lines in between. Infinite where it does not within the field.

    Args:
        correlation: of the point-spread functions, (H W, H W).
        scene_shape: (H, W).
    """
    rows, columns = scene_shape
    planes = correlation.reshape(rows, columns, rows, columns)
    found = correlation.new_full(scene_shape, torch.inf)
    before = correlation.new_ones(scene_shape)
    for distance in range(1, max(scene_shape)):
        now = _mean_at(planes, distance)
        crossing = distance - 1 + (before - 0.5) / (before - now)
        found = torch.where(found.isinf() & (now < 0.5), crossing, found)
        before = torch.where(now.isnan(), before, now)
    return found


def _mean_at(planes: Tensor, distance: int) -> Tensor:
    """Mean correlation with the pixels at a distance in row and column, NaN where the field has none; (H, W)."""
    rows, columns = planes.shape[:2]
    neighbours = planes.new_full((4, rows, columns), torch.nan)
    if distance < rows:
        down = planes.diagonal(distance, 0, 2).diagonal(0, 0, 1)  # pixels at (r, c) and (r + distance, c): (n, W)
        neighbours[0, : rows - distance], neighbours[1, distance:] = down, down
    if distance < columns:
        right = planes.diagonal(0, 0, 2).diagonal(distance, 0, 1)  # (r, c) and (r, c + distance): (H, n)
        neighbours[2, :, : columns - distance], neighbours[3, :, distance:] = right, right
    return neighbours.nanmean(0)


@dataclasses.dataclass(frozen=True)
class Change:
    """How a perturbed model differs from the one it was.

    `relative` is |A' - A| / |A| (Frobenius), `correlation` the mean over the scene pixels of Pearson's correlation of
    their point-spread functions before and after.
    """

    relative: float
    correlation: float


def change(A: ForwardModel, perturbed: ForwardModel) -> Change:
    """The change from A to a model of the same shapes. Sampling counts as change, unless both have the same samples."""
    sums = dict.fromkeys(("a", "p", "aa", "pp", "ap", "moved", "lit"), 0.0)
    for a, p in zip(*(model.as_matrix().split(_ROWS_AT_ONCE) for model in (A, perturbed)), strict=True):
        a, p = a.double(), p.double()  # what nearly flat point-spread functions differ by, float32 rounds away
        products = {"a": a, "p": p, "aa": a * a, "pp": p * p, "ap": a * p, "moved": (p - a).square()}
        for name, values in products.items():
            sums[name] += values.sum(0)
        sums["lit"] += (a.sum(1) > 0).sum()
    lit = sums["lit"]
    before, after = sums["aa"] - sums["a"].square() / lit, sums["pp"] - sums["p"].square() / lit
    correlation = (sums["ap"] - sums["a"] * sums["p"] / lit) / (before * after).clamp_min(0).sqrt()
    return Change(float((sums["moved"].sum() / sums["aa"].sum()).sqrt()), float(correlation.nanmean()))
