"""What `lensless info` tells of a recording: soon, and nothing that a terminal would obey."""

import dataclasses
import io
import json
import time

import numpy as np
import pytest
import typer
from recording_child import frame
from rich.console import Console

from hardware import Frame, Recording
from lensless.app import recordings
from lensless.app import screen as screen_module
from lensless.app.capture_commands import info
from lensless.app.screen import Screen

# Clear the screen, fill the clipboard, set the title, go back; in one byte (C1), over the text, from right to left.
ESCAPES = "\x1b[2J\x1b]52;c;cm0gLXJmIH4=\x07\x1b]0;title\x07\x9b2J\rover\b\x7f\t\u202egnp.exe\udc80"


def changed(index: int, **facts: object) -> Frame:
    return Frame(frame(index).pixels, dataclasses.replace(frame(index).meta, **facts))


def is_plain(text: str) -> bool:
    return all(letter == "\n" or letter.isprintable() for letter in text)


def test_rates_say_what_they_are_and_the_origin_is_told_apart_from_the_facts(tmp_path, capsys):
    like = changed(0, t_host_ns=10**9)
    with Recording.create(tmp_path / "a.h5", like, {"frames": 7, "asked": {"seconds": None}}) as writer:
        for at, time_s in enumerate((1.0, 1.1, 1.2, 3.0)):
            writer.append(changed(at, t_host_ns=round(time_s * 1e9)))
    facts = recordings.info(tmp_path / "a.h5", False, Screen())
    assert facts["mean_frames_per_second"] == pytest.approx(1.5)
    shown = " ".join(capsys.readouterr().out.split())
    assert "2.0 s, 1.5 frames/s on average, 10.0 by the usual gap, longest gap 1800 ms" in shown
    assert "origin: frames 7" in shown and "origin: asked -" in shown and shown.count("frames 4 of") == 1


def test_progress_counts_frames_once_and_has_room_for_its_figures(monkeypatch, capsys):
    clock = iter(range(0, 1000, 30))
    monkeypatch.setattr(screen_module.time, "monotonic", lambda: next(clock))
    for total, figures in ((31_610, ""), (None, ""), (31_610, "3.2 frames/s")):
        with Screen().following("verifying a", total) as watch:
            watch(11_458, figures)
    said = capsys.readouterr().out.splitlines()
    counted = "11,458 of 31,610 frames"
    counts = (f"{counted}, 53 s left", "11,458 frames", f"{counted}, 3.2 frames/s, 53 s left")
    assert said == [f"verifying a: {count}" for count in counts]
    monkeypatch.undo()
    screen = Screen()
    screen.console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with screen.following("recording", 31_610) as watch:
        watch(11_458, "1000.1 frames/s, 3000 waiting, 0 lost")
    shown = screen.console.file.getvalue()
    assert "11,458 of 31,610" in shown and "3000 waiting, 0 lost" in shown and "0:00:0" in shown


def test_a_hostile_recording_cannot_speak_to_the_terminal(tmp_path, capsys):
    path, hostile = tmp_path / "a.h5", ESCAPES.replace("\udc80", "")
    like = changed(0, camera_id=f"cam {hostile} era")
    with Recording.create(path, like, {f"source {hostile}": [f"x {hostile} y\nz"]}) as writer:
        writer.append(like)
    info(path, json=str(tmp_path / "facts.json"))
    shown = capsys.readouterr().out
    assert is_plain(shown) and all(word in shown for word in ("cam ", " era", "source ", "x ", " y", "z"))
    facts = (tmp_path / "facts.json").read_text()
    assert is_plain(facts) and json.loads(facts)["camera"]["camera_id"] == like.meta.camera_id


