"""Recordings of scenes become pairs: whole scenes only, in their splits, measured as the calibration says."""

import dataclasses

import collected
import numpy as np
import pytest
import tiny
import torch

from calibration import Calibration
from hardware import Recording
from hardware.errors import FrameSaturated, InputError
from lensless.data import load_scenes
from lensless.data.recorded import Collection

SPLITS = {"train": [0, 20], "val": [20, 26], "test": [26, 40]}


def no_bar(items, what, total):
    return items


def made(path, ids, **options):
    return collected.record(path, tiny.rig(), tiny.scenes(40), ids, options.pop("splits", SPLITS), **options)


def opened(path) -> tuple[Collection, Calibration]:
    return Collection.open(path), tiny.setting().calibration


def test_each_scene_is_measured_as_the_mean_of_its_frames(tmp_path, cache_folder):
    path = made(tmp_path / "a.h5", range(40), frames=3)
    collection, calibration = opened(path)
    found = {split: collection.scenes(split, calibration, no_bar) for split in SPLITS}
    assert {split: len(scenes) for split, scenes in found.items()} == {"train": 20, "val": 6, "test": 14}
    test, scenes = found["test"], tiny.scenes(40)
    assert torch.equal(test.pictures, scenes.pictures[26:]) and torch.equal(test.labels, scenes.labels[26:])
    assert test.groups.tolist() == list(range(26, 40)) and test.classes == scenes.classes
    assert test.name == "recorded:a.h5/test"
    with Recording.open(path) as recording:
        rows = np.flatnonzero(recording.scene_ids == 30)
        mean = np.mean([calibration.apply(recording[int(row)]).y for row in rows], axis=0, dtype=np.float64)
    assert len(rows) == 3
    assert np.array_equal(test.measurements(torch.tensor([4]))[0, 0].numpy(), mean.astype(np.float32))
    reads = torch.tensor([5, 140, 0])
    some = test.measurements(torch.tensor([4, 0]), reads)
    assert some.shape == (2, 1, 3) and torch.equal(
        some[0, 0], torch.from_numpy(mean.astype(np.float32)).flatten()[reads]
    )


def test_measurements_are_computed_once_and_by_content(tmp_path, cache_folder):
    path, computed = made(tmp_path / "a.h5", range(40)), []

    def counting(items, what, total):
        computed.append(total)
        return items

    first = Collection.open(path).scenes("train", tiny.setting().calibration, counting)
    path = path.rename(tmp_path / "b.h5")
    again = Collection.open(path).scenes("train", tiny.setting().calibration, counting)
    assert computed == [40] and first.fingerprint() == again.fingerprint()
    (kept,) = cache_folder.glob("pairs-*.npy")
    kept.write_bytes(kept.read_bytes()[:-100])  # one that is not whole is computed again
    third = Collection.open(path).scenes("train", tiny.setting().calibration, counting)
    assert computed == [40, 40] and third.fingerprint() == first.fingerprint()
    other = made(tmp_path / "other.h5", range(40), noise_seed=1)
    assert (
        Collection.open(other).scenes("train", tiny.setting().calibration, counting).fingerprint()
        != first.fingerprint()
    )
    assert not list(cache_folder.glob("*.part"))


def test_an_interrupted_collection_goes_on_in_another_file(tmp_path, cache_folder):
    made(tmp_path / "run-0.h5", range(0, 18), torn=17)
    made(tmp_path / "run-1.h5", range(17, 40), torn=33)
    (tmp_path / "calibration.npz").write_bytes(b"")
    collection, calibration = opened(tmp_path)
    assert collection.ids.tolist() == [one for one in range(40) if one != 33] and collection.torn == 1
    train, test = (collection.scenes(split, calibration, no_bar) for split in ("train", "test"))
    assert len(train) == 20 and len(test) == 13
    assert train.notes == ("1 scenes were passed over: fewer than 2 frames of them were recorded",)
    assert torch.equal(train.pictures, tiny.scenes(40).pictures[:20])


def test_where_nothing_was_recorded_for_validation_a_fixed_tenth_serves(tmp_path, cache_folder):
    splits = {"train": [0, 40]}
    collection, calibration = opened(made(tmp_path / "a.h5", range(40), splits=splits))
    train, val = (collection.scenes(split, calibration, no_bar) for split in ("train", "val"))
    assert len(train) + len(val) == 40 and 1 <= len(val) <= 10
    assert not set(train.groups.tolist()) & set(val.groups.tolist())
    fewer = Collection.open(made(tmp_path / "b.h5", range(30), splits=splits))
    assert set(fewer.scenes("val", calibration, no_bar).groups.tolist()) == {
        one for one in val.groups.tolist() if one < 30
    }
    assert not collection.has("test")
    with pytest.raises(InputError, match=r"holds no whole scene of 'test'; it holds .* of 'train'"):
        collection.scenes("test", calibration, no_bar)


