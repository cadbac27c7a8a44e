"""Where the command `lensless` starts: outside the package of that name, which another project has, too."""

import importlib.metadata
import os
import sys

OTHER = "lensless"


def main() -> None:
    """Refuse when the other project's files may stand in place of ours, else run the command line."""
    try:
        version = importlib.metadata.version(OTHER)
    except importlib.metadata.PackageNotFoundError:
        _run()
        return
    print(
        f"lensless: the distribution '{OTHER}' {version}, another project with the same import name, is installed "
        f"in this environment; its files and ours overwrite each other.\n"
        "Make a fresh environment for optics-free, or run: "
        f"pip uninstall {OTHER} && pip install --force-reinstall --no-deps optics-free",
        file=sys.stderr,
    )
    sys.exit(2)


def _run() -> None:
    try:
        from lensless.app.cli import app
        from lensless.launch import launch
    except KeyboardInterrupt:  # afterwards each command has an answer of its own
        sys.exit(130)
    if launch().local_rank:  # torchrun started several, and one complaint of the command line is enough
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    app()


if __name__ == "__main__":
    main()
