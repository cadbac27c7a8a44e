"""Is it really raw? What the noise of the frames says, judged."""

import math

import numpy as np

from calibration.mosaic import split_planes
from hardware import FrameMeta
from lensless.app.check_finding import FAILS, NOTE, OK, Finding, changed
from lensless.app.check_noise import BLOCK, PATCHES, UP_TO, Neighbours, Transfer

# Of 60 simulated raw sensors none came above a quarter of these; gamma 2.2, smoothing and JPEG lie far beyond.
BEND, RISE, SURE = 0.08, 0.5, 5.0
SPAN, BRIGHT = 0.1, 0.15  # of full scale: how far levels must reach before a straight line means something
NEIGHBOUR = 0.05  # charge of real pixels spills over to their neighbours: 0.01 to 0.03
MOVING = 0.5  # correlation far away, relative to that of neighbours, from which on it is the scene that changes
RESTLESS = 0.3  # `restlessness` from which on, where the level scatters as well, it is the scene
ON_BLOCKS = 0.2
ROUNDING_DN2 = 0.2  # variance below which rounding makes its own
HOT, EDGE, DEFECTS = 12.0, 0.25, 0.05  # a pixel stands out by so many standard deviations and by a share of its light


def linear_noise(transfer: Transfer | None, full_scale_dn: int, still: bool = True) -> Finding:
    """Whether variance rises with the level in a straight line; `still` unless the picture itself changes."""
    what = "photon transfer"
    if transfer is None:
        text = f"cannot be told: too few pixels between black and {UP_TO:.0%} of full scale; change the light"
        return Finding(what, NOTE, text)
    top = float(transfer.mean_dn.max())
    e_per_dn = 1 / transfer.slope if transfer.slope > 0 else None
    figures = {
        "gain_e_per_dn": e_per_dn, "bend": transfer.bend, "bend_error": transfer.bend_error, "rise": transfer.rise(),
        "from_dn": float(transfer.mean_dn.min()), "to_dn": top,
    }  # fmt: skip
    if not still:
        return Finding(what, NOTE, "cannot be told: the picture changes; hold camera and scene still", figures)
    if float(np.median(transfer.variance_dn2)) < ROUNDING_DN2:
        text = "cannot be told: the noise is smaller than the steps of the converter; ask for more bits or more gain"
        return Finding(what, NOTE, text, figures)
    if transfer.span_dn < SPAN * full_scale_dn:
        text = (
            f"cannot be told: levels from {transfer.mean_dn.min():.0f} to {top:.0f} DN only; take more light, or light "
            "that is not even"
        )
        return Finding(what, NOTE, text, figures)
    bent = abs(transfer.bend) > BEND and abs(transfer.bend) > SURE * transfer.bend_error
    flat = transfer.rise() < RISE and top > BRIGHT * full_scale_dn
    seen = f"variance over {transfer.mean_dn.min():.0f} to {top:.0f} DN"
    if bent or flat:
        rise, bend = changed(transfer.rise(), 0), changed(transfer.bend, 0)
        how = f"hardly rises or falls ({rise})" if flat else f"is bent by {bend}"
        text = (
            f"{seen} {how}; that of counted electrons rises in a straight line: gamma, a tone curve or noise reduction "
            "is on; switch them off, or ask for a raw format"
        )
        return Finding(what, FAILS, text, figures)
    bend = changed(transfer.bend, 1)
    text = f"{seen} rises in a straight line (bend {bend}); gain about {e_per_dn:.3g} electrons per DN"
    return Finding(what, OK, text, figures)


def own_noise(found: Neighbours | None, shape: tuple[int, int], still: bool = True) -> Finding:
    """Whether each pixel's noise is its own. `shape` of what was looked at; `still` unless the picture changes."""
    what = "noise of neighbours"
    if found is None:
        text = "there is no noise that changes from frame to frame: frames are repeated, smoothed, or of no camera"
        return Finding(what, FAILS, text)
    strongest, down, right = found.strongest()
    figures = {
        "correlation": strongest,
        "rows_away": down,
        "columns_away": right,
        "error": found.error,
        "far": found.far,
    }
    measured = f"correlation {strongest:+.3f} with the pixel {abs(down)} rows and {abs(right)} columns away"
    limit = NEIGHBOUR + SURE * found.error + 1 / min(shape)
    if abs(strongest) <= limit:
        return Finding(what, OK, f"{measured}: each pixel has its own", figures)
    if found.far > MOVING * abs(strongest) or not still:
        text = (
            f"cannot be told: what changes from frame to frame is the picture (correlation {strongest:+.2f} beside, "
            f"{found.far:+.2f} at 12 pixels); hold camera and scene still"
        )
        return Finding(what, NOTE, text, figures)
    text = (
        f"{measured}, of a raw sensor below {limit:.2f}: frames are demosaiced, smoothed, sharpened, scaled or "
        "compressed; switch sharpness and noise reduction off, or ask for a raw format (fourcc=GREY, Y16, BA81 ...)"
    )
    return Finding(what, FAILS, text, figures)


