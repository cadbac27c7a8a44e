"""The engine: trained numbers of a bank to rows, rows to weights."""

import itertools
import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.sharing.plan import WINDOW, Bank, Piece, Row, SharedWeight

# Of mixing numbers under Adam, found on our own networks (docs/decisions/19): how much faster than templates they move,
# relative to what both are, and the highest rate, in units of that of a plain weight.
PACE, FASTEST_MIXING = 2.0, 20.0


class Vectors:
    """What rows of one length make, (R, size), cut where weights begin to read.

    Cut by one operation, because the gradient of each slice by itself would be as large as all of them together.

    Args:
        vectors: (R, size).
        order: which row each of them is.
        begins: rows at which some weight begins to read.
    """

    def __init__(self, vectors: Tensor, order: Sequence[int], begins: Collection[int]):
        self._at = {row: place for place, row in enumerate(order)}
        places = sorted({0, *(self._at[row] for row in begins if row in self._at)})
        lengths = [end - begin for begin, end in itertools.pairwise([*places, len(order)])]
        self._parts = dict(zip(places, vectors.split(lengths), strict=True))

    def read(self, row: int, count: int = 1) -> Tensor:
        """So many rows that follow one another, the first at the begin of a part, (count, size)."""
        place, parts, found = self._at[row], [], 0
        while found < count:
            parts.append(self._parts[place + found])
            found += len(parts[-1])
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole if found == count else whole[:count]


Made = dict[int, Vectors]  # of a bank, by the length of the vectors


