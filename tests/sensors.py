"""Cameras of known truth: raw sensors of plain numpy, and what drivers and processors do to their frames."""

import dataclasses
import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from hardware import SimulatedCamera

SHAPE = (160, 200)
LIGHTS = ("even", "spot", "blocks")


@dataclasses.dataclass(frozen=True)
class Sensor:
    """A raw sensor before a scene that stands still; everything about it is drawn from its number."""

    number: int
    bit_depth: int
    e_per_dn: float
    read_e: float
    black_dn: int
    light: str
    shape: tuple[int, int] = SHAPE

    @classmethod
    def drawn(cls, number: int, **facts) -> "Sensor":
        draw = np.random.default_rng([7, number])
        bit_depth = facts.pop("bit_depth", int(draw.choice([8, 10, 12, 14])))
        full_dn = 2**bit_depth - 1
        drawn = dict(
            e_per_dn=draw.uniform(4_000, 30_000) / full_dn, read_e=draw.uniform(1.5, 8.0),
            black_dn=round(full_dn * draw.uniform(0.02, 0.05)), light=LIGHTS[number % 3],
        )  # fmt: skip
        return cls(number, bit_depth, **drawn | facts)

    @property
    def full_dn(self) -> int:
        return 2**self.bit_depth - 1

    @functools.cached_property
    def scene_e_per_s(self) -> np.ndarray:
        """Of the whole well at 20 ms where it is brightest; each pixel with its own response."""
        down, right = (np.linspace(0, 1, n) for n in self.shape)
        lights = {
            "even": np.ones(self.shape),
            "spot": 0.2 + 0.8 * np.exp(-np.add.outer((down - 0.5) ** 2, (right - 0.4) ** 2) / 0.1),
            "blocks": 0.3 + 0.7 * (np.outer(np.cos(7 * down), np.sin(9 * right)) > 0),
        }
        response = 1 + 0.01 * np.random.default_rng([self.number, 1]).standard_normal(self.shape)
        return lights[self.light] * response * (self.full_dn - self.black_dn) * self.e_per_dn / 0.02

    @functools.cached_property
    def offset_e(self) -> np.ndarray:
        draw = np.random.default_rng([self.number, 2])
        return draw.normal(0, 2, self.shape) + draw.normal(0, 1.5, self.shape[1])

    def expose(self, exposure_s: float, sequence: int, light: np.ndarray | float = 1.0) -> np.ndarray:
        """Digital numbers as float64; `light` is a factor on the scene."""
        draw = np.random.default_rng([self.number, 3, sequence])
        electrons = draw.poisson(self.scene_e_per_s * light * exposure_s) + draw.normal(0, self.read_e, self.shape)
        electrons += self.offset_e + draw.normal(0, 0.3, (self.shape[0], 1))  # the last: noise of rows
        return np.clip(np.rint(electrons / self.e_per_dn + self.black_dn), 0, self.full_dn)

    def camera(
        self,
        change: Callable[[np.ndarray], np.ndarray] = lambda dn: dn,
        expose: Callable[[float, int], np.ndarray] | None = None,
        bit_depth: int | None = None,
        black_dn: float | None = None,
        exposure_s: float = 0.008,
    ) -> SimulatedCamera:
        """A camera with this sensor; `change` is what is done to its frames, `expose` what is done instead of it."""
        bit_depth = bit_depth or self.bit_depth
        take = expose or self.expose

        def digital(settings, sequence):
            pixels = np.rint(change(take(settings.exposure_s, sequence)))
            return np.clip(pixels, 0, 2**bit_depth - 1).astype(np.uint8 if bit_depth <= 8 else np.uint16)

        return SimulatedCamera(
            digital, camera_id=f"RAW-{self.number}", shape=self.shape, bit_depth=bit_depth,
            black_level_dn=self.black_dn if black_dn is None else black_dn, exposure_s=exposure_s,
        )  # fmt: skip


def raw(sensor: Sensor) -> SimulatedCamera:
    return sensor.camera()


def gamma(sensor: Sensor) -> SimulatedCamera:
    """As webcams send it: 8 bits behind a gamma of 2.2, black taken away before."""

    def curve(dn):
        light = np.maximum(dn - sensor.black_dn, 0) / (sensor.full_dn - sensor.black_dn)
        return 5 + 250 * light ** (1 / 2.2)

    return sensor.camera(curve, bit_depth=8, black_dn=0)


def stretched(sensor: Sensor) -> SimulatedCamera:
    """8 bits in 16: 255 became 65535."""
    return sensor.camera(
        lambda dn: np.rint(dn / sensor.full_dn * 255) * 257,
        bit_depth=16,
        black_dn=sensor.black_dn / sensor.full_dn * 65535,
    )


