"""What is around a recording: output that nobody reads any more, odd places, full disks, a writer that is killed."""

import subprocess

import pytest
from test_record_command import check_whole, start


@pytest.mark.parametrize("reads", ["nothing", "a line"])
def test_a_reader_of_the_output_that_goes_away_ends_no_recording(tmp_path, reads):
    with start("record", "fake:fast", "--out", tmp_path / "a", "--frames", 60) as child:
        if reads == "a line":
            assert child.stdout.readline().startswith("settings")
        child.stdout.close()
        said = child.stderr.read()
    assert child.returncode == 0 and said.count("the work goes on") == 1 and "Traceback" not in said, said
    assert check_whole(tmp_path / "a") == 60


def test_an_output_that_takes_nothing_ends_no_recording_and_one_lost_with_all_messages_neither(tmp_path):
    with open("/dev/full", "w") as full:
        for name, errors in (("a", subprocess.PIPE), ("b", full)):
            with start("record", "fake:fast", "--out", tmp_path / name, "--frames", 20, to=(full, errors)) as child:
                said = child.stderr.read() if child.stderr else "No space left on device"
            assert child.returncode == 0 and "No space left on device" in said and "bug" not in said, said
            assert check_whole(tmp_path / name) == 20
