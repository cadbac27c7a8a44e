"""Which camera is which, on trees of files and links as the kernel makes them."""

import pytest
from fake_sysfs import Tree

from hardware.devices import claimants, device_at, devices, find


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path)


def test_a_machine_without_cameras_or_without_sysfs_has_none(tree):
    assert devices(*tree.at) == []
    assert find("usb-1:2-3", *tree.at) is None and device_at(0, *tree.at) is None


def test_a_serial_number_names_a_camera(tree):
    tree.plug(0)
    (device,) = devices(*tree.at)
    assert device.camera_id == "usb-046d:0825-A1B2C3D4" and device.identity == "serial" and device.stable
    assert (device.name, device.usb_id, device.serial) == ("UVC Camera", "046d:0825", "A1B2C3D4")
    assert device.port == "0000:00:14.0-2.if0"


@pytest.mark.parametrize(
    "serial", [None, "200901010001", "SN0001", "0000000000", "12345678", "0123456789ABCDEF", "1.0"]
)
def test_a_placeholder_names_nothing_and_the_socket_does(tree, serial):
    tree.plug(0, serial=serial)
    (device,) = devices(*tree.at)
    assert device.camera_id == "port-0000:00:14.0-2.if0-046d:0825" and device.identity == "port" and device.stable


def test_two_cameras_that_claim_one_number_are_told_apart_by_their_sockets(tree):
    tree.plug(0, port="1-2")
    tree.plug(2, port="1-3.1")
    assert [device.identity for device in devices(*tree.at)] == ["port", "port"]
    assert len({device.camera_id for device in devices(*tree.at)}) == 2


def test_a_camera_that_was_opened_beside_its_twin_is_found_when_it_is_alone(tree):
    tree.plug(0, port="1-2")
    tree.plug(2, port="1-3.1")
    mine = devices(*tree.at)[0].camera_id
    tree.unplug(2)
    found = find(mine, *tree.at)
    assert (found.camera_id, found.identity, found.path) == (mine, "port", str(tree.at[1] / "video0"))
    tree.unplug(0)
    tree.plug(4, port="1-3.2")  # the twin, in another socket
    assert find(mine, *tree.at) is None


def test_all_that_claim_a_serial_number_are_known(tree):
    mine = "usb-046d:0825-A1B2C3D4"
    for number, port in enumerate(("1-2", "1-3", "1-4")):
        assert len(claimants(mine, *tree.at)) == number
        tree.plug(number, port=port, serial="A1B2C3D4" if number < 2 else "ANOTHER1")
    assert len(claimants(mine, *tree.at)) == 2 and find(mine, *tree.at) is None


def test_metadata_nodes_are_no_cameras(tree):
    tree.plug(0)
    tree.plug(1, port="1-4", index=1, serial="A1B2C3D5")
    assert [device.path for device in devices(*tree.at)] == [str(tree.at[1] / "video0")]


def test_two_sensors_behind_one_plug_are_two_cameras(tree):
    tree.plug(0)
    tree.plug(2, interface=2)
    assert [device.camera_id for device in devices(*tree.at)] == [
        "usb-046d:0825-A1B2C3D4",
        "usb-046d:0825-A1B2C3D4-if2",
    ]


def test_a_camera_on_no_usb_is_known_by_its_place(tree):
    tree.platform(0)
    (device,) = devices(*tree.at)
    assert device.identity == "port" and device.usb_id is None and "fe801000.csi" in device.camera_id


def test_opencv_27294_the_same_camera_is_found_under_another_number_and_never_another_camera(tree):
    tree.plug(0)
    mine = devices(*tree.at)[0].camera_id
    tree.unplug(0)
    tree.plug(0, port="1-5", serial="ANOTHER1")  # a second camera takes the old number
    assert find(mine, *tree.at) is None
    tree.plug(1, port="1-6")  # and mine comes back, in another socket
    assert find(mine, *tree.at).path == str(tree.at[1] / "video1")


def test_a_device_is_found_by_index_by_node_and_by_link(tree):
    tree.plug(0)
    tree.plug(3, port="1-7", serial="ZZ998877")
    (tree.at[1] / "v4l/by-id/usb-Z-index0").symlink_to("../../video3")
    for place in (3, "/dev/video3", "/dev/v4l/by-id/usb-Z-index0"):
        assert device_at(place, *tree.at).camera_id == "usb-046d:0825-ZZ998877"
    assert device_at(5, *tree.at) is None


def test_a_serial_number_with_odd_characters_fits_into_an_address(tree):
    tree.plug(0, serial="A?B C/D&E")
    assert devices(*tree.at)[0].camera_id == "usb-046d:0825-A_B_C_D_E"
