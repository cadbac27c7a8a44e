"""Notebooks run from top to bottom, and use public names only."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PUBLIC = {"hardware", "calibration", "lensless", "lensless.optics", "lensless.recon"}
OURS = ("hardware", "calibration", "lensless")


def code_of(notebook: pathlib.Path) -> str:
    cells = json.loads(notebook.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.slow
def test_a_notebook_runs(notebook, tmp_path):
    script = tmp_path / "notebook.py"
    script.write_text(code_of(notebook))
    environment = {**os.environ, "MPLBACKEND": "Agg", "OPTICS_FREE_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=110, env=environment
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_public_names_only(notebook):
    for node in ast.walk(ast.parse(code_of(notebook))):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS:
            assert node.module in PUBLIC
            names = __import__(node.module, fromlist=["__all__"]).__all__
            assert {alias.name for alias in node.names} <= set(names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_output(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")
