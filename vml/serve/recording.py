"""Remembering answers: claims, their entries in the log, inputs, jobs and idempotency keys, in one transaction.

Everything here may run twice and changes nothing the second time: a claim is known by its digest, a job by claim and
backend, a request by its idempotency key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, Table, insert, select, tuple_

from vml.serve import asking, log, npz
from vml.serve.records import NewAnswer, Recorded
from vml.serve.refusals import IdempotencyConflict, Overloaded
from vml.serve.tables import claims, idempotency, inputs, jobs

Outcome: TypeAlias = Recorded | IdempotencyConflict | Overloaded
_AT_ONCE = 500
"""How many values one `IN (...)` gets: databases have limits."""


@dataclass(frozen=True)
class Prepared:
    """An answer with what is computed from it before the database is locked."""

    answer: NewAnswer
    digest: bytes
    arrays: bytes = field(repr=False)

    @classmethod
    def of(cls, answer: NewAnswer) -> Prepared:
        """Hash the claim and write the inputs as .npz.

        Raises:
            ValueError: inputs that cannot be kept.
        """
        return cls(answer, answer.claim.digest(), npz.encode(answer.inputs) if answer.inputs else b"")

    @property
    def key(self) -> tuple[str, str] | None:
        """Whose idempotency key it has; None where it has none."""
        return None if self.answer.idempotency_key is None else (self.answer.client, self.answer.idempotency_key)


def record(
    connection: Connection, answers: Sequence[Prepared], now: float, max_jobs: int, max_each: int | None = None
) -> list[Outcome]:
    """Remember answers, or say of each why not; the append lock is held.

    Args:
        connection: in a transaction.
        answers: any number, also the same one several times.
        now: unix seconds.
        max_jobs, max_each: how many jobs may be on the way, at most, of all clients and of one.

    Returns:
        What became of each, in order: one that was refused left no trace.
    """
    group = _Group(connection, answers, now, max_jobs, max_each)
    outcomes = [group.take(answer) for answer in answers]
    indexes = group.write()
    return [replace(o, log_index=indexes[o.digest]) if isinstance(o, Recorded) else o for o in outcomes]


def replayed(connection: Connection, client: str, key: str, request_hash: bytes) -> Recorded | None:
    """What was answered under an idempotency key before; None where nothing was.

    Raises:
        IdempotencyConflict: to another request.
    """
    this = idempotency.c.client == client, idempotency.c.key == key
    rows = select(idempotency, claims.c.log_index).join(claims, claims.c.digest == idempotency.c.claim).where(*this)
    row = connection.execute(rows).one_or_none()
    if row is None:
        return None
    if row.request_hash != request_hash:
        raise _conflict()
    return Recorded(row.claim, row.log_index, row.job, False)


class _Group:
    """The answers of one transaction: what is there already, and what comes to it."""

    def __init__(
        self, connection: Connection, answers: Sequence[Prepared], now: float, max_jobs: int, max_each: int | None
    ) -> None:
        self._connection, self._now = connection, now
        keys = {a.key for a in answers if a.key is not None}
        rows = _among(connection, idempotency, tuple_(idempotency.c.client, idempotency.c.key), keys)
        self._keys = {(row.client, row.key): (row.request_hash, row.claim, row.job) for row in rows}
        digests = {a.digest for a in answers} | {claim for _, claim, _ in self._keys.values()}
        self._indexes = {row.digest: row.log_index for row in _among(connection, claims, claims.c.digest, digests)}
        with_inputs = {a.digest for a in answers if a.arrays and a.digest in self._indexes}
        kept = inputs.c.claim
        self._kept = {row.claim for row in _among(connection, inputs, kept, with_inputs, kept)}
        asked = {(a.digest, a.answer.job.backend) for a in answers if a.answer.job is not None}
        rows = _among(connection, jobs, tuple_(jobs.c.claim, jobs.c.backend), asked)
        self._earlier = {(row.claim, row.backend): row for row in rows}
        self._room = asking.Room(connection, max_jobs, max_each) if asked else None
        self._jobs: dict[tuple[bytes, str], str] = {}
        self._askers: dict[str, str] = {}
        self._shared: set[str] = set()
        self._new_claims: dict[bytes, NewAnswer] = {}
        self._rows: dict[Table, list[dict[str, Any]]] = {inputs: [], jobs: [], idempotency: []}

    def take(self, prepared: Prepared) -> Outcome:
        """Decide about one answer; its log index is still to come."""
        answer, digest, key = prepared.answer, prepared.digest, prepared.key
        if key is not None and key in self._keys:
            request_hash, claim, job = self._keys[key]
            return Recorded(claim, -1, job, False) if request_hash == answer.request_hash else _conflict()
        job = None
        if answer.job is not None and self._room is not None:
            asked = digest, answer.job.backend
            if asked not in self._jobs:
                earlier = self._earlier.get(asked)
                if not self._room.take(earlier, answer.job):
                    return self._room.refusal(answer.job.client)
                self._jobs[asked] = self._ask(prepared, earlier)
                self._askers[self._jobs[asked]] = answer.job.client
            job = self._jobs[asked]
            if self._askers[job] != answer.job.client:
                self._shared.add(job)
        created = digest not in self._indexes and digest not in self._new_claims
        if created:
            self._new_claims[digest] = answer
        if prepared.arrays and digest not in self._kept:
            self._kept.add(digest)
            self._rows[inputs].append({"claim": digest, "arrays": prepared.arrays, "created_at": self._now})
        if key is not None:
            self._keys[key] = answer.request_hash, digest, job
            names = "client", "key", "request_hash", "claim", "job", "created_at"
            row = zip(names, (*key, answer.request_hash, digest, job, self._now), strict=True)
            self._rows[idempotency].append(dict(row))
        return Recorded(digest, -1, job, created)

    def write(self) -> dict[bytes, int]:
        """Write what is new; the log indices of all claims of the group."""
        if self._new_claims:
            entries = [(digest, log.entry(answer, self._now)) for digest, answer in self._new_claims.items()]
            first = log.append(self._connection, entries)
            self._indexes.update({digest: first + place for place, digest in enumerate(self._new_claims)})
            self._connection.execute(insert(claims), [self._claim(*item) for item in self._new_claims.items()])
        for table, rows in self._rows.items():
            if rows:
                self._connection.execute(insert(table), rows)
        for job in self._shared:
            asking.share(self._connection, job)
        return self._indexes

    def _ask(self, prepared: Prepared, earlier: Row[Any] | None) -> str:
        asked = prepared.answer.job
        assert asked is not None
        if earlier is not None:
            asking.again(self._connection, earlier, asked, self._now)
            return str(earlier.id)
        row = asking.begin(prepared.digest, prepared.answer.model_name, asked, self._now)
        self._rows[jobs].append(row)
        return str(row["id"])

    def _claim(self, digest: bytes, answer: NewAnswer) -> dict[str, Any]:
        return {
            "digest": digest,
            **{name: getattr(answer.claim, name) for name in ("model", "input", "output", "context")},
            **{name: getattr(answer, name) for name in ("semantics", "model_name", "receipt", "outputs", "client")},
            "created_at": self._now,
            "log_index": self._indexes[digest],
        }


def _among(
    connection: Connection,
    table: Table,
    column: ColumnElement[Any],
    values: Collection[Any],
    *columns: ColumnElement[Any],
) -> list[Row[Any]]:
    """The rows of a table whose column (or tuple of columns) is among some values."""
    every = list(values)
    parts = [every[start : start + _AT_ONCE] for start in range(0, len(every), _AT_ONCE)]
    wanted = select(*columns) if columns else select(table)
    return [row for part in parts for row in connection.execute(wanted.where(column.in_(part)))]


def _conflict() -> IdempotencyConflict:
    return IdempotencyConflict("another request was sent under this idempotency key; take a new key")
