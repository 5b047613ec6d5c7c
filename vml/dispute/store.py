"""What a player must not forget, in one SQLite file: what it saw, what it asserted, what it signed.

Every change is one transaction of the database (WAL, synchronous FULL): whatever kills the process, the file is as
before the change or as after it. A signed transaction is written down before anybody else sees it; it has one nonce,
so sending it again after a restart is sending it once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from vml.errors import ChainError

FORMAT = "vml-dispute/1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS logs (
    block INTEGER, place INTEGER, at INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (block, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS own (
    assertion BLOB PRIMARY KEY, model BLOB NOT NULL, folder TEXT, input BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (assertion BLOB PRIMARY KEY, verdict TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
    hash TEXT PRIMARY KEY, move BLOB NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL, nonce INTEGER NOT NULL,
    receiver TEXT NOT NULL, data BLOB NOT NULL, value TEXT NOT NULL, gas INTEGER NOT NULL, raw BLOB NOT NULL,
    fee TEXT NOT NULL, tip TEXT NOT NULL, at REAL NOT NULL, state TEXT NOT NULL, block INTEGER, gas_used INTEGER
);
CREATE INDEX IF NOT EXISTS sent_by_move ON sent (move);
CREATE INDEX IF NOT EXISTS sent_by_state ON sent (state);
"""

OUT, MINED, FAILED, REPLACED, REFUSED = "out", "mined", "failed", "replaced", "refused"
"""Where a transaction is: on its way, done, reverted, its nonce another's, never taken by the node."""
HELD_S = 300
"""A round of a player takes seconds, or as long as it takes to run the models again."""
CANCEL = "cancel"
"""Kind of a transaction that does nothing but use up a nonce."""


@dataclass(frozen=True)
class Own:
    """An assertion of this player's.

    Args:
        assertion: its name.
        model: commitment; `folder` is where the compiled model lay.
        input: tensor bytes.
    """

    assertion: bytes
    model: bytes
    folder: str | None
    input: tuple[bytes, ...]


@dataclass(frozen=True)
class Sent:
    """One signed transaction.

    Args:
        hash: 0x hex.
        move: name of the move that it makes; `kind` and `about` for people.
        nonce, receiver, data, value, gas, fee, tip, raw: the transaction; fee and tip in wei for a unit of gas.
        at: when it was signed, seconds.
        state: one of the states above.
        block, gas_used: once it is in a block.
    """

    hash: str
    move: bytes
    kind: str
    about: str
    nonce: int
    receiver: str
    data: bytes
    value: int
    gas: int
    raw: bytes
    fee: int
    tip: int
    at: float
    state: str = OUT
    block: int | None = None
    gas_used: int | None = None


@dataclass(frozen=True)
class Seen:
    """One log as the node gave it: `body` has address, topics, data and transactionHash."""

    block: int
    place: int
    at: int
    body: Mapping[str, Any]


