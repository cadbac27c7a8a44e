"""Do frames come, regularly, each once, and none unaccounted for?"""

import numpy as np

from hardware import FrameMeta
from lensless.app.check_finding import FAILS, NOTE, OK, Finding, advised

GAP = 1.6  # of the usual time between two frames, from which on one must be missing
LOST = 0.05
UNEVEN = 0.02


def frames_come(metas: tuple[FrameMeta, ...], shape: tuple[int, ...], wanted: int, live: bool) -> Finding:
    """Number, format, rate and regularity."""
    meta, size = metas[0], " x ".join(map(str, shape))
    seen = f"{len(metas)} frames of {size}, {meta.bit_depth} bits, {meta.pixel_format}"
    figures: dict[str, float | int | str | None] = {"frames": len(metas), "shape": size, "rate_hz": None}
    if len(metas) < min(wanted, 2):
        text = f"{seen}, {wanted} asked for: the camera stopped; check its cable and power, or play a longer recording"
        return Finding("frames", FAILS, text, figures)
    periods_s = np.diff([one.t_host_ns for one in metas]) * 1e-9
    if (periods_s <= 0).any():
        text = f"{seen}: times do not rise; the clock of the driver is not to be trusted"
        return Finding("frames", FAILS, text, figures)
    # Where frames are known to be lost, their time is not to be blamed on the rest.
    each_s = periods_s / (1 + np.array([one.lost_before for one in metas[1:]]))
    usual_s = float(np.median(each_s))
    late = int((each_s > GAP * usual_s).sum())
    rate_hz = len(periods_s) / float(periods_s.sum())
    figures |= {"rate_hz": rate_hz, "longest_gap_s": float(periods_s.max()), "late": late}
    measured = f"{seen}, {rate_hz:.4g} a second"
    if not live:
        return Finding("frames", OK, f"{measured} (this source waits for its reader)", figures)
    measured = f"{measured}, longest gap {periods_s.max() * 1e3:.3g} ms"
    if late > UNEVEN * len(each_s):
        advice = (
            f"{late} gaps are longer than {GAP} usual ones: frames are missing that nobody counted, or this machine is "
            "busy; use another USB port, a smaller format, or close other programs"
        )
        return Finding("frames", NOTE, advised(NOTE, measured, advice), figures)
    return Finding("frames", OK, measured, figures)


def none_lost(metas: tuple[FrameMeta, ...]) -> Finding:
    """Frames that were captured and never came, and whether the count of them holds."""
    lost = sum(one.lost_before for one in metas[1:])
    numbers = np.diff([one.sequence for one in metas])
    unsaid = int((numbers - 1 - [one.lost_before for one in metas[1:]]).clip(0).sum()) if len(metas) > 1 else 0
    share = lost / (lost + len(metas))
    figures = {"lost": lost, "lost_share": share, "missing_numbers": unsaid}
    if len(numbers) and (numbers <= 0).any():
        return Finding("lost frames", FAILS, "the frames' numbers do not rise; the driver mixes them up", figures)
    measured = f"{lost} of {lost + len(metas)} frames lost"
    advice = (
        "use another USB port, a smaller format or a longer exposure, on a serial line a shorter cable or a lower "
        "baud=; record with more memory for the ring"
    )
    if unsaid:
        measured, advice = f"{measured}, {unsaid} more numbers left out", "the driver does not say where they went"
    state = FAILS if share > LOST else NOTE if lost or unsaid else OK
    return Finding("lost frames", state, advised(state, measured, advice), figures)


def none_repeated(digests: list[int], pixels: np.ndarray) -> Finding:
    """Frames that equal an earlier one to the last bit: `digests` of all of each, `pixels` (n, h, w) their middles."""
    repeated = len(digests) - len(set(digests))
    figures = {"repeated": repeated}
    if not repeated:
        return Finding("repeated frames", OK, f"none of {len(digests)} frames came twice", figures)
    measured = f"{repeated} of {len(digests)} frames equal an earlier one to the last bit"
    if pixels.min() == pixels.max():
        text = f"{measured}: every pixel is {pixels.min()}; see saturation and black level"
        return Finding("repeated frames", NOTE, text, figures)
    text = (
        f"{measured}; noise never repeats: the driver shows old frames as new, or the camera gives fewer than it says; "
        "ask for a lower rate, name another back end, or plug the camera in again"
    )
    return Finding("repeated frames", FAILS, text, figures)
