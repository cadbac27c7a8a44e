"""What a plan says, for people: in a few lines, and layer by layer."""

from collections import Counter

from lensless.sharing.plan import Plan, SharedWeight

SHOWN = 4  # names in a line; a table has all of them


def summary(plan: Plan) -> list[str]:
    """A few lines: what was allowed and spent, on what, and what is not shared, and why."""
    numbers = sum(bank.numbers for bank in plan.banks)
    mixing = sum(bank.trained - bank.numbers for bank in plan.banks)
    banks = f"{len(plan.banks)} {'bank' if len(plan.banks) == 1 else 'banks'}"
    lines = [
        f"{plan.method}: {plan.trainable:,} trained numbers of at most {plan.budget:,} "
        f"({plan.trainable / plan.natural:.1%} of the {plan.natural:,} that the network has by itself)",
        f"{len(plan.weights)} weights from {banks}: {numbers:,} numbers in templates, {mixing:,} that mix them, "
        f"{plan.private_numbers:,} not shared",
    ]
    if plan.private:
        reasons = Counter()
        for each in plan.private:
            reasons[each.reason] += each.numbers
        lines.append("not shared: " + ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common()))
    if plan.joined:
        names = ", ".join(plan.joined[:SHOWN]) + (" ..." if len(plan.joined) > SHOWN else "")
        lines.append(f"shared, too, as private layers would take more than half of the budget: {names}")
    return lines


def table(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: of each shared weight, where it comes from, and then what is private."""
    heads = ["weight", "shape", "numbers", "bank", "templates", "rows"]
    rows = [_row(plan, each) for each in plan.weights]
    rows += [[each.name, "", f"{each.numbers:,}", f"private: {each.reason}", "", ""] for each in plan.private]
    return heads, rows


def text(plan: Plan) -> str:
    """Summary and table, in columns."""
    heads, rows = table(plan)
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [heads, *rows]
    ]
    return "\n".join([*summary(plan), "", *lines])


def _row(plan: Plan, each: SharedWeight) -> list[str]:
    pieces = {(piece.bank, piece.row): plan.banks[piece.bank] for piece in each.pieces}
    banks = list(dict.fromkeys(bank.name for bank in pieces.values()))
    mixed = sorted({plan.banks[bank].rows[row].templates for bank, row in pieces})
    many = f"{mixed[0]}" if len(mixed) == 1 else f"{mixed[0]} .. {mixed[-1]}"
    where = banks[0] if len(banks) == 1 else f"{banks[0]} and {len(banks) - 1} more"
    shape = " x ".join(map(str, each.weight.shape))
    return [each.weight.name, shape, f"{each.weight.numbers:,}", where, many, str(len(pieces))]
