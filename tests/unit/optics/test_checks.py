"""One form of words for numbers that cannot be."""

import math

import pytest

from hardware.errors import ConfigurationError
from lensless.optics.checks import check_range


@pytest.mark.parametrize(
    "name, value, limits, says",
    [
        ("tilt_deg", 91.0, {"least": -90, "most": 90}, "X: tilt_deg = 91.0 degrees; expected -90 to 90 degrees"),
        ("prnu", -0.1, {"least": 0, "below": 1}, "X: prnu = -0.1; expected at least 0 and below 1"),
        ("length_mm", 0.0, {"above": 0}, "X: length_mm = 0.0 mm; expected above 0 mm"),
        ("dark_electrons_per_s", math.nan, {"least": 0}, "X: dark_electrons_per_s = nan electrons/s; expected"),
        ("exposure_s", "long", {"above": 0}, "X: exposure_s = 'long' s; expected above 0 s"),
        ("pitch_um", None, {"above": 0, "below": math.inf}, "X: pitch_um = None um; expected above 0 and below inf um"),
    ],
)
def test_the_message_holds_name_value_unit_and_range(name, value, limits, says):
    with pytest.raises(ConfigurationError) as refusal:
        check_range("X", name, value, **limits)
    assert str(refusal.value).startswith(says)


def test_the_ends_of_a_range_belong_to_it_or_not():
    check_range("X", "a", 0, least=0, most=1)
    check_range("X", "a", 1, least=0, most=1)
    for limits in ({"above": 0}, {"below": 0}):
        with pytest.raises(ConfigurationError):
            check_range("X", "a", 0, **limits)
