"""The benchmark of several processes: what it counts, and that its parts are parts."""

import types

import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.app.bench import scaling


def test_numbers_of_processes_are_whole_numbers():
    assert scaling.counts("1, 2,64") == [1, 2, 64]
    for nonsense in ("", "0", "two", "1,,2", "-1", "1e3", "100000"):
        with pytest.raises(ConfigurationError, match=r"--processes .*expected whole numbers"):
            scaling.counts(nonsense)


def test_a_step_is_the_median_one_and_the_end_of_an_epoch_is_none(monkeypatch):
    now, clock = [0.0], scaling._Clock()
    monkeypatch.setattr(scaling, "_now_s", lambda: now[0])

    def takes(seconds: float):
        now[0] += seconds

    simulate = clock.timed("simulation", takes)
    for step in range(1, 3 * scaling.STEPS + 1):
        first_epoch, end = step <= scaling.STEPS, step % scaling.STEPS == 0
        simulate(100.0 if first_epoch else 1.0)  # the first epoch warms up
        takes(2.0 + (10.0 if end else 0.0))
        clock.watch(types.SimpleNamespace(record="a record" if end else None))
    found = clock.medians()
    assert (found["step_s"], found["simulation_s"], found["network_s"], found["epoch_end_s"]) == (3.0, 1.0, 0.0, 10.0)


@pytest.mark.slow
def test_one_process_measures_itself(monkeypatch):
    monkeypatch.setattr(scaling, "STEPS", 4)
    monkeypatch.setattr(scaling, "VALIDATION", 100)
    rows = scaling.measured(torch.device("cpu"))
    assert [(row["task"], row["processes"], row["batch"]) for row in rows] == [
        ("reconstruct", 1, 50), ("classify", 1, 250),
    ]  # fmt: skip
    for row in rows:
        *parts, exchange_s = (row[f"{part}_s"] for part in scaling.PARTS)
        assert all(part > 0 for part in parts) and sum(parts) < 1.1 * row["step_s"] and row["epoch_end_s"] > 0
        assert exchange_s == 0  # there is nobody to exchange with
