"""How an inspection is shown: as a page, as rows on the screen, as plain facts for JSON."""

import dataclasses
import math
import typing

import numpy as np
import torch

from lensless.app import pages
from lensless.app.linear_estimates import MEASURED_MOST, MEASURED_VALUES
from lensless.evaluate import drawing, report

if typing.TYPE_CHECKING:
    from lensless.app.inspection import Inspection
    from lensless.app.nearby import Perturbation

PRIOR = "independent pixels, 0.3 rms"


def page(found: "Inspection", command: str) -> str:
    """The page of `lensless inspect`, as made by `command`."""
    rig = found.setting.rig
    lead = (
        f"{_scene_words(found)}. What its sensor can tell of a scene, how finely, and what small moves do to it; "
        "computed from the forward model and the noise."
    )
    beware = report.warning(pages.saturation(found.setting, found.estimates.saturated))
    sections = [beware, _seen(found), _field(found), _points(found), _perturbed(found), _estimates(found)]
    made_from = pages.made_from(found.setting, [], found.scenes, {"seed of the scenes": "0", "page made by": command})
    return report.page(f"What the rig {rig.id} can see", lead, [*sections, made_from])


def rows(found: "Inspection") -> list[list[str]]:
    """For the screen."""
    spec, error, seen = found.setting.rig.spec, found.setting.rig.forward_model.sampling_error, found.seen
    sensor, field, estimates = spec.sensor, found.field, found.estimates
    values = (seen.singular_values / seen.singular_values[0]).cpu()
    ranks = [rank for rank in (2, 10, 50, 128, len(values)) if rank <= len(values)]
    return [
        ["scene", _scene_words(found)],
        ["sensor", f"{sensor.shape[0]} x {sensor.shape[1]} pixels, {sensor.bit_depth} bits, {sensor.serial}"],
        ["sampling error", f"{error:.1%} of the matrix (rays)" if error else "none: closed form"],
        *([f"singular value {rank}", f"{values[rank - 1]:.2e} of the largest"] for rank in ranks),
        *([f"modes above noise, {_frames(n)}", _counted(found, n)] for n in seen.modes),
        [f"bits in one frame, {PRIOR}", f"{found.white_bits[1]:,.0f}"],
        [f"bits in one frame, {found.scenes}", f"{found.scene_bits[1]:,.0f}"],
        ["width of a resolved point", f"{float(field.width_px.nanmedian()):.2f} pixels (median over the field)"],
        *([["PSF correlation 1/2 near the axis", f"{_half_deg(found):.2f} degrees"]] if spec.cannula else []),
        *([one.name, f"{_loss(one)} dB (Wiener, not clamped)"] for one in found.perturbations),
        [f"Wiener's filter, {found.scenes}", f"{_wiener_words(found)}"],
        *([f"Tikhonov, {name}", _weight(weight, psnr)] for name, weight, psnr in estimates.tikhonov),
    ]


