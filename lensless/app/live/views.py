"""Where people see a live view: a terminal that is drawn anew, lines of text, a window."""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Group
from rich.live import Live
from rich.segment import SegmentLines
from rich.text import Text

from hardware.errors import ConfigurationError
from hardware.window.view import View
from lensless.app.live.drawing import page
from lensless.app.live.results import Picture, Result
from lensless.app.screen import Screen, plain

TERMINAL_S, WINDOW_S, LINE_S = 1 / 12, 1 / 25, 2.0  # between two drawings at least
TEXT_ROWS, TOLD = 9, 3  # of a terminal below a picture, and of what happened last among them
TITLE = "lensless"
RESET = "\x1b[0m"  # Ctrl-C makes a terminal forget what it has not drawn yet, the end of a colour included


@dataclasses.dataclass(frozen=True)
class Scene:
    """What there is to be seen now.

    Args:
        result: of the newest measurement; None where there is none.
        instead: why there is none.
        averaged: of how many frames, and how old they are; empty where each is a measurement.
        rates, losses: figures.
        state: of the camera, and what ends the view.
    """

    result: Result | None
    instead: str
    averaged: str
    rates: str
    losses: str
    state: str

    @property
    def lines(self) -> list[str]:
        return [line for line in (self.instead, self.averaged, self.rates, self.losses, self.state) if line]


class Viewer(Protocol):
    """Shows scenes, as often as it can."""

    @property
    def closed(self) -> bool:
        """Whether its user has seen enough."""

    def tell(self, text: str) -> None:
        """What has happened to the camera."""

    def due(self) -> bool:
        """Whether it would show a scene now."""

    def show(self, scene: Scene) -> bool:
        """Show it; whether it is on the screen then."""


class _Paced:
    closed = False

    def __init__(self, period_s: float):
        self._period_s, self._next_s = period_s, 0.0

    def due(self) -> bool:
        return time.monotonic() >= self._next_s

    def _drawn(self) -> None:
        self._next_s = time.monotonic() + self._period_s


class Lines(_Paced):
    """Where nobody watches a terminal: a line now and then."""

    def __init__(self, screen: Screen):
        super().__init__(LINE_S)
        self._screen = screen

    def tell(self, text: str) -> None:
        self._screen.say(text)

    def show(self, scene: Scene) -> bool:
        words = scene.instead or (scene.result.words if scene.result is not None else "")
        self._screen.say("; ".join(filter(None, (words, scene.averaged, scene.rates, scene.losses))))
        self._drawn()
        return True


class Terminal(_Paced):
    """The result, figures, and what happened last; the whole terminal, which is given back at the end.

    Args:
        live: of rich, running.
        pictures: whether pictures are drawn, too.
    """

    def __init__(self, live: Live, pictures: bool):
        super().__init__(TERMINAL_S)
        self._live, self._pictures = live, pictures
        self._rows = 0  # of a result
        self._told: collections.deque[str] = collections.deque(maxlen=TOLD)

    def tell(self, text: str) -> None:
        self._told.append(f"{time.strftime('%H:%M:%S')} {text}")

    def show(self, scene: Scene) -> bool:
        width, height = self._live.console.size
        if scene.result is not None and (self._pictures or not isinstance(scene.result, Picture)):
            drawn = scene.result.drawn(width, max(2, height - TEXT_ROWS))
            shown = self._live.console.render_lines(drawn, pad=False)
            self._rows = len(shown) + 1
        else:
            shown = []
        blank = [[] for _ in range(self._rows - len(shown))]  # figures stay where they are when there is no result
        lines = [Text(plain(line), "bold red" if line == scene.instead else "") for line in scene.lines]
        told = [Text(plain(text), "dim", no_wrap=True, overflow="ellipsis") for text in self._told]
        self._live.update(Group(SegmentLines([*shown, *blank], new_lines=True), *lines, *told), refresh=True)
        self._drawn()
        return True


class Window(_Paced):
    """Raw frame beside picture, and the figures below."""

    def __init__(self, view: View):
        super().__init__(WINDOW_S)
        self._view = view

    @property
    def closed(self) -> bool:
        return self._view.closed

    def tell(self, text: str) -> None:
        return  # the terminal says it

    def show(self, scene: Scene) -> bool:
        panels = scene.result.panels() if isinstance(scene.result, Picture) else {"raw frame": None, "picture": None}
        self._drawn()
        return self._view.show(page(panels, scene.lines))


@contextlib.contextmanager
def opened_window(wanted: bool) -> Iterator[list[Viewer]]:
    """A window where one is wanted.

    Raises:
        ConfigurationError: there is no desktop for it.
    """
    if not wanted:
        yield []
        return
    try:
        view = View(TITLE)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; or leave --window out: the terminal shows pictures, too") from error
    with view:
        yield [Window(view)]


@contextlib.contextmanager
def opened_terminal(screen: Screen, pictures: bool) -> Iterator[list[Viewer]]:
    """A terminal that is drawn anew, or lines where nobody watches one."""
    if not screen.console.is_terminal:
        yield [Lines(screen)]
        return
    with Live(console=screen.console, auto_refresh=False, screen=True) as live:
        yield [Terminal(live, pictures)]
    if screen.console.color_system is not None:
        screen.console.file.write(RESET)
