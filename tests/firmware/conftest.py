"""The firmware of boards, each behind a file of requests: compiled, and under both Pythons."""

import pathlib
import shutil
import subprocess
import sys

import pytest
from board_requests import Firmware

HERE = pathlib.Path(__file__).parent
SOURCES = HERE.parent.parent / "hardware" / "firmware"
MICROPYTHON = (
    pathlib.Path(sys.prefix) / "micropython/node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs"
)
LONGEST_S = 60


@pytest.fixture(scope="session")
def arduino_command(tmp_path_factory) -> list[str]:
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the Arduino firmware with")
    program = tmp_path_factory.mktemp("arduino") / "board_program"
    options = ["-std=c++11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Werror", "-pedantic"]
    checks = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    folder = SOURCES / "arduino" / "lensless_board"
    command = ["g++", *options, *checks, f"-I{folder}", str(HERE / "board_program.cpp"), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stderr
    return [str(program)]


@pytest.fixture(scope="session")
def micropython_command() -> list[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run MicroPython with")
    if not MICROPYTHON.is_file():
        pytest.skip("no MicroPython; 'make install' brings it where npm is")
    return [node, str(HERE / "run_micropython.mjs"), str(MICROPYTHON)]


@pytest.fixture(params=["arduino", "micropython", "micropython in cpython"])
def firmware(request, tmp_path) -> Firmware:
    python = [str(HERE / "board_program.py"), str(SOURCES / "micropython")]
    if request.param == "arduino":
        command = request.getfixturevalue("arduino_command")
    elif request.param == "micropython":
        command = [*request.getfixturevalue("micropython_command"), *python]
    else:
        command = [sys.executable, *python]
    return Firmware(command, tmp_path)