def test_neither_can_a_message_nor_an_error(tmp_path, capsys):
    screen = Screen()
    screen.say(f"a{ESCAPES}b\nc")
    screen.table(f"a{ESCAPES}b", [f"a{ESCAPES}b", "c"], [[f"a{ESCAPES}b", ESCAPES]])
    with screen.working(f"a{ESCAPES}b"), screen.following(f"a{ESCAPES}b", 3):
        pass
    with pytest.raises(typer.Exit):
        info(tmp_path / f"a{ESCAPES}b.h5")
    shown, error = capsys.readouterr()
    assert is_plain(shown) and is_plain(error) and shown.startswith("a") and "b\nc\n" in shown
    assert error.startswith("error: cannot read") and error.count("\n") == 1


def test_the_facts_of_many_frames_are_those_of_each(tmp_path):
    """In parts of which some are larger than what is read at once, with a gap in time, losses and other settings."""
    path, draw = tmp_path / "a", np.random.default_rng(1)
    times_ns = np.cumsum(draw.integers(1, 10**8, 12_000))
    times_ns[7000:] += 10**10
    frames = [
        changed(
            2 * at,
            t_host_ns=int(time_ns),
            lost_before=3 if at % 1500 == 7 else 0,
            exposure_s=(0.01, 0.02)[at > 5000],
            gain_db=float(at % 3),
        )
        for at, time_ns in enumerate(times_ns)
    ]
    with Recording.create(path, frames[0], rotate_frames=5000) as writer:
        for at in range(0, len(frames), 500):
            writer.append_all(frames[at : at + 500], [one % 7 - 1 for one in range(at, at + 500)])
    with Recording.open(path) as recording:
        facts = recordings._facts(recording)
    steps_s = np.diff(times_ns.astype(float) * 1e-9)
    assert facts["frames"] == 12_000 and facts["labelled"] == sum(at % 7 > 0 for at in range(12_000))
    assert facts["duration_s"] == pytest.approx((times_ns[-1] - times_ns[0]) * 1e-9)
    assert facts["frames_per_second"] == pytest.approx(1 / np.median(steps_s))
    assert facts["longest_gap_s"] == pytest.approx(steps_s.max()) and facts["longest_gap_s"] > 10
    assert facts["lost"] == 24 and facts["lost_before"] == [(2 * at, 3) for at in (7, 1507, 3007, 4507, 6007)]
    assert facts["exposures_s"] == [0.01, 0.02] and facts["gains_db"] == [0.0, 1.0, 2.0]
    json.dumps(facts)


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_hardly_a_frame_has_facts_too(tmp_path, frames):
    with Recording.create(tmp_path / "a.h5", frame(0)) as writer:
        for index in range(frames):
            writer.append(frame(index))
    facts = recordings.info(tmp_path / "a.h5", False, Screen())
    assert facts["frames"] == frames and (facts["longest_gap_s"] is None) == (frames < 2)
    assert facts["frames_per_second"] == (pytest.approx(1e9) if frames == 2 else None)


def test_rates_of_more_frames_than_are_kept_are_those_of_a_sample(monkeypatch):
    monkeypatch.setattr(recordings, "_MOST_STEPS", 1000)
    steps = recordings._Steps()
    times_ns = np.cumsum(np.random.default_rng(2).integers(10**6, 2 * 10**6, 100_000))
    for at in range(0, len(times_ns), 999):
        steps.add(times_ns[at : at + 999])
        assert steps.kept <= 1000 + 999
    assert steps.median_s == pytest.approx(1.5e-3, rel=0.03) and steps.longest_s == pytest.approx(2e-3, rel=0.001)


@pytest.mark.slow
def test_20000_frames_are_told_of_within_two_seconds(tmp_path):
    small = (4, 4)
    with Recording.create(tmp_path / "a.h5", frame(0, small)) as writer:
        for at in range(0, 20_000, 500):
            writer.append_all([frame(index, small) for index in range(at, at + 500)])
    began_s = time.monotonic()
    with Recording.open(tmp_path / "a.h5") as recording:
        assert recordings._facts(recording)["frames"] == 20_000
    seconds = time.monotonic() - began_s
    print(f"\ninfo: the facts of 20,000 frames in {seconds:.2f} s")
    assert seconds < 2
