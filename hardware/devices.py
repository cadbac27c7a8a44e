"""Which capture devices this machine has, and which physical camera each of them is.

Numbers such as /dev/video0 follow the order of plugging in, so they name no camera. Linux tells more in sysfs;
elsewhere nothing is listed, and a camera has no identity that outlives its number.
"""

import collections
import dataclasses
import os
import pathlib
import re
from typing import Literal

SYSFS = pathlib.Path("/sys/class/video4linux")
DEV = pathlib.Path("/dev")
# What makers write where a serial number belongs. Devices that share any other one are told apart by their ports.
PLACEHOLDERS = {
    "0123456789abcdef",
    "200901010001",
    "sn0001",
    "0x0001",
    "uc.0123456",
    "01.00.00",
    "default_string",
    "none",
}
SHORTEST_SERIAL = 4

Identity = Literal["serial", "port", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoDevice:
    """One capture device.

    Args:
        path: its node now, e.g. "/dev/video0".
        name: as its driver calls it.
        camera_id: stable name; the same camera has it again after it was plugged out and in.
        identity: what `camera_id` rests on. "serial": the device's own number. "port": the socket that it is plugged
            into, and its model; a second camera of that model in the same socket cannot be told from it.
        usb_id: "vendor:product", four hexadecimal digits each; None for other buses.
        serial: what the device calls its serial number, be it one or not.
        port: bus and sockets on the way to it, and the interface of the device.
    """

    path: str
    name: str
    camera_id: str
    identity: Identity
    port: str
    usb_id: str | None = None
    serial: str | None = None

    @property
    def stable(self) -> bool:
        """Whether `camera_id` means the same thing tomorrow."""
        return self.identity != "none"


def devices(sysfs: pathlib.Path = SYSFS, dev: pathlib.Path = DEV) -> list[VideoDevice]:
    """The capture devices of this machine, by number; none where there is no sysfs.

    Args:
        sysfs, dev: where to look.
    """
    found = _claiming(sysfs, dev)
    times = collections.Counter(device.camera_id for device in found)
    return [_by_port(device) if times[device.camera_id] > 1 else device for device in found]


def claimants(camera_id: str, sysfs: pathlib.Path = SYSFS, dev: pathlib.Path = DEV) -> list[VideoDevice]:
    """The devices whose own serial number makes them this camera: more than one if their maker did not count."""
    return [device for device in _claiming(sysfs, dev) if device.camera_id == camera_id]


def find(camera_id: str, sysfs: pathlib.Path = SYSFS, dev: pathlib.Path = DEV) -> VideoDevice | None:
    """The device that is this camera now, whatever its number; None if it is not plugged in.

    What was once told apart by its port is found there, also if nothing else has its serial number now.
    """
    return next((named for device in devices(sysfs, dev) if (named := called(device, camera_id))), None)


def called(device: VideoDevice, camera_id: str) -> VideoDevice | None:
    """The device under this one of its names, by serial number or by port; None if it has no such name."""
    return next((named for named in (device, _by_port(device)) if named.camera_id == camera_id), None)


def _claiming(sysfs: pathlib.Path, dev: pathlib.Path) -> list[VideoDevice]:
    """The capture devices as they call themselves, twins and all."""
    nodes = [node for node in sysfs.glob("video*") if node.name[5:].isdecimal()]
    # A UVC camera makes two nodes; the second one has no pictures, but metadata.
    nodes = sorted(
        (node for node in nodes if _read(node / "index") in ("0", None)), key=lambda node: int(node.name[5:])
    )
    return [_device(node, dev) for node in nodes]


def device_at(place: int | str, sysfs: pathlib.Path = SYSFS, dev: pathlib.Path = DEV) -> VideoDevice | None:
    """The device at an index, at "/dev/videoN", or where a link such as /dev/v4l/by-id/... leads to, or None."""
    path = dev / f"video{place}" if isinstance(place, int) else dev / pathlib.Path(place).relative_to(DEV)
    node = str(dev / pathlib.Path(os.path.realpath(path)).name)
    return next((device for device in devices(sysfs, dev) if device.path == node), None)


def _device(node: pathlib.Path, dev: pathlib.Path) -> VideoDevice:
    parent = (node / "device").resolve()
    usb = next((folder for folder in (parent, *parent.parents) if (folder / "idVendor").is_file()), None)
    facts = {"path": str(dev / node.name), "name": _read(node / "name") or node.name}
    if usb is None:
        return _by_port(VideoDevice(**facts, camera_id="", identity="none", port=_plain(_port(parent))))
    serial, usb_id = _read(usb / "serial"), f"{_read(usb / 'idVendor')}:{_read(usb / 'idProduct')}"
    # Two sensors behind one plug are two interfaces of one USB device.
    interface = int(_read(parent / "bInterfaceNumber") or "0", 16)
    device = VideoDevice(
        **facts, camera_id="", identity="none", usb_id=usb_id, serial=serial, port=f"{_usb_port(usb)}.if{interface}"
    )
    if not _is_serial(serial):
        return _by_port(device)
    camera_id = f"usb-{usb_id}-{_plain(serial)}" + (f"-if{interface}" if interface else "")
    return dataclasses.replace(device, camera_id=camera_id, identity="serial")


def _by_port(device: VideoDevice) -> VideoDevice:
    model = f"-{device.usb_id}" if device.usb_id else ""
    return dataclasses.replace(device, camera_id=f"port-{device.port}{model}", identity="port")


def _usb_port(usb: pathlib.Path) -> str:
    """Controller and sockets: "0000:00:14.0-2.3" from .../0000:00:14.0/usb1/1-2/1-2.3; usb1 may be usb2 tomorrow."""
    controller = next((folder.parent.name for folder in usb.parents if re.fullmatch(r"usb\d+", folder.name)), "usb")
    return f"{_plain(controller)}-{usb.name.partition('-')[2]}"


def _port(parent: pathlib.Path) -> str:
    return parent.as_posix().partition("/devices/")[2] or parent.name


def _is_serial(serial: str | None) -> bool:
    if serial is None or len(serial) < SHORTEST_SERIAL or _plain(serial).lower() in PLACEHOLDERS:
        return False
    counted = "1234567890" * 2
    return len(set(serial)) > 2 and serial not in counted and serial not in "0" + counted


def _plain(text: str) -> str:
    """Fit for an address and for a file: a "?" would end the name."""
    return re.sub(r"[^A-Za-z0-9.:_-]", "_", text)


def _read(path: pathlib.Path) -> str | None:
    """What a file of sysfs says; None if it is gone, as it is while a device is pulled out."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
