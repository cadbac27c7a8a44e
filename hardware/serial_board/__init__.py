"""Sensor boards on a serial line: hardware/firmware/PROTOCOL.md, from packets up to a camera."""

from hardware.camera import Camera


def serial_camera(place: str) -> Camera:
    """The camera of an address `serial:PLACE`, see `address.parse_place`."""
    from hardware.serial_board.camera import SerialCamera  # with pyserial, for those who use it

    return SerialCamera(place)
