"""How many trained numbers a network may have: said as a number, a share of what it has, or bytes."""

import re
from fractions import Fraction

from hardware.errors import ConfigurationError

BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
UNITS = {"B": 1, "kB": 1000, "KiB": 1024, "MB": 10**6, "MiB": 2**20}
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")
_SIZE = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(UNITS)})@({'|'.join(BYTES)})")
EXPECTED = 'a whole number such as 40000, a share such as "25%", or bytes such as "40kB@float32"'


def trained_numbers(budget: int | str, natural: int) -> int:
    """Most trained numbers that a budget allows.

    Args:
        budget: a number of them, "25%" of the `natural` ones, or bytes of a type, "40kB@float32" (kB = 1000).
        natural: trained numbers of the network as it is.

    Raises:
        ConfigurationError: none of these.
    """
    text = budget if isinstance(budget, str) else ""
    if share := _SHARE.fullmatch(text):
        found = int(Fraction(share[1]) * natural / 100)
    elif size := _SIZE.fullmatch(text):
        found = int(Fraction(size[1]) * UNITS[size[2]] / BYTES[size[3]])
    elif re.fullmatch(r"\d[\d_,]*", text):
        found = int(text.replace("_", "").replace(",", ""))
    elif isinstance(budget, int) and not isinstance(budget, bool):
        found = budget
    else:
        raise ConfigurationError(f"budget = {budget!r}; expected {EXPECTED}")
    if found < 1:
        raise ConfigurationError(f"budget = {budget!r} allows no numbers; expected {EXPECTED}")
    return found
