"""What is shared with what: pure data, made before any number is drawn, and the same wherever it is read.

A *bank* is one vector of trained numbers. A *row* reads some templates from it and mixes them, each with a trained
number of its own, into a vector. A weight is put together from *pieces* of rows, each a block of outputs by inputs.
"""

import bisect
import dataclasses
import itertools
import json
import math
from collections.abc import Sequence

from hardware.errors import ConfigurationError
from lensless.sharing.weights import Private, Weight

FORMAT = 1
# How a vector fills a row that is larger (Plummer et al., ICLR 2022, as specified there): again and again; each copy
# times a trained mask, which repeats, too; or pairs of its numbers, mapped to as many as are needed.
LARGER = ("repeat", "mask", "wavg")
WINDOW = 144  # numbers of a mask


@dataclasses.dataclass(frozen=True)
class Row:
    """What one vector of mixing numbers makes: sum over k of a[k] bank[start + k size : start + (k + 1) size].

    Args:
        start: of the first template in the bank.
        templates: how many are mixed.
        size: numbers of each, and of what comes out. What lies behind the end of the bank counts as 0.
        mixed: False for one template that is taken as it is, without a mixing number.
        larger: how a bank that is smaller than the row fills it (`LARGER`); "" for one that is not.
        copies: of the bank, beside itself, that fill such a row.
        born: which untying made this row; 0 those of the first plan.
    """

    start: int
    templates: int
    size: int
    mixed: bool = True
    larger: str = ""
    copies: int = 0
    born: int = 0

    @property
    def own(self) -> tuple[int, ...]:
        """Shape of the trained numbers of this row alone; empty where it has none."""
        if self.larger == "mask":
            return self.copies, WINDOW
        if self.larger == "wavg":
            return 2 * (self.copies + 1), 2
        return (self.templates,) if self.mixed else ()

    @property
    def trained(self) -> int:
        return math.prod(self.own) if self.own else 0


