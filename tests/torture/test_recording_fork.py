"""Storage promise: a recording that is handed to another process, forked or spawned, is read rightly in both."""

import gc
import multiprocessing
import os
import pathlib
import pickle

import pytest
import torch
from recording_child import create, frame, read_and_end, read_at_random, scene
from recording_tools import start

from hardware import Recording
from hardware.errors import StorageError

FRAMES = 30


def write(writer, frames: int = FRAMES, begin: int = 0) -> None:
    for index in range(begin, begin + frames):
        writer.append(frame(index), index % 10, scene(index))


def closed(folder: pathlib.Path, rotate_frames: int) -> pathlib.Path:
    path = folder / ("a" if rotate_frames else "a.h5")
    with create(path, rotate_frames) as writer:
        write(writer)
    return path


def killed(folder: pathlib.Path, rotate_frames: int) -> pathlib.Path:
    path = folder / ("a" if rotate_frames else "a.h5")
    with start("append_for_ever", path, rotate_frames) as child:
        child.stdin.write("go\n")
        child.stdin.flush()
        for _ in range(FRAMES):
            child.stdout.readline()
        child.kill()
    return path


def in_child(work) -> int:
    """Forks, and says with what number `work` ended there."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(99)
    return child


def ends(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


@pytest.mark.parametrize("rotate_frames", [pytest.param(0, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("made", [closed, killed])
def test_four_forked_children_and_their_parent_read_at_the_same_time(tmp_path, made, rotate_frames):
    """Children of the children, too; two recordings of one file are open in each."""
    path = made(tmp_path, rotate_frames)
    with Recording.open(path) as recording, Recording.open(path) as other:
        assert read_at_random(recording, 0, 20) + read_at_random(other, 0, 20) == 0

        def read(seed: int) -> int:
            wrong = read_at_random(recording, seed, 100)
            (grandchild,) = ends([in_child(lambda: read_at_random(recording, seed + 100, 50))])
            return wrong + grandchild + read_at_random(other, seed + 200, 50)

        children = [in_child(lambda seed=seed: read(seed)) for seed in range(4)]
        wrong = read_at_random(recording, 5)
        assert ends(children) == [0, 0, 0, 0]
        assert wrong + read_at_random(other, 6) == 0


@pytest.mark.parametrize("rotate_frames", [0, 4])
def test_children_read_while_their_parent_goes_on_writing(tmp_path, rotate_frames):
    path = tmp_path / ("a" if rotate_frames else "a.h5")
    with create(path, rotate_frames, sha256=True) if rotate_frames else create(path) as writer:
        write(writer)
        with Recording.open(path) as recording:

            def follow(seed: int) -> int:
                wrong = read_at_random(recording, seed, 100)
                return wrong + (recording.refresh() < FRAMES)

            children = [in_child(lambda seed=seed: follow(seed)) for seed in range(4)]
            write(writer, begin=FRAMES)
            assert ends(children) == [0, 0, 0, 0]
    with Recording.open(path) as recording:
        assert recording.verify() == 2 * FRAMES and read_at_random(recording, 1) == 0


@pytest.mark.parametrize("rotate_frames", [0, 4])
def test_a_child_cannot_harm_what_its_parent_writes(tmp_path, rotate_frames):
    path = tmp_path / ("a" if rotate_frames else "a.h5")
    writer = create(path, rotate_frames)
    write(writer)

    def meddle() -> int:
        try:
            writer.append(frame(100), 0, scene(100))
        except StorageError as error:
            if "parent process" not in str(error):
                return 1
        writer.close()
        globals().pop("writer", None)
        gc.collect()
        return 0

    assert ends([in_child(meddle), in_child(meddle)]) == [0, 0]
    with pytest.raises(StorageError, match="another writer"):  # the lock is still the parent's
        create(path, rotate_frames)
    write(writer, begin=FRAMES)
    writer.close()
    with Recording.open(path) as recording:
        assert recording.verify() == 2 * FRAMES and read_at_random(recording, 1) == 0


@pytest.mark.parametrize("rotate_frames", [0, 4])
def test_a_recording_is_sent_to_spawned_processes(tmp_path, rotate_frames, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Recording.open(closed(tmp_path, rotate_frames).relative_to(tmp_path)) as recording:
        context = multiprocessing.get_context("spawn")
        children = [context.Process(target=read_and_end, args=(recording, seed)) for seed in range(2)]
        for child in children:
            child.start()
        assert read_at_random(recording, 9) == 0
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [7, 7]
        monkeypatch.chdir("/")
        with pickle.loads(pickle.dumps(recording)) as other:
            assert len(other) == FRAMES


class Frames(torch.utils.data.Dataset):
    """What a loader of training data does."""

    def __init__(self, recording: Recording):
        self.recording = recording

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.recording[index].pixels.astype("int32"))


def test_loader_workers_read_a_recording_that_their_parent_reads(tmp_path):
    with Recording.open(closed(tmp_path, 4)) as recording:
        for _ in range(2):
            loader = torch.utils.data.DataLoader(Frames(recording), 3, num_workers=2, multiprocessing_context="fork")
            for at, batch in enumerate(loader):
                for step, pixels in enumerate(batch.numpy()):
                    assert (pixels == frame(3 * at + step).pixels).all()
                assert (recording[at].pixels == frame(at).pixels).all()
