"""Recordings whose HDF5 points elsewhere or holds pickles; the rest stands in the tests of recordings."""

import os
from collections.abc import Callable

import h5py
import numpy as np
from test_recording_hostile import external_link, external_storage, soft_link, virtual

from attacks.attack import Attacks, Place
from attacks.formats import poison
from attacks.good import good_recording

ATTACKS = Attacks()


def _hostile(put: Callable[[h5py.File], object]) -> Callable[[Place], str]:
    def build(place: Place) -> str:
        what, _ = good_recording(place)
        os.symlink(place.trap, f"{what}.trap")
        with h5py.File(what, "r+", libver="latest") as file:
            del file["frames"]
            put(file)
        return what

    return build


def _pickled(place: Place, name: str) -> str:
    what, _ = good_recording(place)
    with h5py.File(what, "r+", libver="latest") as file:
        file.attrs[name] = np.void(poison(place))
    return what


for reader in ("recording", "vetted"):
    for put in (external_link, external_storage, virtual, soft_link):
        ATTACKS.simple(reader, "good.h5", **{put.__name__: _hostile(put)})
    ATTACKS.simple(reader, "good.h5", pickled_provenance=lambda place: _pickled(place, "provenance"))
    ATTACKS.simple(reader, "good.h5", pickled_camera=lambda place: _pickled(place, "camera"))