def test_the_pictures_alone_are_scenes_too(tmp_path):
    path = made(tmp_path / "a.h5", range(40))
    scenes = load_scenes(f"shown:{path}", "test")
    assert scenes.name == "shown:a.h5/test" and torch.equal(scenes.pictures, tiny.scenes(40).pictures[26:])


def test_scenes_that_stand_there_twice_are_refused(tmp_path):
    made(tmp_path / "run-0.h5", range(0, 20))
    made(tmp_path / "run-1.h5", range(19, 40))
    with pytest.raises(InputError, match=r"run-1.h5': scene 19 stands there and in .*run-0.h5"):
        Collection.open(tmp_path)
    with pytest.raises(InputError, match="scene 3 stands there more than once"):
        Collection.open(made(tmp_path / "again.h5", [3, 4, 3]))


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"frames": 1, "splits": {"train": [0, 40]}}, "frames = 2 and 1"),
        ({"noise_seed": 1, "classes": ["a", "b", "c", "d"]}, "classes"),
        ({"scenes": "others/train"}, "scenes = blobs-0 and others/train"),
        ({"rig": {"id": "other", "fingerprint": "0"}}, "rig_id = tiny and other"),
    ],
)
def test_recordings_of_two_collections_are_not_mixed(tmp_path, facts, says):
    made(tmp_path / "run-0.h5", range(0, 20), splits={"train": [0, 40]})
    made(tmp_path / "run-1.h5", range(20, 40), **{"splits": {"train": [0, 40]}, **facts})
    with pytest.raises(InputError, match=f"not of one collection: {says}"):
        Collection.open(tmp_path)


@pytest.mark.parametrize(
    "facts",
    [
        {"splits": {"train": [0, "40"]}}, {"splits": {"train": [40, 0]}}, {"splits": {"all": [0, 40]}}, {"splits": 5},
        {"splits": {"train": [0, 30], "test": [20, 40]}}, {"classes": "abcd"}, {"classes": [1, 2, 3, 4]}, {"rig": None},
        {"rig": {"id": 5, "fingerprint": "0"}}, {"rays": "many"}, {"scenes": None}, {"classes": ["a", "b"]},
    ],
)  # fmt: skip
def test_facts_that_make_no_sense_are_one_clear_error(tmp_path, facts):
    with pytest.raises(InputError, match=r"provenance does not describe scenes|label 2, but 2 classes"):
        Collection.open(made(tmp_path / "a.h5", range(4), **facts))


def test_a_label_below_unknown_is_refused(tmp_path):
    scenes = tiny.scenes(40)
    labels = torch.where(scenes.labels == 3, -2, scenes.labels)
    path = collected.record(tmp_path / "a.h5", tiny.rig(), dataclasses.replace(scenes, labels=labels), range(4), {})
    with pytest.raises(InputError, match="label -2, but 4 classes are named, from 0, and -1 is unknown"):
        Collection.open(path)


def test_a_recording_without_scenes_says_what_to_do(tmp_path):
    camera, _ = tiny.rig().camera_at_display(0)
    with camera, Recording.create(tmp_path / "a.h5", camera.snap(1)[0]) as writer:
        writer.append(camera.snap(1)[0])
    with pytest.raises(InputError, match="lensless record --scenes"):
        Collection.open(tmp_path / "a.h5")
    (tmp_path / "junk.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000))
    with pytest.raises(InputError, match="is not a recording"):
        Collection.open(tmp_path / "junk.h5")


def test_an_overexposed_scene_is_refused_alone(tmp_path, cache_folder):
    path = made(tmp_path / "a.h5", range(40))
    collection, calibration = opened(path)
    with Recording.open(path) as recording:
        peaks = {
            i: max(int(recording[int(r)].pixels.max()) for r in np.flatnonzero(recording.scene_ids == i))
            for i in range(40)
        }
    limit = sorted(peaks.values())[-4]
    strict = dataclasses.replace(calibration, clip_dn=float(limit), max_masked_share=0.0)
    bright = {one for one, peak in peaks.items() if peak >= limit}
    found = {split: collection.scenes(split, strict, no_bar) for split in SPLITS}
    kept = {one for scenes in found.values() for one in scenes.groups.tolist()}
    assert kept == set(range(40)) - bright and 1 <= len(bright) <= 10
    noted = " ".join(note for scenes in found.values() for note in scenes.notes)
    assert "were refused" in noted
    assert all(bool(scenes.measurements(torch.arange(len(scenes))).isfinite().all()) for scenes in found.values())
    with pytest.raises(FrameSaturated, match="all 14 scenes of 'test'"):
        collection.scenes("test", dataclasses.replace(calibration, clip_dn=1.0), no_bar)


def test_the_calibration_beside_the_frames_is_found(tmp_path):
    path, calibration = made(tmp_path / "a.h5", range(4)), tiny.setting().calibration
    with pytest.raises(InputError, match=r"no calibration beside it.*README"):
        Collection.open(path).calibration()
    calibration.save(tmp_path / "a.calibration.npz")
    assert Collection.open(path).calibration().id == calibration.id == Collection.open(tmp_path).calibration().id
