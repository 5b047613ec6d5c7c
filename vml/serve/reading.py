"""Reading what is remembered: rows of the database as records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, select

from vml.claim import Claim
from vml.serve import npz
from vml.serve.records import ClaimRecord, Job, ProofRecord, State
from vml.serve.tables import claims, inputs, jobs, proofs, proved

_HASH = 32
_OF_JOB = tuple(column for column in jobs.c if column.name in Job.__dataclass_fields__)


def claim(connection: Connection, digest: bytes) -> ClaimRecord | None:
    """One claim; None where it was never answered."""
    row = connection.execute(select(claims).where(claims.c.digest == digest)).one_or_none()
    return None if row is None else _claim_record(row)


def newest_claims(
    connection: Connection, limit: int, before: int | None, model: bytes | None, name: str | None
) -> list[ClaimRecord]:
    """Claims, the newest first; of those below a log index, of one model, under one name."""
    wanted = select(claims).order_by(claims.c.log_index.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(claims.c.log_index < before)
    if model is not None:
        wanted = wanted.where(claims.c.model == model)
    if name is not None:
        wanted = wanted.where(claims.c.model_name == name)
    return [_claim_record(row) for row in connection.execute(wanted)]


def count_claims(connection: Connection) -> int:
    """How many claims there are: each is one entry of the log, and none is ever taken out."""
    last = connection.execute(select(func.max(claims.c.log_index))).scalar()
    return 0 if last is None else int(last) + 1


def kept_inputs(connection: Connection, digest: bytes) -> Mapping[str, Any] | None:
    """Arrays by input name; None where they are not kept."""
    data = connection.execute(select(inputs.c.arrays).where(inputs.c.claim == digest)).scalar_one_or_none()
    return None if data is None else npz.decode(data)


def job(connection: Connection, id: str) -> Job | None:
    """One job; None where there is none of this id."""
    row = connection.execute(select(*_OF_JOB).where(jobs.c.id == id)).one_or_none()
    return None if row is None else job_record(row)


def newest_jobs(connection: Connection, limit: int, state: State | None, of_claim: bytes | None) -> list[Job]:
    """Jobs, the newest first."""
    wanted = select(*_OF_JOB).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
    if state is not None:
        wanted = wanted.where(jobs.c.state == state)
    if of_claim is not None:
        wanted = wanted.where(jobs.c.claim == of_claim)
    return [job_record(row) for row in connection.execute(wanted)]


def count_jobs(connection: Connection) -> dict[State, int]:
    """How many jobs are in each state."""
    counts = dict.fromkeys(State, 0)
    for state, count in connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)):
        counts[State(state)] = count
    return counts


def waiting_rounds(connection: Connection) -> list[int]:
    """The beacon's rounds that jobs wait for, the earliest first."""
    rounds = select(jobs.c.beacon_round).where(jobs.c.state == State.WAITING).distinct()
    return sorted(connection.execute(rounds).scalars())


def proof(connection: Connection, digest: bytes, backend: str | None) -> ProofRecord | None:
    """A proof of the claim that was answered, else one that is about this very claim; the latest of several."""
    about = (proved.c.claim == proofs.c.claim) & (proved.c.backend == proofs.c.backend)
    answered = select(proofs).where(proofs.c.claim == digest)
    inside = select(proofs).join(proved, about).where(proved.c.digest == digest)
    for wanted in (answered, inside):
        if backend is not None:
            wanted = wanted.where(proofs.c.backend == backend)
        row = connection.execute(wanted.order_by(proofs.c.created_at.desc()).limit(1)).one_or_none()
        if row is not None:
            return ProofRecord(**{**row._mapping, "claims": digests(row.claims)})
    return None


def digests(data: bytes) -> tuple[bytes, ...]:
    """Take 32-byte digests apart."""
    return tuple(data[start : start + _HASH] for start in range(0, len(data), _HASH))


def claim_of(row: Row[Any]) -> Claim:
    """The claim in a row that has its four fields."""
    return Claim(row.model, row.input, row.output, row.context)


def job_record(row: Row[Any]) -> Job:
    """A row of jobs as a record."""
    values = {**row._mapping, "state": State(row.state), "proof_claims": digests(row.proof_claims)}
    return Job(**values)


def _claim_record(row: Row[Any]) -> ClaimRecord:
    names = "digest", "semantics", "model_name", "created_at", "log_index", "receipt", "outputs", "client"
    return ClaimRecord(claim=claim_of(row), **{name: getattr(row, name) for name in names})
