"""What the user sees when something fails: one clear message, one exit code, no traceback unless asked."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import typer

from vml.cli import INTERRUPTED
from vml.cli.output import printable
from vml.errors import ChainError, OutOfRange, UnsupportedOperator, VmlError

USAGE, DEFECT = 2, 70

# Newer typer brings its own copy of click; its public exceptions tell which classes are raised.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


def report(error: BaseException, *, as_json: bool, debug: bool, command: list[str]) -> int:
    """Print an error and say how the process ends.

    Args:
        error: what a command raised.
        as_json: print a JSON object on standard output as well.
        debug: print the traceback too, on standard error.
        command: the command's name, if it was given.

    Returns:
        The exit code.
    """
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    code, kind, message = describe(error)
    if as_json:
        result: dict[str, Any] = {"error": details(error)}
        if command == ["verify"]:
            from vml.cli.verdict import refused

            result = refused(result["error"])
        print(json.dumps(result))
    hint = " (run again with --debug to see where)" if code == DEFECT and not debug else ""
    print(printable(f"{kind}: {message}{hint}"), file=sys.stderr)
    return code


def details(error: BaseException) -> dict[str, Any]:
    """An error as JSON: its type, message, exit code, and the fields its class has."""
    code, kind, message = describe(error)
    result: dict[str, Any] = {"type": kind, "message": message, "exit_code": code}
    if isinstance(error, UnsupportedOperator):
        result["problems"] = [vars(problem) for problem in error.problems]
    elif isinstance(error, VmlError):
        shown = {name: value for name, value in vars(error).items() if not name.startswith("_")}
        result |= {name: value if isinstance(value, int | str | None) else str(value) for name, value in shown.items()}
    if isinstance(error, ChainError):
        result["arguments"] = json.loads(json.dumps(error.arguments, default=str))
    if isinstance(error, OutOfRange):
        index = error.index
        result["index"] = list(index) if isinstance(index, tuple) else [index]
    return result


def describe(error: BaseException) -> tuple[int, str, str]:
    """Exit code, kind and message of an error."""
    kind = type(error).__name__
    if isinstance(error, VmlError):
        return error.exit_code, kind, str(error)
    # Older typer turns Ctrl-C into an abort.
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):
        return INTERRUPTED, "Interrupted", "nothing half-written was left behind"
    if isinstance(error, typer.Abort):
        return USAGE, "Aborted", "nothing was done"
    if isinstance(error, _USAGE_ERROR):
        context = getattr(error, "ctx", None)
        usage = f"\n{context.get_usage()}" if context is not None else ""
        return USAGE, "Usage", error.format_message() + usage  # type: ignore[attr-defined]
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename is not None else ""
        return USAGE, kind, f"{error.strerror or error}{place}"
    if isinstance(error, ValueError | TypeError):
        return USAGE, kind, str(error)
    if isinstance(error, MemoryError):
        return 5, kind, "memory ran out"
    return DEFECT, kind, f"a defect of vml: {error}"
