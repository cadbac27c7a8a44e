"""Input promises H1 to H4, for everything that is read: no file runs code or has others opened, each bad one is one
clear error in less than 10 s and 1 GiB, and a rig file cannot be anything but a rig.

100,000 mutants and 10,000 rigs: LENSLESS_TORTURE=N .venv/bin/pytest -s -m slow tests/torture/test_hostile_input.py
"""

import collections
import ctypes
import json
import math
import os
import pathlib
import random
import select
import signal
import subprocess
import sys
import tempfile

import hostile_rigs
import pytest
from attacks import ATTACKS, GOOD, Attack, Place
from hostile_rigs import RIGS
from recording_tools import AT_NIGHT, TESTS

HERE = pathlib.Path(__file__).resolve().parent
LONGEST_S, MOST_KIB = 10.0, 2**20
WITHOUT_CHECKSUM = {"rig", "frame", "pictures", "source", "camera", "emnist", "mnist"}


class Trap:
    """A file that nobody has a reason to open, watched by the kernel: C code that opens it is seen, too."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        path.write_bytes(b"secret")
        library = ctypes.CDLL(None, use_errno=True)
        self._watch = library.inotify_init1(os.O_NONBLOCK)
        assert library.inotify_add_watch(self._watch, os.fsencode(path), 0x20) > 0  # IN_OPEN

    def sprung(self) -> bool:
        try:
            return bool(os.read(self._watch, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._watch)


class Reader:
    """The child of hostile_child.py; one that hangs or falls is replaced by the next."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._process: subprocess.Popen | None = None
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the reader)

    def ask(self, limit_s: float = 15.0, **order) -> dict:
        """The answer to an order; how the child ended, if it did."""
        process = self._process or self._start()
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        there, _, _ = select.select([process.stdout], [], [], limit_s)
        line = process.stdout.readline() if there else ""
        if line:
            return json.loads(line)
        how = "said nothing" if not there else "fell"
        status = self.close()
        self._words.seek(0)
        return {"end": f"{how}, {status}", "text": self._words.read().decode(errors="replace")[-3000:]}

    def _start(self) -> subprocess.Popen:
        """A child that has opened every kind of good file, so that what is loaded late is loaded now."""
        path = os.pathsep.join(map(str, (TESTS.parent, TESTS, HERE)))
        cache = self.folder.parent / "cache"
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "hostile_child.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "OMP_NUM_THREADS": "1",
                "PYTHONFAULTHANDLER": "1",
                "OPTICS_FREE_CACHE": str(cache),
            },
        )
        process = self._process
        for kind, makers in GOOD.items():
            for make in makers if kind != "training" else []:
                with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                    place = Place(pathlib.Path(folder), self.folder / "canary", self.folder / "trap")
                    what, changed = make(place)
                    answer = self.ask(60.0, do="read", kind=kind, what=what)
                    assert answer["end"] == "read", answer
                    pathlib.Path(changed).write_bytes(b"damaged")
                    for again in (what, f"{folder}/missing.png"):
                        answer = self.ask(60.0, do="read", kind=kind, what=again)
                        assert self._process is process, (kind, again, answer)
        answer = self.ask(do="watch")
        assert self._process is process, answer
        return process

    def close(self) -> int | None:
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.send_signal(signal.SIGABRT)  # it says where it was
        process.stdin.close()
        process.stdout.close()
        return process.wait()


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("reader"))
    yield reader
    reader.close()
    reader._words.close()


@pytest.fixture
def place(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "inside").mkdir()
    trap = Trap(outside / "trap.ts")
    yield Place(tmp_path / "inside", outside / "canary", trap.path), trap
    trap.close()


def check_harmless(trap: Trap, place: Place) -> None:
    """No code of a stranger ran, and the file that he named was not opened."""
    assert not trap.sprung() and not place.canary.exists()
    assert not list(place.folder.rglob("canary"))


def check_opened(answer: dict, place: Place) -> None:
    """It opened nothing but what it was told to."""
    outside = [path for path in answer["opened"] if not path.startswith(str(place.folder))]
    assert [path for path in outside if os.path.basename(path) not in answer.get("what", "")] == []