def facts(found: "Inspection") -> dict:
    """For JSON; what is infinite or no number is null."""
    setting, seen, field, estimates = found.setting, found.seen, found.field, found.estimates
    model, spec = setting.rig.forward_model, setting.rig.spec
    floor = seen.sampling_spectrum
    return {
        "rig": spec.id, "fingerprint": spec.fingerprint, "frames": setting.frames, "scenes": found.scenes,
        "sampling_error": model.sampling_error, "unknowns": seen.unknowns,
        "modes_1_frame": seen.modes[1], "modes": seen.modes[setting.frames],
        "modes_above_sampling": seen.above_sampling,
        "by_frames": [
            {
                "frames": n, "modes_above_noise": seen.modes[n], "modes_seen": seen.counted(n),
                "bits_independent_pixels": found.white_bits[n], "bits_scenes": found.scene_bits[n],
            }
            for n in seen.modes
        ],
        "singular_values": seen.singular_values.tolist(),
        "sampling_spectrum": None if floor is None else floor.tolist(),
        "signal_to_noise_1_frame": seen.signal_to_noise.tolist(),
        "pixel": dict(zip(("size", "unit"), _pixel(found), strict=True)),
        "width_px": _plain(field.width_px), "crosstalk": _plain(field.crosstalk),
        "half_correlation_px": _plain(field.half_px),
        "near_axis": None if field.fine_deg is None else {
            "angle_deg": field.fine_deg.tolist(), "correlation": _plain(field.fine_correlation),
            "half_deg": _plain(torch.tensor(_half_deg(found))),
        },
        "perturbations": [
            {"step": one.name, **dataclasses.asdict(one.change), "wiener_loss_db": one.loss_db}
            for one in found.perturbations
        ],
        "wiener": {
            "expected_db": estimates.expected_db, "measured_db": estimates.measured_db,
            "clamped_mean_db": estimates.clamped_db, "test_scenes": estimates.measured,
            "saturated_share": estimates.saturated,
        },
        "tikhonov": [
            {"choice": name, "weight": weight, "psnr_db": psnr, "test_scenes": estimates.tikhonov_frames}
            for name, weight, psnr in estimates.tikhonov
        ],
    }  # fmt: skip


def _seen(found: "Inspection") -> str:
    seen = found.seen
    sampled = seen.sampling_spectrum is not None
    heads = ["frames averaged", "modes above noise", *["of these no sampling error"] * sampled, f"bits: {PRIOR}"]
    lines = [
        [f"{n:,}" + " (this rig)" * (n == found.setting.frames), str(seen.modes[n]), *[str(seen.counted(n))] * sampled,
         f"{found.white_bits[n]:,.0f}", f"{found.scene_bits[n]:,.0f}"]
        for n in seen.modes
    ]  # fmt: skip
    floor = None if seen.sampling_spectrum is None else seen.sampling_spectrum.cpu().numpy()
    left = (
        "A mode in the shaded band may be nothing but sampling error of the rays."
        if floor is not None else "How fast the singular values of the matrix fall: what lies far down, noise covers."
    )  # fmt: skip
    parts = [
        (drawing.singular_spectrum(seen.singular_values.cpu().numpy(), floor), left),
        pages.noise_figure(seen, {*pages.FRAMES, found.setting.frames}),
    ]
    note = (
        "<p>Bits that one measurement holds of a normal scene: 1/2 log2(1 + (signal / noise)^2) over all modes, "
        f"of {PRIOR}, and of the covariance of {report.escape(found.scenes)}. The noise is that of the frames at half "
        "light; errors of the calibration come on top.</p>"
    )
    return report.section(
        "How many numbers it sees", pages.seen_text(found.setting, seen),
        report.figures(parts), report.plain_table([*heads, f"bits: {found.scenes}"], lines), note,
    )  # fmt: skip


