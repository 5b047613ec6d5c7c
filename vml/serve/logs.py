"""The server's log: one line an event, as text or JSON, on standard error.

Of an error its kind and the places in the code are written, never its words: these may quote what somebody sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGERS = ("vml", "uvicorn")


def places(error: BaseException) -> list[str]:
    """Where in the code an error came from, the last places."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{frame.filename.rpartition('/site-packages/')[2]}:{frame.lineno}" for frame in frames]


class Lines(logging.Formatter):
    """Writes a record as one line.

    Args:
        as_json: one JSON object a line.
    """

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The line: when, how grave, what, and the record's `fields`."""
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            fields |= {"kind": type(record.exc_info[1]).__name__, "at": places(record.exc_info[1])}
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        if self._as_json:
            return json.dumps({"time": when, "level": record.levelname, "event": record.getMessage(), **fields})
        rest = "".join(f" {name}={json.dumps(value)}" for name, value in fields.items())
        return f"{when} {record.levelname} {json.dumps(record.getMessage())[1:-1]}{rest}"


def begin(*, as_json: bool, quiet: bool) -> None:
    """Send the server's log to standard error.

    Args:
        as_json: one JSON object a line.
        quiet: only what somebody has to look at.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(as_json))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if quiet or name == "uvicorn" else logging.INFO)
