"""Banks that a method proposes, and how many templates a budget buys for each."""

import dataclasses
from collections.abc import Sequence

from hardware.errors import ConfigurationError
from lensless.sharing.plan import Bank, Row, SharedWeight

MOST_TEMPLATES = 8  # of a bank, where a method does not say otherwise


class TooFew(ConfigurationError):
    """A budget below what a method needs at least: `least` trained numbers of the banks."""

    def __init__(self, least: int):
        super().__init__(f"the shared weights take {least:,} numbers at least")
        self.least = least


@dataclasses.dataclass(frozen=True)
class Draft:
    """A bank before it is known how many templates it gets.

    Args:
        name: for people.
        size: numbers of a template.
        rows: that mix them.
        most: templates that it may get.
        later: rows that may join them, and for which mixing numbers are set aside.
    """

    name: str
    size: int
    rows: int
    most: int = MOST_TEMPLATES
    later: int = 0

    @property
    def mixed(self) -> bool:
        """A row that is alone with one template takes it as it is: a number to multiply it by would tell nothing."""
        return self.rows > 1 or self.most > 1

    @property
    def cost(self) -> int:
        """Trained numbers of one template: its own, and one of each row."""
        return self.size + (self.rows + self.later) * self.mixed


def fill(drafts: Sequence[Draft], numbers: int, exact: bool = False) -> tuple[Bank, ...]:
    """Banks with as many templates as the numbers pay for: one each, then a round at a time.

    The first rounds give a bank no more templates than it has rows, as more would tell it nothing; the last ones up to
    its `most`.

    Args:
        drafts: the banks.
        numbers: most trained numbers of all banks together.
        exact: spend the rest on a template of which only a part is trained.

    Raises:
        TooFew: not enough for one template each.
        ConfigurationError: `exact` where every bank has all templates that it may get.
    """
    counts = [1] * len(drafts)
    left = numbers - sum(draft.cost for draft in drafts)
    if left < 0:
        raise TooFew(numbers - left)
    for limit in ([min(draft.rows, draft.most) for draft in drafts], [draft.most for draft in drafts]):
        bought = True
        while bought:
            bought = False
            for at, draft in enumerate(drafts):
                if counts[at] < limit[at] and draft.cost <= left:
                    counts[at], left, bought = counts[at] + 1, left - draft.cost, True
    banks = [
        Bank(draft.name, draft.size * count, (Row(0, count, draft.size, mixed=draft.mixed),) * draft.rows)
        for draft, count in zip(drafts, counts, strict=True)
    ]
    return tuple(_spend(banks, drafts, left)) if exact and left else tuple(banks)


def _spend(banks: list[Bank], drafts: Sequence[Draft], left: int) -> list[Bank]:
    """One template more for the bank with the fewest rows, trained in part; of a row less, where nothing else fits."""
    open_ = [at for at, draft in enumerate(drafts) if banks[at].rows[0].templates < draft.most]
    if not open_:
        raise ConfigurationError(
            f"share: {left:,} numbers of the budget are left over, and every bank has all the templates that it may "
            "have; lower the budget, or leave exact=True out"
        )
    at = min(open_, key=lambda at: drafts[at].rows)
    bank, rows = banks[at], list(banks[at].rows)
    more = dataclasses.replace(rows[0], templates=rows[0].templates + 1)
    if left > len(rows):
        rows, extra = [more] * len(rows), left - len(rows)
    elif left >= 2:
        rows, extra = [more] * (left // 2) + rows[left // 2 :], left - left // 2
    elif len(rows) > 1:  # a single number buys nothing: one row gives one up
        change = {"templates": rows[0].templates - 1} if rows[0].templates > 1 else {"mixed": False}
        fewer = dataclasses.replace(rows[0], **change)
        rows, extra = [more, *rows[1:-1], fewer], 1
    else:
        raise ConfigurationError(
            "share: one number of the budget is left over; take one more or less, or no exact=True"
        )
    banks[at] = Bank(bank.name, bank.numbers + extra, tuple(rows))
    return banks


Layout = tuple[tuple[Bank, ...], tuple[SharedWeight, ...]]
