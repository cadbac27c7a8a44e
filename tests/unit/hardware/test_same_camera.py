"""A camera that was lost is looked for by its identity, and one without any is not looked for."""

import numpy as np
import pytest
from fake_sysfs import Tree

from hardware import SimulatedCamera, register_camera
from hardware.errors import Unrecognisable
from hardware.same_camera import SameCamera


@pytest.fixture
def opened(monkeypatch):
    """Registers `fake:`, whose camera has the identity that its address says; gives the places that were opened."""
    monkeypatch.setattr("hardware.camera._factories", {})
    places = []

    def make(place: str) -> SimulatedCamera:
        places.append(place)
        camera = SimulatedCamera(
            lambda settings, sequence: np.zeros((2, 2), np.uint8),
            camera_id="usb-1:2-CAM20240117", shape=(2, 2), bit_depth=8, black_level_dn=0, exposure_s=0.01,
        )  # fmt: skip
        if "known" in place:
            camera.facts = {"identity": place.partition("=")[2]}
        return camera

    register_camera("fake", make)
    return places


@pytest.mark.parametrize("identity", ["serial", "port"])
def test_a_number_is_a_way_to_a_camera_only_once(opened, identity):
    connect = SameCamera(f"fake:0?known={identity}")
    for _ in range(3):
        connect().close()
    assert opened == [f"0?known={identity}"] + [f"id:usb-1:2-CAM20240117?known={identity}"] * 2
    assert connect.facts == {"identity": identity}


def test_a_camera_without_identity_is_not_waited_for(opened):
    connect = SameCamera("fake:0?known=none")
    connect().close()
    with pytest.raises(Unrecognisable, match="nothing tells it from another"):
        connect()
    assert len(opened) == 1


@pytest.mark.parametrize("seen", ["by the camera", "when it is looked for", "when it was looked for before"])
def test_a_serial_number_that_two_have_names_no_camera(opened, tmp_path, seen):
    tree = Tree(tmp_path)
    tree.plug(0, port="1-1", serial="CAM20240117", usb="1:2")
    connect = SameCamera("fake:0?known=serial", *tree.at)
    camera = connect()
    connect().close()
    if seen == "by the camera":
        camera.facts["twin"] = True
        connect.facts = camera.facts
    else:
        tree.plug(1, port="1-2", serial="CAM20240117", usb="1:2")
    if seen == "when it was looked for before":
        with pytest.raises(Unrecognisable):
            connect()
        tree.unplug(0)
    with pytest.raises(Unrecognisable, match="another one with its serial number"):
        connect()
    assert len(opened) == 2


def test_what_has_no_device_is_opened_as_it_was(opened):
    connect = SameCamera("fake:clip.mkv")
    for _ in range(2):
        connect().close()
    assert opened == ["clip.mkv"] * 2
