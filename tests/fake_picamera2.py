"""A stand-in for the class Picamera2, as far as its manual describes it; the sensor exposes when it is asked to."""

import itertools
import time
from concurrent.futures import Future

import numpy as np

ID = "/base/soc/i2c0mux/i2c@1/imx219@10"


class FakeRequest:
    def __init__(self, device, buffer, metadata):
        self._device, self._buffer, self._metadata = device, buffer, metadata
        device.held += 1

    def make_buffer(self, name):
        return {"raw": self._buffer}[name].copy()

    def get_metadata(self):
        return dict(self._metadata)

    def release(self):
        self._device.held -= 1


class FakeJob:
    def __init__(self, make):
        self._make = make

    def get_result(self, timeout=None):
        request = self._make()
        future = Future()
        if request is not None:
            future.set_result(request)
        return future.result(timeout=min(timeout or 0.1, 0.1))


class FakePicamera2:
    """A sensor of 13 x 17 pixels in two modes; a control is there three frames after it was asked for.

    Class attributes are what a test changes: whatever else is asked of a Pi is in its manual.
    """

    pi5 = False
    drops = ()  # numbers of frames that the system loses
    silent_after = None
    deaf = False  # to controls
    noise_below = 0  # what a Pi 5 would put below the sensor's bits
    modes = (
        {"format": "SRGGB10_CSI2P", "unpacked": "SRGGB10", "bit_depth": 10, "size": (17, 13), "fps": 100.0},
        {"format": "SRGGB8", "unpacked": "SRGGB8", "bit_depth": 8, "size": (16, 12), "fps": 200.0},
    )

    @classmethod
    def global_camera_info(cls):
        return [{"Model": "imx219", "Id": ID, "Num": 0, "Location": 2, "Rotation": 180}]

    def __init__(self, camera_num=0):
        self.sensor_modes = list(self.modes)
        self.camera_controls = {
            "AeEnable": (False, True, None),
            "AwbEnable": (False, True, None),
            "ExposureTime": (75, 11766829, 20000),
            "AnalogueGain": (1.0, 10.67, 1.0),
            "FrameDurationLimits": (10000, 11767556, 33333),
        }
        self.controls = {"ExposureTime": 20000, "AnalogueGain": 2.0}
        self._coming, self._now, self._frame, self._stamp_ns = [], dict(self.controls), 0, None
        self.held, self.started, self.closed = 0, False, 0

    def create_video_configuration(self, *, main, raw, sensor):
        return {"main": main, "raw": dict(raw), "sensor": dict(sensor)}

    def configure(self, config):
        self._config = config
        raw = config["raw"]
        if self.pi5:
            raw["format"] = "RGGB_PISP_COMP1" if raw["format"].endswith("_CSI2P") else "SRGGB16"
        width, bits = raw["size"][0], config["sensor"]["bit_depth"]
        packed = raw["format"].endswith("_CSI2P")
        row = -(-width // 4) * 5 if packed else width * (1 if bits == 8 else 2)
        raw["stride"] = -(-row // 32) * 32
        raw["framesize"] = raw["stride"] * raw["size"][1]

    def camera_configuration(self):
        return self._config

    def set_controls(self, controls):
        if not self.deaf:
            self._coming.append((self._frame + 3, dict(controls)))

    def start(self, show_preview=None):
        self.started = True

    def capture_request(self, wait=None):
        return FakeJob(self._expose)

    def stop(self):
        self.started = False

    def close(self):
        self.closed += 1

    def _expose(self):
        if self.silent_after is not None and self._frame >= self.silent_after:
            return None
        while True:
            self._frame += 1
            for when, controls in list(self._coming):
                if when <= self._frame:
                    self._now |= controls
                    self._coming.remove((when, controls))
            exposure_us = round(self._now["ExposureTime"] / 20) * 20  # by lines
            frame_us = max(10000, exposure_us + 100)
            self._stamp_ns = max(time.monotonic_ns(), (self._stamp_ns or 0) + frame_us * 1000)
            time.sleep(max(0.0, (self._stamp_ns - time.monotonic_ns()) * 1e-9))
            if self._frame not in self.drops:
                break
        metadata = {
            "SensorTimestamp": self._stamp_ns,
            "ExposureTime": exposure_us,
            "AnalogueGain": self._now["AnalogueGain"],
            "FrameDuration": frame_us,
            "SensorBlackLevels": (4096, 4096, 4096, 4096),
            "SensorTemperature": 31.0,
        }
        return FakeRequest(self, self._bytes(self.light(self._frame, exposure_us)), metadata)

    def light(self, number, exposure_us):
        width, height = self._config["raw"]["size"]
        bits = self._config["sensor"]["bit_depth"]
        noise = np.random.default_rng((7, number)).integers(0, 2 ** (bits - 2), (height, width))
        return (2 ** (bits - 4) + noise + exposure_us // 10**5).astype(np.uint16)

    def _bytes(self, pixels):
        raw = self._config["raw"]
        height, width = pixels.shape
        rows = np.full((height, raw["stride"]), 0xEE, np.uint8)
        if raw["format"].endswith("_CSI2P"):
            padded = np.pad(pixels, ((0, 0), (0, -width % 4)))
            for row, values in zip(rows, padded.tolist(), strict=True):
                data = itertools.chain.from_iterable(
                    [a >> 2, b >> 2, c >> 2, d >> 2, (a & 3) | (b & 3) << 2 | (c & 3) << 4 | (d & 3) << 6]
                    for a, b, c, d in zip(*[iter(values)] * 4, strict=True)
                )
                row[: padded.shape[1] // 4 * 5] = list(data)
        elif raw["format"].endswith("8"):
            rows[:, :width] = pixels
        else:
            shift = 16 - self._config["sensor"]["bit_depth"] if raw["format"].endswith("16") else 0
            words = (pixels << shift | self.noise_below).astype("<u2")
            rows[:, : 2 * width] = words.view(np.uint8)
        return rows.reshape(-1)
