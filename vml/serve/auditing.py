"""The log as an auditor finds it who may read the database itself: what is signed there, not what the server says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, select

from vml.client.server_log import MAX_DECISIONS
from vml.errors import LogRejected
from vml.serve import log
from vml.serve.store import Store
from vml.serve.tables import log_checkpoints
from vml.transparency.audit import Evidence
from vml.transparency.checkpoint import LogProof

SQLITE = "sqlite:///"


class DatabaseLog:
    """The log in a database.

    Args:
        url: as for `Store.open`.

    Raises:
        FileNotFoundError: no such file.
        ValueError, StoreUnavailable: as `Store.open`.
    """

    def __init__(self, url: str) -> None:
        if url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists():
            raise FileNotFoundError(2, "no such database", url)
        self._store = Store.open(url, patience_s=5.0)

    def checkpoint(self) -> bytes:
        """The newest note that was signed.

        Raises:
            LogRejected: UNSIGNED, where none was; DAMAGED.
        """
        with self._reading() as connection:
            return _newest(connection)[0]

    def evidence(self, digest: bytes) -> Evidence | None:
        """What shows a claim's entry, with its proof where there is one.

        Raises:
            LogRejected: UNSIGNED, where no checkpoint covers it; DAMAGED.
        """
        with self._reading() as connection:
            note, size = _newest(connection)
            index = log.index_of(connection, digest)
            if index is None:
                return None
            if index >= size:
                raise LogRejected("unsigned", f"the entry stands at {index}, the last checkpoint covers {size}")
            data = bytes(log.entries(connection, index, 1)[0])
            hashes = log.inclusion(connection, index, size)
        proof = self._store.proof(digest)
        return Evidence(data, LogProof(index, tuple(hashes), note).encode(), None if proof is None else proof.data)

    def asked_under(self, context: bytes) -> list[bytes]:
        """Digests of the claims of one context, the oldest first. LogRejected: DAMAGED."""
        with self._reading() as connection:
            found, following = log.asked_under(connection, context)
            while following is not None and len(found) <= MAX_DECISIONS:
                more, following = log.asked_under(connection, context, following)
                found += more
            return found

    def consistency(self, first: int, second: int) -> list[bytes]:
        """The roots that prove that the log only grew; none where it shrank. LogRejected: DAMAGED."""
        with self._reading() as connection:
            return log.consistency(connection, first, second) if first <= second else []

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction; rows that are missing or of another type were not left by the server."""
        try:
            with self._store.reading() as connection:
                yield connection
        except (LookupError, TypeError, ValueError) as error:
            raise LogRejected("damaged", f"the database lacks what the log signed for: {error}") from error


def _newest(connection: Connection) -> tuple[bytes, int]:
    """The newest note, and the size that stands beside it."""
    newest = select(log_checkpoints.c.note, log_checkpoints.c.size).order_by(log_checkpoints.c.size.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    if row is None:
        raise LogRejected("unsigned", "no checkpoint was ever signed; ask the server for one")
    return bytes(row.note), int(row.size)
