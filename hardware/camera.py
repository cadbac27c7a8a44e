"""What every camera can do, and how one is opened by its address."""

import difflib
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from hardware import plugins
from hardware.errors import CameraError, ConfigurationError
from hardware.frame import CameraSettings, Frame

LONGEST_ADDRESS = 4096
LONGEST_WAIT_S = 60.0


@runtime_checkable
class Camera(Protocol):
    """A source of raw frames. Calls block; one thread opens, reads and closes."""

    @property
    def camera_id(self) -> str:
        """Stable name of the physical camera."""

    @property
    def live(self) -> bool:
        """Whether the device goes on while nobody fetches frames; a source that waits for its reader is not live."""

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """Ask for settings; returns all that the device now really does.

        Raises:
            ConfigurationError: this camera has no such setting.
            CameraError: it is closed, or the device did not answer.
        """

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """The next `n` frames whose exposure began at `not_before_ns` (monotonic clock) or later.

        Raises:
            ConfigurationError: `n` is below 1.
            CameraLost: the device is gone, or a recording has no such frames left.
        """

    def frames(self) -> Iterator[Frame]:
        """Frames until the camera has no more, or is closed."""

    def close(self) -> None:
        """Let the device go; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_count(n: int, camera_id: str) -> None:
    """Raises ConfigurationError unless `n` frames can be asked for."""
    if n < 1:
        raise ConfigurationError(f"camera {camera_id!r}: {n} frames asked for; expected at least 1")


def wait_until(not_before_ns: int, ended: threading.Event, camera_id: str) -> None:
    """Wait until the monotonic clock is there, or `ended` is set.

    Raises:
        ConfigurationError: that is more than 60 s ahead; most likely it is on another clock.
    """
    ahead_s = (not_before_ns - time.monotonic_ns()) * 1e-9
    if ahead_s > LONGEST_WAIT_S:
        raise ConfigurationError(
            f"camera {camera_id!r}: frames asked for {ahead_s:.0f} s from now, limit {LONGEST_WAIT_S:.0f} s; "
            "not_before_ns counts on time.monotonic_ns()"
        )
    # A wait may end a moment early by its own clock.
    while (ahead_s := (not_before_ns - time.monotonic_ns()) * 1e-9) > 0 and not ended.wait(ahead_s):
        pass


def closed(camera_id: str) -> CameraError:
    """The error of every call after `close`."""
    return CameraError(f"camera {camera_id!r} is closed; open it again to use it")


_factories: dict[str, Callable[[str], Camera]] = {}


def register_camera(scheme: str, factory: Callable[[str], Camera]) -> None:
    """Let `open_camera` open addresses that start with `scheme:`.

    Args:
        scheme: lower-case letters, digits, "-" and "_".
        factory: gets what stands behind the colon.

    Raises:
        ConfigurationError: not a scheme, or it already belongs to another factory.
    """
    # Dots and slashes stay out, so that an address can never be a module path or a file.
    if not plugins.is_scheme(scheme):
        raise ConfigurationError(f"camera scheme {scheme!r}; expected lower-case letters, digits, '-' and '_'")
    if _factories.get(scheme, factory) is not factory:
        raise ConfigurationError(f"camera scheme {scheme!r} is taken by {_factories[scheme]!r}; choose another name")
    _factories[scheme] = factory


def open_camera(address: str) -> Camera:
    """Open a camera by its address, e.g. `replay:FOLDER`, `simulated:RIG` or `PLUG-IN:...` (hardware/plugins.py).

    Raises:
        ConfigurationError: no such scheme; the message names those that there are. Or a plug-in that cannot be used.
        CameraError, InputError: what the back end raises.
    """
    if len(address) > LONGEST_ADDRESS or "\0" in address:
        raise ConfigurationError(
            f"camera address {address[:60]!r} ... of {len(address)} characters; expected {LONGEST_ADDRESS} at most, "
            "and no NUL among them"
        )
    scheme, colon, rest = address.partition(":")
    if scheme in _factories and colon:
        return _factories[scheme](rest)
    others = plugins.installed()
    if scheme in others and scheme not in _factories and colon:
        return others[scheme].open(rest, Camera)
    raise _unknown(address, scheme, sorted({*_factories, *others}))


def _unknown(address: str, scheme: str, known: list[str]) -> ConfigurationError:
    """What is said of an address that nothing opens."""
    if scheme in known:
        return ConfigurationError(f"camera address {address!r} names no device; expected '{scheme}:...'")
    if scheme in plugins.EXTRAS:  # an installation that is older than its code
        return ConfigurationError(f"camera scheme {scheme!r} is not installed; {plugins.how_to_get(scheme)}")
    near = "".join(f"; did you mean '{one}:'" for one in difflib.get_close_matches(scheme, known, n=1))
    near = f"; did you mean '{meant}:{address}'" if (meant := _scheme_of(address)) in _factories else near
    return ConfigurationError(
        f"camera address {address!r}: no scheme {scheme!r}{near}; known schemes: {', '.join(known)}"
    )


def _scheme_of(path: str) -> str:
    """What opens a device or file whose path was given without a scheme; empty for what is neither."""
    if path.startswith("/dev/"):
        return "serial" if "tty" in path or "serial" in path else "opencv"
    if os.path.isdir(path) or path.endswith(".h5"):
        return "replay"
    return "opencv" if os.path.isfile(path) else ""
