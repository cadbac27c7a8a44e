"""Pinned downloads against a real server on this machine."""

import gzip
import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from torchvision import datasets

from hardware.errors import ConfigurationError, InputError, StorageError
from lensless.data import download as files
from lensless.data.download import Pin, download

CONTENT = bytes(range(256)) * 5000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.bodies.get(self.path)
        if self.path in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[self.path])
            self.end_headers()
            return
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", len(body or b"") + self.server.promised_more)
        self.end_headers()
        self.wfile.write(body or b"")
        self.server.stall.wait()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.bodies, server.asked, server.promised_more = {"/file": CONTENT}, [], 0
        server.moved, server.stall = {}, threading.Event()
        server.stall.set()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stall.set()
        server.shutdown()
        thread.join()


def pin(content: bytes) -> Pin:
    return Pin(hashlib.sha256(content).hexdigest(), len(content))


def fetch(server, path, wanted: bytes = CONTENT):
    return download(f"{server.url}/file", path, pin(wanted).sha256, len(wanted))


def test_the_pinned_file_arrives_whole_and_is_not_asked_for_twice(server, tmp_path):
    path = tmp_path / "new" / "file"
    for _ in range(2):
        assert fetch(server, path).read_bytes() == CONTENT
    assert server.asked == ["/file"]
    path.write_bytes(b"damaged")
    assert fetch(server, path).read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "sent",
    [CONTENT[:-1] + b"x", CONTENT[:-1], CONTENT + b"x", CONTENT * 20, b""],
    ids=["same", "short", "long", "huge", "empty"],
)
def test_anything_else_is_deleted_and_refused(server, tmp_path, sent):
    server.bodies["/file"] = sent
    with pytest.raises(InputError, match=r"is not the pinned file: got .* expected 1280000 bytes"):
        fetch(server, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_refused_download_leaves_the_old_file(server, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    server.bodies["/file"] = b"wrong"
    with pytest.raises(InputError):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_no_answer_a_wrong_answer_and_a_broken_one_are_input_errors(server, tmp_path):
    with pytest.raises(InputError, match="404"):
        download(f"{server.url}/other", tmp_path / "file", "00" * 32, 10)
    with pytest.raises(InputError, match="failed after 0 of 10 bytes"):
        download("http://127.0.0.1:9/file", tmp_path / "file", "00" * 32, 10)
    server.promised_more = 100
    with pytest.raises(InputError):
        fetch(server, tmp_path / "file", CONTENT + b"y")
    assert not list(tmp_path.iterdir())


def test_a_server_that_stalls_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TIMEOUT_S", 0.2)
    server.stall.clear()
    server.promised_more = 100
    with pytest.raises(InputError, match=r"failed after \d+ of 1280100 bytes \(.*timed out"):
        fetch(server, tmp_path / "file", CONTENT + bytes(100))
    assert not list(tmp_path.iterdir())


def test_a_server_may_send_elsewhere_but_not_to_a_file(server, tmp_path):
    server.moved["/file"] = f"{server.url}/new"
    server.bodies["/new"] = CONTENT
    assert fetch(server, tmp_path / "file").read_bytes() == CONTENT
    (tmp_path / "secret").write_bytes(CONTENT)
    server.moved["/file"] = f"file://{tmp_path / 'secret'}"
    with pytest.raises(InputError, match="not allowed"):
        fetch(server, tmp_path / "other")


def test_a_full_disk_and_an_interruption_leave_nothing_behind(server, tmp_path, monkeypatch):
    for error, raised in ((OSError(28, "No space left on device"), StorageError), (KeyboardInterrupt(), None)):

        def fail(handle, error=error):
            raise error

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(raised or KeyboardInterrupt, match="No space left" if raised else None):
            fetch(server, tmp_path / "file")
        assert not list(tmp_path.iterdir())


def test_other_addresses_and_folders_that_cannot_be(server, tmp_path):
    with pytest.raises(ConfigurationError, match="expected an http"):
        download(f"file://{tmp_path}/secret", tmp_path / "file", "00" * 32, 10)
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        fetch(server, tmp_path / "taken" / "file")


def test_mnist_is_unpacked_and_held_to_both_pins(server, tmp_path, monkeypatch):
    raw, packed = tmp_path / "raw", gzip.compress(CONTENT, mtime=0)
    server.bodies["/some-ubyte.gz"] = packed
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{server.url}/"])
    monkeypatch.setattr(files, "MNIST_PINS", {"some-ubyte": (pin(packed), pin(CONTENT))})
    for _ in range(2):
        files.fetch_mnist(raw)
    assert (raw / "some-ubyte").read_bytes() == CONTENT and server.asked == ["/some-ubyte.gz"]
    monkeypatch.setattr(files, "MNIST_PINS", {"some-ubyte": (pin(packed), pin(b"other"))})
    with pytest.raises(InputError, match="'some-ubyte' unpacked is not the pinned file"):
        files.fetch_mnist(tmp_path / "second")
    assert not list(tmp_path.glob("second/some-ubyte"))


def test_emnist_is_taken_out_of_its_pinned_archive(server, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("gzip/emnist-a.gz", gzip.compress(CONTENT))
        archive.writestr("gzip/../../escaped.gz", gzip.compress(CONTENT))
    server.bodies["/file"] = (tmp_path / "made.zip").read_bytes()
    monkeypatch.setattr(datasets.EMNIST, "url", f"{server.url}/file")
    monkeypatch.setattr(files, "EMNIST_PIN", pin(server.bodies["/file"]))
    files.fetch_emnist(tmp_path / "raw", ["emnist-a"])
    assert (tmp_path / "raw" / "emnist-a").read_bytes() == CONTENT
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["emnist-a", "gzip.zip"]


def test_the_pins_of_mnist_are_those_of_the_files(data_root):
    for name, (_, unpacked) in files.MNIST_PINS.items():
        assert files.pin_of(data_root / "MNIST" / "raw" / name) == unpacked
