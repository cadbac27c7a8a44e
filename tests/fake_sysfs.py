"""A tree of real files and links like that of /sys and /dev, with cameras to plug in."""

import dataclasses
import pathlib


@dataclasses.dataclass
class Tree:
    """A fake /sys and /dev."""

    root: pathlib.Path

    @property
    def at(self) -> tuple[pathlib.Path, pathlib.Path]:
        return self.root / "sys/class/video4linux", self.root / "dev"

    def plug(self, number: int, *, port="1-2", serial: str | None = "A1B2C3D4", interface=0, index=0, usb="046d:0825"):
        """A UVC camera: the folders of the USB device, of its interface and of the node, and the links between them."""
        device = self.root / "sys/devices/pci0000:00/0000:00:14.0/usb1" / port
        node = device / f"{port}:1.{interface}" / "video4linux" / f"video{number}"
        node.mkdir(parents=True)
        vendor, product = usb.split(":")
        facts = {
            "idVendor": vendor,
            "idProduct": product,
            "serial": serial,
            f"{port}:1.{interface}/bInterfaceNumber": f"{interface:02}",
        }
        self._write(device, facts)
        self._link(node, number, "UVC Camera", index)

    def platform(self, number: int):
        """A camera on no bus that could be plugged."""
        node = self.root / "sys/devices/platform/soc/fe801000.csi/video4linux" / f"video{number}"
        node.mkdir(parents=True)
        self._link(node, number, "unicam", 0)

    def unplug(self, number: int):
        (self.at[0] / f"video{number}").unlink()
        (self.at[1] / f"video{number}").unlink()

    def _link(self, node: pathlib.Path, number: int, name: str, index: int):
        self._write(node, {"name": name, "index": str(index)})
        (node / "device").symlink_to("../..", target_is_directory=True)
        classes, dev = self.at
        classes.mkdir(parents=True, exist_ok=True)
        (dev / "v4l/by-id").mkdir(parents=True, exist_ok=True)
        (classes / f"video{number}").symlink_to(node)
        (dev / f"video{number}").touch()

    def _write(self, folder: pathlib.Path, facts: dict[str, str | None]):
        for name, value in facts.items():
            if value is not None:
                (folder / name).write_text(value + "\n")
