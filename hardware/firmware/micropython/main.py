"""A Raspberry Pi Pico with an HM01B0: starts by itself. With GP22 at ground it does not, for the REPL to be reached."""

import binascii
import os
import select
import struct
import sys
import time

import machine
import micropython
from hm01b0 import HM01B0
from lensless_board import Board, Clock


class Usb:
    """The line: a byte 3 is a byte on it, and no Ctrl-C."""

    def __init__(self):
        micropython.kbd_intr(-1)
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)

    def read(self):
        got = b""
        # One by one: a longer read would wait until all of them are there (micropython#8772).
        while len(got) < 64 and self._poll.poll(0):
            got += sys.stdin.buffer.read(1)
        return got

    def write(self, data):
        # Fewer than all where the host has taken nothing for half a second (micropython#11850).
        return sys.stdout.buffer.write(data)


def run():
    """Be a board until the power goes."""
    clock_us = Clock(time.ticks_us, time.ticks_diff)
    sensor = HM01B0(clock_us)
    names = {
        "serial": binascii.hexlify(machine.unique_id()).decode().upper(),
        "board": "Raspberry Pi Pico",
        "firmware": "1.0",
    }
    (boot,) = struct.unpack("<I", os.urandom(4))
    board = Board(sensor, Usb(), clock_us, boot or 1, names)
    while True:
        board.turn()


if machine.Pin(22, machine.Pin.IN, machine.Pin.PULL_UP).value():
    run()
