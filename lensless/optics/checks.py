"""Refusing numbers that cannot be, in one form of words."""

from hardware.errors import ConfigurationError


def check_range(
    owner: str,
    name: str,
    value: float,
    unit: str = "",
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Refuse a number outside of its range; NaN is outside of every range.

    Raises:
        ConfigurationError: with the owner, the name, the value, its unit and the range.
    """
    limits = (
        (above, "above", lambda: value > above),
        (least, "at least", lambda: value >= least),
        (below, "below", lambda: value < below),
        (most, "at most", lambda: value <= most),
    )
    stated = [(limit, words, holds) for limit, words, holds in limits if limit is not None]
    if not all(holds() for _, _, holds in stated):
        expected = " and ".join(f"{words} {limit:g}" for limit, words, _ in stated)
        tail = f" {unit}" if unit else ""
        raise ConfigurationError(f"{owner}: {name} = {value}{tail}; expected {expected}{tail}")
