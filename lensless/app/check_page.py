"""The page of `lensless check`: what was found, and the figures to see it by."""

import datetime
import platform

import numpy as np

from lensless.app import check_drawing
from lensless.app.check import Checked
from lensless.app.check_finding import FAILS, NOTE, OK, Finding
from lensless.app.version import code_version
from lensless.evaluate import drawing, report

COLOURS = {OK: "#0f766e", NOTE: "#b45309", FAILS: "#b91c1c"}
LARGE = "width: 100%; max-width: 30rem; background: #000; border-radius: 8px; display: block"


def page(checked: Checked) -> str:
    """The whole page."""
    states = [one.state for one in checked.findings]
    count = {state: states.count(state) for state in (OK, NOTE, FAILS)}
    if count[FAILS]:
        verdict = f"{count[FAILS]} of {len(states)} checks fail: what to do stands beside them."
    elif count[NOTE]:
        verdict = f"Nothing fails; {count[NOTE]} of {len(states)} checks have a note."
    else:
        verdict = f"All {len(states)} checks are well: its frames can be measured with."
    meta = checked.taken.found.meta
    lead = f"{checked.address}: {verdict} Looked at on {datetime.date.today().isoformat()}."
    sections = [_table(checked.findings), _frame(checked), _exposure(checked), _noise(checked), _made_from(checked)]
    return report.page(f"Is camera {meta.camera_id} fit to measure with?", lead, sections)


def _table(findings: list[Finding]) -> str:
    """What is wrong first, then the rest in the order in which it was looked at."""
    order = {FAILS: 0, NOTE: 1, OK: 2}
    rows = "".join(
        f'<tr><td style="color: {COLOURS[one.state]}; font-weight: 600">{one.state}</td>'
        f'<td style="white-space: nowrap">{report.escape(one.what)}</td><td>{report.escape(one.detail)}</td></tr>'
        for one in sorted(findings, key=lambda one: order[one.state])
    )
    table = f'<div class="scroll"><table>{rows}</table></div>'
    return report.section(
        "What was found", "Measured in the frames themselves; settings that were asked for prove nothing.", table
    )


def _frame(checked: Checked) -> str:
    found = checked.taken.found
    meta, pixels = found.meta, found.pixels[0]
    low, high = np.percentile(pixels, [0.5, 99.5])
    whole = "" if pixels.shape == found.shape[:2] else ", its middle"
    text = (
        f"Frame {meta.sequence}, exposure {meta.exposure_s * 1e3:.4g} ms{whole}. Stretched: black is {low:.0f} DN, "
        f"white {high:.0f} DN, of {meta.full_scale_dn}. Without optics nothing in it looks like the scene."
    )
    image = f'<img alt="a raw frame" src="{drawing.frame_uri(pixels, 480)}" style="{LARGE}">'
    parts = [
        (image, "One raw frame. Dust shows as dark discs, dead columns as lines."),
        (
            check_drawing.histogram(checked.numbers, meta.black_level_dn, meta.full_scale_dn),
            f"Numbers that occur in the frames whose noise was looked at, of {checked.noise_exposure_s * 1e3:.4g} ms; "
            f"saturation and light are those of {meta.exposure_s * 1e3:.4g} ms, as the camera was found. A raw "
            "sensor fills those between its darkest and its brightest pixel without gaps, clear of both ends.",
        ),
    ]
    return report.section("The frame", text, report.figures(parts))


def _exposure(checked: Checked) -> str:
    parts, taken = [], checked.taken
    if checked.line is not None:
        drawn = check_drawing.level_against_exposure(checked.line, taken.found.meta.black_level_dn)
        parts.append((drawn, "Light that is counted rises in a straight line with the time that it is counted for."))
    bursts = [("as found", taken.found)]
    if len(taken.series) > 1:
        bursts += [(f"{one.meta.exposure_s * 1e3:.3g} ms", one) for one in taken.series]
    levels = [(name, one.pixels.mean((1, 2), dtype=np.float64)) for name, one in bursts if len(one) > 1]
    if levels:
        caption = (
            "It must stand still while the settings do: a slope is automatic exposure or drift, waves mains light."
        )
        parts.append((check_drawing.levels_in_time(levels, alone=not parts), caption))
    if not parts:
        return ""
    text = "Is the exposure in effect, and is it the only thing that sets the level?"
    if taken.refusal is not None and not taken.asked:
        text = f"{text} No other exposure could be had: {taken.refusal}."
    return report.section("Exposure and light", text, report.figures(parts))


def _noise(checked: Checked) -> str:
    parts = []
    told = any(one.what == "photon transfer" and one.state != NOTE for one in checked.findings)
    if checked.transfer is not None:
        parts.append(
            (
                check_drawing.photon_transfer(checked.transfer, checked.taken.found.meta.full_scale_dn, told),
                "Variance from frame to frame against mean: a straight line for counted electrons. A gamma curve bends "
                "it, or lays it flat.",
            )
        )
    if checked.neighbours is not None:
        parts.append(
            (
                check_drawing.noise_of_neighbours(checked.neighbours),
                "How far the noise of a pixel goes with that of those around it: next to nothing for a raw "
                "sensor. What was interpolated, smoothed, sharpened or compressed has a pattern here.",
            )
        )
    if not parts:
        return ""
    text = (
        "What a camera does to its frames shows best in their noise, from pairs of frames in which the scene cancels."
    )
    return report.section("Is it really raw?", text, report.figures(parts))


def _made_from(checked: Checked) -> str:
    found = checked.taken.found
    meta = found.meta
    size, series = " x ".join(map(str, found.shape)), checked.taken.series
    return report.provenance(
        {
            "camera": checked.camera_id,
            "address": checked.address,
            "frames": f"{len(found)} as found, {sum(map(len, series))} in {len(series)} exposures",
            "format": f"{size}, {meta.pixel_format}, {meta.bit_depth} bits, filters {meta.cfa or 'none'}",
            "settings": f"exposure {meta.exposure_s:g} s, gain {meta.gain_db:g} dB, black {meta.black_level_dn:g} DN",
            "the frames say": "raw" if meta.raw else "processed, or not known",
            "code": code_version(),
            "machine": platform.machine(),
        }
    )
