"""The live view: what it says of real frames, what it counts, and how it ends."""

import collections
import dataclasses
import itertools
import json
import os
import signal

import numpy as np
import pytest
import torch

from calibration import Calibration
from hardware import Recording, open_camera
from hardware.errors import CameraLost, FrameSaturated
from lensless.app import sources
from lensless.app.live import commands, flow
from lensless.app.live.account import Latencies
from lensless.app.live.flow import Wish, watch
from lensless.app.live.results import Labels, labels_of, pictures_of
from lensless.app.live.sliding_mean import SlidingMean
from lensless.app.load import load
from lensless.app.screen import Screen

pty = pytest.mark.skipif(os.name != "posix", reason="no pseudo-terminals here")


def check_account(facts: dict) -> None:
    """Every frame is accounted for."""
    frames = dict(facts["frames"])
    assert frames.pop("captured") == sum(frames.values())
    assert frames["measured"] == facts["measurements"]


@pytest.fixture
def calibration(classify_run) -> Calibration:
    return Calibration.load(classify_run / "calibration.npz")


def wish(address: str, calibration: Calibration, averaged: int = 1, **others) -> Wish:
    return Wish(address, sources.settings_for(address, calibration), calibration, averaged, {}, **others)


def test_labels_are_those_of_the_command_without_live(lensless, classify_run, recording, tmp_path):
    still, live = tmp_path / "still.json", tmp_path / "live.json"
    assert lensless("classify", classify_run, recording, "--json", still).exit_code == 0
    done = lensless("classify", classify_run, f"replay:{recording}", "--live", "--json", live)
    assert done.exit_code == 0, done.output
    expected = collections.Counter(one["label"] for one in json.loads(still.read_text())["labels"])
    facts = json.loads(live.read_text())
    assert facts["labels"] == expected and facts["ended_by"] == "source"
    assert facts["latency_median_s"] is None, "frames of another day have no latency"
    check_account(facts)
    assert "12 measurements in" in done.output


def test_a_camera_that_goes_on_by_itself(lensless, classify_run, tiny, tmp_path):
    at, out = f"simulated:{tiny}", tmp_path / "live.json"
    done = lensless("classify", classify_run, f"{at}?fps=20", "--live", "--seconds", 1.5, "--json", out)
    assert done.exit_code == 0, done.output
    facts = json.loads(out.read_text())
    check_account(facts)
    assert facts["ended_by"] == "seconds" and 1.5 <= facts["seconds"] < 3
    assert facts["latency_95_s"] >= facts["latency_median_s"] >= 0.03, "an exposure takes that long"
    captured = facts["frames"]["captured"]
    assert abs(captured - 20 * facts["seconds"]) < 10
    if facts["frames"]["lost"]:
        pytest.skip("this machine is too busy: frames are missing, and those behind them are others")
    lensless("classify", classify_run, at, "--count", captured, "--json", out)
    of_all = collections.Counter(one["label"] for one in json.loads(out.read_text())["labels"])
    assert collections.Counter(facts["labels"]) <= of_all


def test_a_count_of_measurements(lensless, classify_run, tiny):
    done = lensless("classify", classify_run, f"simulated:{tiny}", "--live", "--count", 7)
    assert done.exit_code == 0 and "7 measurements in" in done.output


def test_averaging_slides_and_is_bit_for_bit_that_of_whole_measurements(recording, calibration):
    seen = []
    facts = watch(wish(f"replay:{recording}", calibration, 3), lambda y, pixels: seen.append(y) or LABEL, Screen())
    assert facts["measurements"] == len(seen) == 12 and facts["averaged"] == 3
    whole = [one.y for one in sources.measurements(f"replay:{recording}", calibration, 3, 4)]
    assert len(whole) == 4 and all(torch.equal(one, seen[3 * at + 2]) for at, one in enumerate(whole))
    with Recording.open(recording) as frames:
        torch.testing.assert_close(seen[0][0, 0], torch.tensor(calibration.apply(frames[0]).y))
        last = sum(calibration.apply(frames[at]).y for at in (2, 3, 4)) / 3
    torch.testing.assert_close(seen[4][0, 0], torch.tensor(last))


