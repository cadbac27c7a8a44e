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

import numpy as np
from scipy import ndimage, optimize

_COARSE = np.linspace(0.5, 1.6, 12)  # of the guess of S, to both sides of 0
_SCANNED = 3  # every third frame is enough for that
_TRIED = 90  # values of S, to find it exactly
_SIGNIFICANT = 5.0  # standard errors of the mask, in a patch of 3 x 3 pixels
_DARK = 0.9  # of the mask: a speck, and not what is left of its shadows in the response
_LARGEST_SHARE = 0.5  # of the sensor: where shadows lie on more, they are found everywhere or nowhere


@dataclasses.dataclass(frozen=True, eq=False)
class Shadows:
    """What explains a matrix by one mask.

    Args:
        matrix: (pixels, points) of the model.
        mask: (rows, columns) of the sensor, T.
        step_px: (2, 2) S, (row, column) of the shadow by (row, column) of the point.
        specks: how many connected patches of the mask take light.
    """

    matrix: np.ndarray
    mask: np.ndarray
    step_px: np.ndarray
    specks: int


def fit_shadows(
    matrix: np.ndarray, noise: np.ndarray, scene_shape: tuple[int, int], sensor_shape: tuple[int, int], guess_px: float
) -> Shadows | None:
    """The mask that explains a measured matrix; None if there is none to be seen.

    Args:
        matrix: (pixels, points).
        noise: standard error of the entries of each row, (pixels,).
        scene_shape, sensor_shape: rows and columns.
        guess_px: about S, which the design says.
    """
    light = matrix.sum(0, dtype=np.float64)
    light /= light.mean()
    rows = matrix.sum(1, dtype=np.float64)
    response = (rows / len(light)).astype(np.float32)
    clear = response > 0.05 * np.median(response)
    flat = np.where(clear[:, None], matrix / np.where(clear, response, 1)[:, None], 1.0)
    images = (flat / light.astype(np.float32)).T.reshape(-1, *sensor_shape)
    error = float(np.median(noise[clear] / response[clear])) / math.sqrt(len(light))
    places = _places(scene_shape)
    binned, at = _binned(images, places, scene_shape)
    guesses = [sign * share * guess_px * np.eye(2) for share in _COARSE for sign in (1, -1)]
    start = max(guesses, key=lambda step: _contrast(_mask(binned[::_SCANNED], at[::_SCANNED], step)))
    found = _significant(_mask(binned, at, start), error)
    if not found.any():
        return None
    boxes = _boxes(found, start, places)
    crops = [binned[(slice(None), *box)] for box in boxes]

    def dull(numbers: np.ndarray) -> float:
        return -sum(_contrast(_mask(crop, at, numbers.reshape(2, 2))) for crop in crops)

    simplex = start.ravel() + guess_px * 0.08 * np.vstack([np.zeros(4), np.eye(4)])
    options = {"initial_simplex": simplex, "xatol": 1e-3 * guess_px, "fatol": 0, "maxfev": _TRIED}
    step = optimize.minimize(dull, start.ravel(), method="Nelder-Mead", options=options).x.reshape(2, 2)
    mask = np.ones(sensor_shape, np.float32)
    # Away from shadows a point's frame is its light times the response; there both follow from all of the frames.
    model = response[:, None] * light.astype(np.float32)
    for box in boxes:
        inside = np.zeros(sensor_shape, bool)
        inside[box] = True
        here = matrix[inside.ravel()].T.reshape(-1, *mask[box].shape) / light.astype(np.float32)[:, None, None]
        mask[box], thrown = _in_box(here, rows.reshape(sensor_shape)[box], light, places, step, error)
        model[inside.ravel()] = (thrown * light.astype(np.float32)[:, None, None]).reshape(len(light), -1).T
    specks = ndimage.label(mask < _DARK, np.ones((3, 3)))[1]
    return Shadows(model, mask, step, int(specks))


def _in_box(images, rows, light, places, step, error):
    """The mask in a box, and the images that it throws, with the response of the pixels found beside it."""
    response = rows / light.sum()
    for _ in range(3):
        mask = _mask(images / np.maximum(response, 1e-9).astype(np.float32), places, step, order=3)
        mask = np.where(_significant(mask, error), mask, 1.0).clip(0, None)
        thrown = np.stack([_moved(mask, -(step @ place), 3) for place in places]).clip(0, None).astype(np.float32)
        response = rows / np.tensordot(light, thrown, 1).clip(1e-9)
    return mask.astype(np.float32), thrown * response.astype(np.float32)


def _places(scene_shape: tuple[int, int]) -> np.ndarray:
    """(points, 2) row and column of each from the middle of the display."""
    rows, columns = scene_shape
    return np.stack(np.meshgrid(
        np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2, indexing="ij"
    ), -1).reshape(-1, 2)  # fmt: skip


def _binned(images: np.ndarray, places: np.ndarray, scene_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Means of four neighbours each, and where their middle lies."""
    rows, columns = (side // 2 for side in scene_shape)

    def four(values: np.ndarray) -> np.ndarray:
        grid = values.reshape(*scene_shape, *values.shape[1:])[: 2 * rows, : 2 * columns]
        return grid.reshape(rows, 2, columns, 2, *values.shape[1:]).mean((1, 3)).reshape(-1, *values.shape[1:])

    if min(rows, columns) < 4:
        return images, places
    return four(images), four(places)


def _moved(image: np.ndarray, by: np.ndarray, order: int) -> np.ndarray:
    return ndimage.shift(image, by, order=order, mode="nearest")


def _mask(images: np.ndarray, places: np.ndarray, step: np.ndarray, order: int = 1) -> np.ndarray:
    """Mean of the images, each moved back by what its point has moved the shadows; 1 where nothing lies."""
    mean = np.mean([_moved(image, step @ place, order) for image, place in zip(images, places, strict=True)], 0)
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
