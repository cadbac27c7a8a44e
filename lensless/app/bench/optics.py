"""`lensless bench optics`: how fast forward models are made and applied."""

import itertools
import os
import platform
import resource
import subprocess
import sys
import tempfile

import torch

from lensless.app.bench.timing import compare, seconds
from lensless.app.new_tasks import new_reconstruct
from lensless.app.rig import open_rig
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.app.version import code_version
from lensless.data.scenes import load_scenes
from lensless.optics import BareSensor, Cannula
from lensless.optics.operator import DenseModel
from lensless.train import fabric_on

BATCH = 256
# What is traced: scene, sensor, rays for each scene pixel, and what is promised of it.
TRACED = {
    "cannula-v1, coarse": ((32, 32), (64, 64), 2**18, "error at most 5 % in at most 5 s"),
    "cannula-v1, fine": ((32, 32), (64, 64), 2**21, "error at most 1 % in at most 100 s"),
    "64x64 scene on 128x128 cells": ((64, 64), (128, 128), 2**20, "error at most 5 % in at most 180 s and 2 GiB"),
}


def run(screen: Screen, device: str) -> dict:
    """Measure, show, and return the figures."""
    found = {
        "device": device, "machine": platform.machine(), "processors": os.cpu_count(),
        "threads": torch.get_num_threads(), "torch": torch.__version__, "code": code_version(),
    }  # fmt: skip
    steps = {
        "dense": ("a dense model beside the plain matrix product", lambda: dense(device)),
        "structured": ("the structured bare sensor beside its dense matrix", lambda: structured(device)),
        "training step": ("training that simulates its frames", lambda: training_step(device)),
        **{name: (f"tracing {name}", lambda name=name: tracing(name, device)) for name in TRACED},
    }
    for name, (what, measure) in steps.items():
        with screen.working(what):
            found[name] = measure()
        figures, promised = _words(name, found[name])
        screen.say(f"  {name}: {figures} (promised: {promised})")  # at once: whoever stops it keeps what was shown
    screen.table("", ["", "found", "promised"], [[name, *_words(name, found[name])] for name in steps])
    return found


def dense(device: str) -> dict:
    """A dense model on a batch beside the plain matrix product, at the size of cannula-v1."""
    matrix = torch.rand(64 * 64, 32 * 32, device=device)
    model = DenseModel(matrix, (32, 32), (64, 64))
    x = torch.rand(BATCH, 1, 32, 32, device=device)
    flat, transposed = x.flatten(1), matrix.T
    found = compare(lambda: model.A(x), lambda: flat @ transposed)
    return {"model_s": found.ours_s, "matrix_product_s": found.reference_s, "share_of_its_speed": found.ratio}


def structured(device: str) -> dict:
    """A bare sensor with five specks, 240 x 240 from 32 x 32, beside the product with its dense matrix."""
    model = BareSensor((32, 32), (240, 240), device=device)
    matrix = model.as_matrix()
    x = torch.rand(BATCH, 1, 32, 32, device=device)
    flat, transposed = x.flatten(1), matrix.T
    found = compare(lambda: model.A(x), lambda: flat @ transposed)
    exact = (flat.double() @ transposed.double()).float()
    error = float((model.A(x).flatten(1) - exact).norm() / exact.norm())
    return {"model_s": found.ours_s, "dense_s": found.reference_s, "times_faster": found.ratio, "relative_error": error}


def training_step(device: str) -> dict:
    """One step of the reconstruction of cannula-v1 that simulates its frames, beside one that reads them."""
    setting = Setting.of(open_rig("cannula-v1", device, rays=2**17))
    scenes = load_scenes("glyphs", "train", 0, 2000)
    task = new_reconstruct(setting, scenes)
    fabric = fabric_on(setting.device, "auto")
    network, optimizer = fabric.setup(task.network, torch.optim.AdamW(task.network.parameters(), lr=1e-4))
    simulate = setting.training_input(task, scenes, fabric.autocast)
    pictures = [some.float().to(device) / 255 for some in scenes.fit(task.scene_shape).split(50)]
    with torch.no_grad():
        nowhere = torch.zeros(0)  # simulated frames are not found by their position
        stored = [simulate(some, nowhere) for some in pictures]
    batches = itertools.cycle(zip(pictures, stored, strict=True))

    def step(of_stored: bool) -> None:
        some, inputs = next(batches)
        if not of_stored:
            with torch.no_grad():
                inputs = simulate(some, nowhere)
        loss = task.loss(network(inputs), some)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimizer.step()

    found = compare(lambda: step(False), lambda: step(True), rounds=20)
    return {"simulating_s": found.ours_s, "from_memory_s": found.reference_s, "times_longer": 1 / found.ratio}


def tracing(name: str, device: str) -> dict:
    """Seconds, sampling error and peak memory of tracing one rod, in a process of its own with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "OPTICS_FREE_CACHE": cache}
        command = [sys.executable, "-m", "lensless.app.bench.optics", name, device]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    taken_s, error, peak_gib = (float(word) for word in done.stdout.split())
    return {"seconds": taken_s, "sampling_error": error, "peak_memory_gib": peak_gib, "promised": TRACED[name][3]}


def _trace(name: str, device: str) -> None:
    """What runs in the process of `tracing`."""
    scene_shape, sensor_shape, rays, _ = TRACED[name]
    models = []
    taken_s = seconds(lambda: models.append(Cannula(scene_shape, sensor_shape, rays=rays, device=device)))
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(taken_s, models[0].sampling_error, peak_gib)


def _words(name: str, found: dict) -> list[str]:
    if name == "dense":
        return [f"{found['share_of_its_speed']:.0%} of the speed of the product", "at least 80 %"]
    if name == "structured":
        error = f"relative error {found['relative_error']:.0e}"
        return [f"{found['times_faster']:.1f} times faster, {error}", "at least 10 times, 1e-5"]
    if name == "training step":
        return [f"{found['times_longer']:.2f} times as long as from memory", "at most 1.3"]
    figures = f"{found['seconds']:.1f} s, error {found['sampling_error']:.1%}, {found['peak_memory_gib']:.1f} GiB"
    return [figures, found["promised"]]


if __name__ == "__main__":
    _trace(*sys.argv[1:])