def _field(found: "Inspection") -> str:
    field, (size, unit) = found.field, _pixel(found)
    text = (
        f"A scene pixel is {size:.3g} {unit}. Width and crosstalk are of the resolution matrix R = (J + 1/0.3^2)^-1 J "
        f"with J = A* N^-1 A in {_frames(found.setting.frames)}: its row i says what the best estimate of pixel i is "
        f"made of, for {PRIOR}. Width is sqrt((sum R_ij)^2 / sum R_ij^2): 1 pixel is perfect, n is the average over "
        "n x n. Crosstalk is the share of |R_ij| outside the pixel. The last map: how far a point moves, along its "
        "row and column, until the correlation of its picture on the sensor with the one before is 1/2."
    )
    half = (field.half_px * size).numpy()
    beyond = " Grey: not within the field." if np.isinf(half).any() else ""
    guess = " Below one pixel it is a straight line's guess: points closer than that were not traced."
    guess *= bool(field.half_px.median() < 1)
    (rows_, columns), pixels = found.setting.rig.spec.scene.shape, float(field.width_px.nanmedian())
    sides = (rows_ * size, columns * size, unit)
    parts = [
        (drawing.field_map((field.width_px * size).numpy(), "width of a resolved point", unit, sides),
         f"The smaller, the sharper; one pixel, {size:.3g} {unit}, is the best there is. Median {pixels * size:.3g} "
         f"{unit} ({pixels:.2f} pixels)."),
        (drawing.field_map(100 * field.crosstalk.numpy(), "crosstalk", "%", sides),
         "The smaller, the better: 0 % is an estimate of its own pixel alone, 100 % one of all others. Median "
         f"{float(field.crosstalk.nanmedian()):.0%}."),
        (drawing.field_map(half, "PSF correlation 1/2", unit, sides),
         "The smaller, the better: a point that moves by less looks nearly the same to the sensor. Median "
         f"{_length(float(field.half_px.median()) * size, unit)}.{guess}{beyond}"),
    ]  # fmt: skip
    drawn = report.figures(parts)
    if field.fine_deg is not None:
        half_deg = _half_deg(found)
        curve = drawing.fall(field.fine_deg.numpy(), field.fine_correlation.numpy(), half_deg)
        words = (
            "Close to the axis, traced for points closer than the scene's pixels: two points less than "
            f"{half_deg:.2f} degrees apart make pictures that are more alike than different, on average."
        )
        drawn += report.figures([(curve, words)])
    return report.section("How finely, and where", text, drawn)