def no_blocks(missing: float, shape: tuple[int, int], pairs: int) -> Finding:
    """Whether noise is missing on a grid of 8 x 8: `missing` is what `noise_on_blocks` found in so many pairs."""
    count = min(PATCHES, math.prod((n - BLOCK) // BLOCK for n in shape)) * max(pairs, 1)
    # A block's share scatters by a seventh of it; of 64 grids one is always the emptiest.
    limit = max(ON_BLOCKS, 6 * 0.15 / max(count, 1) ** 0.5)
    figures = {"missing_share": missing, "limit": limit}
    measured = f"{max(missing, 0):.0%} of the fine noise missing on the emptiest grid of 8 x 8 pixels"
    if missing <= limit:
        return Finding("compression", OK, measured, figures)
    text = f"{measured}: frames were compressed (JPEG, video); ask for an uncompressed format (fourcc=GREY, YUYV, Y16)"
    return Finding("compression", FAILS, text, figures)


def fixed_pattern(pixels: np.ndarray, black_dn: float, cfa: str | None) -> Finding:
    """What stays from frame to frame in fine detail, beside the noise that does not; `pixels` (n, h, w)."""
    mean = pixels.mean(0, dtype=np.float64)
    planes = [mean] if cfa is None else split_planes(mean, cfa)
    fine = np.concatenate([_fine(plane).ravel() for plane in planes])
    light = np.concatenate([plane[:, 1:-1].ravel() for plane in planes]) - black_dn
    temporal = float(np.sqrt((np.diff(pixels.astype(np.float32), axis=0) ** 2).mean() / 2)) if len(pixels) > 1 else 0.0
    quiet = 1.4826 * float(np.median(np.abs(fine - np.median(fine))))
    # The mean frame keeps a part of the temporal noise.
    own = math.sqrt(max(quiet**2 - temporal**2 / len(pixels), 0.0))
    hot = float((np.abs(fine) > HOT * max(quiet, 0.1) + EDGE * np.abs(light)).mean())
    level = max(float(mean.mean()) - black_dn, 1e-9)
    figures = {"fixed_dn": own, "temporal_dn": temporal, "outlier_share": hot}
    measured = (
        f"{own:.2f} DN that stays ({own / level:.1%} of the level, fine detail of the scene included), "
        f"{temporal:.2f} DN from frame to frame, {hot:.2%} of the pixels stand out"
    )
    if hot > DEFECTS:
        text = f"{measured}: fine detail or very many defects; look again under even light without a lens"
        return Finding("fixed pattern", NOTE, text, figures)
    return Finding("fixed pattern", OK, f"{measured}; a dark and a flat calibration take it away", figures)


def _fine(plane: np.ndarray) -> np.ndarray:
    """Each pixel against the mean of its two neighbours in the row, scaled so that noise keeps its size."""
    return (plane[:, 1:-1] - (plane[:, :-2] + plane[:, 2:]) / 2) / math.sqrt(1.5)


def says_raw(meta: FrameMeta, shape: tuple[int, ...], others: list[Finding]) -> Finding:
    """What the frames say of themselves, beside what was found."""
    against = [one.what for one in others if one.state == FAILS]
    untold = [one.what for one in others if one.state == NOTE]
    figures = {"raw": int(meta.raw), "signs": ", ".join(against)}
    if len(shape) == 3 and shape[2] > 1:
        text = (
            f"{shape[2]} channels in a pixel: colours were guessed from neighbours, and calibrations refuse "
            "such frames; ask for the mosaic or a grey format (fourcc=GREY, Y16, BA81, pixel_format)"
        )
        return Finding("raw", FAILS, text, figures)
    if against:
        text = f"signs of processing: {', '.join(against)}; what comes from these frames is no measurement of light"
        return Finding("raw", FAILS, text, figures)
    if not meta.raw:
        text = (
            "the driver does not vouch that nothing was done to the frames, and calibrations refuse them; no sign of "
            "processing was found here" + (f" (not told: {', '.join(untold)})" if untold else "")
        )
        return Finding("raw", NOTE, text, figures)
    if untold:
        return Finding("raw", OK, f"the frames say so; not told: {', '.join(untold)}", figures)
    return Finding("raw", OK, "the frames say so, and nothing speaks against it", figures)
