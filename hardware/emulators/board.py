"""A sensor board without hardware: speaks the protocol, and shows what another camera sees."""

import secrets
import time
import zlib
from collections import deque
from collections.abc import Callable

import numpy as np

from hardware.camera import Camera
from hardware.errors import LenslessError
from hardware.frame import CameraSettings
from hardware.serial_board import messages
from hardware.serial_board.messages import Begin, Hello, Malformed, Mode, Settings
from hardware.serial_board.packet import VERSION, Packet, PacketReader, encode

PIXELS_PER_PACKET_BYTES = 4048


class EmulatedBoard:
    """The protocol's other side: bytes in, bytes out; no line and no thread.

    Mode 0 is the camera's whole frame, mode 1 the middle half of its rows and columns.

    Args:
        camera: what its sensor sees.
        serial: the board's own number.
        matrix: (rows, columns) of its lamps.
        packet_bytes: pixels in one packet.
        first: number of the first frame after a start.
        version: of the protocol that it speaks.
        clock_us: the board's clock.
    """

    def __init__(
        self,
        camera: Camera,
        serial: str = "EMULATED-1",
        *,
        matrix: tuple[int, int] | None = None,
        packet_bytes: int = PIXELS_PER_PACKET_BYTES,
        first: int = 0,
        version: int = VERSION,
        clock_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000,
    ):
        self._camera, self._first, self._version = camera, first, version
        self._packet_bytes, self._clock_us = packet_bytes, clock_us
        frame = camera.snap(1)[0]
        meta, (rows, columns) = frame.meta, frame.shape
        modes = tuple(
            Mode(rows // part, columns // part, meta.bit_depth, meta.pixel_format, meta.cfa if part == 1 else None)
            for part in (1, 2)
        )
        self.hello = Hello(
            version, serial, "emulated board", meta.camera_id, "emulator", modes, (1, 60_000_000), (-20.0, 60.0),
            round(meta.black_level_dn), meta.raw, matrix,
        )  # fmt: skip
        self.lamps = bytes(0 if matrix is None else matrix[0] * matrix[1])
        self.taken, self._flashes = 0, 0  # frames since the first start; of those to come
        self.restart()

    def restart(self) -> bytes:
        """Start anew, as after a loss of power; returns the hello that it says then."""
        self.boot, self._mode, self._sequence, self._left = secrets.randbelow(2**32 - 1) + 1, 0, self._first, 0
        self._reader, self._answered, self._sending = PacketReader(self._version), (0, b""), deque()
        return self._say(messages.HELLO, 0, self.hello.to_json())

    def switch_mode(self) -> None:
        """Change the resolution without being asked to, between two frames."""
        self._mode = 1 - self._mode

    def flash(self, frames: int) -> None:
        """Fill every pixel of the next frames with light."""
        self._flashes = frames

    @property
    def begins_frame(self) -> bool:
        """Whether the next packet is the first of a frame."""
        return not self._sending and self._left > 0

    @property
    def in_frame(self) -> bool:
        """Whether a frame has been begun and not ended."""
        return bool(self._sending)

    def take(self, data: bytes) -> bytes:
        """Take in what the host says; returns the answers."""
        return b"".join(self._answer(packet) for packet in self._reader.feed(data))

    def next_packet(self) -> bytes:
        """The next packet of the frames that were asked for; b"" where there is none."""
        if self.begins_frame:
            self._expose()
        return self._sending.popleft() if self._sending else b""

    def _answer(self, packet: Packet) -> bytes:
        if packet.kind == messages.HELLO_WANTED or packet.boot != self.boot:
            return self._say(messages.HELLO, packet.number, self.hello.to_json())
        if packet.number != self._answered[0]:
            self._answered = (packet.number, self._obey(packet))
        return self._answered[1]

    def _obey(self, packet: Packet) -> bytes:
        try:
            match packet.kind:
                case messages.CONFIGURE:
                    applied = self._configure(messages.configure_of(packet.body))
                    body = messages.applied_body(applied, self._clock_us())
                    return self._say(messages.APPLIED, packet.number, body)
                case messages.STREAM:
                    (self._left,) = messages.COUNT.unpack(packet.body)
                    if not self._left:
                        self._sending.clear()
                    return self._streaming(packet.number)
                case messages.SHOW:
                    return self._show(packet)
            return b""
        except (Malformed, LenslessError) as error:
            return self._say(messages.REFUSED, packet.number, str(error).encode()[:1000])

    def _configure(self, wanted: Settings) -> Settings:
        if wanted.mode is not None:
            if wanted.mode >= len(self.hello.modes):
                raise Malformed(f"mode {wanted.mode}; there are {len(self.hello.modes)}")
            self._mode = wanted.mode
        applied = self._camera.configure(
            CameraSettings(
                exposure_s=None if wanted.exposure_us is None else wanted.exposure_us * 1e-6,
                gain_db=None if wanted.gain_mdb is None else wanted.gain_mdb / 1000,
            )
        )
        return Settings(self._mode, max(1, round(applied.exposure_s * 1e6)), round(applied.gain_db * 1000))

    def _show(self, packet: Packet) -> bytes:
        rows, columns, levels = messages.show_of(packet.body)
        if (rows, columns) != self.hello.matrix:
            raise Malformed(f"a pattern of {rows} x {columns}; the lamps are {self.hello.matrix or 'none'}")
        self.lamps = levels
        return self._say(messages.SHOWN, packet.number, messages.CLOCK.pack(self._clock_us()))

    def _streaming(self, number: int) -> bytes:
        body = messages.streaming_body(self._sequence, self._left, self._clock_us())
        return self._say(messages.STREAMING, number, body)

    def _expose(self) -> None:
        start_us, number = self._clock_us(), self._sequence
        frame = self._camera.snap(1)[0]
        mode, meta = self.hello.modes[self._mode], frame.meta
        top, left = ((whole - part) // 2 for whole, part in zip(frame.shape, (mode.rows, mode.columns), strict=True))
        pixels = np.ascontiguousarray(frame.pixels[top : top + mode.rows, left : left + mode.columns])
        if self._flashes:
            pixels, self._flashes = np.full_like(pixels, meta.full_scale_dn), self._flashes - 1
        exposure_us, gain_mdb = max(1, round(meta.exposure_s * 1e6)), round(meta.gain_db * 1000)
        begin = Begin(
            self._mode, mode.rows, mode.columns, mode.bit_depth, exposure_us, gain_mdb, start_us, meta.temperature_c
        )
        head, content = messages.begin_body(begin), pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
        self._sending.append(b"\0" + self._say(messages.BEGIN, number, head))
        for at in range(0, len(content), self._packet_bytes):
            body = messages.OFFSET.pack(at) + content[at : at + self._packet_bytes]
            self._sending.append(self._say(messages.DATA, number, body))
        crc = zlib.crc32(content, zlib.crc32(head, self._version))
        self._sending.append(self._say(messages.END, number, messages.CRC.pack(crc)))
        self._sequence, self.taken = (self._sequence + 1) % 2**32, self.taken + 1
        if self._left != messages.FOR_EVER_FRAMES:
            self._left -= 1
            if not self._left:
                self._sending.append(self._streaming(0))

    def _say(self, kind: int, number: int, body: bytes) -> bytes:
        return encode(Packet(kind, self.boot, number, body), self._version)
