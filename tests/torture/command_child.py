"""The command line, with cameras of driver_child.py under `fake:KIND,AFTER`: python command_child.py record ..."""

import pathlib

from hardware import register_camera
from hardware.isolated import IsolatedCamera
from lensless.app.cli import app

DRIVER = str(pathlib.Path(__file__).with_name("driver_child.py"))


def main() -> None:
    register_camera("fake", lambda place: IsolatedCamera([DRIVER, *place.split(",")], f"fake:{place}", stall_s=1.0))
    app()


if __name__ == "__main__":
    main()
