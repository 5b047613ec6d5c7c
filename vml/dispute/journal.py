"""What a player says: one line a fact, and the figures that Prometheus reads."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

from vml.dispute.recall import SAID, Recent
from vml.errors import BackendUnavailable

LOGGER = "vml.dispute"
LOOPBACK = "127.0.0.1"


class Lines(logging.Formatter):
    """One line a record: time, level, what, and fields as name=value; or all of it as one JSON object.

    Args:
        as_json: the latter.
    """

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "facts", {})
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        if self._as_json:
            return json.dumps({"time": at, "level": record.levelname.lower(), "event": record.getMessage(), **fields})
        rest = "".join(f" {name}={_plain(value)}" for name, value in fields.items())
        return f"{at} {record.levelname.lower()} {record.getMessage()}{rest}"


class Journal:
    """Logs and metrics of one player.

    Args:
        metrics: whether figures are kept.

    Raises:
        BackendUnavailable: for the figures, prometheus_client is not installed.
    """

    def __init__(self, *, metrics: bool = False) -> None:
        self._log = logging.getLogger(LOGGER)
        self._said: Recent[tuple[Any, ...], None] = Recent(SAID)
        self._figures = _figures() if metrics else None

    def say(self, what: str, *, level: int = logging.INFO, **fields: Any) -> None:
        """One fact; bytes are shown as hex."""
        self._log.log(level, what, extra={"facts": {name: _shown(value) for name, value in fields.items()}})

    def once(self, key: tuple[Any, ...], what: str, *, level: int = logging.INFO, **fields: Any) -> bool:
        """One fact, said once as long as it is among the last that were said. Returns whether it was news."""
        known, self._said[key] = key in self._said, None
        if known:
            return False
        self.say(what, level=level, **fields)
        return True

    def count(self, name: str, label: str | None = None) -> None:
        """One more of something."""
        if self._figures is not None:
            figure = self._figures[name]
            (figure if label is None else figure.labels(label)).inc()

    def gauge(self, name: str, value: float, label: str | None = None) -> None:
        """How much of something there is now."""
        if self._figures is not None:
            figure = self._figures[name]
            (figure if label is None else figure.labels(label)).set(value)

    def serve(self, port: int) -> int:
        """Answer Prometheus on the loopback interface.

        Args:
            port: 0 takes a free one.

        Returns:
            The port.

        Raises:
            OSError: it is taken.
        """
        from prometheus_client import start_http_server

        assert self._figures is not None
        server, _ = start_http_server(port, addr=LOOPBACK, registry=self._figures["registry"])
        return int(server.server_port)


def to_stream(as_json: bool, stream: TextIO | None = None, level: int = logging.INFO) -> logging.Handler:
    """Send the log lines of players to a stream; standard error by default.

    Returns:
        The handler, to be removed from the logger in the end.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(as_json))
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return handler


def _figures() -> dict[str, Any]:
    try:
        from prometheus_client import CollectorRegistry, Counter, Gauge
    except ImportError as error:
        raise BackendUnavailable("prometheus_client is missing: pip install 'vml[chain]'") from error

    registry = CollectorRegistry()

    def gauge(name: str, help: str, *labels: str) -> Gauge:
        return Gauge(f"vml_dispute_{name}", help, labels, registry=registry)

    def counter(name: str, help: str, *labels: str) -> Counter:
        return Counter(f"vml_dispute_{name}", help, labels, registry=registry)

    return {
        "registry": registry,
        "assertions": gauge("assertions", "Assertions seen, by status.", "status"),
        "checked": counter("checked", "Assertions whose model was run again, by what it said.", "verdict"),
        "disputed": counter("disputed", "Disputes that this player opened."),
        "moves": counter("moves_sent", "Transactions sent, by move.", "move"),
        "failures": counter("failures", "What went wrong, by kind.", "kind"),
        "reorganisations": counter("reorganisations", "Times that the chain took blocks back."),
        "block": gauge("last_block", "Last block that was read."),
        "lag": gauge("lag_seconds", "Age of the chain's last block."),
        "stake": gauge("stake_wei", "Bonds at stake."),
        "credit": gauge("credit_wei", "Credit that can be withdrawn."),
        "gas": gauge("gas_used", "Gas of all transactions."),
        "won": gauge("won", "Disputes that ended well for this player, on either side."),
        "lost": gauge("lost", "Disputes lost, and own assertions slashed."),
    }


def _shown(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _plain(value: Any) -> str:
    """Printable, on one line, quoted where it has blanks: a node's words neither steer a terminal nor add a line."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    return json.dumps(text) if " " in text or not text else text