LABEL = Labels([("a", 0.9), ("b", 0.1)])


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_sliding_mean_is_that_of_the_last_ones(most):
    frames = np.random.default_rng(0).random((50, 3, 4), np.float32)
    mean = SlidingMean(most)
    for at, frame in enumerate(frames):
        mean.take(frame, at)
        kept = frames[max(0, at + 1 - most) : at + 1]
        assert len(mean) == len(kept) and mean.oldest_ns == at + 1 - len(kept)
        np.testing.assert_allclose(mean.mean(), kept.mean(0), rtol=1e-6)
    mean.clear()
    mean.take(frames[0], 99)
    assert len(mean) == 1 and (mean.mean() == frames[0]).all()


def test_quantiles_of_latencies():
    latencies, values = Latencies(), np.random.default_rng(1).gamma(2, 0.02, 3001)
    assert latencies.all_s() is None
    for value in values:
        latencies.take(value)
    np.testing.assert_allclose(latencies.all_s(), np.quantile(values, [0.5, 0.95]), atol=2e-4)
    np.testing.assert_allclose(latencies.recent_s(), np.quantile(values[-200:], [0.5, 0.95]), atol=5e-3)


@pytest.fixture
def board(tiny, calibration, tmp_path):
    """An emulated board on a pseudo-terminal, before a simulated rig, its address, and its calibration."""
    from hardware.emulators.board import EmulatedBoard
    from hardware.emulators.board_on_line import BoardOnLine
    from hardware.emulators.terminal import Terminal

    place = tmp_path / "board"
    with (
        open_camera(f"simulated:{tiny}?rays=1024") as sensor,
        BoardOnLine(EmulatedBoard(sensor, "TINY"), Terminal(place), fps=60) as line,
    ):
        yield line, f"serial:{place}", dataclasses.replace(calibration, camera_id="board-TINY")


@pty
def test_a_board_is_overexposed_pulled_out_and_put_in_again(board, classify_run, capsys):
    line, address, calibration = board
    name, calls = labels_of(load(classify_run)), []

    def judge(y: torch.Tensor, pixels: np.ndarray) -> Labels:
        calls.append(y)
        if len(calls) == 5:
            line.do("flash 4")
        if len(calls) == 12:
            line.do("unplug")
            line.do("replug")
        return name(y, pixels)

    facts = watch(wish(address, calibration, 3, count=20), judge, Screen())
    check_account(facts)
    assert facts["ended_by"] == "count" and facts["measurements"] == 20 == sum(facts["labels"].values())
    assert 1 <= facts["frames"]["overexposed"] <= 4, "of four; the ring may have dropped some"
    assert facts["reconnects"] == 1 and facts["outage_s"] > 0
    told = capsys.readouterr().out
    assert "is gone: it was pulled out" in told and "is back after" in told
    assert "overexposed" in told and "the camera came back 1 time" in told


@pty
def test_a_camera_that_does_not_come_back_ends_it(board, tmp_path):
    line, address, calibration = board

    def judge(y: torch.Tensor, pixels: np.ndarray) -> Labels:
        line.do("unplug")
        return LABEL

    out = tmp_path / "live.json"
    with pytest.raises(CameraLost, match="did not come back: 1 tries"):
        watch(wish(address, calibration, retries=1), judge, Screen(str(out)))
    facts = json.loads(out.read_text())
    check_account(facts)
    assert facts["ended_by"] == "error" and "did not come back" in facts["error"] and facts["measurements"] >= 1


