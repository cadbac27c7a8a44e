"""Which scenes of several recordings are whole, and where their frames stand."""

import itertools
import pathlib
from collections.abc import Iterator

import numpy as np

from hardware.errors import InputError
from hardware.recording.schema import NO_SCENE


def whole_scenes(
    rows: list[np.ndarray], runs: list[pathlib.Path], frames: int, looks: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Ids (S,) of the whole scenes, their run (S,), their frames (S, frames), and how many are whole in no run.

    Args:
        rows: of each run, as `schema.ROW` has them.
        runs: where they stand.
        frames: of each scene.
        looks: whether the light was looked at now and then, as `lensless record --scenes` does: scenes behind the last
            good look of a run are not known to be good, and do not count.

    Raises:
        InputError: a scene that stands there twice, or whose frames are of several scenes.
    """
    whole: dict[int, tuple[int, np.ndarray]] = {}
    torn: set[int] = set()
    for number, written in enumerate(rows):
        found = written[: _last_look(written)] if looks else written
        torn |= set(written["scene_id"][len(found) :].tolist()) - {NO_SCENE}
        for scene_id, members in _by_scene(found["scene_id"]):
            if len(members) < frames:
                torn.add(scene_id)
                continue
            if len(members) > frames or scene_id in whole:
                where = f"and in '{runs[whole[scene_id][0]]}'" if scene_id in whole else "more than once"
                raise InputError(
                    f"'{runs[number]}': scene {scene_id} stands there {where} ({len(members)} frames, expected "
                    f"{frames} once); these recordings are not of one collection: name one of them"
                )
            for name in ("label", "scene_crc32"):
                if len(np.unique(found[name][members])) > 1:
                    raise InputError(
                        f"'{runs[number]}': the frames of scene {scene_id} differ in {name}; expected {frames} frames "
                        "of one scene: record again"
                    )
            whole[scene_id] = (number, members)
    ids = np.array(sorted(whole), np.int64)
    run = np.array([whole[one][0] for one in ids.tolist()], np.int64)
    members = np.array([whole[one][1] for one in ids.tolist()], np.int64).reshape(len(ids), frames)
    return ids, run, members, len(torn - whole.keys())


def _last_look(rows: np.ndarray) -> int:
    """Where the frames of the last look at the light end."""
    return int(np.flatnonzero(rows["scene_id"] == NO_SCENE).max(initial=-1)) + 1


def _by_scene(scene_ids: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each scene with the positions of its frames, in order; frames of no scene are passed over."""
    order = np.argsort(scene_ids, kind="stable")
    ids, starts = np.unique(scene_ids[order], return_index=True)
    for scene_id, (start, end) in zip(ids.tolist(), itertools.pairwise([*starts, len(order)]), strict=True):
        if scene_id >= 0:
            yield scene_id, order[start:end]
