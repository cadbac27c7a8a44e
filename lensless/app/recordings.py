"""What `lensless info`, `repair` and `export` do with recordings: foreign files until they were vetted."""

import dataclasses
import pathlib
import re

import numpy as np

from hardware import Recording
from hardware.errors import ConfigurationError
from hardware.lock import is_written
from hardware.recording import export as exporting
from hardware.recording import repair as repairing
from hardware.recording.vetting import vet
from lensless.app.screen import Screen

_MOST_GAPS, _MOST_STEPS = 5, 2**20
NS = 1e-9
FIRST_RUN = "run-00000"  # of a collection


def info(path: pathlib.Path, verify: bool, screen: Screen) -> dict:
    """Show what a recording, or a collection of them, holds; with `verify` every checksum is compared.

    Raises:
        InputError: not a recording, or damaged.
    """
    if (path / FIRST_RUN).is_dir():
        from lensless.app.collection.summary import summary  # needs torch, as the scenes of a collection do

        return summary(path, verify, screen)
    vet(path)
    with Recording.open(path) as recording:
        if verify:
            with screen.following(f"verifying {path}", len(recording)) as watch:
                recording.verify(lambda done, of: watch(done, ""))
        facts = _facts(recording) | ({"verified": True} if verify else {})
        screen.table("", ["", ""], [list(row) for row in _rows(recording, facts)])
        if facts["being_written"]:
            screen.say("It is being written now: more frames may come. Every frame counted here is whole.")
        elif not facts["closed_in_order"]:
            screen.say(
                "Its writer was ended before it closed it. Every frame counted here is whole; a copy that is closed: "
                f"lensless repair {path} --out NEW"
            )
        return facts


def repair(path: pathlib.Path, out: pathlib.Path, screen: Screen) -> dict:
    """Copy what can be verified into a new recording.

    Raises:
        InputError: nothing can be saved. StorageError: `out` exists, or the disk is full.
    """
    with screen.following(f"repairing {path}", None) as watch:
        report = repairing.repair(path, out, lambda done: watch(done, ""))
    screen.say(str(report))
    return {
        "recording": str(out), "copied": report.copied, "damaged": report.damaged, "complete": report.is_complete,
        "damages": [dataclasses.asdict(one) for one in report.damages],
    }  # fmt: skip


def export(path: pathlib.Path, out: pathlib.Path, frames: str, screen: Screen) -> dict:
    """Write frames for other programs.

    Raises:
        ConfigurationError: no such range. InputError: damaged. StorageError: `out` exists, or the disk is full.
    """
    vet(path)
    chosen = _range(frames)
    with Recording.open(path) as recording:
        total = len(range(*chosen.indices(len(recording))))
        with screen.following(f"writing {out}", total) as watch:
            count = exporting.export(recording, out, chosen, lambda done, of: watch(done, ""))
    screen.say(f"{count:,} frames in {out}, their facts in {exporting.facts_path(out)}")
    return {"file": str(out), "facts": str(exporting.facts_path(out)), "frames": count}


def _range(text: str) -> slice:
    found = re.fullmatch(r"(-?\d+)?:(-?\d+)?(?::(\d+))?", text)
    if found is None or (found[3] is not None and int(found[3]) == 0):
        raise ConfigurationError(
            f"--frames {text!r}: expected START:STOP or START:STOP:STEP with a step of 1 or more, e.g. 0:100 or ::10"
        )
    return slice(*(None if number is None else int(number) for number in found.groups()))


class _Steps:
    """Times between frames, in memory that is bounded: of many, the median is that of every second, fourth, ... one."""

    def __init__(self):
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.longest_s: float | None = None
        self._steps_s, self._every = np.zeros(0), 1

    def add(self, times_ns: np.ndarray) -> None:
        """The times of the frames that come next."""
        steps_s = np.diff(times_ns, prepend=times_ns[:1] if self.last_ns is None else self.last_ns) * NS
        if self.first_ns is None:
            self.first_ns, steps_s = int(times_ns[0]), steps_s[1:]
        self.last_ns = int(times_ns[-1])
        if len(steps_s):
            self.longest_s = max(float(steps_s.max()), self.longest_s or 0.0)
        self._steps_s = np.concatenate([self._steps_s, steps_s[:: self._every]])
        if len(self._steps_s) > _MOST_STEPS:
            self._steps_s, self._every = self._steps_s[::2], 2 * self._every

    @property
    def kept(self) -> int:
        return len(self._steps_s)

    @property
    def median_s(self) -> float:
        """0 where there is no step."""
        return float(np.median(self._steps_s)) if self.kept else 0.0


