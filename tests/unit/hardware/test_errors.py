"""The tree of errors is what its drawing says, exit codes included."""

import inspect
import pickle
import re

import pytest

from hardware import errors

# The promise to scripts that call the command line.
EXIT_CODES = {
    "LenslessError": 1,
    "TrainingDiverged": 1,
    "ProcessLost": 1,
    "ConfigurationError": 2,
    "DeviceError": 3,
    "DeviceLost": 3,
    "CameraError": 3,
    "CameraLost": 3,
    "StageError": 3,
    "Unrecognisable": 3,
    "StorageError": 4,
    "Overrun": 4,
    "InputError": 5,
    "CalibrationMismatch": 6,
    "FrameSaturated": 6,
}
KINDS = dict(inspect.getmembers(errors, inspect.isclass))


def drawn() -> list[tuple[str, str, str]]:
    """(name, parent, code or "") of each line of the drawing; the parent is the last name one step further left."""
    lines = re.findall(r"^( {4,12})(\w+) +(\d?) ", errors.__doc__, re.MULTILINE)
    found, path = [], ["LenslessError"]
    for indent, name, code in lines:
        depth = (len(indent) - 4) // 2
        found.append((name, path[depth - 1] if depth else "Exception", code))
        path[depth:] = [name]
    return found


def test_the_drawing_is_the_tree():
    assert [name for name, _, _ in drawn()] == list(EXIT_CODES)
    for name, parent, code in drawn():
        assert KINDS[name].__base__.__name__ == parent
        assert not code or KINDS[name].exit_code == int(code)


def test_exit_codes_never_change():
    assert {name: kind.exit_code for name, kind in KINDS.items()} == EXIT_CODES


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_a_message_comes_through_whole_and_from_a_child_process(kind):
    error = pickle.loads(pickle.dumps(kind("camera 'A' stopped; reconnect it")))
    assert type(error) is kind and str(error) == "camera 'A' stopped; reconnect it"
    with pytest.raises(errors.LenslessError):
        raise error
