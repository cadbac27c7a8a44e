"""`lensless check CAMERA`: is it raw, is it set, is it steady? What is wrong is found in its frames, never assumed."""

import dataclasses
import pathlib

import numpy as np

from hardware import Camera, open_camera
from hardware.errors import CameraError, ConfigurationError, StorageError
from lensless.app import check_flow, check_levels, check_numbers, check_raw, check_steady, text_file
from lensless.app.check_capture import Burst, Taken, take
from lensless.app.check_finding import FAILS, NOTE, Finding
from lensless.app.check_noise import Neighbours, Transfer, neighbours, noise_on_blocks, photon_transfer, restlessness
from lensless.app.screen import Screen

LEAST_FRAMES = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Checked:
    """Everything that a check has found, and what its page is drawn from."""

    address: str
    camera_id: str
    taken: Taken
    findings: list[Finding]
    line: check_levels.Line | None
    transfer: Transfer | None
    neighbours: Neighbours | None
    numbers: check_numbers.Numbers
    noise_exposure_s: float  # of the frames whose noise and numbers were looked at

    @property
    def fails(self) -> bool:
        return any(one.state == FAILS for one in self.findings)


def check(address: str, frames: int, page: pathlib.Path | None, screen: Screen) -> bool:
    """Check a camera; on the screen, as JSON, and as a page if a file is named for it.

    Args:
        address: of the camera. A simulated one shows one scene that stands still, unless its address says more.
        frames: as the camera is found; the exposures take as many again.

    Returns:
        Whether nothing fails.

    Raises:
        CameraLost: it gives no frame, or stops.
        ConfigurationError: no such camera, or a page by another name than FILE.html.
        StorageError: the page cannot be written there.
    """
    if page is not None:
        _check_page(page)
    with _opened(address) as camera:
        with screen.working(f"frames of {address}"):
            taken = take(camera, frames)
        with screen.working("what they say"):
            checked = judge(address, camera.camera_id, taken, frames)
    screen.table(
        f"\n{address}: {checked.camera_id}",
        ["", "", ""],
        [[one.state, one.what, one.detail] for one in checked.findings],
    )
    if page is not None:
        from lensless.app import check_page

        text_file.write(page, check_page.page(checked))
        screen.say(f"look at it: {page.resolve()}")
    screen.result(facts(checked))
    return not checked.fails


def _check_page(page: pathlib.Path) -> None:
    """Before the work; /dev/null and pipes have no such name."""
    if page.suffix.lower() not in (".html", ".htm") and (page.is_file() or not page.exists()):
        raise ConfigurationError(f"--page {page}: expected a name that ends in .html")
    if not page.absolute().parent.is_dir():
        raise StorageError(f"--page {page}: its folder does not exist; make it, or name another")
    text_file.check_place(page, "name another file with --page")


def _opened(address: str) -> Camera:
    try:
        return open_camera(_still(address))
    except ConfigurationError as error:  # in the words of whoever typed the address
        raise type(error)(str(error).replace(_still(address), address)) from error
    except CameraError as error:
        if not address.startswith("opencv:") or "lensless devices" in str(error):
            raise
        raise type(error)(f"{error} (see 'lensless devices' for those that are there)") from error


def judge(address: str, camera_id: str, taken: Taken, frames: int) -> Checked:
    """All findings, from what was taken."""
    found, meta = taken.found, taken.found.meta
    black_dn, full_dn = meta.black_level_dn, meta.full_scale_dn
    several = [burst for burst in taken.series if len(burst) > 1]
    bright = _brightest(found, several)
    line = check_levels.level_against_exposure([(one.meta.exposure_s, one.pixels) for one in several], full_dn)
    transfer = photon_transfer([one.pixels for one in several] or [found.pixels], black_dn, full_dn)
    around = neighbours(bright.pixels, black_dn, full_dn)
    drifts = abs(check_steady.steadiness(bright.pixels, black_dn, full_dn).trend) > check_steady.MOVED
    numbers = check_numbers.count_numbers(bright.pixels[-2:] if drifts else bright.pixels, full_dn)
    noise = _noise(bright, transfer, around, numbers)
    steady = check_steady.steadiness(found.pixels, black_dn, full_dn)
    moving = [steady, *(check_steady.steadiness(one.pixels, black_dn, full_dn) for one in several)]
    told = line is not None and not (
        check_levels.too_dim(line, black_dn, full_dn) or check_levels.too_bright(line, full_dn)
    )
    findings = [
        check_flow.frames_come(found.metas, found.shape, frames, taken.live),
        check_flow.none_lost(found.metas),
        check_flow.none_repeated(list(found.digests), found.pixels),
        check_levels.saturation(found.pixels, full_dn),
        check_levels.brightness(found.pixels, black_dn, full_dn),
        check_levels.black_level([found.pixels, *(one.pixels for one in taken.series)], black_dn),
        *_exposed(taken, line),
        check_steady.automatic_exposure(moving, line.followed(black_dn) if told else None),
        check_steady.steady_light(steady, meta.exposure_s),
        *noise,
        check_raw.fixed_pattern(bright.pixels, black_dn, meta.cfa),
    ]
    findings.append(check_raw.says_raw(meta, found.shape, noise))
    return Checked(address, camera_id, taken, findings, line, transfer, around, numbers, bright.meta.exposure_s)