def _facts(recording: Recording) -> dict:
    """What stands in a recording, for programs; reads no pixels."""
    # In this order: what is counted after it was closed is all there is, and parts are counted as frames are.
    being_written, closed = is_written(recording.path), recording.closed_in_order
    length, parts = recording.refresh(), recording.parts
    steps, frames, labelled, lost = _Steps(), 0, 0, 0
    lost_before: list[tuple[int, int]] = []
    settings: dict[str, set[float]] = {"exposure_s": set(), "gain_db": set()}
    for rows in recording.rows():
        rows = rows[: length - frames]
        if not len(rows):
            break
        steps.add(rows["t_host_ns"])
        for name, values in settings.items():
            values.update(np.unique(rows[name]).tolist())
        gaps = rows[rows["lost_before"] > 0]
        lost_before += gaps[["sequence", "lost_before"]][: _MOST_GAPS - len(lost_before)].tolist()
        frames, lost = frames + len(rows), lost + int(gaps["lost_before"].sum())
        labelled += int((rows["label"] >= 0).sum())
    duration_s = (steps.last_ns - steps.first_ns) * NS if frames else 0.0
    return {
        "path": str(recording.path), "frames": frames, "closed_in_order": closed,
        "being_written": being_written and not closed, "shape": list(recording.shape),
        "camera": dataclasses.asdict(recording.facts),
        "duration_s": duration_s, "mean_frames_per_second": (frames - 1) / duration_s if duration_s > 0 else None,
        "frames_per_second": 1 / steps.median_s if steps.median_s > 0 else None, "longest_gap_s": steps.longest_s,
        "lost": lost, "lost_before": lost_before,
        "exposures_s": sorted(settings["exposure_s"]), "gains_db": sorted(settings["gain_db"]),
        "scenes": recording.has_scenes, "labelled": labelled,
        "parts": [dataclasses.asdict(part) for part in parts], "provenance": recording.provenance,
    }  # fmt: skip


def _rows(recording: Recording, facts: dict):
    camera, shape = recording.facts, " x ".join(map(str, facts["shape"]))
    yield "frames", f"{facts['frames']:,} of {shape}, {camera.bit_depth} bits"
    yield "camera", f"{camera.camera_id}, {camera.pixel_format}, black level {camera.black_level_dn:g} DN"
    if camera.cfa:
        yield "colours", f"{camera.cfa}, as the sensor gave them"
    yield "raw", "yes" if camera.raw else "not vouched for; signs of processing are found by lensless check"
    yield "exposure", _few([f"{value * 1e3:g} ms" for value in facts["exposures_s"]])
    yield "gain", _few([f"{value:g} dB" for value in facts["gains_db"]])
    if facts["frames_per_second"]:
        yield (
            "time",
            f"{facts['duration_s']:.1f} s, {facts['mean_frames_per_second']:.1f} frames/s on average, "
            f"{facts['frames_per_second']:.1f} by the usual gap, longest gap {facts['longest_gap_s'] * 1e3:.0f} ms",
        )
    where = ", ".join(f"{number:,} before frame {sequence}" for sequence, number in facts["lost_before"])
    if "display" in facts["provenance"]:
        yield "passed over", f"{facts['lost']:,} while the display settled, or the light was looked at"
    else:
        yield "lost", f"{facts['lost']:,}" + (f": {where}" if where else "")
    if facts["scenes"] or facts["labelled"]:
        yield "scenes", f"{'stored' if facts['scenes'] else 'not stored'}, {facts['labelled']:,} frames have a label"
    hashed = sum(part["sha256"] is not None for part in facts["parts"])
    yield "parts", f"{len(facts['parts'])}" + (f", {hashed} with their SHA-256" if hashed else "")
    for name, value in sorted(facts["provenance"].items()):
        yield f"origin: {name}", (_of_display(value) if name == "display" else _short(value)) or "-"
    yield "closed in order", "yes" if facts["closed_in_order"] else "not yet" if facts["being_written"] else "no"
    if facts.get("verified"):
        yield "verified", "every frame and checksum"


def _of_display(facts: object) -> str:
    """What is measured of a display, but for the levels of its response."""
    if not isinstance(facts, dict):
        return _short(facts)
    kept = {name: value for name, value in facts.items() if name != "response"}
    response = facts.get("response")
    return _short(kept | ({"gamma": response.get("gamma")} if isinstance(response, dict) else {}))


def _few(values: list[str]) -> str:
    return ", ".join(values[:4]) + (f" and {len(values) - 4} more" if len(values) > 4 else "")


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > 12:
        return f"{', '.join(map(str, value[:6]))}, ... ({len(value)})"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
