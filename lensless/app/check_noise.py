"""What the noise of a camera tells: a raw sensor's is that of counted electrons, and each pixel has its own.

Three questions to frames of a scene that stands still, taken pair by pair, so that the scene cancels:

- does the variance rise in a straight line with the level, as that of counted electrons does (the photon transfer of
  EMVA 1288, section 2.2)? A gamma curve bends it.
- does a pixel's noise go with its neighbour's? Demosaicing, smoothing, sharpening and compression make it so.
- is noise missing on a grid of 8 x 8? JPEG (MJPG of webcams) and most video codecs throw away just that.
"""

import dataclasses
import itertools

import numpy as np
from scipy.fft import dctn

UP_TO = 0.7  # of full scale: EMVA 1288 fits its lines so far
BINS, LEAST_PIXELS = 32, 200
LAGS, FAR = 3, 12  # neighbours that are looked at; so far away nothing that a camera does to a frame reaches
BLOCK = 8
PATCHES = 160  # blocks a frame that are looked at for each place of the grid


@dataclasses.dataclass(frozen=True, eq=False)
class Transfer:
    """Temporal variance against mean: v = offset + slope m + bend.

    `mean_dn`, `variance_dn2`, `error_dn2` (k,) of pixels binned by their mean; `slope` in DN^2 / DN, with `offset` that
    of the line; `bend` is how far a parabola's middle lies off its chord, as a share of the highest variance, and
    `bend_error` the standard error of that.
    """

    mean_dn: np.ndarray
    variance_dn2: np.ndarray
    error_dn2: np.ndarray
    slope: float
    offset: float
    bend: float
    bend_error: float

    @property
    def span_dn(self) -> float:
        return float(np.ptp(self.mean_dn))

    def rise(self) -> float:
        """What the line gains over the levels that were seen, relative to the middle of it."""
        middle = self.offset + self.slope * (self.mean_dn.min() + self.span_dn / 2)
        return self.slope * self.span_dn / max(abs(middle), 1e-12)


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Correlation of a pixel's temporal noise with that of pixels around it: (2 LAGS + 1, 2 LAGS + 1), 1 in the middle.

    `error` is the largest standard error, `far` the correlation at `FAR` pixels: above 0 if the scene itself moves.
    """

    correlation: np.ndarray
    error: float
    far: float

    def strongest(self) -> tuple[float, int, int]:
        """The correlation of largest magnitude, and how many rows and columns away."""
        others = self.correlation.copy()
        others[LAGS, LAGS] = 0
        row, column = np.unravel_index(np.abs(others).argmax(), others.shape)
        return float(others[row, column]), int(row) - LAGS, int(column) - LAGS


def photon_transfer(bursts: list[np.ndarray], black_dn: float, full_scale_dn: int) -> Transfer | None:
    """The variance against the mean over all pixels and exposures; None where there is too little to fit.

    Args:
        bursts: of frames (n, h, w) at one exposure each, n >= 2.
    """
    means, variances = zip(*(_moments(pixels, black_dn, full_scale_dn) for pixels in bursts), strict=True)
    mean, variance = np.concatenate(means), np.concatenate(variances)
    mean, variance = mean[mean < UP_TO * full_scale_dn], variance[mean < UP_TO * full_scale_dn]
    if mean.size < 4 * LEAST_PIXELS:
        return None
    edges = np.linspace(mean.min(), mean.max() + 1e-6, BINS + 1)
    place = np.digitize(mean, edges) - 1
    count = np.bincount(place, minlength=BINS)
    full = count >= LEAST_PIXELS
    at = np.maximum(count, 1)
    centre, height = (np.bincount(place, values, BINS) / at for values in (mean, variance))
    scatter = np.bincount(place, variance**2, BINS) / at - height**2
    error = np.sqrt(np.maximum(scatter, 0) / at)
    # Cut off at zero, noise is too small: such pixels lie within three standard deviations of it.
    full &= centre > 3 * np.sqrt(height)
    if full.sum() < 4:
        return None
    return _fitted(centre[full], height[full], error[full])


def _fitted(mean: np.ndarray, variance: np.ndarray, error: np.ndarray) -> Transfer:
    # No bin counts as better known than to 2 %: fixed patterns and slow changes of the light are in all of them.
    error = np.hypot(error, 0.02 * variance) + 1e-9
    slope, offset = np.polyfit(mean, variance, 1, w=1 / error)
    half = max(np.ptp(mean) / 2, 1e-9)
    scaled = (mean - mean.min()) / half - 1
    weighted = np.stack([scaled**2, scaled, np.ones_like(scaled)], 1) / error[:, None]
    covariance = np.linalg.pinv(weighted.T @ weighted)
    curve = covariance @ weighted.T @ (variance / error)
    top = max(variance.max(), 1e-12)
    return Transfer(
        mean, variance, error, float(slope), float(offset), float(-curve[0] / top),
        float(np.sqrt(covariance[0, 0]) / top),
    )  # fmt: skip


def _moments(pixels: np.ndarray, black_dn: float, full_scale_dn: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and temporal variance of each pixel that never came to an end of the scale."""
    good = (pixels.max(0) < full_scale_dn) & (pixels.min(0) > 0)
    mean = pixels.mean(0, dtype=np.float32)
    squares = np.zeros_like(mean)
    for before, after in itertools.pairwise(pixels):
        squares += difference(before, after, mean, black_dn) ** 2
    return mean[good], squares[good] / (2 * (len(pixels) - 1))


