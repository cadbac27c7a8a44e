"""The sensor HM01B0 of Himax on an RP2040: pixels come over one wire, through PIO and DMA, into one buffer.

NOT RUN ON HARDWARE. The registers are those of its data sheet and of what several published drivers agree on.
"""

import time

import rp2
from lensless_board import UNKNOWN_TEMPERATURE
from machine import I2C, PWM, Pin

SDA, SCL, D0, PCLK, VSYNC = 4, 5, 6, 14, 16
MCLK = None  # a pin that gives the sensor its clock; None: the module has an oscillator
MCLK_HZ = 24_000_000

ADDRESS = 0x24
MODE_SELECT, RESET, HOLD, INTEGRATION, ANALOG_GAIN, LINES, LINE_PIXELS = 0x100, 0x103, 0x104, 0x202, 0x205, 0x340, 0x342
STANDBY, STREAMING = 0, 1
SET_UP = (
    (0x1000, 0x43),  # black level: corrected, to 8 in each pixel
    (0x1001, 0x40),
    (0x1002, 0x32),
    (0x1003, 8),
    (0x1006, 1),
    (0x1007, 8),
    (0x1008, 0),  # no pixel is replaced by its neighbours
    (0x2100, 0),  # no exposure by itself
    (0x020E, 1),  # digital gain 1
    (0x020F, 0),
    (0x3022, 1),
    # Analog settings, as its maker gives them.
    (0x3044, 0x0A),
    (0x3045, 0x00),
    (0x3047, 0x0A),
    (0x3050, 0xC0),
    (0x3051, 0x42),
    (0x3052, 0x50),
    (0x3053, 0x00),
    (0x3054, 0x03),
    (0x3055, 0xF7),
    (0x3056, 0xF8),
    (0x3057, 0x29),
    (0x3058, 0x1F),
    (0x3064, 0x00),
    (0x3065, 0x04),
    (0x3059, 0x22),  # one wire
    (0x3060, 0x20),  # pixel clock: MCLK / 8; low bit first; PCLK only while there are pixels
    (0x3067, 0),  # clocked from outside
    (0x3068, 0x20),  # to be read while PCLK is high
)
COLUMNS, LINE_CLOCKS, PIXEL_HZ = 324, 376, MCLK_HZ // 8
ROWS, FEWEST_LINES = (244, 324), (260, 344)  # of each mode; window 0x3010 is on in the first
LONGEST_US = 1_000_000
GAINS_MDB = (0, 6021, 12041, 18062)  # 1, 2, 4, 8


def _us(lines):
    return lines * LINE_CLOCKS * 1_000_000 // PIXEL_HZ


@rp2.asm_pio(in_shiftdir=rp2.PIO.SHIFT_RIGHT, autopush=True, push_thresh=8, fifo_join=rp2.PIO.JOIN_RX)
def _pixels():
    wait(0, gpio, VSYNC)  # noqa: F821
    wait(1, gpio, VSYNC)  # noqa: F821
    wrap_target()  # noqa: F821
    wait(1, gpio, PCLK)  # noqa: F821
    in_(pins, 1)  # noqa: F821
    wait(0, gpio, PCLK)  # noqa: F821
    wrap()  # noqa: F821


