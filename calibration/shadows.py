"""Shadows of what lies close above a bare sensor: one mask, and each point of the display throws it elsewhere.

The frame of the point at (x, y), counted in points from the middle of the display, is

    M_j(u) = g_j R(u) T(u + S (x, y))

g_j is the light of the point, R the response of the pixel with the fall-off of the light, T the mask, 1 where nothing
lies, and S the movement of shadows in pixels for a step of one point: for a display of the pitch p at the distance d
and dust at the height h above pixels of the pitch q, S = h p / (d q). All points see the one mask, so that it is known
far better than any frame of one point.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage, optimize

_COARSE = np.linspace(0.5, 1.6, 12)  # of the guess of S, to both sides of 0
_SCANNED = 64  # frames are enough for that
_ENOUGH_FRAMES = 100
_LEAST_LIGHT = 0.05  # of the mean: points that say nothing
_TRIED = 60  # values of S, to find it exactly
_SIGNIFICANT = 5.0  # standard errors of the mask, in a patch of 3 x 3 pixels
_DARK = 0.9  # of the mask: a speck, and not what is left of its shadows in the response
_LARGEST_SHARE = 0.5  # of the sensor: where shadows lie on more, they are found everywhere or nowhere


@dataclasses.dataclass(frozen=True, eq=False)
class Shadows:
    """What explains a matrix by one mask.

    Args:
        matrix: (pixels, points) of the model.
        mask: (rows, columns) of the sensor, T.
        response: (rows, columns), R.
        step_px: (2, 2) S, (row, column) of the shadow by (row, column) of the point.
        specks: how many connected patches of the mask take light.
    """

    matrix: np.ndarray
    mask: np.ndarray
    response: np.ndarray
    step_px: np.ndarray
    specks: int


def fit_shadows(
    matrix: np.ndarray, noise: np.ndarray, scene_shape: tuple[int, int], sensor_shape: tuple[int, int], guess_px: float,
    step_px: np.ndarray | None = None,
) -> Shadows | None:  # fmt: skip
    """The mask that explains a measured matrix; None if there is none to be seen.

    Args:
        matrix: (pixels, points).
        noise: standard error of the entries of each row, (pixels,).
        scene_shape, sensor_shape: rows and columns.
        guess_px: about S, which the design says.
        step_px: S, (2, 2), where it is known already; finding it takes most of the time.
    """
    light = matrix.sum(0, dtype=np.float64)
    light /= light.mean()
    seen = light > _LEAST_LIGHT
    places, light_seen = _places(scene_shape)[seen], light[seen].astype(np.float32)
    rows = matrix.sum(1, dtype=np.float64)
    response = (rows / light.sum()).astype(np.float32)
    clear = response > 0.05 * np.median(response)
    error = float(np.median(noise[clear] / response[clear])) / math.sqrt(seen.sum())
    images = (matrix[:, seen] / light_seen).T.reshape(-1, *sensor_shape)
    # The points of a large display are looked at in squares: fewer frames, and less noise in each.
    few, at, weights = _binned(images, places, light_seen, max(1, round(math.sqrt(len(places) / _ENOUGH_FRAMES))))
    flat = few / np.where(clear, response, 1).reshape(sensor_shape)
    start = _about(flat, weights, at, guess_px) if step_px is None else np.asarray(step_px, float)
    found = _significant(_mask(flat, weights, at, start), error)
    if not found.any():
        return None
    boxes = _boxes(found, start, places)
    whole = (rows / light.sum()).reshape(sensor_shape)
    crops = [(few[(slice(None), *box)], whole[box]) for box in boxes]

    def left(step: np.ndarray) -> float:
        """What a mask that moves by these steps leaves of the frames."""
        off = (crop - _thrown(*_in_box(crop, mean, weights, at, step, error, 2), at, step) for crop, mean in crops)
        return sum(float(np.square(one).sum()) for one in off)

    step = _exactly(left, start, guess_px) if step_px is None else start
    mask, of_all = np.ones(sensor_shape, np.float32), whole.astype(np.float32)
    # Away from shadows a point's frame is its light times the response; there both follow from all of the frames.
    model = response[:, None] * light.astype(np.float32)
    for box in boxes:
        inside = np.zeros(sensor_shape, bool)
        inside[box] = True
        mask[box], of_all[box] = _in_box(images[(slice(None), *box)], whole[box], light_seen, places, step, error, 3)
        thrown = _thrown(mask[box], of_all[box], _places(scene_shape), step)
        model[inside.ravel()] = thrown.reshape(len(light), -1).T * light.astype(np.float32)
    specks = ndimage.label(mask < _DARK, np.ones((3, 3)))[1]
    return Shadows(model, mask, of_all, step, int(specks))


def _about(flat: np.ndarray, weights: np.ndarray, at: np.ndarray, guess_px: float) -> np.ndarray:
    """The step near the guess, to either side, that makes the mask stand out most."""
    guesses = [sign * share * guess_px * np.eye(2) for share in _COARSE for sign in (1, -1)]
    scanned = slice(None, None, max(1, len(at) // _SCANNED))
    return max(guesses, key=lambda step: _contrast(_mask(flat[scanned], weights[scanned], at[scanned], step)))


def _exactly(left: Callable[[np.ndarray], float], start: np.ndarray, guess_px: float) -> np.ndarray:
    """The step that leaves least."""
    simplex = start.ravel() + guess_px * 0.08 * np.vstack([np.zeros(4), np.eye(4)])
    options = {"initial_simplex": simplex, "xatol": 1e-3 * guess_px, "fatol": 0, "maxfev": _TRIED}
    found = optimize.minimize(
        lambda numbers: left(numbers.reshape(2, 2)), start.ravel(), method="Nelder-Mead", options=options
    )
    return found.x.reshape(2, 2)


def _in_box(
    images: np.ndarray, whole: np.ndarray, weights: np.ndarray, places: np.ndarray, step: np.ndarray, error: float,
    rounds: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The mask in a box, and the response of its pixels, by turns.

    `whole` is the mean image under the light of all points, from which the response follows.
    """
    response = whole
    for _ in range(rounds):
        mask = _mask(images / np.maximum(response, 1e-9).astype(np.float32), weights, places, step, order=3)
        mask = np.where(_significant(mask, error), mask, 1.0).clip(0, None).astype(np.float32)
        mean = np.average(_thrown(mask, np.ones_like(mask), places, step), 0, weights)
        response = whole / mean.clip(1e-9)
    return mask, response.astype(np.float32)