class BankNumbers(nn.Module):
    """The trained numbers of a bank.

    Parameters: numbers (n,); mixing, one (rows, templates) for all rows that mix the same templates, or
    (rows, *row.own) for those that are larger than the bank. Buffer: gain
    (rows,), what a row is multiplied by, so that one bank serves weights of any fan-in.
    """

    def __init__(self, bank: Bank, dtype: torch.dtype, device: torch.device):
        super().__init__()
        kind = {"dtype": dtype, "device": device}
        self.bank = bank
        self.groups = _groups(bank)
        self.numbers = nn.Parameter(torch.zeros(bank.numbers, **kind))
        self.mixing = nn.ParameterList(
            nn.Parameter(torch.zeros(len(rows), *row.own, **kind)) for row, rows in self.own_groups()
        )
        self.register_buffer("gain", torch.ones(len(bank.rows), **kind))
        self.begins: frozenset[int] = frozenset(range(len(bank.rows)))  # see `Vectors`

    @torch.no_grad()
    def append(self, bank: Bank, copied: Sequence[int]) -> list[nn.Parameter]:
        """Take rows behind those there are, each a copy of another; the new mixing numbers.

        Args:
            bank: as this one, with more rows.
            copied: which row each of the new ones is a copy of.
        """
        before = {
            row: numbers
            for (_, rows), numbers in zip(self.own_groups(), self.mixing, strict=True)
            for row, numbers in zip(rows, numbers, strict=True)
        }
        first = len(self.bank.rows)
        self.bank, self.groups = bank, _groups(bank)
        self.gain = torch.cat([self.gain, self.gain[list(copied)]])
        new = [
            nn.Parameter(torch.stack([before[copied[row - first]] for row in rows]))
            for _, rows in self.own_groups()[len(self.mixing) :]
        ]
        self.mixing.extend(new)
        return new

    def own_groups(self) -> list[tuple[Row, list[int]]]:
        """Groups of rows that have trained numbers of their own, in the order of `mixing`."""
        return [group for group in self.groups if group[0].own]

    @torch.no_grad()
    def mixing_rates(self) -> list[float]:
        """See `SharedNetwork.mixing_rates`."""
        template = float(self.numbers.square().mean().sqrt())
        found = []
        for numbers in self.mixing:
            begun = numbers[numbers != 0]  # rows of weights that begin at 0 say nothing
            usual = float(begun.square().mean().sqrt()) if len(begun) else 1 / math.sqrt(numbers[0].numel())
            found.append(min(max(PACE * usual / template, 1.0), FASTEST_MIXING) if template > 0 else 1.0)
        return found

    def trained(self, row: Row) -> int:
        """Of how many of a row's templates all numbers are trained."""
        return min(row.templates, (len(self.numbers) - row.start) // row.size)

    def templates(self, row: Row) -> Tensor:
        """What a row mixes, (templates, size)."""
        found = self.numbers[row.start : row.start + row.templates * row.size]
        short = row.templates * row.size - len(found)
        if short and row.larger == "repeat":
            found = found.repeat(row.copies + 1)[: row.size]
        elif short:
            found = torch.cat([found, found.new_zeros(short)])
        return found.view(row.templates, row.size)

    def mixed(self, mixing: Sequence[Tensor] | None = None) -> list[tuple[Row, list[int], Tensor]]:
        """Each group of rows, and its mixing numbers (rows, templates) without their gain: its own, or others."""
        mixing = iter(self.mixing if mixing is None else mixing)
        ones = self.gain.new_ones(1, 1)
        return [(row, rows, next(mixing) if row.own else ones.expand(len(rows), 1)) for row, rows in self.groups]

    def make(self, only: Sequence[int] | None = None, mixing: Sequence[Tensor] | None = None) -> Made:
        """The vectors of all rows, or of some, with the bank's mixing numbers or others; one product for each group."""
        found: dict[int, tuple[list[Tensor], list[int]]] = {}
        for row, rows, numbers in self.mixed(mixing):
            gain = self.gain[rows] if len(self.groups) > 1 else self.gain
            if only is not None:
                places = [at for at, number in enumerate(rows) if number in only]
                if not places:
                    continue
                rows, numbers, gain = [rows[at] for at in places], numbers[places], gain[places]
            vectors, order = found.setdefault(row.size, ([], []))
            if row.larger in ("mask", "wavg"):
                vectors.append(_enlarged(self.numbers, row, numbers) * gain[:, None])
            else:
                vectors.append((numbers * gain[:, None]) @ self.templates(row))
            order.extend(rows)
        return {
            size: Vectors(vectors[0] if len(vectors) == 1 else torch.cat(vectors), order, self.begins)
            for size, (vectors, order) in found.items()
        }


def _enlarged(bank: Tensor, row: Row, own: Tensor) -> Tensor:
    """Rows that are larger than their bank (n,), from their own numbers (R, *row.own): (R, size)."""
    if row.larger == "mask":
        masks = own.repeat(1, 1, -(-len(bank) // WINDOW))[..., : len(bank)]
        found = torch.cat([bank.expand(len(own), 1, -1), bank * masks], 1)
    else:
        pairs = bank[: len(bank) // 2 * 2].view(-1, 2)
        found = torch.einsum("pi,rki->rpk", pairs, own)
    return found.flatten(1)[:, : row.size]


def _groups(bank: Bank) -> list[tuple[Row, list[int]]]:
    """Rows that mix the same templates, and where they stand."""
    return [(row, [at for at, other in enumerate(bank.rows) if other == row]) for row in dict.fromkeys(bank.rows)]


class Assembly:
    """Puts one weight together from the rows of the banks, without touching a number twice."""

    def __init__(self, shared: SharedWeight, banks: Sequence[Bank]):
        self.shared, self.banks = shared, banks
        self.kernel = shared.weight.kernel
        self.grid = _grid(shared.pieces)
        self.tree = None if self.grid else _tree(list(shared.pieces), shared.weight.name)

    def rows(self) -> dict[int, set[int]]:
        """Which rows of which bank it needs."""
        found: dict[int, set[int]] = {}
        for piece in self.shared.pieces:
            found.setdefault(piece.bank, set()).add(piece.row)
        return found

    def begins(self) -> set[tuple[int, int]]:
        """(bank, row) at which it begins to read, or has ended."""
        if self.grid is None:
            return {(piece.bank, row) for piece in self.shared.pieces for row in (piece.row, piece.row + 1)}
        first, down, across = self.grid
        return {(first.bank, first.row), (first.bank, first.row + down * across)}

    def weight(self, made: dict[int, Made]) -> Tensor:
        """The weight (outputs, inputs, *kernel) from what the banks made, by bank."""
        if self.grid is None:
            return self._of(self.tree, made)
        first, down, across = self.grid
        vectors = made[first.bank][self._size(first)].read(first.row, down * across)
        cells = vectors.view(down, across, *first.shape, *self.kernel)
        whole = cells.transpose(1, 2).reshape(down * first.shape[0], across * first.shape[1], *self.kernel)
        outputs, inputs = self.shared.weight.shape[:2]
        return whole[:outputs, :inputs]

    def _size(self, piece: Piece) -> int:
        return self.banks[piece.bank].rows[piece.row].size

    def _of(self, node: "Piece | tuple[int, list]", made: dict[int, Made]) -> Tensor:
        if isinstance(node, tuple):
            axis, parts = node
            return torch.cat([self._of(part, made) for part in parts], axis)
        length = math.prod(node.shape) * math.prod(self.kernel)
        found = made[node.bank][self._size(node)].read(node.row).view(-1)
        if length < len(found):
            found = found[node.first : node.first + length]
        if node.stretched:
            return _stretched(found, node, self.kernel)
        return found.view(*node.shape, *self.kernel)[: node.used[0], : node.used[1]]


def _stretched(found: Tensor, piece: Piece, kernel: tuple[int, ...]) -> Tensor:
    taps = math.prod(kernel)
    picture = found.view(1, 1, piece.shape[0], piece.shape[1] * taps)
    size = piece.used[0], piece.used[1] * taps
    resized = nn.functional.interpolate(picture, size=size, mode="bilinear", align_corners=False)
    return resized.view(*piece.used, *kernel)


def _grid(pieces: Sequence[Piece]) -> tuple[Piece, int, int] | None:
    """First piece, pieces down and across, where they are equal cells from rows that follow one another; else None."""
    first = pieces[0]
    across = sum(piece.at[0] == 0 for piece in pieces)
    down = len(pieces) // across
    for number, piece in enumerate(pieces):
        at = number // across * first.shape[0], number % across * first.shape[1]
        expected = (first.bank, first.row + number, 0, first.shape, at, False)
        if (piece.bank, piece.row, piece.first, piece.shape, piece.at, piece.stretched) != expected:
            return None
    return (first, down, across) if len(pieces) > 1 else None


def _tree(pieces: list[Piece], name: str) -> "Piece | tuple[int, list]":
    """Pieces cut apart along lines that cross none of them: (axis, parts), down to single ones."""
    if len(pieces) == 1:
        return pieces[0]
    for axis in (0, 1):
        begins = sorted({piece.at[axis] for piece in pieces})
        cuts = [
            cut
            for cut in begins[1:]
            if not any(piece.at[axis] < cut < piece.at[axis] + piece.used[axis] for piece in pieces)
        ]
        if cuts:
            lines = [begins[0], *cuts, math.inf]
            parts = [
                [piece for piece in pieces if low <= piece.at[axis] < high] for low, high in itertools.pairwise(lines)
            ]
            return axis, [_tree(part, name) for part in parts]
    raise ConfigurationError(f"plan: the pieces of {name!r} cannot be put together by cutting straight through")