class HM01B0:
    """A sensor as `lensless_board` wants it.

    It stands by but for the frame that is wanted, so that no exposure is older than the request. `start_us` counts
    back from the last pixel: rows are read one by one, and each is exposed before it is read.
    """

    modes = [  # noqa: RUF012
        {"rows": rows, "columns": COLUMNS, "bit_depth": 8, "pixel_format": "Mono8", "cfa": None} for rows in ROWS
    ]
    exposure_us = (_us(2), LONGEST_US)
    gain_mdb = (GAINS_MDB[0], GAINS_MDB[-1])
    facts = {"sensor": "HM01B0", "black_level_dn": 8, "raw": True}  # noqa: RUF012

    def __init__(self, clock_us):
        self._clock_us = clock_us
        self._buffer = memoryview(bytearray(max(ROWS) * COLUMNS))  # first of all, while the heap is whole
        if MCLK is not None:
            PWM(Pin(MCLK), freq=MCLK_HZ, duty_u16=32768)
        for pin in (D0, PCLK, VSYNC):
            Pin(pin, Pin.IN)
        self._i2c = I2C(0, sda=Pin(SDA), scl=Pin(SCL), freq=100_000)
        self._machine = rp2.StateMachine(0, _pixels, in_base=Pin(D0))
        self._dma = rp2.DMA()
        time.sleep_ms(50)
        if self._read(0, 2) != 0x01B0:
            raise OSError("no HM01B0 answers; look at SDA, SCL and its power")
        self._write(RESET, 1)
        time.sleep_ms(200)
        self._write(MODE_SELECT, STANDBY)
        for register, value in SET_UP:
            self._write(register, value)
        self.configure((0, 10_000, 0))

    def configure(self, settings):
        """Set (mode, exposure_us, gain_mdb) to the nearest that the sensor can; `settings` is what it then has."""
        mode, exposure_us, gain_mdb = settings
        integration = max(2, (exposure_us + _us(1) // 2) * PIXEL_HZ // (LINE_CLOCKS * 1_000_000))
        gain = min(range(4), key=lambda at: abs(GAINS_MDB[at] - gain_mdb))
        try:
            self._write(0x3010, 1 - mode)
            self._write(LINES, max(FEWEST_LINES[mode], integration + 2), 2)
            self._write(LINE_PIXELS, LINE_CLOCKS, 2)
            self._write(INTEGRATION, integration, 2)
            self._write(ANALOG_GAIN, gain << 4)
            self._write(HOLD, 1)
            lines, gain = self._read(INTEGRATION, 2), self._read(ANALOG_GAIN) >> 4 & 3
            self._mode = 1 - (self._read(0x3010) & 1)
        except OSError:
            raise ValueError("the sensor does not answer; look at SDA and SCL") from None
        self.settings = self._mode, _us(lines), GAINS_MDB[gain]
        self._read_out_us = _us(ROWS[self._mode])
        self._patience_ms = 500 + (2 * self.settings[1] + 2 * self._read_out_us) // 1000

    def begin(self):
        self._size = ROWS[self._mode] * COLUMNS
        self._machine.init(_pixels, in_base=Pin(D0))  # empty, and at its first instruction again
        # Bytes, from the high end of PIO 0's first receive register, in its time.
        control = self._dma.pack_ctrl(size=0, inc_read=False, treq_sel=4)
        self._dma.config(read=0x50200023, write=self._buffer, count=self._size, ctrl=control, trigger=True)
        self._machine.active(1)
        self._since = time.ticks_ms()
        self._switch(STREAMING)

    def frame(self):
        if self._dma.active():
            if time.ticks_diff(time.ticks_ms(), self._since) > self._patience_ms:
                self.give_up()
                raise OSError("no frame")
            return None
        start_us = self._clock_us() - self._read_out_us - self.settings[1]
        self.give_up()
        return self._buffer[: self._size], max(0, start_us), UNKNOWN_TEMPERATURE

    def give_up(self):
        self._machine.active(0)
        self._dma.active(0)
        self._switch(STANDBY)

    def _switch(self, mode):
        try:  # noqa: SIM105  MicroPython's contextlib is no part of it
            self._write(MODE_SELECT, mode)
        except OSError:
            pass  # no pixels come then, and `frame` says so

    def _write(self, register, value, size=1):
        self._i2c.writeto_mem(ADDRESS, register, value.to_bytes(size, "big"), addrsize=16)

    def _read(self, register, size=1):
        return int.from_bytes(self._i2c.readfrom_mem(ADDRESS, register, size, addrsize=16), "big")