def _thrown(mask: np.ndarray, response: np.ndarray, places: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Images of points of light 1, (points, rows, columns)."""
    images = np.stack([_moved(mask, -(step @ place), 3) for place in places])
    return images.clip(0, None).astype(np.float32) * response


def _places(scene_shape: tuple[int, int]) -> np.ndarray:
    """(points, 2) row and column of each from the middle of the display."""
    rows, columns = scene_shape
    return np.stack(np.meshgrid(
        np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2, indexing="ij"
    ), -1).reshape(-1, 2)  # fmt: skip


def _binned(images: np.ndarray, places: np.ndarray, light: np.ndarray, side: int) -> tuple:
    """Mean images of the points in squares of that side, where the middle of each lies, and its light."""
    if side == 1:
        return images, places, light
    square = np.unique(np.floor(places / side + 0.25), axis=0, return_inverse=True)[1].ravel()
    of = [square == number for number in range(square.max() + 1)]
    return (
        np.stack([np.average(images[some], 0, light[some]) for some in of]).astype(np.float32),
        np.stack([np.average(places[some], 0, light[some]) for some in of]),
        np.array([light[some].sum() for some in of], np.float32),
    )


def _moved(image: np.ndarray, by: np.ndarray, order: int) -> np.ndarray:
    return ndimage.shift(image, by, order=order, mode="nearest")


def _mask(
    images: np.ndarray, weights: np.ndarray, places: np.ndarray, step: np.ndarray, order: int = 1
) -> np.ndarray:  # fmt: skip
    """Mean of the images, each moved back by what its point has moved the shadows; 1 where nothing lies.

    Images of much light have less noise, by its square.
    """
    moved = [_moved(image, step @ place, order) for image, place in zip(images, places, strict=True)]
    mean = np.average(moved, 0, np.square(weights))
    return mean / np.median(mean)


def _contrast(mask: np.ndarray) -> float:
    return float(np.square(ndimage.uniform_filter(mask - 1, 3)).sum())


def _significant(mask: np.ndarray, error: float) -> np.ndarray:
    """Where the mask is clearly not 1, and the pixels around."""
    scatter = 1.4826 * float(np.median(np.abs(mask - 1)))
    patch = ndimage.uniform_filter(mask - 1, 3)
    core = np.abs(patch) > _SIGNIFICANT * max(error, scatter) / 3
    core = ndimage.binary_opening(core, np.ones((2, 2)))
    return ndimage.binary_dilation(core, np.ones((3, 3)), iterations=2)


def _boxes(found: np.ndarray, step: np.ndarray, places: np.ndarray) -> list[tuple[slice, slice]]:
    """Rectangles that hold all shadows of what was found, without overlap."""
    reach = math.ceil(float(np.abs(places @ step.T).max()) * 1.3) + 6
    wide = ndimage.binary_dilation(found, np.ones((2 * reach + 1, 1)))
    wide = ndimage.binary_dilation(wide, np.ones((1, 2 * reach + 1)))
    if wide.mean() > _LARGEST_SHARE:
        return [(slice(0, found.shape[0]), slice(0, found.shape[1]))]
    for _ in range(10):
        boxes = ndimage.find_objects(ndimage.label(wide)[0])
        whole = np.zeros_like(wide)
        for box in boxes:
            whole[box] = True
        if (whole == wide).all():
            break
        wide = whole
    return boxes