def shifted_up(sensor: Sensor) -> SimulatedCamera:
    """12 bits at the upper end of 16."""
    return sensor.camera(lambda dn: dn * 16, bit_depth=16, black_dn=16 * sensor.black_dn)


def digital_gain(sensor: Sensor) -> SimulatedCamera:
    return sensor.camera(lambda dn: np.floor(dn * 1.3), black_dn=1.3 * sensor.black_dn)


def smoothed(sensor: Sensor) -> SimulatedCamera:
    return sensor.camera(lambda dn: uniform_filter(dn, 3))


def sharpened(sensor: Sensor) -> SimulatedCamera:
    return sensor.camera(lambda dn: dn + (dn - uniform_filter(dn, 3)))


def demosaiced(sensor: Sensor) -> SimulatedCamera:
    """The green channel of a colour sensor: every other pixel is the mean of its four neighbours."""
    green = np.add.outer(*map(np.arange, sensor.shape)) % 2 == 0

    def interpolate(dn):
        around = (np.roll(dn, 1, 0) + np.roll(dn, -1, 0) + np.roll(dn, 1, 1) + np.roll(dn, -1, 1)) / 4
        return np.where(green, dn, around)

    return sensor.camera(interpolate)


def jpeg(sensor: Sensor, quality: int = 90) -> SimulatedCamera:
    def compress(dn):
        file = io.BytesIO()
        Image.fromarray(np.rint(dn / sensor.full_dn * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
        with Image.open(file) as picture:
            return np.asarray(picture, float)

    return sensor.camera(compress, bit_depth=8, black_dn=sensor.black_dn / sensor.full_dn * 255)


def automatic_exposure(sensor: Sensor) -> SimulatedCamera:
    """Whatever is asked for, it brings the mean to a quarter of full scale, by a fifth of the way with each frame."""
    own, asked_before = [0.008], [0.008]

    def expose(exposure_s, sequence):
        own[0] *= exposure_s / asked_before[0]
        asked_before[0] = exposure_s
        frame = sensor.expose(own[0], sequence)
        own[0] *= (0.25 * sensor.full_dn / max(frame.mean() - sensor.black_dn, 1.0)) ** 0.2
        return frame

    return sensor.camera(expose=expose)


def stuck(sensor: Sensor) -> SimulatedCamera:
    """What is asked for is read back, and never done."""
    return sensor.camera(expose=lambda exposure_s, sequence: sensor.expose(0.008, sequence))


def repeating(sensor: Sensor) -> SimulatedCamera:
    return sensor.camera(expose=lambda exposure_s, sequence: sensor.expose(exposure_s, sequence - (sequence % 4 == 3)))


def too_bright(sensor: Sensor) -> SimulatedCamera:
    return sensor.camera(exposure_s=0.1)


def black_cut_off(sensor: Sensor) -> SimulatedCamera:
    """The black level is taken away, and what was below it is 0, behind a cap."""
    return sensor.camera(lambda dn: dn - sensor.black_dn, lambda t, n: sensor.expose(t, n, 0.0), black_dn=0)


def capped(sensor: Sensor) -> SimulatedCamera:
    return sensor.camera(expose=lambda exposure_s, sequence: sensor.expose(exposure_s, sequence, 0.0))


def flickering(sensor: Sensor) -> SimulatedCamera:
    """Mains light on a rolling shutter: 3.3 waves to a frame, at another phase in each."""
    rows = np.arange(sensor.shape[0])[:, None] / sensor.shape[0]

    def expose(exposure_s, sequence):
        return sensor.expose(exposure_s, sequence, 1 + 0.05 * np.sin(2 * np.pi * (3.3 * rows + 0.37 * sequence)))

    return sensor.camera(expose=expose)


def showing(sensor: Sensor, each: int = 1) -> SimulatedCamera:
    """A display that shows scene after scene, `each` for so many frames: strokes, blurred over a few pixels."""

    def expose(exposure_s, sequence):
        rng = np.random.default_rng(sequence // each)
        scene = np.zeros(sensor.shape)
        for _ in range(rng.integers(1, 9)):
            top, left = rng.integers(0, [n // 2 for n in sensor.shape])
            high, wide = rng.integers(3, [n // 2 for n in sensor.shape])
            scene[top : top + high, left : left + wide] = 1
        light = 0.2 + 0.8 * gaussian_filter(scene, 1.5)
        return sensor.expose(exposure_s, sequence, light)

    return sensor.camera(expose=expose)


def moving(sensor: Sensor) -> SimulatedCamera:
    """Something large walks by."""
    columns = np.arange(sensor.shape[1])

    def expose(exposure_s, sequence):
        wave = np.outer(np.hanning(sensor.shape[0]), 1 + np.cos((columns - 23.0 * sequence) / 12))
        return sensor.expose(exposure_s, sequence, 0.7 + 0.15 * wave)

    return sensor.camera(expose=expose)
