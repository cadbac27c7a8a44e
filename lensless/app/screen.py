"""What a person sees of a command: progress, tables, one message when it fails; and JSON for programs."""

import contextlib
import functools
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hardware.errors import ConfigurationError, LenslessError, ProcessLost, StorageError
from lensless.app import text_file
from lensless.evaluate.figures import HEADS, shown
from lensless.launch import launch, may_tell

if TYPE_CHECKING:
    from lensless.train.loop import Progress as Step

INTERRUPTED = 130
BAR_FROM_COLUMNS = 100  # in fewer the figures need the room
_INTERRUPTION = "interrupted: what was written is whole"
# Commands that begin where they were stopped.
_GOES_ON = {"demo", "train", "bench_specks", "bench_calibration", "bench_tasks"}
_TOGETHER = {"train", "bench_scaling", "_writable"}  # those that several processes can do together, and a check of both
_TOLD_WITHIN_S = 1.0  # a process that ends says why, before others say that it is gone
# What a terminal would obey rather than show, but for the end of a line; marks that turn the direction of writing; and
# halves of characters, which names of files can hold and nothing can print.
_OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
T = TypeVar("T")


class Screen:
    """Prints for people, and keeps a result for programs; of several processes, the first one alone does.

    Args:
        json_to: where the result goes as JSON: a file, "-" for standard output (people's text then goes to standard
            error), None for nowhere.
        lasting: whether the work goes on when nothing can be shown any more (`| head`, a terminal that was closed); a
            capture must not end for that.

    Raises:
        StorageError: JSON is to go where a folder stands; said at once, and not after hours of work.
    """

    def __init__(self, json_to: str | None = None, lasting: bool = False):
        if json_to is not None and pathlib.Path(json_to).is_dir():
            raise StorageError(f"cannot write {json_to}: it is a folder; name a file with --json")
        self.json_to = json_to
        # Names of files and classes are shown as they are: "[red]" is no colour in them, ":key:" no picture.
        to = _Lasting(json_to == "-") if lasting else None
        # Jupyter asks for colours (FORCE_COLOR), from which rich takes a pipe for a terminal, and draws bars into it.
        piped = not (sys.stderr if json_to == "-" else sys.stdout).isatty()
        self.console = Console(
            file=to, stderr=json_to == "-", force_terminal=False if piped else None, highlight=False, markup=False,
            emoji=False, quiet=not launch().first,
        )  # fmt: skip

    def say(self, text: str) -> None:
        self.console.print(plain(text), soft_wrap=True)  # a path that is broken into lines cannot be copied

    def table(self, title: str, heads: list[str], rows: list[list[str]]) -> None:
        """The first column is text, the others are aligned to the right when they are figures."""
        table = Table(title=plain(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
        for at, head in enumerate(heads):
            figures = at > 0 and all(_is_figure(row[at]) for row in rows)
            table.add_column(plain(head), justify="right" if figures else "left", header_style="dim", overflow="fold")
        for row in rows:
            table.add_row(*map(plain, row))
        self.console.print(table)

    def result(self, facts: dict) -> None:
        """Write the result as JSON where it was asked for.

        Raises:
            StorageError: the file cannot be written.
        """
        if self.json_to is None or not launch().first:
            return
        text = json.dumps(facts, indent=2, default=str) + "\n"
        if self.json_to == "-":
            sys.stdout.write(text)
            return
        path = pathlib.Path(self.json_to)
        text_file.write(path, text, "name another file with --json")

    @contextlib.contextmanager
    def training(self, what: str, metric: str) -> "Iterator[Callable[[Step], None]]":
        """A bar that follows a training; where nobody watches a terminal, a line now and then."""
        if not self.console.is_terminal:
            yield self._lines(what, metric)
            return
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self.console) as bar:
            row = bar.add_task(plain(what), total=None, figures="")
            loss, figure = None, ""

            def watch(step: "Step") -> None:
                nonlocal loss, figure
                loss = step.loss if loss is None else 0.98 * loss + 0.02 * step.loss
                if step.record is not None:
                    figure = f"  {HEADS[metric]} {shown(metric, step.record.validation)}"
                bar.update(row, completed=step.step, total=step.steps, figures=f"loss {loss:.4f}{figure}")

            yield watch

    def _lines(self, what: str, metric: str) -> "Callable[[Step], None]":
        last_s = -60.0

        def watch(step: "Step") -> None:
            nonlocal last_s
            done = step.step == step.steps
            if step.record is not None and (done or time.monotonic() - last_s > 20):
                last_s = time.monotonic()
                self.say(
                    f"{what}: step {step.step} of {step.steps}, loss {step.record.loss:.4f}, "
                    f"{HEADS[metric]} {shown(metric, step.record.validation)}, {step.record.seconds:.0f} s"
                )

        return watch

    def track(self, items: Iterable[T], what: str, total: int) -> Iterator[T]:
        """The items, with a bar that follows them; where nobody watches a terminal, a line now and then."""
        if not self.console.is_terminal:
            watch = self._now_and_then(what, total, "", 0)
            for done, item in enumerate(items, 1):
                yield item
                watch(done, "")
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as bar:
            yield from bar.track(items, total=total, description=plain(what))

    @contextlib.contextmanager
    def following(
        self, what: str, total: int | None, unit: str = "frames", begun: int = 0
    ) -> Iterator[Callable[[int, str], None]]:
        """A bar over frames, or other units, that may never end, with figures behind it; without a terminal, a line now
        and then. `begun` of them were done before.
        """
        if not self.console.is_terminal:
            yield self._now_and_then(what, total, unit, begun)
            return
        of = "" if total is None else f" of {total:,}"
        columns = [
            TextColumn("{task.description}"),
            *([BarColumn()] if self.console.width >= BAR_FROM_COLUMNS else []),
            TextColumn("{task.completed:,}" + of),
            TimeElapsedColumn(),
            *([] if total is None else [TextColumn("left"), TimeRemainingColumn()]),
            TextColumn("{task.fields[figures]}"),
        ]
        with Progress(*columns, console=self.console) as bar:
            row = bar.add_task(plain(what), total=total, completed=begun, figures="")
            yield lambda done, figures: bar.update(row, completed=done, figures=figures)

    def _now_and_then(self, what: str, total: int | None, unit: str, begun: int) -> Callable[[int, str], None]:
        began_s = last_s = time.monotonic()

        def watch(done: int, figures: str) -> None:
            nonlocal last_s
            if (now_s := time.monotonic()) - last_s > 20:
                last_s = now_s
                count = (f"{done:,} of {total:,} {unit}" if total else f"{done:,} {unit}").rstrip()
                left_s = (total - done) * (now_s - began_s) / (done - begun) if total and done > begun else None
                left = "" if left_s is None else f"{left_s:.0f} s left"
                self.say(", ".join(filter(None, (f"{what}: {count}", figures, left))))

        return watch

    @contextlib.contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Says what takes a while, and how long it took."""
        began_s = time.perf_counter()
        with self.console.status(plain(what)) if self.console.is_terminal else contextlib.nullcontext():
            yield
        self.say(f"{what}: {time.perf_counter() - began_s:.1f} s")


class _Lasting:
    """Standard output, or standard error: where that takes no more, it says so once, and then writes nowhere."""

    def __init__(self, stderr: bool):
        self._stderr = stderr

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding

    @property
    def _stream(self) -> TextIO:
        stream = sys.stderr if self._stderr else sys.stdout
        return getattr(stream, "rich_proxied_file", stream)  # below a bar, rich sends what is printed back to us

    def _lose(self, error: OSError) -> None:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())
        if not self._stderr:
            text = f"nothing more can be shown (standard output: {error.strerror}); the work goes on\n"
            with contextlib.suppress(OSError):  # standard error may be the same pipe: there is nowhere left to say it
                os.write(sys.stderr.fileno(), text.encode())


def counted(count: int, what: str) -> str:
    """A number of things, for people."""
    return f"{count:,} {what}" + "s" * (count != 1)


def plain(text: str) -> str:
    """A text as it can be shown, whoever wrote it: names in foreign recordings, too, and names of files."""
    return _OBEYED.sub("?", text)


def guarded(command: Callable) -> Callable:
    """A command that ends in one message and the right exit code, never in a traceback."""

    @functools.wraps(command)
    def run(*arguments, **options):
        try:
            if launch().count > 1 and command.__name__ not in _TOGETHER:
                raise ConfigurationError(
                    "torchrun goes with `lensless train` and `lensless bench scaling`; this command runs in one process"
                )
            return command(*arguments, **options)
        except ProcessLost as error:
            time.sleep(_TOLD_WITHIN_S)
            _fail(f"error: {error}", error.exit_code)
        except LenslessError as error:
            _fail(f"error: {error}", error.exit_code)
        except KeyboardInterrupt as interrupt:
            again = "; given again, the command goes on from there" if command.__name__ in _GOES_ON else ""
            _fail(str(interrupt) or _INTERRUPTION + again, INTERRUPTED)
        except BrokenPipeError:  # the reader of our output went away, e.g. `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except typer.Exit:
            raise
        except Exception as error:
            if _is_out_of_memory(error):
                _fail("error: out of memory; use a smaller rig, fewer scenes or a smaller batch", 1)
            _fail(_internal_error(), 1)

    return run


def _is_out_of_memory(error: Exception) -> bool:
    """Torch says it in its own ways: a class of its own on a GPU, plain words on the processor."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _fail(message: str, code: int) -> None:
    if may_tell():
        # One of several processes on a host shows nothing else, see optics_free.py.
        print(plain(message), file=sys.__stderr__ if launch().local_rank else sys.stderr, flush=True)
    raise typer.Exit(code) from None


def _internal_error() -> str:
    """Keep the traceback in a file, for a report of the bug, and say where."""
    kind, error, _ = sys.exc_info()
    try:
        with tempfile.NamedTemporaryFile("w", prefix="lensless-", suffix=".log", delete=False) as file:
            file.write(f"{' '.join(sys.argv)}\n\n{traceback.format_exc()}")
        where = f"details are in {file.name}"
    except OSError:
        where = "the details could not be written to a file"
    return f"error: a bug in lensless ({kind.__name__}: {error}); {where}. Please report it with that file"


def _is_figure(text: str) -> bool:
    return not text or text[0].isdigit() or text[0] == "-"