def facts(checked: Checked) -> dict:
    """For JSON."""
    findings = [dataclasses.asdict(one) | {"figures": _plain(one.figures)} for one in checked.findings]
    return {"address": checked.address, "camera": checked.camera_id, "fails": checked.fails, "findings": findings}


def _exposed(taken: Taken, line: check_levels.Line | None) -> list[Finding]:
    """Settings and exposure; where no exposure can be asked for, as far as the frames have several."""
    meta, findings = taken.found.meta, []
    if taken.asked:
        findings.append(check_levels.settings_read_back(taken.asked, taken.refusal))
    elif taken.refusal is not None:
        state = FAILS if taken.live else NOTE
        findings.append(Finding("settings", state, f"no other exposure can be had: {taken.refusal}"))
    if line is None:
        text = "cannot be asked: it takes frames of three exposures or more"
        return [*findings, Finding("exposure", NOTE, text)]
    return [*findings, check_levels.exposure_in_effect(line, meta.black_level_dn, meta.full_scale_dn)]


def _noise(
    bright: Burst, transfer: Transfer | None, around: Neighbours | None, numbers: check_numbers.Numbers
) -> list[Finding]:
    """What speaks for or against raw frames."""
    meta, shape = bright.meta, bright.pixels.shape[1:]
    if len(bright) < LEAST_FRAMES:
        text = f"cannot be told from {len(bright)} frames; take {LEAST_FRAMES} or more of one exposure"
        return [Finding("noise", NOTE, text)]
    still = _still_picture(bright)
    own = check_raw.own_noise(around, shape, still)
    return [
        check_numbers.all_numbers_used(numbers, meta.bit_depth),
        check_raw.linear_noise(transfer, meta.full_scale_dn, still=still and own.state != NOTE),
        own,
        check_raw.no_blocks(noise_on_blocks(bright.pixels, meta.black_level_dn), shape, len(bright) // 2),
    ]


def _still_picture(bright: Burst) -> bool:
    """Both, since lamps that flicker change the level alone, and video codecs how much they throw away."""
    steady = check_steady.steadiness(bright.pixels, bright.meta.black_level_dn, bright.meta.full_scale_dn)
    restless = restlessness(bright.pixels, bright.meta.black_level_dn) > check_raw.RESTLESS
    return not (restless and steady.scatter > check_steady.SCATTER)


def _brightest(found: Burst, several: list[Burst]) -> Burst:
    """The burst that tells most of the noise: the longest exposure, unless that is clipped."""
    if not several:
        return found
    longest = several[-1]
    clipped = float((longest.pixels >= longest.meta.full_scale_dn).mean())
    return longest if clipped < check_levels.MANY or np.mean(found.pixels) >= np.mean(longest.pixels) else found


def _still(address: str) -> str:
    """Noise is told from pairs of frames, so that a simulated camera shows one scene."""
    scheme, _, place = address.partition(":")
    if scheme != "simulated" or "count=" in place or not place:
        return address
    return f"{address}{'&' if '?' in place else '?'}count=1"


def _plain(figures: dict) -> dict:
    """Numbers of numpy as numbers of Python; JSON knows no infinity."""
    plain = {}
    for name, value in figures.items():
        value = value.item() if isinstance(value, np.generic) else value
        plain[name] = None if isinstance(value, float) and not np.isfinite(value) else value
    return plain
