"""Pictures that a transfer matrix is measured with, and what they are as numbers.

With N points of the display, and each frame's noise the same, K frames give a column of the matrix with the variance

    points, raster:  sigma^2 N / K           (one point of light at a time)
    Hadamard:        sigma^2 4 / K           (half of all points; difference of a pattern and its opposite)

so that Hadamard patterns have an advantage of sqrt(N) / 2 in the standard deviation, 16 for 32 x 32: the multiplex
advantage of Harwit and Sloane, Hadamard Transform Optics (1979). Where the light of the points itself makes the noise,
every frame holds that of half the display, and points are better by sqrt(2).
"""

import dataclasses
import math
from typing import Self

import numpy as np

from hardware.errors import ConfigurationError

KINDS = ("raster", "hadamard", "random")
_RANDOM_SHARE = 1.5  # patterns for each point


@dataclasses.dataclass(frozen=True, eq=False)
class Patterns:
    """A set of pictures. Made by `raster`, `points`, `hadamard` and `random_patterns`.

    Args:
        kind: the name of the set.
        shape: (rows, columns) of a picture.
        weights: (K, N) uint8, 1 where a point is lit; N = rows columns, row-major.
        seed: of what is drawn.
        places: (N',) flat indices of the points that they measure; all of them, unless it says otherwise.
    """

    kind: str
    shape: tuple[int, int]
    weights: np.ndarray
    seed: int = 0
    places: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.weights)

    def picture(self, index: int) -> np.ndarray:
        """(rows, columns) float32, 0 or 1."""
        return self.weights[index].reshape(self.shape).astype(np.float32)

    def order(self, turn: int) -> np.ndarray:
        """In which order they are shown, another in each turn: what drifts must not meet one pattern alone, and a
        frame that belongs to the picture before is not so in the next turn.
        """
        return np.random.default_rng((self.seed, turn, 0x9A)).permutation(len(self))

    def facts(self) -> dict:
        """What a recording says of them; `of_facts` makes them again."""
        places = None if self.places is None else self.places.tolist()
        return {"kind": self.kind, "shape": list(self.shape), "seed": self.seed, "points": places}

    @classmethod
    def of_facts(cls, facts: dict) -> Self:
        """Raises ConfigurationError if no set of patterns says such facts of itself."""
        try:
            shape, seed = tuple(int(side) for side in facts["shape"]), int(facts["seed"])
            if facts["kind"] == "points":
                return points(shape, np.array(facts["points"], int), seed)
            return pattern_set(facts["kind"], shape, seed)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"patterns: {facts!r:.200} names none ({error})") from error


def pattern_set(kind: str, shape: tuple[int, int], seed: int = 0) -> Patterns:
    """A set by its name, one of `KINDS`.

    Raises:
        ConfigurationError: no such name.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"patterns {kind!r}: unknown; expected one of {', '.join(KINDS)}")
    return {"raster": raster, "hadamard": hadamard, "random": random_patterns}[kind](shape, seed)


def raster(shape: tuple[int, int], seed: int = 0) -> Patterns:
    """One point after another, every one of them; black is shown besides, by whoever shows them."""
    return Patterns("raster", tuple(shape), np.eye(math.prod(shape), dtype=np.uint8), seed)


def points(shape: tuple[int, int], places: np.ndarray, seed: int = 0) -> Patterns:
    """Some points only, by their flat indices: (n,)."""
    places = np.asarray(places, int)
    size = math.prod(shape)
    if places.size == 0 or not ((places >= 0) & (places < size)).all():
        raise ConfigurationError(f"patterns: points {places.tolist()!s:.100}; expected indices from 0 to {size - 1}")
    weights = np.zeros((len(places), size), np.uint8)
    weights[np.arange(len(places)), places] = 1
    return Patterns("points", tuple(shape), weights, seed, places)


def hadamard(shape: tuple[int, int], seed: int = 0) -> Patterns:
    """The rows of Sylvester's matrix of the next power of two, as many columns as there are points: a picture where
    they are +1, followed by its opposite, where they are -1.
    """
    size = math.prod(shape)
    signs = sylvester(1 << max(1, (size - 1).bit_length()))[:, :size]
    return Patterns(
        "hadamard", tuple(shape), np.stack([signs > 0, signs < 0], 1).reshape(-1, size).astype(np.uint8), seed
    )


def sylvester(order: int) -> np.ndarray:
    """(order, order) int8 of +1 and -1, whose rows are orthogonal; the order is a power of two."""
    bits = np.arange(order)
    shared = bits[:, None] & bits
    odd = np.zeros_like(shared)
    while shared.any():
        odd ^= shared & 1
        shared >>= 1
    return (1 - 2 * odd).astype(np.int8)


def random_patterns(shape: tuple[int, int], seed: int = 0, count: int | None = None) -> Patterns:
    """Each point lit or not by the toss of a coin, in 1.5 as many pictures as there are points."""
    size = math.prod(shape)
    count = math.ceil(_RANDOM_SHARE * size) if count is None else count
    weights = np.random.default_rng((seed, 0x7A)).integers(0, 2, (count, size), dtype=np.uint8)
    return Patterns("random", tuple(shape), weights, seed)