def _points(found: "Inspection") -> str:
    model = found.setting.rig.forward_model
    high, wide = model.scene_shape
    places = [(r, c) for r in (0, (high - 1) // 2, high - 1) for c in (0, (wide - 1) // 2, wide - 1)]
    points = torch.zeros(len(places), 1, high, wide, device=found.setting.device)
    for at, (row, column) in enumerate(places):
        points[at, 0, row, column] = 1
    columns = model.A(points)[:, 0]
    names = [f"row {r + 1}, column {c + 1}" for r, c in places]
    return report.section(
        "What one point makes",
        "The frame that a single bright pixel of the scene gives, at nine places as they lie in the scene, without "
        "noise, each between its own darkest and brightest pixel. The less these look alike, the better the rig tells "
        "the places apart.", report.nine(list(columns.cpu().numpy()), names),
    )  # fmt: skip


def _perturbed(found: "Inspection") -> str:
    heads = ["step", "change of the matrix", "PSF correlation", "Wiener, not clamped (dB)"]
    lines = [
        [one.name, f"{one.change.relative:.2%}", f"{one.change.correlation:.4f}", _loss(one)]
        for one in found.perturbations
    ]  # fmt: skip
    error = found.setting.rig.forward_model.sampling_error
    rays = (
        " Both models are traced with rays of one seed, so that much of their sampling error cancels; what is left of "
        f"it, at most {2**0.5 * error:.1%} of the matrix, counts as change." if error else ""
    )  # fmt: skip
    text = (
        "What a small step away does: |A' - A| / |A|, the mean correlation of what each point makes before and after, "
        "and what the PSNR of Wiener's filter for the unmoved rig changes by on frames of the moved one: in closed "
        f"form, of the mean squared error over scenes like those of {found.scenes}, not clamped. Clamped to [0, 1], as "
        f"results are stated, it changes less.{rays}"
    )
    fine = (
        "<p>A tilt or another distance moves the scene, and the estimate with it. A sensor that is shifted gives "
        "frames that no scene gives: the weak modes, which hold the detail, are patterns as fine as a few pixels; they "
        "change most, and the filter enlarges them most.</p>"
        if found.setting.rig.spec.cannula else ""
    )  # fmt: skip
    return report.section("How much small moves upset", text, report.plain_table(heads, lines), fine)


def _estimates(found: "Inspection") -> str:
    estimates = found.estimates
    count = f"{estimates.measured:,} simulated test frames"
    lines = [
        ["Wiener, expected: closed form, mean squared error, not clamped", "", f"{estimates.expected_db:.2f}"],
        [f"Wiener, measured on {count}, the same way", "", f"{estimates.measured_db:.2f}"],
        ["Wiener, measured, as results are stated: clamped, mean over pictures", "", f"{estimates.clamped_db:.2f}"],
        *(
            [f"Tikhonov, {name}", "none fits" if weight is None else f"{weight:.1e}", _number(psnr)]
            for name, weight, psnr in estimates.tikhonov
        ),
    ]
    unfit = (
        " None fits: at every weight the estimate differs from the frames by more than the stated noise, or by less, "
        "as when they saturate or errors of the calibration stand beside the noise."
    ) * any(weight is None for _, weight, _ in estimates.tikhonov)  # fmt: skip
    text = (
        f"Scenes: {found.scenes}; {_frames(found.setting.frames)}. Wiener's filter knows mean and covariance of the "
        "training scenes, Tikhonov's only their mean. Its weight (relative to |A|^2) is chosen from the frames: by "
        "generalised cross-validation, or so that |A x - y|^2 = n sigma^2 (the discrepancy principle). PSNR of "
        f"Tikhonov: {estimates.tikhonov_frames} of the test frames, clamped, mean over pictures.{unfit} How many "
        f"test frames there are follows from their size: {MEASURED_VALUES:,} pixels in all, at most {MEASURED_MOST:,} "
        f"frames; Tikhonov takes 100 to 200 of them, evenly spread.{_saturated(found)}"
    )
    return report.section(
        "What linear estimates make of it", text, report.gallery(estimates.examples),
        report.plain_table(["", "weight", "PSNR (dB)"], lines),
    )  # fmt: skip


def _scene_words(found: "Inspection") -> str:
    scene, (size, unit) = found.setting.rig.spec.scene, _pixel(found)
    rows_, columns = scene.shape
    return f"{rows_} x {columns} pixels of {size:.3g} {unit}, {scene.distance_mm:g} mm away"


def _pixel(found: "Inspection") -> tuple[float, str]:
    """Size and unit of a scene pixel: the angle in the middle of the field, or mm before a bare sensor."""
    scene = found.setting.rig.spec.scene
    if scene.fov_deg is None:
        return scene.width_mm / scene.shape[1], "mm"
    return math.degrees(2 * math.tan(math.radians(scene.fov_deg / 2)) / scene.shape[1]), "degrees"


def _half_deg(found: "Inspection") -> float:
    """Where the correlation near the axis falls to 1/2; infinite if not within what was traced."""
    angles, values = found.field.fine_deg.numpy(), found.field.fine_correlation.numpy()
    below = np.flatnonzero(values < 0.5)
    if not below.size:
        return math.inf
    at = below[0]
    return float(np.interp(0.5, [values[at], values[at - 1]], [angles[at], angles[at - 1]]))


def _counted(found: "Inspection", frames: int) -> str:
    seen = found.seen
    rays = f", {seen.counted(frames)} without sampling error" if seen.sampling_spectrum is not None else ""
    return f"{seen.modes[frames]} of {seen.unknowns:,}{rays}"


def _wiener_words(found: "Inspection") -> str:
    estimates = found.estimates
    return (
        f"{estimates.expected_db:.2f} dB expected, {estimates.measured_db:.2f} measured; clamped, mean of the pictures "
        f"{estimates.clamped_db:.2f}.{_saturated(found)}"
    )


def _saturated(found: "Inspection") -> str:
    share = found.estimates.saturated
    return f" {share:.1%} of the test frames come near saturation, which the closed form leaves out." if share else ""


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count:,} frames"


def _loss(one: "Perturbation") -> str:
    return f"{0.0 - round(one.loss_db, 2) + 0.0:+.2f}"


def _weight(weight: float | None, psnr: float | None) -> str:
    return "no weight fits" if weight is None else f"weight {weight:.1e}, {psnr:.2f} dB"


def _length(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if math.isfinite(value) else "not within the field"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _plain(values: torch.Tensor):
    """Numbers for JSON, which knows no infinity."""
    return np.where(np.isfinite(values.numpy()), values.numpy(), None).tolist()