@pty
def test_frames_of_another_camera_are_one_refusal(board, lensless, classify_run):
    _, address, _ = board
    done = lensless("classify", classify_run, address, "--live", "--seconds", 20)
    assert done.exit_code == 6 and "camera is 'board-TINY'" in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_was_seen_before_an_outage_is_not_averaged_with_what_comes_after_it(calibration, recording):
    with Recording.open(recording) as frames:
        first, second = frames[0], frames[1]
    stream, events, seen = Ended(), flow.queue.SimpleQueue(), []
    view = flow._Flow(
        wish("replay:x", calibration, 5), lambda y, pixels: seen.append(y) or LABEL, stream, events,
        flow.Account(5), [], 0,
    )  # fmt: skip
    view._take(first)
    events.put(flow.Event(kind="back", text="back", t_mono_ns=0, outage_s=1.0))
    view._hear()
    view._take(second)
    torch.testing.assert_close(seen[1][0, 0], torch.tensor(calibration.apply(second).y))


class Ended:
    state = "ended"


def test_a_view_of_nothing_but_overexposed_frames(recording, calibration, tmp_path):
    out, dim = tmp_path / "live.json", dataclasses.replace(calibration, clip_dn=100)
    with pytest.raises(FrameSaturated, match="each of 12 frames was overexposed"):
        watch(wish(f"replay:{recording}", dim), lambda y, pixels: LABEL, Screen(str(out)))
    facts = json.loads(out.read_text())
    check_account(facts)
    assert facts["frames"]["overexposed"] == 12


def test_ctrl_c_is_how_it_is_meant_to_end(lensless, reconstruct_run, tiny, tmp_path, monkeypatch):
    def pictures_until_interrupted(task):
        judge, calls = pictures_of(task), itertools.count(1)

        def judged(y, pixels):
            if next(calls) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return judge(y, pixels)

        return judged

    monkeypatch.setattr(commands, "pictures_of", pictures_until_interrupted)
    out = tmp_path / "live.json"
    done = lensless("reconstruct", reconstruct_run, f"simulated:{tiny}?fps=100", "--live", "--json", out)
    facts = json.loads(out.read_text())
    assert done.exit_code == 0 and facts["ended_by"] == "interrupt" and facts["measurements"] == 5
    assert "5 measurements in" in done.output
    check_account(facts)
    assert not list(tmp_path.glob("**/*.png"))


def test_ctrl_c_before_the_camera_is_open(lensless, classify_run, tiny, monkeypatch):
    def interrupted(*_: object):
        raise KeyboardInterrupt

    monkeypatch.setattr(flow, "SameCamera", interrupted)
    assert lensless("classify", classify_run, f"simulated:{tiny}", "--live").exit_code == 130


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["classify", "RUN", "simulated:cannula-v1", "--seconds", 2], "--seconds goes with --live only"),
        (["reconstruct", "RUN", "simulated:cannula-v1", "--window"], "--window goes with --live only"),
        (["reconstruct", "RUN", "simulated:cannula-v1", "--live", "--out", "x"], "--live stores nothing"),
        (["classify", "RUN", "FRAMES", "--live"], "play a recording with replay:"),
        (["classify", "RUN", "nowhere.h5", "--live"], "'nowhere.h5' is no address of one (nor a file that exists)"),
        (["reconstruct", "RUN", "simulated:TINY", "--live"], "gives labels; use: lensless classify"),
    ],
)
def test_what_cannot_be_looked_at_is_one_message(lensless, classify_run, tiny, recording, arguments, says):
    named = {"RUN": classify_run, "FRAMES": recording, "simulated:TINY": f"simulated:{tiny}"}
    done = lensless(*(named.get(one, one) for one in arguments))
    assert done.exit_code == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1


def test_without_a_desktop_a_window_is_refused_before_the_camera_is_opened(
    lensless, reconstruct_run, tiny, monkeypatch
):
    monkeypatch.delenv("DISPLAY", raising=False)
    pytest.importorskip("mss", reason="mss is not installed")
    done = lensless("reconstruct", reconstruct_run, f"simulated:{tiny}", "--live", "--window")
    assert done.exit_code == 2 and "leave --window out" in done.stderr and "opening" not in done.output
