"""What a simulated sensor is in besides its rig is said in a file beside its display."""

import pytest

from hardware.errors import InputError, StorageError
from hardware.surroundings import Surroundings, surround, surroundings_of


def test_it_is_what_was_said_last_and_the_scene_at_first(tmp_path):
    display = tmp_path / "shown"
    assert surroundings_of(display) is Surroundings.SCENE
    for what in (Surroundings.COVERED, Surroundings.LAMP, Surroundings.SCENE, Surroundings.SCENE):
        surround(display, what)
        assert surroundings_of(display) is what
    assert not list(tmp_path.iterdir())


def test_other_words_and_places_are_one_clear_error(tmp_path):
    (tmp_path / "shown.around").write_text("night")
    with pytest.raises(InputError, match="expected one of scene, covered, lamp, or no file"):
        surroundings_of(tmp_path / "shown")
    with pytest.raises(StorageError, match="name a file in a folder of yours"):
        surround(tmp_path / "none" / "shown", Surroundings.COVERED)
