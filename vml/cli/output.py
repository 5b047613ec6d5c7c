"""Where a command's words go: one result on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from vml.backends.types import Progress

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors (and JSON).")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def command_app(help: str | None = None) -> typer.Typer:
    """An application for one command group, with plain help: rich help costs more time than the command."""
    return typer.Typer(help=help, add_completion=False, rich_markup_mode=None, no_args_is_help=help is not None)


PIPE_COLUMNS = 160


class Output:
    """A command's voice.

    Args:
        as_json: the result is one JSON object.
        quiet: nothing but errors, and JSON where that is asked for.
    """

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet

    def result(
        self, value: dict[str, Any], show: Callable[[Console], None], error: dict[str, Any] | None = None
    ) -> None:
        """Print the result: the value as JSON, or what `show` draws.

        Args:
            value: JSON object; `error` is added.
            show: draws the same for a person.
            error: what part of the work failed with, as `failure.details` describes it.
        """
        if self.as_json:
            print(json.dumps({**value, "error": error}))
        elif not self.quiet:
            show(_console(sys.stdout))

    def note(self, text: str) -> None:
        """Tell a person something on the way, on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr)

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """Show long work on a terminal: a bar with the stage's name; None where nobody watches."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        with Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
            task = bar.add_task("starting", total=1.0)

            def show(stage: str, fraction: float) -> None:
                bar.update(task, description=stage, completed=fraction)

            yield show


def table(*headings: str, title: str | None = None) -> Any:
    """An empty table in the house's style."""
    from rich import box
    from rich.table import Table

    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(headings))
    for heading in headings:
        result.add_column(heading, overflow="fold")
    return result


def add(rows: Any, *cells: str, style: str | None = None) -> None:
    """Add a row of plain text to a table: what a file says about itself can neither style nor steer a terminal."""
    rows.add_row(*(printable(cell) for cell in cells), style=style)


def printable(text: str) -> str:
    """The text with control characters spelled out, line ends kept."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def headline(console: Console, word: str, rest: str, style: str = "green") -> None:
    """Print one coloured word and what it is about."""
    console.print(word, style=f"bold {style}", end=" ")
    console.print(printable(rest))


def size(count: float | None) -> str:
    """Bytes for people: 1536 is "1.5 KiB"."""
    if count is None:
        return "unknown"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit holds everything")


def seconds(count: float | None) -> str:
    """A duration for people: "0.35 s", "12 s", "3 min"."""
    if count is None:
        return "unknown"
    if count < 10:
        return f"{count:.2g} s"
    return f"{count:.0f} s" if count < 120 else f"{count / 60:.0f} min"


def hexed(data: bytes) -> str:
    """0x and lower-case hex digits."""
    return "0x" + data.hex()


def _console(stream: Any) -> Console:
    from rich.console import Console

    # A pipe has no width: there, digests and paths are never broken.
    return Console(file=stream, highlight=False, markup=False, width=None if stream.isatty() else PIPE_COLUMNS)
