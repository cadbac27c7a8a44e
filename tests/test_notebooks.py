"""Notebooks run from top to bottom, use public names only, and say before each step what will be seen."""

import ast
import itertools
import json
import os
import pathlib
import subprocess
import sys

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PUBLIC = {
    "hardware",
    "calibration",
    "lensless",
    "lensless.data",
    "lensless.nn",
    "lensless.optics",
    "lensless.recon",
    "lensless.sharing",
}
OURS = ("hardware", "calibration", "lensless")
LIMIT_S = 900  # none takes more than 4 minutes on 2 quiet cores


def code_of(notebook: pathlib.Path) -> str:
    cells = json.loads(notebook.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S + 30)
def test_a_notebook_runs(notebook, tmp_path):
    script = tmp_path / "notebook.py"
    script.write_text(code_of(notebook))
    own = {"MPLBACKEND": "Agg", "OPTICS_FREE_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        capture_output=True, text=True, timeout=LIMIT_S, env={**os.environ, **own}, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_public_names_only(notebook):
    for node in ast.walk(ast.parse(code_of(notebook))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & set(OURS)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS:
            assert node.module in PUBLIC
            names = __import__(node.module, fromlist=["__all__"]).__all__
            assert {alias.name for alias in node.names} <= set(names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_output(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_before_each_step_what_will_be_seen(notebook):
    kinds = [cell["cell_type"] for cell in json.loads(notebook.read_text())["cells"]]
    assert kinds[0] == "markdown"
    assert ("code", "code") not in itertools.pairwise(kinds)
    assert kinds.count("code") <= 12
