"""The rules of the house: which floor may import which, and what stays behind a fence."""

import ast
import dataclasses
import fnmatch
import pathlib
from collections.abc import Iterator

import pytest
from tree import PACKAGES, ROOT, SOURCES, dotted, name_of, parsed

# A room imports from floors below its own; a new room under lensless/ gets its line here.
FLOORS = {
    "hardware": 0,
    "calibration": 1,
    "lensless.tensor_file": 1,
    "lensless.launch": 1,
    "lensless.optics": 2,
    "lensless.nn": 2,
    "lensless.sharing": 2,
    "lensless.edge": 2,
    "lensless.recon": 3,
    "lensless.data": 3,
    "lensless.tasks": 4,
    "lensless.train": 5,
    "lensless.evaluate": 5,
    "lensless.app": 6,
    "lensless": 7,  # __init__ alone: the public names `open_rig` and `load`, which come when they are asked for
    "optics_free": 7,
}
# Rooms of one floor do not know each other, but for these.
NEIGHBOURS = {("lensless.sharing", "lensless.nn")}

# Who may import what, as patterns of paths ("*" also stands for "/"); everybody else may not.
FENCES = {
    "cv2": ("hardware/opencv/handle.py", "hardware/window/full_screen.py", "lensless/app/*encode*.py"),
    "mss": ("hardware/window/monitors.py",),
    **dict.fromkeys(("harvesters", "genicam"), ("hardware/genicam.py",)),
    **dict.fromkeys(("pymmcore", "pymmcore_plus"), ("hardware/micromanager.py",)),
    "picamera2": ("hardware/picamera2.py",),
    "serial": ("hardware/serial_port.py",),
    "h5py": ("hardware/recording/*.py", "lensless/app/bench/record.py"),  # what ours is measured beside
    "tomllib": ("lensless/app/*.py",),
    "pydantic": ("lensless/app/*.py",),
    **dict.fromkeys(
        ("torch", "torchvision", "torchmetrics", "lightning_fabric", "safetensors.torch"),
        ("lensless/[!e]*", "lensless/evaluate/*"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module: `from a import b` is a.b where that is a module of ours, else a."""

    path: pathlib.Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


OURS = {name_of(path) for path in SOURCES}


def imports(path: pathlib.Path) -> Iterator[Import]:
    """All of them: at the top, inside of functions, for type checkers only, and by name."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = origin(path, node)
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                yield Import(path, node.lineno, deeper if deeper in OURS or deeper in FENCES else base)
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "import_module":
            named = node.args and isinstance(node.args[0], ast.Constant)
            yield Import(path, node.lineno, node.args[0].value if named else "a module by a name that is computed")


def origin(path: pathlib.Path, node: ast.ImportFrom) -> str:
    """The absolute name of what `from ... import` names, dots at its beginning included."""
    if not node.level:
        return node.module
    package = name_of(path).split(".")
    keep = len(package) - node.level + (path.name == "__init__.py")
    return ".".join([*package[:keep], *([node.module] if node.module else [])])


def room(module: str) -> str | None:
    """The room that a module lies in; None if it is not ours."""
    top, _, rest = module.partition(".")
    if top not in (*PACKAGES, "optics_free"):
        return None
    return f"{top}.{rest.split('.')[0]}" if top == "lensless" and rest else top


def test_the_parser_sees_every_form_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr("tree.ROOT", tmp_path)
    monkeypatch.setattr("test_house.OURS", {"lensless.optics", "lensless.nn", "lensless.nn.unet"})
    path = tmp_path / "lensless" / "nn" / "made.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import a.b, c as d\nfrom lensless import optics\nfrom . import unet\nfrom ..optics import Cannula\n"
        "def f():\n    from safetensors.torch import g\n    importlib.import_module('h5py')\n    import_module(name)\n"
    )
    assert [each.module for each in imports(path)] == [
        *("a.b", "c", "lensless.optics", "lensless.nn.unet", "lensless.optics"),
        *("safetensors.torch", "h5py", "a module by a name that is computed"),
    ]


def test_every_room_has_a_floor():
    rooms = {room(name_of(path)) for path in SOURCES}
    assert rooms <= set(FLOORS), "a new room: give it a floor here and in the design"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_arrows_go_down_only(path):
    own = room(name_of(path))
    wrong = [
        str(each)
        for each in imports(path)
        if (other := room(each.module)) not in (None, own)
        and (own, other) not in NEIGHBOURS
        and FLOORS[other] >= FLOORS[own]
    ]
    assert not wrong


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_fenced_modules_stay_behind_their_fences(path):
    where = path.relative_to(ROOT).as_posix()
    wrong = [
        str(each)
        for each in imports(path)
        for fenced, allowed in FENCES.items()
        if f"{each.module}.".startswith(f"{fenced}.")
        and not any(fnmatch.fnmatchcase(where, pattern) for pattern in allowed)
    ]
    assert not wrong


def test_at_most_one_file_of_the_application_knows_cv2():
    """The viewer's encoder."""
    using = {each.path for path in SOURCES for each in imports(path) if each.module.split(".")[0] == "cv2"}
    assert len([path for path in using if path.is_relative_to(ROOT / "lensless")]) <= 1


def test_no_file_names_a_path_of_this_machine():
    texts = [path for kind in ("*.py", "*.md", "*.toml", "*.ipynb") for path in ROOT.rglob(kind)]
    ours = [path for path in texts if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]
    assert not [str(path) for path in ours if str(ROOT) in path.read_text(encoding="utf-8")]


def test_the_default_rigs_are_those_that_every_figure_names():
    shared = ROOT.parent / "shared" / "rigs"
    if not shared.is_dir():
        pytest.skip(f"no reference rigs at '{shared}'")
    for path in sorted(shared.glob("*.toml")):
        assert (ROOT / "hardware" / "rigs" / path.name).read_bytes() == path.read_bytes(), path.name
