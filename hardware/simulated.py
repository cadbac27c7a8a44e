"""A camera whose sensor is a function: everything a real one does, and no device."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from hardware.camera import check_count, closed, wait_until
from hardware.closing import Closing
from hardware.errors import CameraError, ConfigurationError
from hardware.frame import CameraSettings, Frame, FrameMeta, dtype_of

KEPT_FRAMES = 4  # of a live camera: as many as drivers have buffers


class SimulatedCamera(Closing):
    """A camera that is handed its physics.

    Args:
        expose: (applied settings, sequence) -> pixels (H, W), uint8 up to 8 bits and uint16 above. The sequence number
            lets it derive the noise of a frame from (seed, sequence), whatever was asked before.
        camera_id: serial number of the simulated sensor.
        shape: (rows, columns) of the frames.
        bit_depth, black_level_dn: of the converter.
        exposure_s, gain_db: settings at the start.
        exposure_range_s: what the device can do; `configure` applies the nearest.
        pixel_format: "Mono" and the bit depth, unless told otherwise.
        cfa: colour filters of the top left four pixels, row by row, e.g. "RGGB"; None of a grey sensor.
        temperature_c: of the sensor, which its frames tell; None for one that does not know.
        frames_per_second: of a camera that goes on by itself, as a live one does, and keeps the last few frames; None
            for one that exposes when it is asked to.
    """

    def __init__(
        self,
        expose: Callable[[CameraSettings, int], np.ndarray],
        *,
        camera_id: str,
        shape: tuple[int, int],
        bit_depth: int,
        black_level_dn: float,
        exposure_s: float,
        gain_db: float = 0.0,
        exposure_range_s: tuple[float, float] = (1e-6, 60.0),
        pixel_format: str | None = None,
        cfa: str | None = None,
        temperature_c: float | None = None,
        frames_per_second: float | None = None,
    ):
        self._expose = expose
        self._camera_id = camera_id
        self._shape = tuple(shape)
        self._bit_depth = bit_depth
        self._black_level_dn = black_level_dn
        self._exposure_range_s = exposure_range_s
        self._temperature_c, self._cfa = temperature_c, cfa
        self._settings = CameraSettings(
            exposure_s=exposure_s,
            gain_db=gain_db,
            pixel_format=pixel_format or f"Mono{bit_depth}",
            region=(0, 0, *self._shape),
            binning=(1, 1),
        )
        self._sequence = 0
        self._last_ns = 0
        self._period_ns = None if frames_per_second is None else round(1e9 / frames_per_second)
        self._begin_ns = time.monotonic_ns()
        self.exposure_ns = (0, 0)
        self._not_before_ns = 0
        self._closed = threading.Event()

    @property
    def camera_id(self) -> str:
        return self._camera_id

    @property
    def live(self) -> bool:
        return self._period_ns is not None

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """Exposure (to the nearest that the device can) and gain are free; the rest is as it is.

        Raises:
            ConfigurationError: another pixel format, region or binning, or controls of a driver.
        """
        self._check_open()
        applied = wanted.onto(self._settings)
        for name in ("pixel_format", "region", "binning", "controls"):
            if getattr(applied, name) != getattr(self._settings, name):
                raise ConfigurationError(
                    f"camera {self._camera_id!r} cannot set {name} to {getattr(wanted, name)!r}; "
                    f"it has {getattr(self._settings, name)!r} only"
                )
        shortest_s, longest_s = self._exposure_range_s
        exposure_s = min(max(applied.exposure_s, shortest_s), longest_s)
        self._settings = CameraSettings(exposure_s=exposure_s).onto(applied)
        return self._settings

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """`n` new frames; waits until `not_before_ns`."""
        check_count(n, self._camera_id)
        self._check_open()
        wait_until(not_before_ns or 0, self._closed, self._camera_id)
        self._check_open()
        self._not_before_ns = not_before_ns or 0
        return [self._next() for _ in range(n)]

    def frames(self) -> Iterator[Frame]:
        """Frames without end, until the camera is closed."""
        self._check_open()  # now, and not when the first frame is asked for
        return self._endless()

    def close(self) -> None:
        self._closed.set()

    def _endless(self) -> Iterator[Frame]:
        while not self._closed.is_set():
            yield self._next()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise closed(self._camera_id)

    def _next(self) -> Frame:
        lost = self._wait_for_tick()
        pixels = self._checked(self._expose(self._settings, self._sequence))
        meta = FrameMeta(
            sequence=self._sequence,
            t_host_ns=self.exposure_ns[0],
            exposure_s=self._settings.exposure_s,
            gain_db=self._settings.gain_db,
            bit_depth=self._bit_depth,
            black_level_dn=self._black_level_dn,
            pixel_format=self._settings.pixel_format,
            cfa=self._cfa,
            region=self._settings.region,
            camera_id=self._camera_id,
            settings_id=self._settings.id,
            temperature_c=self._temperature_c,
            lost_before=lost,
        )
        self._sequence += 1
        return Frame(pixels, meta)

    def _wait_for_tick(self) -> int:
        """Set when the next frame is exposed, and wait for its end; returns how many before it nobody fetched."""
        now_ns, exposure_ns = time.monotonic_ns(), round(self._settings.exposure_s * 1e9)
        if self._period_ns is None:
            # Clocks with coarse ticks must not give two frames one time.
            self._last_ns = max(now_ns, self._last_ns + 1)
            self.exposure_ns = (self._last_ns, self._last_ns + exposure_ns)
            return 0
        period_ns = max(self._period_ns, exposure_ns)
        since_ns = max(self._not_before_ns, now_ns - KEPT_FRAMES * period_ns) - self._begin_ns
        skipped = max(0, -(-since_ns // period_ns))
        start_ns = self._begin_ns + skipped * period_ns
        self.exposure_ns = (start_ns, start_ns + exposure_ns)
        self._begin_ns = start_ns + period_ns
        self._sequence += skipped
        self._closed.wait(max(0, self.exposure_ns[1] - time.monotonic_ns()) * 1e-9)
        return skipped

    def _checked(self, pixels: object) -> np.ndarray:
        where = f"frame {self._sequence} of camera {self._camera_id!r}: expose() returned"
        expected = f"expected {dtype_of(self._bit_depth)} of shape {self._shape}"
        if not isinstance(pixels, np.ndarray):
            raise CameraError(f"{where} {type(pixels).__name__}; {expected}")
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise CameraError(f"{where} {pixels.dtype} with NaN or infinity; {expected}, rounded and clipped")
        if pixels.dtype != dtype_of(self._bit_depth) or pixels.shape != self._shape:
            raise CameraError(f"{where} {pixels.dtype} of shape {pixels.shape}; {expected}, rounded and clipped")
        return pixels