class Store:
    """The file. Several processes may have it open; who reads the chain or sends holds it meanwhile (`held`).

    Args:
        path: of the file; None keeps everything in memory.

    Raises:
        ValueError: it is no such file, or another version's.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, None if path is None else _lock(path)
        try:
            self._db = sqlite3.connect(":memory:" if path is None else path, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            self._require("format", FORMAT)
        except sqlite3.DatabaseError as error:
            self.close()
            raise ValueError(f"{path} is no file of a dispute player: {error}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the file go."""
        if hasattr(self, "_db"):
            self._db.close()
        if self._lock is not None:
            self._lock.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be alone with the file: two players of one account must not sign at once. Killing the process lets it go.

        Raises:
            ChainError: another process has held it for minutes.
        """
        if self._lock is None:
            yield
            return
        import filelock

        try:
            with self._lock.acquire(timeout=HELD_S):
                yield
        except filelock.Timeout:
            raise ChainError(f"another process has held {self._path} for {HELD_S} s; is it stopped?") from None

    def version(self) -> int:
        """Another number once another process has changed something."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def bind(self, chain_id: int, genesis: str, game: str, sender: str | None) -> None:
        """Say what the file is about; it is about nothing else for good.

        Raises:
            ChainError: it is about another chain, contract or account.
        """
        facts = {"chain": str(chain_id), "genesis": genesis, "game": game} | ({"sender": sender} if sender else {})
        for name, value in facts.items():
            try:
                self._require(name, value)
            except ValueError as error:
                raise ChainError(f"the player's file is about another {name}: {error}; give another --db") from None

    # ---- the chain -------------------------------------------------------------------------------------------------

    def blocks(self) -> list[tuple[int, str]]:
        """Number and hash of the blocks that are remembered, newest first."""
        return list(self._db.execute("SELECT number, hash FROM blocks ORDER BY number DESC"))

    def logs(self) -> Iterator[Seen]:
        """Everything seen, in the chain's order."""
        for block, place, at, body in self._db.execute("SELECT block, place, at, body FROM logs ORDER BY block, place"):
            yield Seen(block, place, at, json.loads(body))

    def append(self, logs: Sequence[Seen], blocks: Sequence[tuple[int, str]], remembered: int) -> None:
        """What the chain says up to its block `blocks[-1]`, all at once.

        Args:
            remembered: hashes of so many of the last blocks are kept.
        """
        with self._transaction():
            rows = [(log.block, log.place, log.at, json.dumps(dict(log.body))) for log in logs]
            self._db.executemany("INSERT INTO logs VALUES (?, ?, ?, ?)", rows)
            self._db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", blocks)
            self._db.execute("DELETE FROM blocks WHERE number <= ?", (blocks[-1][0] - remembered,))

    def rollback(self, number: int) -> None:
        """Forget the blocks after this one, with what was in them."""
        with self._transaction():
            self._db.execute("DELETE FROM logs WHERE block > ?", (number,))
            self._db.execute("DELETE FROM blocks WHERE number > ?", (number,))

    # ---- assertions ------------------------------------------------------------------------------------------------

    def add_own(self, own: Own) -> None:
        """Remember an assertion, before it is made. Adding it again changes nothing."""
        parts = json.dumps([part.hex() for part in own.input]).encode()
        with self._transaction():
            row = own.assertion, own.model, own.folder, parts
            self._db.execute("INSERT OR IGNORE INTO own VALUES (?, ?, ?, ?)", row)

    def own(self) -> dict[bytes, Own]:
        """This player's assertions, by name."""
        rows = self._db.execute("SELECT assertion, model, folder, input FROM own")
        found = (Own(a, m, folder, tuple(bytes.fromhex(p) for p in json.loads(data))) for a, m, folder, data in rows)
        return {own.assertion: own for own in found}

    def judge(self, assertion: bytes, verdict: str) -> None:
        """Remember what running the model again said of an assertion."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", (assertion, verdict))

    def verdicts(self) -> dict[bytes, str]:
        """What running the models again said, by assertion."""
        return dict(self._db.execute("SELECT assertion, verdict FROM verdicts"))

    # ---- transactions ----------------------------------------------------------------------------------------------

    def add_sent(self, sent: Sent) -> None:
        """Write down a signed transaction, before it is sent."""
        row = (sent.hash, sent.move, sent.kind, sent.about, sent.nonce, sent.receiver, sent.data, str(sent.value))
        rest = (sent.gas, sent.raw, str(sent.fee), str(sent.tip), sent.at, sent.state, sent.block, sent.gas_used)
        with self._transaction():
            self._db.execute(f"INSERT OR IGNORE INTO sent VALUES ({', '.join('?' * 16)})", (*row, *rest))

    def mark(self, hashes: Sequence[str], state: str, block: int | None = None, gas_used: int | None = None) -> None:
        """What became of some transactions."""
        with self._transaction():
            self._db.executemany(
                "UPDATE sent SET state = ?, block = ?, gas_used = ? WHERE hash = ?",
                [(state, block, gas_used, each) for each in hashes],
            )

    def sent(self, *, move: bytes | None = None, state: str | None = None) -> list[Sent]:
        """Transactions of a move, or in a state, by nonce and then by age."""
        where, given = [], []
        for name, value in (("move", move), ("state", state)):
            if value is not None:
                where.append(f"{name} = ?")
                given.append(value)
        text = "SELECT * FROM sent" + (f" WHERE {' AND '.join(where)}" if where else "") + " ORDER BY nonce, at, rowid"
        return [_sent(row) for row in self._db.execute(text, given)]

    def gas_used(self) -> int:
        """Gas of everything that was mined."""
        return int(self._db.execute("SELECT COALESCE(SUM(gas_used), 0) FROM sent").fetchone()[0])

    # ---- within ----------------------------------------------------------------------------------------------------

    def _require(self, name: str, value: str) -> None:
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
            kept = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
        if kept != value:
            raise ValueError(f"{kept}, not {value}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _sent(row: tuple[Any, ...]) -> Sent:
    fields = dict(zip((each.name for each in dataclass_fields(Sent)), row, strict=True))
    return Sent(**fields | {name: int(fields[name]) for name in ("value", "fee", "tip")})


def _lock(path: Path) -> Any:
    import filelock

    return filelock.FileLock(path.with_name(f".{path.name}.lock"))
