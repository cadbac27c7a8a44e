"""Webcams and other capture devices through OpenCV, without believing a word of what it says.

Every control that is set is read back, exposure is judged by the frames as well, and frames that may have been
processed on their way say so. OpenCV's own threads (`cv2.setNumThreads`) stay as they are: nothing here computes with
OpenCV, and the process is not forked.
"""

import os
import pathlib
import sys
import threading
from collections.abc import Iterator

from hardware.camera import Camera, check_count, closed, wait_until
from hardware.closing import Closing
from hardware.devices import DEV, SYSFS, Identity, VideoDevice, called, claimants, device_at, devices, find
from hardware.errors import CameraError, ConfigurationError
from hardware.frame import CameraSettings, Frame, FrameMeta
from hardware.opencv.address import AS_IT_COMES, OpenCvOptions, parse_place
from hardware.opencv.backends import Driver, backend_for
from hardware.opencv.fresh import FreshFrames
from hardware.opencv.handle import Handle, load_cv2
from hardware.opencv.plausible import exposure_followed
from hardware.opencv.setup import (
    agree,
    ask_for_controls,
    picture_controls,
    read_controls,
    set_exposure,
    set_gain,
    switch_off,
)
from hardware.opencv.video_file import VideoFileCamera


class OpenCvCamera(Closing):
    """A capture device, opened, read and closed in one thread.

    `t_host_ns` is the host's clock when the frame arrived, less the exposure: late by the time of the transfer. Frames
    that were in a queue before the camera was opened or configured are thrown away and have no number. A frame that
    equals the one before, where noise would not let it, is counted as lost; after 3 in a row the camera is lost.

    OpenCV's gain has no unit: gain_db is 0 and stands for `gain_raw` of the options, or for the gain as it was found.
    Frames of another raw gain, brightness or so have another `settings_id`.

    Args:
        device: index, "/dev/videoN", or a link in /dev/v4l.
        options: what is asked of it.
        camera_id: the name under which it was found, where it has two (by serial number and by port).
        driver: the module cv2, which is loaded only now.
        system, sysfs, dev: where we are.

    Raises:
        ConfigurationError: no such back end or format.
        CameraError: it cannot be opened, or does not do what was asked.
    """

    def __init__(
        self,
        device: int | str,
        options: OpenCvOptions = AS_IT_COMES,
        *,
        camera_id: str | None = None,
        driver: Driver = None,
        system: str = sys.platform,
        sysfs: pathlib.Path = SYSFS,
        dev: pathlib.Path = DEV,
    ):
        self._options, self._closed = options, threading.Event()
        self._backend = backend_for(options.backend, system)
        known = _known(device, camera_id, sysfs, dev)
        if known is None and camera_id is not None:
            raise CameraError(f"camera '{camera_id}' went when it was being opened; open it again")
        number = _number(known.path if known else device)
        self._camera_id = known.camera_id if known else f"opencv-{self._backend.name}-{number}"
        self._identity: Identity = known.identity if known else "none"
        self._tree, self._twin_seen = (sysfs, dev), False
        self._where = f"camera '{self._camera_id}' (number {number}, {self._backend.name})"
        self._sequence, self._last_ns = 0, -1
        self.exposure_verified: bool | None = None
        self._handle = Handle(driver or load_cv2(), self._backend, number, self._where)
        try:
            if _known(number, camera_id, sysfs, dev) != known:
                raise CameraError(f"{self._where}: another device took its number while it was opened; open it again")
            self._set_up()
        except BaseException:
            self.close()
            raise

    @classmethod
    def at(
        cls,
        place: str,
        driver: Driver = None,
        system: str = sys.platform,
        sysfs: pathlib.Path = SYSFS,
        dev: pathlib.Path = DEV,
    ) -> Camera:
        """The camera or video file that stands behind `opencv:`; see `parse_place`.

        "id:CAMERA_ID" is the device that has this identity now, whatever its number.
        """
        parsed = parse_place(place)
        if parsed.file is not None:
            return VideoFileCamera(parsed.file, driver or load_cv2(), parsed.options)
        device = parsed.device
        if parsed.camera_id is not None:
            found = find(parsed.camera_id, sysfs, dev)
            if found is None:
                there = ", ".join(f"'{each.camera_id}'" for each in devices(sysfs, dev)) or "no camera"
                raise CameraError(f"camera '{parsed.camera_id}' is not plugged in; there is {there}")
            device = _number(found.path)
        return cls(
            device, parsed.options, camera_id=parsed.camera_id, driver=driver, system=system, sysfs=sysfs, dev=dev
        )

    @property
    def camera_id(self) -> str:
        return self._camera_id

    @property
    def identity(self) -> Identity:
        """What `camera_id` rests on; "none": on its number, which another camera may have tomorrow."""
        return self._identity

    @property
    def live(self) -> bool:
        return True

    @property
    def controls(self) -> dict[str, float]:
        """Numbers of the driver as read back when the camera was last opened or configured."""
        return dict(self._controls)

    @property
    def facts(self) -> dict[str, object]:
        """What is known of the device besides its settings, for records of where frames came from."""
        self._twin_seen = self._twin_seen or len(claimants(self._camera_id, *self._tree)) > 1
        return {
            "identity": self.identity,
            "twin": self._twin_seen,  # whether another device with its serial number was there
            "controls": self.controls,
            "exposure_verified": self.exposure_verified,
        }

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """Exposure can be set; where it changes by half or more, the mean level of the frames has to follow.

        The driver's own controls (gain, brightness ...) are applied settings too; asked for again, as after the camera
        was plugged out and in, they are set to those numbers.

        Afterwards `exposure_verified` is True, or None where the frames were too dark or too bright to tell.

        Raises:
            ConfigurationError: another pixel format, region or binning (they stand in the address), any gain in dB,
                exposure of a device without such a control, or a control that is read back otherwise.
            CameraError: the device did something else, or the frames contradict it (`exposure_verified` is False).
        """
        self._check_open()
        hints = {"gain_db": "gain has no unit here: ask for gain_raw=", "pixel_format": "ask for fourcc="}
        for name, value in wanted.asked().items():
            if name not in ("exposure_s", "controls") and value != getattr(self._settings, name):
                raise ConfigurationError(
                    f"{self._where} cannot set {name} to {value!r}; it has {getattr(self._settings, name)!r} only; "
                    f"{hints.get(name, 'ask for width= and height=')} in its address"
                )
        if wanted.controls is not None:
            self._ask_for_controls(dict(wanted.controls))
        if wanted.exposure_s not in (None, self._settings.exposure_s):
            self._expose(wanted.exposure_s)
        return self._settings

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """The next `n` frames; with `not_before_ns`, after waiting for it and emptying the driver's queue."""
        check_count(n, self._camera_id)
        self._check_open()
        if not_before_ns is None:
            return [self._next() for _ in range(n)]
        wait_until(not_before_ns, self._closed, self._camera_id)
        # What arrives from then on was exposed after that time.
        self._fresh.drain(not_before_ns + round(self._settings.exposure_s * 1e9))
        return [self._next() for _ in range(n)]

    def frames(self) -> Iterator[Frame]:
        """Frames without end, until the camera is closed or lost."""
        self._check_open()
        return self._endless()

    def close(self) -> None:
        """Let the device go; called from another thread, as soon as the one that reads comes by."""
        self._closed.set()
        self._handle.release()

    def _endless(self) -> Iterator[Frame]:
        while not self._closed.is_set():
            yield self._next()
        self._handle.release()

    def _check_open(self) -> None:
        if self._closed.is_set():
            self._handle.release()
            raise closed(self._camera_id)

    def _set_up(self) -> None:
        handle, backend, options = self._handle, self._backend, self._options
        for name, value in backend.first:
            handle.set(name, value)
        self._wire, (rows, columns) = agree(handle, backend, options)
        self._fresh = FreshFrames(handle, self._wire, rows, columns, self._check_open)
        stays = switch_off(handle, backend)
        if stays and options.auto != "allow":
            raise CameraError(
                f"{self._where}: {', '.join(stays)} cannot be switched off, so that frames change by themselves; "
                "switch it off with the maker's tool (on Linux: v4l2-ctl --list-ctrls), take another backend=, or add "
                "auto=allow: frames are then marked as processed"
            )
        self._raw = self._wire.raw and not stays
        # Under automatic exposure cameras tell a default.
        self._settable = not stays and backend.raw_of is not None and handle.has("CAP_PROP_EXPOSURE")
        self._pictured = picture_controls(handle)
        if options.gain_raw is not None:
            set_gain(handle, options.gain_raw)
        self._settle(self._exposure_now() if options.exposure_s is None else self._set_exposure(options.exposure_s))

    def _exposure_now(self) -> float:
        """Seconds as read back; where that cannot be, the time of one frame, which no exposure exceeds."""
        raw = self._handle.get("CAP_PROP_EXPOSURE") if self._settable else 0
        if self._settable and (exposure_s := self._backend.seconds_of(raw)) > 0:
            return exposure_s
        fps = self._handle.get("CAP_PROP_FPS")
        if not fps > 0:
            raise CameraError(f"{self._where} tells neither exposure nor frame rate; ask for fps=")
        return 1 / fps

    def _set_exposure(self, wanted_s: float) -> float:
        if not self._settable:
            raise ConfigurationError(f"{self._where} has no exposure to be set; ask for none")
        return set_exposure(self._handle, self._backend, wanted_s)

    def _ask_for_controls(self, wanted: dict[str, float]) -> None:
        now = dict(self._settings.controls)
        changed = {name: value for name, value in wanted.items() if now.get(name) != value}
        if unknown := set(changed) - set(now):
            raise ConfigurationError(f"{self._where} has no control {', '.join(sorted(unknown))}; ask for none of it")
        if not changed:
            return
        refused = ask_for_controls(self._handle, changed)
        self._settle(self._exposure_now())
        if refused:
            raise ConfigurationError(f"{self._where}: {', '.join(refused)}; ask for no controls to take it as it is")

    def _expose(self, wanted_s: float) -> None:
        was_s, before = self._settings.exposure_s, self._fresh.glance()
        try:
            is_s = self._set_exposure(wanted_s)
        except CameraError:
            self._settle(self._exposure_now())
            raise
        self._settle(is_s)
        verdict = exposure_followed(before, self._fresh.latest, is_s / was_s, 2**self._wire.bit_depth - 1)
        self.exposure_verified = {"followed": True, "contradicted": False, "undecided": None}[verdict]
        if verdict == "contradicted":
            raise CameraError(
                f"{self._where}: exposure went from {was_s:g} to {wanted_s:g} s ({is_s:g} s read back), but the mean "
                f"level from {before.mean():.1f} to {self._fresh.latest.mean():.1f} DN; the control has no effect, or "
                "the light changed: keep the light steady and try again, or take another backend="
            )

    def _settle(self, exposure_s: float) -> None:
        """Note what is now, and throw away what was taken before."""
        # Last, for any other control may have brought it back.
        self._handle.convert(self._wire.convert)
        self._settings = CameraSettings(
            exposure_s=exposure_s,
            gain_db=0.0,
            pixel_format=self._wire.pixel_format,
            binning=(1, 1),
            controls=read_controls(self._handle, self._pictured),
        )
        others = ("exposure", "auto_exposure", "gain", "auto_wb", "fps")
        self._controls = dict(read_controls(self._handle, others)) | dict(self._settings.controls)
        self._fresh.drain()

    def _next(self) -> Frame:
        pixels, arrived_ns, lost = self._fresh.next()
        stamp_ms = self._handle.get("CAP_PROP_POS_MSEC") if self._backend.stamps else 0
        meta = FrameMeta(
            sequence=self._sequence + lost,
            # No exposure begins before the last one, however coarse the clock or long the exposure.
            t_host_ns=max(self._last_ns + 1, arrived_ns - round(self._settings.exposure_s * 1e9)),
            t_device_ns=round(stamp_ms * 1e6) if stamp_ms > 0 else None,
            exposure_s=self._settings.exposure_s,
            gain_db=0.0,
            bit_depth=self._wire.bit_depth,
            black_level_dn=0,
            pixel_format=self._wire.pixel_format,
            cfa=self._wire.cfa,
            raw=self._raw,
            camera_id=self._camera_id,
            settings_id=self._settings.id,
            lost_before=lost,
        )
        frame = Frame(pixels, meta)
        self._fresh.delivered(frame.pixels)
        self._sequence, self._last_ns = meta.sequence + 1, meta.t_host_ns
        return frame


def _known(device: int | str, camera_id: str | None, sysfs: pathlib.Path, dev: pathlib.Path) -> VideoDevice | None:
    """What is known of the device, under this name if it has it."""
    known = device_at(device, sysfs, dev)
    return known if known is None or camera_id is None else called(known, camera_id)


def _number(device: int | str) -> int:
    """The number that a driver knows a device by: of /dev/video3, or of what a link leads to."""
    digits = (
        str(device) if isinstance(device, int) else os.path.basename(os.path.realpath(device)).removeprefix("video")
    )
    if not digits.isdecimal():
        raise CameraError(f"camera '{device}' is not plugged in; see 'lensless devices' for those that are")
    return int(digits)
