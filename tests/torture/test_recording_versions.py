"""Storage promise: a recording of every schema version, closed or killed, opens for ever.

`tests/data/recording-vN*.h5` and, of version N of the manifest, `tests/data/parts-vN*` were written when that version
was new, and are never made again.
"""

import pathlib

import pytest
from recording_child import frame, scene

from hardware import Recording
from hardware.recording import manifest, schema

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
FILES = sorted(DATA.glob("recording-v*.h5"))
FOLDERS = sorted(DATA.glob("parts-v*"))


def test_there_is_a_closed_and_a_killed_recording_of_every_version():
    expected = [f"recording-v{n}{end}.h5" for n in range(1, schema.SCHEMA_VERSION + 1) for end in ("", "-killed")]
    assert sorted(path.name for path in FILES) == sorted(expected)
    expected = [f"parts-v{n}{end}" for n in range(1, manifest.VERSION + 1) for end in ("", "-killed")]
    assert sorted(path.name for path in FOLDERS) == sorted(expected)


@pytest.mark.parametrize("path", FILES + FOLDERS, ids=lambda path: path.stem)
def test_an_old_recording_brings_back_every_fact(path):
    with Recording.open(path) as recording:
        assert recording.provenance == {"rig": "made-up", "seed": 1}
        assert recording.labels.tolist() == [0, 1, 2]
        assert recording.scene_ids.tolist() == ([10, 11, 12] if path.stem.startswith("recording-v2") else [-1, -1, -1])
        for index, read in enumerate(recording):
            written = frame(index, (5, 7))
            assert read.meta == written.meta and (read.pixels == written.pixels).all()
            assert (recording.scene(index) == scene(index)).all()
    assert len(recording) == 3


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.stem)
def test_an_old_folder_of_parts_is_whole(path):
    """A killed one has a part that its manifest does not list."""
    with Recording.open(path) as recording:
        assert recording.verify() == 3 and [part.frames for part in recording.parts] == [2, 1]
        killed = path.name.endswith("killed")
        assert recording.closed_in_order is not killed
        assert [part.sha256 is None for part in recording.parts] == [False, killed]
