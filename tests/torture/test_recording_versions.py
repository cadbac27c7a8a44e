"""Storage promise: a recording of every schema version, closed or killed, opens for ever.

`tests/data/recording-vN*.h5` were written when version N was new, and are never made again.
"""

import pathlib

import pytest
from recording_child import frame, scene

from hardware import Recording
from hardware.recording import schema

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
FILES = sorted(DATA.glob("recording-v*.h5"))


def test_there_is_a_closed_and_a_killed_recording_of_every_version():
    expected = [f"recording-v{n}{end}.h5" for n in range(1, schema.SCHEMA_VERSION + 1) for end in ("", "-killed")]
    assert sorted(path.name for path in FILES) == sorted(expected)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_old_recording_brings_back_every_fact(path):
    with Recording.open(path) as recording:
        assert recording.provenance == {"rig": "made-up", "seed": 1}
        assert recording.labels.tolist() == [0, 1, 2]
        for index, read in enumerate(recording):
            written = frame(index, (5, 7))
            assert read.meta == written.meta and (read.pixels == written.pixels).all()
            assert (recording.scene(index) == scene(index)).all()
    assert len(recording) == 3