def difference(before: np.ndarray, after: np.ndarray, mean: np.ndarray, black_dn: float) -> np.ndarray:
    """What changed from one frame to the next, without what a change of the light does to each row, (h, w) float32.

    In every row a + b (mean - black) is fitted and taken away: mains light on a rolling shutter, and noise of rows.
    """
    change = after.astype(np.float32) - before
    light = mean - np.float32(black_dn)
    light = light - light.mean(1, keepdims=True)
    change -= change.mean(1, keepdims=True)
    power = (light**2).mean(1, keepdims=True)
    return change - light * ((change * light).mean(1, keepdims=True) / np.maximum(power, 1e-6))


def neighbours(pixels: np.ndarray, black_dn: float, full_scale_dn: int) -> Neighbours | None:
    """Correlation of the temporal noise of frames (n, h, w); None where there is no noise."""
    mean = pixels.mean(0, dtype=np.float32)
    good = (pixels.max(0) < full_scale_dn) & (pixels.min(0) > 0)
    span = 2 * LAGS + 1
    total, squared, far = np.zeros((span, span)), np.zeros((span, span)), 0.0
    for before, after in zip(pixels[:-1:2], pixels[1::2], strict=True):
        change = difference(before, after, mean, black_dn) * good
        change -= change.mean(0)
        change *= good
        for down, right in np.ndindex(LAGS + 1, span):
            product = _products(change, down, right - LAGS)
            total[LAGS + down, right] += product.sum()
            squared[LAGS + down, right] += (product**2).sum()
        if min(change.shape) > 2 * FAR:
            far += (_products(change, FAR, 0).sum() + _products(change, 0, FAR).sum()) / 2
    power = total[LAGS, LAGS]
    if power <= 0:
        return None
    total[:LAGS] = total[:LAGS:-1, ::-1]
    total[LAGS, :LAGS] = total[LAGS, :LAGS:-1]
    squared[LAGS, LAGS] = 0
    correlation = total / power
    # What was taken from each row (two numbers) and each column (one) makes their pixels go against each other.
    rows, columns = mean.shape
    correlation[LAGS] += 2 / columns
    correlation[:, LAGS] += 1 / rows
    correlation[LAGS, LAGS] = 1
    return Neighbours(correlation, float(np.sqrt(squared.max()) / power), float(far / power))


def restlessness(pixels: np.ndarray, black_dn: float) -> float:
    """How much the change from frame to frame varies itself: scatter of its power over frames (n, h, w), by its mean.

    That of noise is the same from frame to frame, whatever a camera does to it (0.002 measured at 480 x 640); that of
    a picture that changes is not (0.8 to 1.4 for a display that shows one scene after another).
    """
    mean = pixels.mean(0, dtype=np.float32)
    pairs = itertools.pairwise(pixels)
    power = np.array([np.mean(difference(before, after, mean, black_dn) ** 2) for before, after in pairs])
    return float(power.std() / power.mean()) if len(power) > 1 and power.any() else 0.0


def _products(change: np.ndarray, down: int, right: int) -> np.ndarray:
    """Each value times the one so many rows below and columns to the right."""
    rows, columns = change.shape
    here = change[: rows - down, max(0, -right) : columns - max(0, right)]
    there = change[down:, max(0, right) : columns - max(0, -right)]
    return here * there


def noise_on_blocks(pixels: np.ndarray, black_dn: float) -> float:
    """How much fine noise is missing on the emptiest of the 64 grids of 8 x 8, as a share; 0 for a raw sensor.

    The fine half of a block's cosine coefficients is what JPEG rounds to zero: on its own grid, and on no other. Taken
    as a share of the block's own noise, so that bright and dark blocks count alike.
    """
    mean = pixels.mean(0, dtype=np.float32)
    order = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    fine, varied = order >= BLOCK, order > 0
    energy = np.zeros((BLOCK, BLOCK))
    for before, after in zip(pixels[:-1:2], pixels[1::2], strict=True):
        change = difference(before, after, mean, black_dn)
        for top, left in np.ndindex(BLOCK, BLOCK):
            squares = dctn(_blocks(change[top:, left:]), axes=(1, 2), norm="ortho") ** 2
            whole = squares[:, varied].sum(1)
            energy[top, left] += (squares[:, fine].sum(1)[whole > 0] / whole[whole > 0]).sum() / max(len(whole), 1)
    usual = np.median(energy)
    return float(1 - energy.min() / usual) if usual > 0 else 0.0


def _blocks(part: np.ndarray) -> np.ndarray:
    """Blocks of a frame spread evenly over it, (k, 8, 8)."""
    rows, columns = (n // BLOCK for n in part.shape)
    blocks = part[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)
    blocks = blocks.reshape(-1, BLOCK, BLOCK)
    return blocks[:: max(1, len(blocks) // PATCHES)]
