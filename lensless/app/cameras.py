"""`lensless devices`: which cameras there are, who they are, and the addresses that open them."""

import dataclasses
import os
import sys
from typing import Any

from hardware import plugins
from hardware.devices import devices as video_devices
from hardware.serial_port import ports
from lensless.app.screen import Screen

_RESTS_ON = {
    "serial": "its serial number: found again in any socket",
    "port": "the socket it is plugged into: found again there only",
    "none": "its number, which may change",
}

_OURS = {
    "genicam": ("genicam:SERIAL", "GigE, USB3 Vision and other GenICam cameras"),
    "micromanager": ("micromanager:CFG", "cameras of Micro-Manager; CFG may be demo"),
    "picamera2": ("picamera2:0", "cameras of a Raspberry Pi"),
}


def devices(screen: Screen) -> dict:
    """Show what is attached, and what needs no device; returns the same for programs."""
    found = video_devices()
    if found:
        rows = [[f"opencv:id:{one.camera_id}", one.name, one.path, _RESTS_ON[one.identity]] for one in found]
        screen.table("Cameras", ["address", "name", "now at", "known by"], rows)
        for one in found:
            if problem := _problem(one.path, "video"):
                screen.say(problem)
        screen.say(f"Look at one with: lensless check opencv:id:{found[0].camera_id}")
    else:
        screen.say(_why_none())
    boards = [_board(port) for port in ports()]
    if boards:
        rows = [
            [one["address"], one["name"], one["path"], one["usb_serial"] or "its name, which may change"]
            for one in boards
        ]
        screen.table("Serial ports, with a sensor board or without", ["address", "name", "now at", "known by"], rows)
        for one in boards:
            if problem := _problem(one["path"], "dialout"):
                screen.say(problem)
    screen.table(
        "Without a device",
        ["address", "", "needs"],
        [
            ["simulated:cannula-v1", "a simulated rig before a display; also bare-v1, or a rig file", "nothing"],
            ["replay:RECORDING", "what `lensless record` wrote", "a recording"],
            ["serial:PORT", "`lensless board-emulator`, a sensor board on a pseudo-terminal", "nothing"],
            ["opencv:FILE.mkv", "a video file, best a lossless one (FFV1)", "a video file"],
        ],
    )
    others = [describe(one) for one in plugins.installed().values()]
    if others:
        rows = [[one["address"], one["what"] or f"of {one['of']}", one["needs"] or "nothing"] for one in others]
        screen.table("Plug-ins", ["address", "", "needs"], rows)
    cameras = [dataclasses.asdict(one) | {"address": f"opencv:id:{one.camera_id}"} for one in found]
    return {"cameras": cameras, "serial_ports": boards, "plug_ins": others}


def describe(plug_in: plugins.PlugIn) -> dict[str, str | None]:
    """A plug-in for people: `needs` is what is to be done before it can be used."""
    address, what = _OURS.get(plug_in.name, (f"{plug_in.name}:...", ""))
    needs = plug_in.problem or (plugins.how_to_get(plug_in.name) if plug_in.missing else None)
    return {"address": address, "what": what, "of": ", ".join(plug_in.distributions), "needs": needs}


def _board(port: Any) -> dict[str, str | None]:
    """A serial port as pyserial lists it."""
    unique = port.serial_number if port.serial_number else None
    address = f"serial:id:{unique}" if unique else f"serial:{port.device}"
    return {"address": address, "name": port.description, "path": port.device, "usb_serial": unique}


def _problem(path: str, group: str) -> str | None:
    if os.access(path, os.R_OK | os.W_OK):
        return None
    return (
        f"{path} may not be opened by this user; on most systems: sudo usermod -aG {group} $USER, "
        "then log out and in again"
    )


def _why_none() -> str:
    if not sys.platform.startswith("linux"):
        return (
            "Cameras can be listed on Linux only; here try opencv:0, opencv:1, ... by number. A camera that is lost "
            "cannot be told from another one then, and is not opened again by itself."
        )
    return (
        "No camera is attached (/sys/class/video4linux lists none). Plug one in and look again; in a container or a "
        "virtual machine, pass the device through first (e.g. --device /dev/video0)."
    )
