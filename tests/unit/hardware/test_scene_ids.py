"""The id of what was shown goes with its frame wherever that goes."""

import dataclasses
import json

import numpy as np
import pytest
from shots import META

from hardware import Frame, Recording
from hardware.recording.export import export, facts_path
from hardware.recording.process import RecordingProcess
from hardware.recording.repair import repair

IDS = [7, -1, 2**40, 0]


def frame(index: int) -> Frame:
    return Frame(np.full((3, 4), index, np.uint16), dataclasses.replace(META, sequence=index))


def by_writer(path):
    with Recording.create(path, frame(0), reserve_bytes=0) as writer:
        for index, scene_id in enumerate(IDS):
            writer.append(frame(index), scene_id=scene_id)


def by_process(path):
    with RecordingProcess(path, frame(0), rotate_frames=None if path.suffix else 3, reserve_bytes=0) as writer:
        for index, scene_id in enumerate(IDS):
            writer.append(frame(index), scene_id=scene_id)


@pytest.mark.parametrize("write", [by_writer, by_process])
@pytest.mark.parametrize("name", ["one.h5", "parts"])
def test_ids_come_back_also_after_repair_and_in_the_facts_of_an_export(tmp_path, write, name):
    path = tmp_path / name
    write(path)
    repair(path, tmp_path / "mended.h5")
    for read in (path, tmp_path / "mended.h5"):
        with Recording.open(read) as recording:
            assert recording.scene_ids.tolist() == IDS
    with Recording.open(path) as recording:
        export(recording, tmp_path / "all.npy", slice(None))
    facts = json.loads(facts_path(tmp_path / "all.npy").read_text())
    assert [one["scene_id"] for one in facts["frames"]] == [7, None, 2**40, 0]
