"""A stand-in for the module cv2 whose devices misbehave as bug reports tell, one fault at a time."""

import dataclasses
import itertools
import threading
import time

import numpy as np

import hardware.opencv.backends as table


class error(Exception):
    """What cv2 raises."""


OWN = ("POS_MSEC", "FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "FOURCC", "CONVERT_RGB", "MODE", "BUFFERSIZE")
CONTROLS = ("EXPOSURE", "AUTO_EXPOSURE", "GAIN", "AUTO_WB", "AUTOFOCUS")
PICTURE = ("BRIGHTNESS", "CONTRAST", "SATURATION", "HUE", "GAMMA", "SHARPNESS", "WB_TEMPERATURE", "BACKLIGHT")
NAMES = [f"CAP_PROP_{name}" for name in (*OWN, *CONTROLS, *PICTURE)]
BACKENDS = ("CAP_V4L2", "CAP_MSMF", "CAP_DSHOW", "CAP_AVFOUNDATION", "CAP_FFMPEG")


@dataclasses.dataclass
class FakeDevice:
    """One camera. What is given by name of a property goes without "CAP_PROP_".

    Args:
        formats: what it sends; the first one is where it starts, and where it goes back to when asked for another.
        controls: number of each control now; one that is not here it has not.
        stuck: properties whose `set` says True and does nothing (#9738, #14494, #15958, #17019).
        limits: property: (lowest, highest); a number beyond is cut without a word.
        without_effect: the exposure is set and read back, and the pixels do not follow.
        resets_convert: properties that bring CONVERT_RGB back on (#11398, #14084). `converts_always`: nothing helps.
        flat: frames come as one row of bytes (#27166).
        queue: frames that the driver holds, taken under the settings that were (#13145).
        light: digital numbers per second. `black`: without light. `noise`: highest number that noise adds.
        reports: what getBackendName says, if not the truth.
    """

    formats: tuple[table.Wire, ...] = (table.GREY,)
    shape: tuple[int, int] = (12, 16)
    fps: float = 500.0
    controls: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"EXPOSURE": 100, "AUTO_EXPOSURE": 3, "GAIN": 16, "AUTO_WB": 1, "AUTOFOCUS": 1}
    )
    stuck: set[str] = dataclasses.field(default_factory=set)
    limits: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    without_effect: bool = False
    resets_convert: set[str] = dataclasses.field(default_factory=set)
    converts_always: bool = False
    flat: bool = False
    queue: int = 0
    light: float = 8000.0
    black: float = 10.0
    noise: int = 8
    reports: str | None = None
    unplugged: bool = False
    after_unplug: str = "false then last frame"
    repeats: int = 0
    hang: threading.Event | None = None
    open_captures: int = 0
    reads: int = 0


class FakeCv2:
    """The module: constants, `error`, and `VideoCapture` on its `devices`.

    Args:
        devices: by number.
    """

    error = error

    def __init__(self, devices: dict[int, FakeDevice]):
        self.devices = devices
        for number, name in enumerate((*NAMES, *BACKENDS)):
            setattr(self, name, number)

    def VideoCapture(self, source: int, api: int, params: list[int] | None = None) -> "FakeCapture":
        backend = next(each for each in table.BACKENDS.values() if getattr(self, each.constant) == api)
        return FakeCapture(self, self.devices.get(source), backend)


class FakeCapture:
    """One opening of a device, with the few methods that are used."""

    def __init__(self, module: FakeCv2, device: FakeDevice | None, backend: table.Backend):
        self._names = {getattr(module, name): name.removeprefix("CAP_PROP_") for name in NAMES}
        self._backend = backend
        self._device = device if device and not device.unplugged else None
        self._failed = 0
        self._last = None
        self.thread = threading.get_ident()
        if self._device:
            device.open_captures += 1
            self._wire, self._convert = device.formats[0], True
            self._randoms = (np.random.default_rng((7, n)) for n in itertools.count())
            self._queue = [self._expose() for _ in range(device.queue)]

    def isOpened(self) -> bool:
        return self._device is not None

    def getBackendName(self) -> str:
        return self._device.reports or self._backend.reports

    def get(self, prop: int) -> float:
        name, device = self._names[prop], self._device
        if device is None:
            return 0.0
        rows, columns = device.shape
        own = {"FRAME_WIDTH": columns, "FRAME_HEIGHT": rows, "FPS": device.fps, "FOURCC": self._wire.code}
        own |= {"CONVERT_RGB": self._convert, "POS_MSEC": time.monotonic() * 1e3, "BUFFERSIZE": 4, "MODE": 0}
        return float(own[name] if name in own else device.controls.get(name, -1))

    def set(self, prop: int, value: float) -> bool:
        name, device = self._names[prop], self._device
        if name in device.resets_convert:
            self._convert = True
        if name in device.stuck:
            return True
        if name == "CONVERT_RGB":
            self._convert = bool(value) or device.converts_always
        elif name == "FOURCC":  # a format that it has not falls back to one that it has, and is no failure
            self._wire = next((wire for wire in device.formats if wire.code == value), device.formats[0])
        elif name in ("FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "BUFFERSIZE", "MODE"):
            return True
        elif name not in device.controls:
            return False
        else:
            self._queue = [self._expose() for _ in range(device.queue)]
            low, high = device.limits.get(name, (-np.inf, np.inf))
            device.controls[name] = min(max(value, low), high)
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        device = self._device
        if device is None:
            return False, None
        device.reads += 1
        if device.hang is not None:
            device.hang.wait()  # as long as it likes (#4468)
        if device.unplugged:
            self._failed += 1
            if device.after_unplug == "true and nothing":
                return True, None
            if device.after_unplug == "true and empty":
                return True, np.empty((0, 0), np.uint8)
            if device.after_unplug == "raises":
                raise error("Unknown C++ exception from OpenCV code")
            repeating = device.after_unplug == "last frame for ever"
            return (True, self._last.copy()) if repeating or self._failed > 1 else (False, None)
        if device.repeats > 0 and self._last is not None:
            device.repeats -= 1
            return True, self._last.copy()
        if not self._queue:
            time.sleep(1 / device.fps)
        self._last = self._sent(self._queue.pop(0) if self._queue else self._expose())
        return True, self._last.copy()

    def release(self) -> None:
        if self._device is not None:
            self._device.open_captures -= 1
            self._device = None

    def _expose(self) -> np.ndarray:
        """Levels under the settings of now, in digital numbers of 8 bits."""
        device = self._device
        raw = 100 if device.without_effect else device.controls.get("EXPOSURE", 100)
        exposure_s = self._backend.seconds_of(raw) if self._backend.seconds_of else 0.01
        noise = next(self._randoms).uniform(0, device.noise, device.shape)
        return device.black + device.light * exposure_s + noise

    def _sent(self, levels: np.ndarray) -> np.ndarray:
        """The same as it goes over the wire, and through OpenCV's conversion."""
        wire, full = self._wire, 2**self._wire.bit_depth - 1
        pixels = np.clip(levels * (full + 1) / 256, 0, full).astype(np.uint8 if wire.bit_depth <= 8 else np.uint16)
        if self._convert or wire.convert is None:
            return np.repeat((pixels >> (wire.bit_depth - 8)).astype(np.uint8)[..., None], 3, axis=2)
        if wire.luma is not None:
            pixels = np.stack([pixels, np.full_like(pixels, 128)][:: 1 - 2 * wire.luma], axis=2)
        return pixels.reshape(1, -1).view(np.uint8) if self._device.flat else pixels