@dataclasses.dataclass(frozen=True)
class Bank:
    """Trained numbers that rows read, `name` for people."""

    name: str
    numbers: int
    rows: tuple[Row, ...]

    @property
    def trained(self) -> int:
        return self.numbers + sum(row.trained for row in self.rows)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A block of a weight.

    Args:
        bank, row: where it comes from.
        first: number of the row's vector at which it begins.
        shape: outputs and inputs that lie there, one behind the other, each input with its kernel.
        at: first output and first input of the weight that it fills.
        used: how many of its outputs and inputs lie inside of the weight.
        stretched: it is resized from `shape` to `used` (bilinear, kernels lying along the inputs), not cut.
    """

    bank: int
    row: int
    first: int
    shape: tuple[int, int]
    at: tuple[int, int]
    used: tuple[int, int]
    stretched: bool = False


@dataclasses.dataclass(frozen=True)
class SharedWeight:
    """A weight of the network and the pieces that it is made of."""

    weight: Weight
    pieces: tuple[Piece, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a network's weights come from fewer trained numbers.

    Args:
        method: that made the plan.
        fingerprint: of the network that it fits.
        natural: trained numbers of that network.
        budget: most of them that were allowed.
        banks, weights: what is shared; the pieces of a weight name banks by their place here.
        private: what is not, and why.
        joined: names of first and last layers that are shared because they would have taken too much alone.
    """

    method: str
    fingerprint: str
    natural: int
    budget: int
    banks: tuple[Bank, ...]
    weights: tuple[SharedWeight, ...]
    private: tuple[Private, ...]
    joined: tuple[str, ...] = ()

    def __post_init__(self):
        for bank in self.banks:
            if any(row.larger not in ("", *LARGER) or row.copies < 0 for row in bank.rows):
                raise ConfigurationError(
                    f"plan: bank {bank.name!r} is enlarged as nobody knows; expected {', '.join(LARGER)}"
                )
            if bank.numbers < 1 or any(min(row.start, row.templates - 1, row.size - 1) < 0 for row in bank.rows):
                raise ConfigurationError(f"plan: bank {bank.name!r} has rows that read nothing, or before its begin")
        for shared in self.weights:
            _check_cover(shared)
            for piece in shared.pieces:
                row = self.banks[piece.bank].rows[piece.row]
                if piece.first + math.prod(piece.shape) * math.prod(shared.weight.kernel) > row.size:
                    raise ConfigurationError(f"plan: a piece of {shared.weight.name!r} reads behind the end of its row")

    @property
    def private_numbers(self) -> int:
        return sum(each.numbers for each in self.private)

    @property
    def trainable(self) -> int:
        """Numbers that gradient descent changes: banks, mixing, and what stays private."""
        return sum(bank.trained for bank in self.banks) + self.private_numbers

    def users(self) -> dict[tuple[int, int], list[Weight]]:
        """Which weights read each row, by (bank, row)."""
        found: dict[tuple[int, int], list[Weight]] = {}
        for shared in self.weights:
            for piece in shared.pieces:
                users = found.setdefault((piece.bank, piece.row), [])
                if shared.weight not in users:
                    users.append(shared.weight)
        return found

    def facts(self) -> dict:
        """The plan for JSON; see `from_facts`."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        return json.dumps(self.facts())

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Raises ConfigurationError: it is no plan, or one that cannot be."""
        try:
            return cls.from_facts(json.loads(text))
        except ValueError as error:
            raise ConfigurationError(f"this is no plan of a shared network: {error!r:.200}; make a new one") from error

    @classmethod
    def from_facts(cls, facts: dict) -> "Plan":
        """Raises ConfigurationError: it is no plan, or one that cannot be."""
        try:
            if facts["format"] != FORMAT:
                raise ValueError(f"its format is {facts['format']!r:.50}, this version reads {FORMAT}")
            return cls(
                **{key: facts[key] for key in ("method", "fingerprint", "natural", "budget")},
                banks=tuple(
                    Bank(each["name"], each["numbers"], tuple(Row(**row) for row in each["rows"]))
                    for each in facts["banks"]
                ),
                weights=tuple(_shared_weight(each) for each in facts["weights"]),
                private=tuple(Private(**each) for each in facts["private"]),
                joined=tuple(facts["joined"]),
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ConfigurationError(f"this is no plan of a shared network: {error!r:.200}; make a new one") from error


def _shared_weight(facts: dict) -> SharedWeight:
    weight = dict(facts["weight"])
    weight |= {"shape": tuple(weight["shape"]), "also": tuple(weight["also"])}
    pairs = ("shape", "at", "used")
    pieces = [Piece(**(piece | {key: tuple(piece[key]) for key in pairs})) for piece in facts["pieces"]]
    return SharedWeight(Weight(**weight), tuple(pieces))


def _check_cover(shared: SharedWeight) -> None:
    """Raises ConfigurationError unless the pieces fill the weight, each place once."""
    outputs, inputs = shared.weight.shape[:2]
    area = sum(piece.used[0] * piece.used[1] for piece in shared.pieces)
    inside = all(
        piece.at[0] + piece.used[0] <= outputs
        and piece.at[1] + piece.used[1] <= inputs
        and min(*piece.at, piece.first, piece.bank, piece.row) >= 0
        and min(*piece.used, *piece.shape) >= 1
        and (piece.stretched or (piece.used[0] <= piece.shape[0] and piece.used[1] <= piece.shape[1]))
        for piece in shared.pieces
    )
    if not inside or area != outputs * inputs or _overlap(shared.pieces):
        raise ConfigurationError(f"plan: the pieces of {shared.weight.name!r} do not fill {outputs} x {inputs} once")


def _overlap(pieces: Sequence[Piece]) -> bool:
    """Whether two of them lie over each other."""
    lines = sorted({line for piece in pieces for line in (piece.at[0], piece.at[0] + piece.used[0])})
    bands: dict[int, list[tuple[int, int]]] = {}
    for piece in pieces:
        first, last = (bisect.bisect_left(lines, line) for line in (piece.at[0], piece.at[0] + piece.used[0]))
        for band in range(first, last):
            bands.setdefault(band, []).append((piece.at[1], piece.at[1] + piece.used[1]))
    return any(end > begin for spans in bands.values() for (_, end), (begin, _) in itertools.pairwise(sorted(spans)))
