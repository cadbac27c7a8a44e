"""Lamps in rows and columns on a sensor board's protocol: what shows a pattern to the rig."""

import numpy as np

from hardware.closing import Closing
from hardware.errors import ConfigurationError, DeviceLost
from hardware.pattern_source import checked_picture
from hardware.serial_board.address import parse_place
from hardware.serial_board.link import HELLO_S, BoardLink
from hardware.serial_port import SerialPort

BRIGHTEST = 255


class LedMatrix(Closing):
    """The lamps of a board: a `PatternSource`. Pictures are shown with 256 levels of power, linear in the picture.

    A board that has a sensor as well is opened once: `SerialCamera.lamps`, used in the thread of the camera.

    Args:
        link: to the board; closed with this where it is its `own`.

    Raises:
        ConfigurationError: the board has no lamps.
    """

    def __init__(self, link: BoardLink, own: bool = True):
        if link.hello.matrix is None:
            raise ConfigurationError(f"the board at '{link.port.place}' ({link.hello.board}) has no lamps")
        self._link, self._own = link, own

    @classmethod
    def at(cls, place: str, hello_s: float = HELLO_S) -> "LedMatrix":
        """The lamps of a board of their own, at a port such as "/dev/ttyACM0?baud=921600", see `parse_place`.

        Raises:
            ConfigurationError: no such port or option, or no lamps.
            DeviceError: it is not there, is in use, or is no board.
        """
        port_name, options = parse_place(place)
        port = SerialPort(port_name, options.baud, dtr=False if options.dtr == "off" else None)
        try:
            return cls(BoardLink(port, hello_s))
        except BaseException:
            port.close()
            raise

    @property
    def shape(self) -> tuple[int, int]:
        return self._link.hello.matrix

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (rows, columns) in [0, 1]; returns when the lamps have their levels.

        Raises:
            ConfigurationError: another type or shape, NaN, or values outside [0, 1].
            DeviceError: the board is gone, silent, or has restarted.
        """
        levels = np.rint(checked_picture(picture, self.shape, "lamps") * BRIGHTEST).astype(np.uint8)
        try:
            self._link.show(levels.tobytes())
        except DeviceLost as error:
            raise DeviceLost(
                f"lamps at '{self._link.port.place}' are lost: {error}; connect them again, and open them anew"
            ) from error

    def clear(self) -> None:
        """All lamps dark."""
        self.show(np.zeros(self.shape, np.float32))

    def close(self) -> None:
        """Let the board go, with its lamps as they are; a second call does nothing."""
        if self._own:
            self._link.close()
