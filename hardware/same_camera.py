"""Opening one physical camera again, and never another."""

from hardware.camera import Camera, open_camera
from hardware.errors import Unrecognisable


class SameCamera:
    """Opens a camera by its address, and from then on that physical camera, wherever it is plugged in.

    What `Stream` takes as `connect`. Numbers such as 0 in `opencv:0` go to whatever was plugged in first, so the second
    time a camera is looked for by its identity, where its `facts` name one: `opencv:id:CAMERA_ID`.

    Args:
        address: as `open_camera` takes it.

    Raises:
        Unrecognisable: at the second call, if the camera has no identity.
    """

    def __init__(self, address: str):
        self.address = address
        self.facts: dict[str, object] = {}
        self._known = False

    def __call__(self) -> Camera:
        if self._known and self.facts.get("identity") == "none":
            raise Unrecognisable(
                f"camera {self.address!r} is lost, and nothing tells it from another that may take its number; "
                "connect it and start again, or take a camera with a serial number (lensless devices)"
            )
        camera = open_camera(self.address)
        self.facts = dict(getattr(camera, "facts", {}))
        if not self._known and self.facts.get("identity") in ("serial", "port"):
            scheme, _, place = self.address.partition(":")
            options = "".join(place.partition("?")[1:])
            self.address = f"{scheme}:id:{camera.camera_id}{options}"
        self._known = True
        return camera
