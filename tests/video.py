"""Video files from the real codec, for tests."""

import pathlib

import cv2
import numpy as np


def write_ffv1(path: pathlib.Path, frames: list[np.ndarray], fps: float = 25.0) -> None:
    """Write grey (H, W) uint8 or uint16, or colour (H, W, 3) uint8, without loss; OpenCV wants H and W even."""
    first = frames[0]
    parameters = [cv2.VIDEOWRITER_PROP_IS_COLOR, int(first.ndim == 3)]
    if first.dtype == np.uint16:
        parameters += [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U]
    codec = cv2.VideoWriter.fourcc(*"FFV1")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, first.shape[1::-1], parameters)
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()


def noise(count: int, shape: tuple[int, ...] = (14, 18), dtype: type = np.uint16) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True) for _ in range(count)]
