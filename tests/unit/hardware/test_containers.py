"""What is taken for a video, and what is not."""

from hardware.opencv.containers import is_video


def test_a_list_whose_second_line_looks_like_an_avi_is_no_video():
    assert is_video(b"RIFF\0\0\0\0AVI LIST")
    assert not is_video(b"#EXTM3U\nAVI \n#EXTINF:9,\n/etc/passwd\n")
