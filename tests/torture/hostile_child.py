"""A child that opens what strangers wrote: orders come in as lines of JSON, one answer goes out for each.

It knows one way to open each kind of file, the one that the commands take. Between the order "watch" and its end it
tells what it did besides.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import sys
import time

import numpy as np
import tiny
import torch
from audit import Audit
from recording_child import mutate

import lensless
from calibration import Calibration
from hardware import Recording, open_camera
from hardware.errors import LenslessError
from hardware.recording.vetting import vet
from lensless.app.load import setting_of
from lensless.app.rig_file import read_spec
from lensless.app.sources import measurements, read_frame, rigs_of
from lensless.data.scenes import folder_scenes, load_scenes
from lensless.optics.transfer import TransferMatrix
from lensless.train import checkpoint, state

# Of frames of any size: it is asked to read them, not to apply itself.
CALIBRATION = Calibration(
    camera_id="A", shape=(12, 12), bit_depth=16, gain_db=0.0, exposure_s=(0.1, 0.1), dark_dn=0.0, white_dn=60_000.0
)
ONE_EPOCH = dataclasses.replace(tiny.RECIPE, epochs=1)


def rig(what: str) -> str:
    spec = read_spec(what)
    return f"{spec} {spec.fingerprint}"


def frame(what: str) -> str:
    return _digest(read_frame(pathlib.Path(what), CALIBRATION).pixels)


def calibration(what: str) -> str:
    return Calibration.load(what).id


def trained(what: str) -> str:
    """A checkpoint, and the rig that its card describes."""
    found = checkpoint.load(what)
    setting = setting_of(found, what)
    assert lensless.load(what).numbers() == found.task.numbers()
    return f"{_digest_all(found.task.state_dict())} {setting.rig.spec} {setting.frames}"


def training(what: str) -> str:
    """A training that goes on from what lies in a folder."""
    return str(tiny.run(pathlib.Path(what), recipe=ONE_EPOCH).history[-1].validation)


def training_state(what: str) -> str:
    found = state.load(pathlib.Path(what))
    return "none" if found is None else f"{_digest_all(found[0])} {found[1]}"


def transfer(what: str) -> str:
    matrix = TransferMatrix.load(what)
    return _digest_all({"left": matrix.left, "right": matrix.right, "noise": matrix.noise_std})


def pictures(what: str) -> str:
    scenes = folder_scenes(what, "train")
    return f"{scenes.fingerprint()} {scenes.classes}"


def mnist(what: str) -> str:
    return load_scenes("mnist", "test", data_root=what).fingerprint()


def emnist(what: str) -> str:
    return load_scenes("emnist-digits", "test", data_root=what).fingerprint()


def recording(what: str) -> str:
    with Recording.open(what) as found:
        return f"{_digest(*(one.pixels for one in found))} {found.provenance}"


def vetted(what: str) -> str:
    return str(vet(what))


def camera(what: str) -> str:
    with open_camera(what) as opened:
        return _digest(*(one.pixels for one in opened.frames()) if not what.startswith("simulated") else ())


def source(what: str) -> str:
    """What `lensless reconstruct` and `lensless classify` take: an address, or the name of a file."""
    return f"{rigs_of(what)} {next(measurements(what, CALIBRATION, 1), None)}"


READERS = {
    one.__name__: one
    for one in (
        *(rig, frame, calibration, trained, training, training_state, transfer, pictures, mnist, emnist),
        *(recording, vetted, camera, source),
    )
}


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _digest_all(tensors: dict[str, torch.Tensor | None]) -> str:
    return _digest(*(tensor.detach().numpy() for _, tensor in sorted(tensors.items()) if tensor is not None))


def read(kind: str, what: str) -> dict:
    """How it ended: "read" with what was found, "exit N" with the message, or the name of an error that is not ours."""
    began_s = time.monotonic()
    try:
        end, text = "read", READERS[kind](what)
    except LenslessError as error:
        end, text = f"exit {error.exit_code}", str(error)
    except Exception as error:
        end, text = type(error).__name__, str(error)[:500]
    return {"end": end, "text": text, "seconds": time.monotonic() - began_s}


def memory_kib(name: str) -> int:
    """VmRSS is what this process has, VmHWM the most that it had since `forget_peak`."""
    return int(re.search(rf"{name}:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1])


def forget_peak() -> None:
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def read_mutants(kind: str, good: str, what: str, count: int, seed: int) -> dict:
    """Read `count` mutants of the file `good`, each time in its place; `what` is to be opened for it."""
    path = pathlib.Path(good)
    content, truth = path.read_bytes(), READERS[kind](what)
    ends: dict[str, int] = {}
    odd: list[str] = []
    slowest_s = 0.0
    for number in range(count):
        path.write_bytes(mutate(content, np.random.default_rng((seed, number))))
        answer = read(kind, what)
        same = answer["end"] == "read" and answer["text"] == truth
        end = "same" if same else answer["end"]
        ends[end] = ends.get(end, 0) + 1
        slowest_s = max(slowest_s, answer["seconds"])
        if end not in ("same", "read", "exit 2", "exit 5", "exit 6"):
            odd.append(f"mutant {number}: {end} {answer['text']}")
    path.write_bytes(content)
    return {"ends": ends, "slowest_s": slowest_s, "odd": odd[:5]}


def serve() -> None:
    audit: Audit | None = None
    for line in sys.stdin:
        order = json.loads(line)
        job = order.pop("do")
        if job == "watch":
            audit = audit or Audit()
        forget_peak()
        before_kib = memory_kib("VmRSS")
        if audit is not None:
            audit.clear()
            audit.mine = order.get("good", "")
        answer = {"watch": dict, "read": read, "mutants": read_mutants}[job](**order)
        if audit is not None:
            answer |= {"events": list(audit.events), "opened": sorted(audit.opened)}
        answer["grew_kib"] = memory_kib("VmHWM") - before_kib
        sys.__stdout__.write(json.dumps(answer) + "\n")
        sys.__stdout__.flush()


if __name__ == "__main__":
    torch.set_num_threads(1)
    # What a camera loads when it is opened, before that is watched.
    with contextlib.suppress(LenslessError):
        open_camera("serial:id:none")
    serve()
