"""Opening one physical camera again, and never another."""

import pathlib

from hardware.camera import Camera, open_camera
from hardware.devices import DEV, SYSFS, claimants
from hardware.errors import Unrecognisable


class SameCamera:
    """Opens a camera by its address, and from then on that physical camera, wherever it is plugged in.

    What `Stream` takes as `connect`. Numbers such as 0 in `opencv:0` go to whatever was plugged in first, so the second
    time a camera is looked for by its identity, where its `facts` name one: `opencv:id:CAMERA_ID`, or by the `address`
    that they tell. A serial number is
    none any more when two devices have been seen with it.

    Args:
        address: as `open_camera` takes it.
        sysfs, dev: where devices are listed.

    Raises:
        Unrecognisable: at the second call, if the camera has no identity, or has lost it.
    """

    def __init__(self, address: str, sysfs: pathlib.Path = SYSFS, dev: pathlib.Path = DEV):
        self.address = address
        self.facts: dict[str, object] = {}
        self._tree = sysfs, dev
        self._camera_id: str | None = None
        self._twin_seen = False

    def __call__(self) -> Camera:
        if self._camera_id is not None:
            self._check_recognisable()
        camera = open_camera(self.address)
        # Not a copy: an isolated camera tells here of a twin that comes later.
        self.facts = getattr(camera, "facts", {})
        if self._camera_id is None and self.facts.get("identity") in ("serial", "port"):
            self.address = str(self.facts.get("address") or self._by_identity(camera.camera_id))
        self._camera_id = camera.camera_id
        return camera

    def _by_identity(self, camera_id: str) -> str:
        scheme, _, place = self.address.partition(":")
        options = "".join(place.partition("?")[1:])
        return f"{scheme}:id:{camera_id}{options}"

    def _check_recognisable(self) -> None:
        if self.facts.get("identity") == "none":
            raise Unrecognisable(
                f"camera {self.address!r} is lost, and nothing tells it from another that may take its number; "
                "connect it and start again, or take a camera with a serial number (lensless devices)"
            )
        twins = len(claimants(self._camera_id, *self._tree))
        self._twin_seen = self._twin_seen or bool(self.facts.get("twin")) or twins > 1
        if self.facts.get("identity") == "serial" and self._twin_seen:
            raise Unrecognisable(
                f"camera {self.address!r} is lost, and another one with its serial number has been plugged in: nothing "
                "tells them apart; start again with both plugged in, and each is known by its socket (lensless devices)"
            )
