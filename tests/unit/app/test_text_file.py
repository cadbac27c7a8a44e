"""Texts on disk: whole or not at all, and nothing is lost."""

import os
import pathlib
import threading

import pytest

from hardware.errors import StorageError
from lensless.app import text_file


def test_a_text_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "new folder" / "page.html"
    for text in ("old", "new \u00b5"):
        text_file.write(path, text)
    assert path.read_text(encoding="utf-8") == "new \u00b5"
    assert os.listdir(path.parent) == ["page.html"]


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(StorageError, match=r"cannot write .*name another"):
        text_file.write(tmp_path / "file" / "page.html", "new", "name another")
    assert (tmp_path / "file").read_text() == "old"


def test_a_disk_that_fails_half_way_leaves_the_old_text_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        text_file.write(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["page.html"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    told = []
    reader = threading.Thread(target=lambda: told.append(pathlib.Path(pipe).read_text()))
    reader.start()
    text_file.write(pipe, "told")
    reader.join(5)
    assert told == ["told"] and pipe.is_fifo()


def test_a_place_is_tried_and_left_as_it_was(tmp_path):
    text_file.check_place(tmp_path / "new folder" / "page.html", "")
    text_file.check_place(pathlib.Path("/dev/null"), "")
    assert os.listdir(tmp_path) == []
    for wrong in (tmp_path, pathlib.Path("/"), pathlib.Path(__file__) / "page.html"):
        with pytest.raises(StorageError, match=r"cannot write .*name another"):
            text_file.check_place(wrong, "name another")
