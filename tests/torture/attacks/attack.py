"""An attack is a hostile file or address, which is built in a place of its own and opened as one kind of thing."""

import dataclasses
import pathlib
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an attack is built: `canary` is what its code would touch, `trap` the file that it names."""

    folder: pathlib.Path
    canary: pathlib.Path
    trap: pathlib.Path

    def file(self, name: str, content: bytes | str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)


@dataclasses.dataclass(frozen=True)
class Attack:
    """What `build` makes is opened as `kind`; the message must hold `says`, unless it `may_read`."""

    kind: str
    build: Callable[[Place], str]
    says: str
    may_read: bool

    @property
    def slow(self) -> bool:
        """Takes a second, a process of its own, or a whole training."""
        long = any(word in self.build.__name__ for word in ("64_mega", "million_members", "bomb"))
        return long or self.kind in ("training", "vetted", "source")

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.build.__name__}"


class Attacks(list[Attack]):
    """The attacks of one subject, in the order in which they are written down."""

    def add(self, *kinds: str, says: str = "", may_read: bool = False):
        def register(build: Callable[[Place], str]) -> Callable[[Place], str]:
            self.extend(Attack(kind, build, says, may_read) for kind in kinds)
            return build

        return register

    def simple(self, kind: str, says: str = "", may_read: bool = False, **whats: str | Callable[[Place], str]) -> None:
        """Attacks by name, each an address as it is, or what a function of the place gives."""
        for name, what in whats.items():

            def build(place: Place, what=what) -> str:
                return what(place) if callable(what) else what

            build.__name__ = name
            self.add(kind, says=says, may_read=may_read)(build)
