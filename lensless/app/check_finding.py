"""What a check of a camera has found: one thing each, with its figures and what to do about it."""

import dataclasses

OK, NOTE, FAILS = "ok", "note", "fails"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: in a few words.
        state: ok, note (works, but; or it could not be looked at) or fails.
        detail: what was measured, and unless all is well, what it means and what to do.
        figures: the measured values by name, for programs; a name carries its unit.
    """

    what: str
    state: str
    detail: str
    figures: dict[str, float | int | str | None] = dataclasses.field(default_factory=dict)


def changed(share: float, places: int = 2) -> str:
    """A change in percent with its sign, and none where it rounds to nothing."""
    text = f"{share:+.{places}%}"
    return text if text.strip("+-0.%") else text[1:]


def graded(value: float, note_from: float, fails_from: float) -> str:
    """The state of a value that is better small."""
    return FAILS if value >= fails_from else NOTE if value >= note_from else OK


def advised(state: str, measured: str, advice: str) -> str:
    """What was measured; unless all is well, with the advice."""
    return measured if state == OK else f"{measured}: {advice}"
