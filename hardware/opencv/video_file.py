"""A camera that plays a video file, through OpenCV's FFmpeg.

Kept as they are: 8-bit and 16-bit grey (FFV1 in Matroska or AVI; 16 bits little-endian). Everything else is decoded to
blue, green, red. A file cannot prove what was done to its pixels before, so that its frames are never called raw.
"""

import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np

from hardware.camera import check_count, closed
from hardware.closing import Closing
from hardware.errors import CameraError, CameraLost, ConfigurationError, InputError
from hardware.frame import CameraSettings, Frame, FrameMeta
from hardware.opencv.address import AS_IT_COMES, OpenCvOptions
from hardware.opencv.backends import CONVERTED, GREY, Driver, Wire
from hardware.opencv.containers import damage, is_video
from hardware.opencv.ffv1 import is_whole

MEBIBYTE = 2**20
MOST_PIXELS = 64_000_000
TIMEOUT_MS = 10_000
MONO16 = Wire(fourcc="Y16", pixel_format="Mono16", bit_depth=16)
# CAP_PROP_CODEC_PIXEL_FORMAT. Other depths of grey would come converted to 8 bits.
WIRES = {b"Y800": GREY, b"Y1\x00\x10": MONO16}


class VideoFileCamera(Closing):
    """Plays one video file, once.

    Times are those of the file: `t_host_ns` counts from its start (nothing guards the frame rate of an AVI). A frame
    that cannot be decoded, or that its checksum disowns (FFV1), ends the play with an error, and so does a file that
    ends before its container says so. Where the container gives no length (its writer was killed), the end cannot be
    vouched for.

    Args:
        path: Matroska, AVI, MP4 or QuickTime.
        driver: the module cv2.
        options: `exposure_s` of the frames, else the time of one frame, which no exposure can exceed; `gaps`.

    Raises:
        InputError: no video, or one that cannot be kept as it is.
    """

    def __init__(self, path: pathlib.Path, driver: Driver, options: OpenCvOptions = AS_IT_COMES):
        self._path, self._driver, self._gaps = path, driver, options.gaps
        self._camera_id, self._head = _identity(path)
        self._closed, self._failure = False, None
        self._handle, self._packets = None, None
        self._sequence, self._lost, self._last_ms = 0, 0, None
        try:
            self._open(options)
        except BaseException:
            self.close()
            raise

    @property
    def camera_id(self) -> str:
        return self._camera_id

    @property
    def live(self) -> bool:
        return False

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """The settings of the file.

        Raises:
            ConfigurationError: anything else is asked for: a file cannot be exposed again.
        """
        self._check_open()
        for name, value in wanted.asked().items():
            if value != (had := getattr(self._settings, name)):
                asked, had = (f"{one:g}" if isinstance(one, float) else repr(one) for one in (value, had))
                raise ConfigurationError(
                    f"video '{self._path.name}': {name} = {asked} asked for, it has {had}; a file cannot be exposed "
                    "again: ask for nothing"
                )
        return self._settings

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """The next `n` frames; `not_before_ns` counts from the start of the file.

        Raises:
            CameraLost: fewer than `n` such frames are left.
        """
        check_count(n, self._camera_id)
        frames: list[Frame] = []
        for frame in self.frames():
            if frame.meta.t_host_ns >= (not_before_ns or 0):
                frames.append(frame)
            if len(frames) == n:
                return frames
        raise CameraLost(
            f"video '{self._path.name}' has ended: {n} frames asked for, {len(frames)} left of {self._sequence}; "
            "open it again to start over"
        )

    def frames(self) -> Iterator[Frame]:
        """The frames that are left."""
        self._check_open()
        return self._rest()

    def close(self) -> None:
        self._closed = True
        for handle in (self._handle, self._packets):
            if handle is not None:
                handle.release()
        self._handle = self._packets = None

    def _open(self, options: OpenCvOptions) -> None:
        cv = self._driver
        self._handle = self._capture()
        self._handle.set(cv.CAP_PROP_ORIENTATION_AUTO, 0)
        prop = self._handle.get
        code = int(prop(cv.CAP_PROP_CODEC_PIXEL_FORMAT)).to_bytes(4, "little", signed=True)
        self._wire = WIRES.get(code, CONVERTED)
        if self._wire is CONVERTED and (code.startswith(b"Y1") or code.endswith(b"1Y")):
            raise self._unfit("grey of a depth that OpenCV cuts to 8 bits; write it as gray16le")
        self._rows, self._columns = int(prop(cv.CAP_PROP_FRAME_HEIGHT)), int(prop(cv.CAP_PROP_FRAME_WIDTH))
        if not 0 < self._rows * self._columns <= MOST_PIXELS:
            raise self._unfit(f"frames of {self._rows} x {self._columns} pixels; expected 1 to {MOST_PIXELS} pixels")
        if problem := damage(self._head, self._rows, self._columns):
            raise self._unfit(f"{problem}; copy the file again from where it was recorded")
        if self._wire.convert is False:
            # After opening, not with it: then OpenCV would print a warning.
            self._handle.set(cv.CAP_PROP_CONVERT_RGB, 0)
        if int(prop(cv.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).upper() == b"FFV1":
            self._packets = self._capture(cv.CAP_PROP_FORMAT, -1)
        fps, self._count = prop(cv.CAP_PROP_FPS), int(prop(cv.CAP_PROP_FRAME_COUNT))
        self._period_ms = 1000 / fps if fps > 0 else None
        if self._period_ms is None and options.exposure_s is None:
            raise self._unfit("no frame rate; say how long a frame was exposed: exposure_s=")
        self._settings = CameraSettings(
            exposure_s=options.exposure_s or self._period_ms * 1e-3,
            gain_db=0.0,
            pixel_format=self._wire.pixel_format,
            binning=(1, 1),
        )

    def _capture(self, *also: int) -> object:
        cv = self._driver
        timeouts = (cv.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS)
        try:
            handle = cv.VideoCapture(str(self._path), cv.CAP_FFMPEG, [*timeouts, *also])
        except cv.error as error:
            raise self._unfit(f"OpenCV's message: {error}") from error
        if not handle.isOpened() or handle.getBackendName() != "FFMPEG":
            handle.release()
            raise self._unfit("FFmpeg cannot open it; it is cut, or its codec is not in this build of OpenCV")
        return handle

    def _rest(self) -> Iterator[Frame]:
        while not self._closed:
            if self._failure:
                raise self._failure
            try:
                frame = self._next()
            except (CameraError, InputError) as failure:
                self._failure = InputError(str(failure))
                raise self._failure from failure
            if frame is None:
                return
            yield frame

    def _next(self) -> Frame | None:
        cv, number = self._driver, self._sequence
        if self._packets is not None:
            there, packet = self._packets.read()
            if there and not is_whole(np.asarray(packet).tobytes()):
                raise self._unfit(
                    f"frame {number} is damaged: a checksum of FFV1 is wrong, or the file was written without "
                    "(ffmpeg -level 3 -slicecrc 1 writes them)"
                )
        try:
            there, pixels = self._handle.read()
        except cv.error as error:
            raise self._unfit(f"frame {number} cannot be decoded: {error}") from error
        if not there:
            self._check_end()
            return None
        at_ms = self._handle.get(cv.CAP_PROP_POS_MSEC)
        lost = self._missing(at_ms)
        pixels, _ = self._wire.unpack(pixels, self._rows, self._columns, f"video '{self._path.name}', frame {number}")
        meta = FrameMeta(
            sequence=number + lost,
            t_host_ns=round(at_ms * 1e6),
            exposure_s=self._settings.exposure_s,
            gain_db=0.0,
            bit_depth=self._wire.bit_depth,
            black_level_dn=0,
            pixel_format=self._wire.pixel_format,
            raw=False,
            camera_id=self._camera_id,
            settings_id=self._settings.id,
            lost_before=lost,
        )
        self._sequence, self._last_ms = number + lost + 1, at_ms
        return Frame(pixels, meta)

    def _missing(self, at_ms: float) -> int:
        """Frames that are missing before the one at this time."""
        if self._last_ms is None or self._period_ms is None:
            return 0
        step_ms = at_ms - self._last_ms
        if step_ms <= 1.5 * self._period_ms + 1:  # Matroska rounds to whole milliseconds
            return 0
        if self._gaps == "refuse":
            raise self._unfit(
                f"frame {self._sequence} is missing or cannot be decoded: time stamps jump from {self._last_ms:.0f} to "
                f"{at_ms:.0f} ms, expected steps of {self._period_ms:.1f} ms; if the camera lost it, ask for gaps=count"
            )
        return round(step_ms / self._period_ms) - 1

    def _check_end(self) -> None:
        if self._sequence < self._count:
            raise self._unfit(
                f"frame {self._sequence} cannot be decoded, and none behind it; the container says {self._count}: "
                "the file is cut or damaged"
            )

    def _unfit(self, why: str) -> InputError:
        return InputError(f"video '{self._path}': {why}")

    def _check_open(self) -> None:
        if self._closed:
            raise closed(self._camera_id)


def _identity(path: pathlib.Path) -> tuple[str, bytes]:
    """(name, head of the file): the same content is the same camera, wherever the file lies."""
    try:
        with path.open("rb") as file:
            begin = file.read(MEBIBYTE)
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"video '{path}': {error.strerror}; expected a readable file") from error
    if not is_video(begin):
        raise InputError(f"'{path}' is no video; expected Matroska (.mkv), AVI, MP4 or QuickTime")
    return f"file-{hashlib.sha256(begin + str(size).encode()).hexdigest()[:12]}", begin