def check_soon(answer: dict) -> None:
    assert answer["seconds"] < LONGEST_S and answer["grew_kib"] < MOST_KIB


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "attack", [pytest.param(one, id=one.name, marks=[pytest.mark.slow] * one.slow) for one in ATTACKS]
)
def test_an_attack_is_one_clear_error_and_does_nothing(place, reader, attack: Attack):
    place, trap = place
    what = attack.build(place)
    answer = reader.ask(do="read", kind=attack.kind, what=what) | {"what": what}
    print(f"\n{attack.name}: {answer['end']} {answer['text'][:300]}")
    ends = {"exit 2", "exit 5", "exit 6"} | ({"read"} if attack.may_read else set())
    ends |= {"exit 3"} if attack.kind in ("camera", "source") else set()  # no such camera
    assert answer["end"] in ends, answer["text"][:1000]
    if attack.kind != "training":  # which writes into its folder, and loads what trains
        assert answer["events"] == []
        check_opened(answer, place)
    check_harmless(trap, place)
    check_soon(answer)
    if answer["end"] != "read":
        assert attack.says in answer["text"] and len(answer["text"]) < 5000 + 3 * len(what)


def read_mutants(reader: Reader, place: Place, trap: Trap, kind: str, count: int, make) -> None:
    what, changed = make(place)
    answer = reader.ask(3000, do="mutants", kind=kind, good=changed, what=what, count=count, seed=7)
    print(f"\n{count} mutants of {make.__name__.removeprefix('good_')}: {answer}")
    assert answer["odd"] == [] and answer["slowest_s"] < LONGEST_S and answer["grew_kib"] < MOST_KIB
    assert kind in WITHOUT_CHECKSUM or "read" not in answer["ends"]
    assert answer["events"] == []
    check_harmless(trap, place)


ELSEWHERE = ("recording", "vetted", "training", "source")  # recordings have tests of their own, the others add nothing
MUTANTS = [(kind, make) for kind, makers in GOOD.items() if kind not in ELSEWHERE for make in makers]
SLOW_KINDS = {"camera", "trained"}  # a process for each, or a network


@pytest.mark.parametrize(("kind", "make"), MUTANTS, ids=lambda value: getattr(value, "__name__", ""))
def test_changed_bytes_are_the_same_data_another_value_or_one_clear_error(place, reader, kind, make):
    read_mutants(reader, *place, kind, 3 if kind in SLOW_KINDS else 20, make)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "make"), MUTANTS, ids=lambda value: getattr(value, "__name__", ""))
def test_changed_bytes_are_one_clear_error_in_200_mutants(place, reader, kind, make):
    fast = len(MUTANTS) - len(SLOW_KINDS)
    night = 1000 if kind in SLOW_KINDS else math.ceil((100_000 - 1000 * len(SLOW_KINDS)) / fast)
    read_mutants(reader, *place, kind, night if AT_NIGHT else 200, make)


@pytest.mark.parametrize(("text", "says"), RIGS.values(), ids=RIGS)
def test_a_hostile_rig_is_refused_by_the_name_of_its_key(place, reader, text, says):
    place, trap = place
    what = place.file("x.toml", text.encode(errors="surrogateescape"))
    answer = reader.ask(do="read", kind="rig", what=what) | {"what": what}
    print(f"\n{answer['end']} {answer['text'][:300]}")
    assert answer["end"] == "exit 2", answer["text"][:1000]
    assert what in answer["text"] and says in answer["text"] and len(answer["text"]) < 5000
    assert answer["events"] == []
    check_harmless(trap, place)
    check_soon(answer)


def read_rigs(reader: Reader, place: Place, trap: Trap, count: int, seed: int) -> None:
    ends: collections.Counter[str] = collections.Counter()
    for number in range(count):
        text, key = hostile_rigs.drawn(random.Random(f"{seed} {number}"))
        what = place.file("x.toml", text)
        answer = reader.ask(do="read", kind="rig", what=what) | {"what": what}
        ends[answer["end"]] += 1
        assert answer["end"] in ("read", "exit 2"), f"{answer['text'][:1000]}\n{text}"
        if answer["end"] == "read":
            assert not {"nan", "inf"} & set(answer["text"].replace("=", " ").replace(",", " ").split())
        else:
            assert what in answer["text"] and len(answer["text"]) < 5000
            assert not key or key in answer["text"] or "(at " in answer["text"], f"{answer['text'][:1000]}\n{text}"
        assert answer["events"] == []
        check_soon(answer)
    check_harmless(trap, place)
    print(f"\n{count} rigs: {dict(ends)}")
    assert ends["exit 2"] > count / 2 and ends["read"] > count / 100


def test_a_rig_drawn_at_random_is_refused_or_valid(place, reader):
    read_rigs(reader, *place, 300, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_1000_rigs_drawn_at_random_are_refused_or_valid(place, reader):
    read_rigs(reader, *place, 10_000 if AT_NIGHT else 1000, 2)
