"""Which code made an artefact."""

import functools
import hashlib
import importlib.metadata
import pathlib

DISTRIBUTION = "optics-free"


@functools.cache
def code_version() -> str:
    """Version of the distribution and a hash of the source text of its three packages."""
    root = pathlib.Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in ("hardware", "calibration", "lensless"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return f"{version}+{digest.hexdigest()[:12]}"
