"""What stands behind the colon of an address: a place and options, `PLACE?name=value&name=value`."""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping

from hardware.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of an address.

    Args:
        expected: its values, in words.
        pattern: what its text has to match.
        kind: makes a value of the text.
        holds: whether there can be such a value.
    """

    expected: str
    pattern: str
    kind: Callable[[str], object] = str
    holds: Callable[[object], bool] = lambda value: True


NUMBERS = r"[+-]?\d{1,9}(\.\d{1,12})?(e[+-]?\d{1,2})?"
POSITIVE = Option("a number above 0", NUMBERS, float, lambda value: 0 < value < math.inf)
NUMBER = Option("a finite number", NUMBERS, float, math.isfinite)
WORD = Option("letters, digits, '_', '-' and '.'", r"[A-Za-z0-9_.-]{1,64}")
PATH = Option("the path of a file or folder", r".{1,4000}")


def parse(scheme: str, text: str, known: Mapping[str, Option]) -> tuple[str, dict[str, object]]:
    """(place, values of those options that are given) of the address `scheme:text`.

    Raises:
        ConfigurationError: an option that is unknown, stands twice, or has a value that cannot be.
    """
    place, _, asked = text.partition("?")
    where, values = f"address '{scheme}:{text}'", {}
    for part in filter(None, asked.split("&")):
        name, _, value = part.partition("=")
        if name not in known:
            near = "".join(f"; did you mean {one}=" for one in difflib.get_close_matches(name, known, n=1))
            raise ConfigurationError(f"{where}: no option {name!r}{near}; known: {', '.join(known)}")
        if name in values:
            raise ConfigurationError(f"{where}: {name}= stands twice; say it once")
        option = known[name]
        if not re.fullmatch(option.pattern, value, re.ASCII) or not option.holds(option.kind(value)):
            raise ConfigurationError(f"{where}: {name}={value!r}; expected {option.expected}")
        values[name] = option.kind(value)
    return place, values


def written(options: object) -> str:
    """The fields of a dataclass as they stand in an address: what is not said is left away."""
    fields = [field for field in dataclasses.fields(options) if getattr(options, field.name) != field.default]
    return "?" * bool(fields) + "&".join(f"{field.name}={getattr(options, field.name)}" for field in fields)
