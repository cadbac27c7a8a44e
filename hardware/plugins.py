"""Cameras of other packages: entry points, found by their names and loaded when an address asks for one.

A plug-in is an entry point NAME = "module:factory" of the group `optics_free.cameras`; the factory takes what stands
behind `NAME:` in an address and returns a `Camera`. An address names an entry point that its user has installed, never
a module.
"""

import dataclasses
import importlib.metadata
import importlib.util

from hardware.errors import CameraError, ConfigurationError, LenslessError

GROUP = "optics_free.cameras"
BUILT_IN = ("opencv", "replay", "serial", "simulated")
# What brings the library behind a plug-in of ours: (extra, module).
EXTRAS = {
    "picamera2": ("pi", "picamera2"),
    "genicam": ("genicam", "harvesters"),
    "micromanager": ("micromanager", "pymmcore"),
}


@dataclasses.dataclass(frozen=True)
class PlugIn:
    """One name of the group, and who claims it.

    Args:
        name: what stands before the colon of an address.
        claims: an entry point of each distribution that has one of this name, in the order of their names.
    """

    name: str
    claims: tuple[importlib.metadata.EntryPoint, ...]

    @property
    def distributions(self) -> tuple[str, ...]:
        """Name and version of each."""
        return tuple(f"{claim.dist.name} {claim.dist.version}" for claim in self.claims)

    @property
    def problem(self) -> str | None:
        """Why no address can open it, and what helps; None if one can."""
        who = " and ".join(self.distributions)
        if not is_scheme(self.name):
            return (
                f"{who} calls a plug-in {self.name!r}; expected lower-case letters, digits, '-' and '_'; uninstall it"
            )
        if self.name in BUILT_IN:
            return f"{who} calls a plug-in {self.name!r}, which is built in; uninstall it"
        if len(self.claims) > 1:
            return f"camera scheme {self.name!r} is claimed by {who}; uninstall all but one"
        return None

    @property
    def missing(self) -> bool:
        """Whether the library is absent that a plug-in of ours stands on; what others need is for them to say."""
        return self.name in EXTRAS and importlib.util.find_spec(EXTRAS[self.name][1]) is None

    def open(self, rest: str, kind: type) -> object:
        """What the factory makes of `rest`.

        Args:
            rest: what stands behind the colon.
            kind: what it has to be.

        Raises:
            ConfigurationError: it has a `problem`, cannot be loaded, lacks its library, or made something else.
            CameraError: the factory raised what is no error of ours; LenslessError: what it raised.
        """
        if self.problem:
            raise ConfigurationError(self.problem)
        (claim,), who = self.claims, f"plug-in {self.name!r} of {self.distributions[0]}"
        try:
            factory = claim.load()
        except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
            raise ConfigurationError(
                f"{who} cannot be loaded from '{claim.value}': {type(error).__name__}: {error}; "
                f"update or uninstall {claim.dist.name}"
            ) from error
        try:
            camera = factory(rest)
        except LenslessError:
            raise
        except ImportError as error:
            helps = how_to_get(self.name) if self.missing else f"see how {claim.dist.name} is installed"
            raise ConfigurationError(f"{who} needs a library that is not here ({error}); {helps}") from error
        except (Exception, SystemExit) as error:
            raise CameraError(f"{who} raised {type(error).__name__}: {error}; tell its authors") from error
        if not isinstance(camera, kind):
            raise ConfigurationError(f"{who} returned {type(camera).__name__}; expected a {kind.__name__}")
        return camera


def is_scheme(name: str) -> bool:
    """Whether an address can begin with it: lower-case letters, digits, "-" and "_"."""
    return name.replace("-", "").replace("_", "").isalnum() and name == name.lower() and name.isascii()


def how_to_get(name: str) -> str:
    """What installs the library of a plug-in of ours."""
    return f"pip install 'optics-free[{EXTRAS[name][0]}]'"


def installed() -> dict[str, PlugIn]:
    """All plug-ins by name; nothing of them is imported."""
    found: dict[str, dict[str, importlib.metadata.EntryPoint]] = {}
    # Not by importlib.metadata.entry_points(): an old *.egg-info in the current folder would hide what is installed.
    for distribution in importlib.metadata.distributions():
        for entry in _entries(distribution):
            found.setdefault(entry.name, {}).setdefault(distribution.name, entry)
    return {
        name: PlugIn(name, tuple(claims[distribution] for distribution in sorted(claims)))
        for name, claims in sorted(found.items())
    }


def _entries(distribution: importlib.metadata.Distribution) -> list[importlib.metadata.EntryPoint]:
    """Its entry points of our group; none of one whose files are damaged, which must not cost the others."""
    try:
        return [entry for entry in distribution.entry_points if entry.group == GROUP and distribution.name]
    except Exception:  # anybody's files: importlib.metadata raises whatever they cause
        return []


def require(module: str) -> None:
    """Raises ImportError where a library is not installed, before a child process is started that needs it."""
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"no module named '{module}'", name=module)
