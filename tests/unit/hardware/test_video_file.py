"""Video files through the real codec: kept to the last bit, or refused."""

import cv2
import numpy as np
import pytest
from video import noise, write_ffv1

from hardware import CameraSettings
from hardware.errors import CameraError, CameraLost, ConfigurationError, InputError
from hardware.opencv import OpenCvCamera
from hardware.opencv.ffv1 import is_whole


@pytest.fixture(params=[".mkv", ".avi"])
def path(request, tmp_path):
    return tmp_path / f"clip{request.param}"


@pytest.mark.parametrize("shape", [(14, 18), (48, 64), (52, 68, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_was_written_comes_back_to_the_last_bit(path, shape, dtype):
    if len(shape) == 3 and dtype == np.uint16:
        return
    frames = noise(7, shape, dtype)
    write_ffv1(path, frames)
    with OpenCvCamera.at(str(path)) as camera:
        played = list(camera.frames())
        assert not camera.live and camera.camera_id.startswith("file-")
    assert len(played) == 7
    for number, (frame, written) in enumerate(zip(played, frames, strict=True)):
        assert frame.pixels.dtype == written.dtype and (frame.pixels == written).all()
        assert (frame.meta.sequence, frame.meta.lost_before) == (number, 0)
        assert frame.meta.t_host_ns == number * 40_000_000
        assert not frame.meta.raw  # a file proves nothing of what was before it
        assert frame.meta.pixel_format == ("BGR8" if len(shape) == 3 else "Mono8" if dtype == np.uint8 else "Mono16")


def test_equal_frames_of_a_file_are_frames(path):
    write_ffv1(path, noise(1) * 5)
    with OpenCvCamera.at(str(path)) as camera:
        assert [frame.meta.lost_before for frame in camera.frames()] == [0] * 5


def test_the_exposure_is_that_of_the_option_or_of_one_frame_at_most(path):
    write_ffv1(path, noise(2))
    with OpenCvCamera.at(str(path)) as camera:
        assert camera.configure(CameraSettings()).exposure_s == pytest.approx(0.04)
        with pytest.raises(ConfigurationError, match="cannot be exposed again"):
            camera.configure(CameraSettings(exposure_s=0.01))
    with OpenCvCamera.at(f"{path}?exposure_s=0.01") as camera:
        assert camera.snap(1)[0].meta.exposure_s == 0.01
    with pytest.raises(ConfigurationError, match="has no option fps"):
        OpenCvCamera.at(f"{path}?fps=30")


def test_the_same_content_is_the_same_camera_wherever_it_lies(tmp_path):
    frames = noise(3)
    write_ffv1(tmp_path / "a.mkv", frames)
    (tmp_path / "b.mkv").write_bytes((tmp_path / "a.mkv").read_bytes())
    write_ffv1(tmp_path / "c.mkv", frames[:2])
    cameras = [OpenCvCamera.at(str(tmp_path / f"{name}.mkv")) for name in "abc"]
    a, b, c = (camera.camera_id for camera in cameras)
    assert a == b != c
    for camera in cameras:
        camera.close()


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_file_that_was_cut_does_not_look_like_a_short_one(path, share):
    write_ffv1(path, noise(20, (48, 64)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with OpenCvCamera.at(str(path)) as camera:
        frames = []
        with pytest.raises(InputError, match=r"frame \d+ (cannot be decoded|is damaged)") as caught:
            for frame in camera.frames():
                frames.append(frame)
        assert len(frames) > 20 * share - 3 and f"frame {len(frames)} " in str(caught.value)
        with pytest.raises(InputError, match=f"frame {len(frames)} "):
            camera.snap(1)


@pytest.mark.parametrize("changed", [1, 8, 4000])
def test_changed_bytes_end_the_play_and_no_wrong_frame_comes_out(path, changed):
    written = noise(20, (48, 64))
    write_ffv1(path, written)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + changed] = bytes(byte ^ 0x55 for byte in data[middle : middle + changed])
    path.write_bytes(data)
    frames = []
    with OpenCvCamera.at(str(path)) as camera, pytest.raises(InputError, match=r"frame \d+ "):
        for frame in camera.frames():
            frames.append(frame)
    assert 5 <= len(frames) < 12
    assert all((frame.pixels == pixels).all() for frame, pixels in zip(frames, written, strict=False))


def test_mutants_of_a_file_play_right_or_not_at_all(tmp_path):
    written, rng = noise(6, (16, 16)), np.random.default_rng(3)
    write_ffv1(tmp_path / "whole.mkv", written)
    data = (tmp_path / "whole.mkv").read_bytes()
    outcomes = {"right": 0, "refused": 0, "wrong": 0}
    for number in range(100):
        mutant = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            mutant[at] ^= rng.integers(1, 256)
        path = tmp_path / f"{number}.mkv"
        path.write_bytes(mutant)
        try:
            with OpenCvCamera.at(str(path)) as camera:
                played = [frame.pixels for frame in camera.frames()]
            same = len(played) == len(written) and all(map(np.array_equal, played, written))
            outcomes["right" if same else "wrong"] += 1
        except (InputError, CameraError):
            outcomes["refused"] += 1
    print(outcomes)
    assert outcomes["wrong"] == 0 and sum(outcomes.values()) == 100


def test_a_changed_head_gives_no_other_pixels(path):
    """FFV1 does not hold the size of its pictures: the head of the container does."""
    written = noise(4, (16, 16), np.uint8)
    write_ffv1(path, written)
    data = path.read_bytes()
    for at in range(40, 300, 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x21]) + data[at + 1 :])
        try:
            with OpenCvCamera.at(str(path)) as camera:
                played = [frame.pixels for frame in camera.frames()]
        except (InputError, CameraError):
            continue
        assert len(played) == 4 and all(map(np.array_equal, played, written)), at


def test_a_width_that_was_changed_is_found_out(path):
    write_ffv1(path, noise(2, (16, 16), np.uint8))
    data = bytearray(path.read_bytes())
    width = {".mkv": b"\xb0\x81\x10", ".avi": b"\x10\x00\x00\x00\x10\x00\x00\x00\x01\x00"}[path.suffix]
    data[data.index(width) + (2 if path.suffix == ".mkv" else 0)] = 0x20
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"checksum of its element Tracks is wrong|two heads differ"):
        OpenCvCamera.at(str(path))


def test_a_gap_in_the_time_stamps_is_damage_or_on_request_lost_frames(tmp_path):
    """Bytes of a Matroska file that name the time of a frame are set ahead by two frames."""
    path = tmp_path / "clip.mkv"
    write_ffv1(path, noise(6, (8, 8)))
    data = path.read_bytes()
    for number in (5, 4, 3):  # simple blocks of track 1: 0x81, time (16 bits), flags
        at, later = (b"\x81" + (40 * n).to_bytes(2, "big") + b"\x00" for n in (number, number + 2))
        assert data.count(at) == 1
        data = data.replace(at, later)
    path.write_bytes(data)
    with (
        OpenCvCamera.at(str(path)) as camera,
        pytest.raises(InputError, match=r"frame 3 is missing.*80 to 200 ms.*gaps="),
    ):
        list(camera.frames())
    with OpenCvCamera.at(f"{path}?gaps=count") as camera:
        frames = list(camera.frames())
    assert [frame.meta.sequence for frame in frames] == [0, 1, 2, 5, 6, 7]
    assert [frame.meta.lost_before for frame in frames] == [0, 0, 0, 2, 0, 0]


def test_what_is_no_video_is_refused_before_a_decoder_sees_it(tmp_path):
    clip = tmp_path / "clip.mkv"
    write_ffv1(clip, noise(2))
    for name, content in {
        "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mkv\n#EXT-X-ENDLIST\n",
        "list.mkv": b"ffconcat version 1.0\nfile clip.mkv\n",
        "empty.mkv": b"",
        "text.avi": b"hello",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="is no video"):
            OpenCvCamera.at(str(tmp_path / name))
    (tmp_path / "head.mkv").write_bytes(clip.read_bytes()[:64])
    with pytest.raises(InputError, match="FFmpeg cannot open it"):
        OpenCvCamera.at(str(tmp_path / "head.mkv"))
    with pytest.raises(InputError, match="is not there"):
        OpenCvCamera.at(str(tmp_path / "nowhere.mkv"))
    with pytest.raises(InputError, match=r"is a folder; expected a video file; .*replay:"):
        OpenCvCamera.at(str(tmp_path))


def test_a_compressed_colour_file_is_played_as_processed(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (32, 16))
    for _ in range(3):
        writer.write(np.full((16, 32, 3), 90, np.uint8))
    writer.release()
    with OpenCvCamera.at(str(path)) as camera:
        frames = camera.snap(3)
        assert frames[0].shape == (16, 32, 3) and frames[0].meta.pixel_format == "BGR8" and not frames[0].meta.raw
        with pytest.raises(CameraLost, match="has ended: 1 frames asked for, 0 left of 3"):
            camera.snap(1)


def test_a_packet_without_slices_is_not_whole():
    assert not is_whole(b"") and not is_whole(bytes(8)) and not is_whole(b"\xff" * 40)
