"""What a collection holds, over all of its runs."""

import pathlib

from hardware import Recording
from lensless.app.screen import Screen, counted
from lensless.data.recorded import Collection


def summary(path: pathlib.Path, verify: bool, screen: Screen) -> dict:
    """Show what a collection holds; with `verify` every frame of every run is read.

    Raises:
        InputError: a run that is no recording, is damaged, or is not of this collection.
    """
    found = Collection.open(path)
    if verify:
        total = sum(map(len, found.rows))
        with screen.following(f"verifying {path}", total) as watch:
            done = 0
            for run in found.runs:
                with Recording.open(run) as recording:
                    done += recording.verify(lambda at, of, before=done: watch(before + at, ""))
    splits = {
        name: (int(((found.ids >= first) & (found.ids < end)).sum()), end - first)
        for name, (first, end) in found.facts.splits.items()
    }
    whole, of = len(found.ids), sum(total for _, total in splits.values())
    camera = found.facts.camera
    rows = [
        ["scenes", f"{whole:,} of {of:,} of {found.facts.scenes}, {counted(found.facts.frames, 'frame')} of each"],
        *([name, f"{have:,} of {total:,}"] for name, (have, total) in splits.items()),
        ["interrupted", f"{found.torn:,} scenes, to be shown again"],
        ["rig", f"{found.facts.rig_id}"],
        ["camera", f"{camera['camera_id']}, {' x '.join(map(str, found.facts.shape))}, {camera['bit_depth']} bits"],
        *([run.name, f"{len(one):,} frames"] for run, one in zip(found.runs, found.rows, strict=True)),
        *([["verified", "every frame and checksum"]] if verify else []),
    ]
    screen.table("", ["", ""], rows)
    if whole < of:
        screen.say("Not all of it was collected: the command that began it, given again, goes on.")
    screen.say(f"Look into a run with: lensless info {found.runs[0]}")
    return {
        "path": str(path), "scenes": whole, "of": of, "splits": splits, "interrupted": found.torn,
        "rig": found.facts.rig_id, "camera": camera, "frames": found.facts.frames, "verified": verify,
        "runs": {str(run): len(one) for run, one in zip(found.runs, found.rows, strict=True)},
    }  # fmt: skip
