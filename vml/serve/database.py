"""Transactions on SQLite and PostgreSQL: how they begin, wait for each other, and are tried again.

Whatever is handed to `Database.write` may be run twice: where the connection breaks off while a commit is on its way,
nobody knows whether it took place. So each piece of work looks first whether it was done (docs/serve-jobs.md).
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pg8000
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from vml.serve.refusals import StoreUnavailable
from vml.serve.tables import metadata, schema

Result = TypeVar("Result")

SCHEMA = 2
"""Version of the tables; a database of another version is not touched."""

_APPENDS = 0x766D6C5F6C6F67
"""Number of the advisory lock that orders appends to the log ("vml_log")."""

_BUSY_S = 30
_TRANSIENT = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "08003", "08006"})
"""SQLSTATE of what passes: serialisation, deadlock, lock, shutdown, too many connections, broken connections."""
_RAW = (ConnectionError, TimeoutError, struct.error, pg8000.Error)
_BROKEN = frozenset({"57P01", "57P02", "57P03", "08003", "08006"})


class Database:
    """One database. Thread-safe.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql://user:password@host:port/name``.
        patience_s: how long to go on trying while it does not answer.

    Raises:
        ValueError: another kind of database, one that only lives in memory, or one of another version of vml.
        StoreUnavailable: it does not answer.
    """

    def __init__(self, url: str, *, patience_s: float = 30.0) -> None:
        self._url = _parse(url)
        self._patience_s = patience_s
        self.sqlite = self._url.get_backend_name() == "sqlite"
        if self.sqlite:
            # Claims and inputs are nobody else's business; the journal's files take the same mode.
            os.close(os.open(str(self._url.database), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._file = _file(str(self._url.database))
            self._engine = create_engine(self._url, connect_args={"timeout": _BUSY_S})
            event.listen(self._engine, "do_connect", lambda *_: self._require_file())
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", self._begin_sqlite)
        else:
            self._engine = create_engine(self._url, pool_pre_ping=True, connect_args={"timeout": _BUSY_S})
            event.listen(self._engine, "handle_error", _recognise_broken)
            event.listen(self._engine, "begin", _begin_postgresql)
        self._writing = self._engine.execution_options(vml_writes=True)
        self.append(self._create)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that changes nothing and sees one state of the database.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with _refusing(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def appending(self) -> Iterator[Connection]:
        """A transaction that is the only one to append to the log or to add jobs; committed at its end.

        Raises:
            StoreUnavailable: the database does not answer, or is full.
        """
        with _refusing(), self._writing.begin() as connection:
            self._lock_appends(connection)
            yield connection

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run work that changes nothing, as in `reading`; again where the connection broke.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        return self._run(self._engine, work)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run work in one transaction, durable when this returns. It is run again where the connection broke.

        Raises:
            StoreUnavailable: the database does not answer, or is full.
        """
        return self._run(self._writing, work)

    def append(self, work: Callable[[Connection], Result]) -> Result:
        """Like `write`, while nobody else appends to the log or adds jobs.

        Raises:
            StoreUnavailable: the database does not answer, or is full.
        """

        def alone(connection: Connection) -> Result:
            self._lock_appends(connection)
            return work(connection)

        return self.write(alone)

    def _lock_appends(self, connection: Connection) -> None:
        if not self.sqlite:  # there every writer is alone
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _APPENDS})

    def _begin_sqlite(self, connection: Connection) -> None:
        # A writer takes its lock at once: a reader that turns writer half-way would be refused instead of waiting.
        writes = connection.get_execution_options().get("vml_writes", False)
        if writes:
            self._require_file()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def _require_file(self) -> None:
        """Refuse to go on where the file was removed or replaced: an open one still takes everything, and loses it."""
        if _file(str(self._url.database)) != self._file:
            raise StoreUnavailable("the database's file is gone, or another one is in its place")

    def _create(self, connection: Connection) -> None:
        if not inspect(connection).has_table(schema.name):
            metadata.create_all(connection)
            connection.execute(insert(schema).values(version=SCHEMA))
        version = connection.execute(select(schema.c.version)).scalar_one()
        if version != SCHEMA:
            raise ValueError(f"the database has tables of version {version}, this vml has version {SCHEMA}")

    def _run(self, engine: Engine, work: Callable[[Connection], Result]) -> Result:
        give_up = time.monotonic() + self._patience_s
        pause = 0.05
        while True:
            try:
                with _refusing(), engine.begin() as connection:
                    return work(connection)
            except StoreUnavailable as error:
                if not error.passes or time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


@contextmanager
def _refusing() -> Iterator[None]:
    """Say `StoreUnavailable` instead of the driver's errors: those quote statements with their values, inputs too."""
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(f"the database failed: {_words(error)}", passes=_passes(error)) from None
    except _RAW as error:
        # pg8000 lets these through where a connection breaks; SQLAlchemy takes them for nobody's.
        raise StoreUnavailable(f"the connection broke: {type(error).__name__}", passes=True) from None


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
        if name == "postgresql":
            parsed = parsed.set(drivername="postgresql+pg8000")
    except (ArgumentError, NoSuchModuleError):
        name = ""
    if name not in ("sqlite", "postgresql"):
        raise ValueError("a database is sqlite:////path or postgresql://user:password@host:port/name")
    if name == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError("a database in memory would forget everything; give sqlite:////path")
    return parsed


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says, not where the driver guesses
    cursor = connection.cursor()
    # FULL: a commit is on the disk when it returns, even in the log mode.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _file(path: str) -> tuple[int, int] | None:
    """Which file a path names; None for none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin_postgresql(connection: Connection) -> None:
    if not connection.get_execution_options().get("vml_writes", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _recognise_broken(context: ExceptionContext) -> None:
    """Tell the pool which errors mean that the connection is gone: pg8000 has no class of its own for them."""
    if _state(context.original_exception) in _BROKEN or isinstance(context.original_exception, OSError):
        context.is_disconnect = True


def _state(error: BaseException | None) -> str | None:
    """SQLSTATE of an error of pg8000; None where it has none."""
    first = error.args[0] if error is not None and error.args else None
    return first.get("C") if isinstance(first, dict) else None


def _passes(error: DBAPIError) -> bool:
    if error.connection_invalidated or _state(error.orig) in _TRANSIENT:
        return True
    words = str(error.orig)
    return "database is locked" in words or "Can't create a connection" in words


def _words(error: DBAPIError) -> str:
    first = error.orig.args[0] if error.orig is not None and error.orig.args else ""
    said = first.get("M", "") if isinstance(first, dict) else first
    return f"{type(error.orig).__name__}: {said}"[:300]
