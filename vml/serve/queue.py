"""The queue of jobs as workers see it: lease one, say that it is alive, and end it or hand it back.

A lease is a token. Whoever changes a running job names the token that its row has, so that a worker that was silent for
too long, and whose job somebody else has by now, changes nothing any more (docs/serve-jobs.md).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from vml.proof import Proof
from vml.serve import npz, reading
from vml.serve.blame import blame
from vml.serve.records import Lease, State
from vml.serve.refusals import JobCancelled, LeaseLost
from vml.serve.tables import claims, inputs, jobs, proofs, proved

WORKER_LOST = "WorkerLost"
"""Code of a job whose workers died, or fell silent, as often as it may be begun."""

_LONGEST_PAUSE_S = 60.0
_NOBODY = {"worker": "", "lease_until": 0.0}


def anything_to_do(
    connection: Connection, now: float, backends: Collection[str] | None, models: Collection[str] | None
) -> bool:
    """Whether a job could be leased, or a lease is over: asked before anything is locked."""
    over = select(jobs.c.id).where(_over(now)).limit(1)
    ready = select(jobs.c.id).where(*_ready(now, backends, models)).limit(1)
    return any(connection.execute(one).first() is not None for one in (over, ready))


def lease(
    connection: Connection,
    worker: str,
    token: str,
    now: float,
    seconds: float,
    backends: Collection[str] | None,
    models: Collection[str] | None,
) -> Lease | None:
    """Take the first job in line: the highest priority, then the oldest.

    Args:
        connection: in a transaction.
        worker: name of who takes it.
        token: 32 hex digits nobody used before; the same again finds the same job.
        now: unix seconds.
        seconds: how long the lease lasts unless `beat` prolongs it.
        backends, models: names of those the worker can do; None for all.

    Returns:
        The lease; None where nothing is ready.
    """
    held = select(jobs.c.id).where(jobs.c.lease_token == token, jobs.c.state == State.RUNNING)
    line = select(jobs.c.id).where(*_ready(now, backends, models))
    line = line.order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id).limit(1)
    job = connection.execute(held).scalar_one_or_none()
    if job is None:
        job = connection.execute(line.with_for_update(skip_locked=True)).scalar_one_or_none()
        if job is None:
            return None
        values = {
            "state": State.RUNNING,
            "attempts": jobs.c.attempts + 1,
            "worker": worker[:255],
            "lease_token": token,
            "lease_until": now + seconds,
            "stage": "",
            "fraction": 0.0,
            "started_at": now,
            "error_code": "",
            "error": "",
        }
        connection.execute(update(jobs).where(jobs.c.id == job).values(**values))
    columns = jobs.c.backend, jobs.c.model_name, jobs.c.attempts, jobs.c.lease_until, inputs.c.arrays
    rows = select(claims, *columns).join(jobs, jobs.c.claim == claims.c.digest).where(jobs.c.id == job)
    row = connection.execute(rows.outerjoin(inputs, inputs.c.claim == claims.c.digest)).one()
    return Lease(
        job=job,
        token=token,
        until=row.lease_until,
        claim=reading.claim_of(row),
        model_name=row.model_name,
        backend=row.backend,
        attempt=row.attempts,
        inputs={} if row.arrays is None else npz.decode(row.arrays),
    )


def beat(connection: Connection, lease: Lease, now: float, seconds: float, stage: str, fraction: float) -> bool:
    """Say that the worker is alive and how far it is.

    Returns:
        False where the worker is asked to stop.

    Raises:
        LeaseLost: the job is not this worker's any more.
    """
    until = {"lease_until": now + seconds, "stage": stage[:64], "fraction": min(max(fraction, 0.0), 1.0)}
    if not connection.execute(update(jobs).where(_held(lease)).values(**until)).rowcount:
        raise _lost()
    return not connection.execute(select(jobs.c.cancel_asked).where(jobs.c.id == lease.job)).scalar_one()


def finish(connection: Connection, lease: Lease, proof: Proof, data: bytes, now: float) -> None:
    """Publish the proof and end the job, both or neither.

    Args:
        connection: in a transaction.
        lease: of the job.
        proof, data: the proof, and the bytes of its envelope.
        now: unix seconds.

    Raises:
        LeaseLost: the job is not this worker's any more; nothing is published.
    """
    inside = tuple(claim.digest() for claim in proof.claims)
    ended = {"state": State.PROVED, "finished_at": now, "stage": "", "fraction": 1.0, "cancel_asked": False}
    values = {**ended, **_NOBODY, "worker": jobs.c.worker, "proof_claims": b"".join(inside)}
    if not connection.execute(update(jobs).where(_held(lease)).values(**values)).rowcount:
        if _state_of(connection, lease) is State.PROVED:
            return  # done before, by this very lease: its commit went through and nobody heard of it
        raise _lost()
    answered = lease.claim.digest()
    row = {"claim": answered, "backend": lease.backend, "scheme": proof.scheme, "data": data}
    connection.execute(insert(proofs).values(**row, claims=b"".join(inside), created_at=now, job=lease.job))
    about = [{"digest": d, "claim": answered, "backend": lease.backend} for d in dict.fromkeys(inside)]
    connection.execute(insert(proved), about)


def fail(connection: Connection, lease: Lease, error: Exception, now: float, *, retry: bool, pause_s: float) -> State:
    """End an attempt: the job is queued again, or fails with a reason, or is cancelled where that was asked.

    Args:
        connection: in a transaction.
        lease: of the job.
        error: what happened; only what `blame` lets through is remembered.
        now: unix seconds.
        retry: whether another attempt may go better.
        pause_s: before the second attempt; it doubles with each further one.

    Returns:
        Where the job is now.

    Raises:
        LeaseLost: the job is not this worker's any more.
    """
    this = select(jobs).where(_held(lease)).with_for_update()
    row = connection.execute(this).one_or_none()
    if row is None:
        state = _state_of(connection, lease)
        if state in (State.QUEUED, State.FAILED, State.CANCELLED):
            return state  # done before, by this very lease
        raise _lost()
    code, words = blame(error)
    values: dict[str, Any] = {**_NOBODY, "error_code": code, "error": words, "finished_at": now}
    if row.cancel_asked:
        values |= {"state": State.CANCELLED, "error_code": "", "error": "cancelled on request"}
    elif isinstance(error, JobCancelled):  # and somebody asked for it again since
        values |= _once_more(now, row.attempts - 1, 0.0)
    elif retry and row.attempts < row.max_attempts:
        values |= {**_once_more(now, row.attempts, pause_s), "error_code": code, "error": words}
    else:
        values |= {"state": State.FAILED}
    connection.execute(update(jobs).where(_held(lease)).values(**values))
    return State(values["state"])


def release(connection: Connection, lease: Lease, now: float) -> None:
    """Hand a job back that somebody else should begin anew; this attempt does not count.

    Raises:
        LeaseLost: the job is not this worker's any more.
    """
    row = connection.execute(select(jobs).where(_held(lease)).with_for_update()).one_or_none()
    if row is None:
        if _state_of(connection, lease) in (State.QUEUED, State.CANCELLED):
            return
        raise _lost()
    values = _once_more(now, row.attempts - 1, 0.0)
    if row.cancel_asked:
        values = {**_NOBODY, "state": State.CANCELLED, "finished_at": now, "error": "cancelled on request"}
    connection.execute(update(jobs).where(_held(lease)).values(**values))


def expire(connection: Connection, now: float, *, pause_s: float, worker: str | None = None) -> int:
    """Take jobs away from workers that fell silent: queued again, or failed where they were begun often enough.

    Args:
        connection: in a transaction.
        now: unix seconds.
        pause_s: as of `fail`.
        worker: name of one that is known to be dead, whose leases are over at once.

    Returns:
        How many jobs it were.
    """
    gone = _over(now) if worker is None else (jobs.c.state == State.RUNNING) & (jobs.c.worker == worker[:255])
    columns = jobs.c.id, jobs.c.attempts, jobs.c.max_attempts, jobs.c.cancel_asked
    rows = connection.execute(select(*columns).where(gone).with_for_update(skip_locked=True)).all()
    for row in rows:
        # Without the token nothing of the old lease counts any more.
        values: dict[str, Any] = {**_NOBODY, "lease_token": "", "finished_at": now}
        if row.cancel_asked:
            values |= {"state": State.CANCELLED, "error": "cancelled on request"}
        elif row.attempts < row.max_attempts:
            values |= _once_more(now, row.attempts, pause_s)
        else:
            words = f"begun {row.attempts} times, and each time its worker died or fell silent"
            values |= {"state": State.FAILED, "error_code": WORKER_LOST, "error": words}
        connection.execute(update(jobs).where(jobs.c.id == row.id).values(**values))
    return len(rows)


def _ready(now: float, backends: Collection[str] | None, models: Collection[str] | None) -> list[ColumnElement[bool]]:
    ready = [jobs.c.state == State.QUEUED, jobs.c.not_before <= now]
    if backends is not None:
        ready.append(jobs.c.backend.in_(list(backends)))
    if models is not None:
        ready.append(jobs.c.model_name.in_(list(models)))
    return ready


def _over(now: float) -> ColumnElement[bool]:
    return (jobs.c.state == State.RUNNING) & (jobs.c.lease_until < now)


def _held(lease: Lease) -> ColumnElement[bool]:
    return (jobs.c.id == lease.job) & (jobs.c.lease_token == lease.token) & (jobs.c.state == State.RUNNING)


def _state_of(connection: Connection, lease: Lease) -> State | None:
    """Where the job is, if nobody took it after this lease."""
    this = jobs.c.id == lease.job, jobs.c.lease_token == lease.token
    state = connection.execute(select(jobs.c.state).where(*this)).scalar_one_or_none()
    return None if state is None else State(state)


def _once_more(now: float, attempts: int, pause_s: float) -> dict[str, Any]:
    pause = min(pause_s * 2 ** max(attempts - 1, 0), _LONGEST_PAUSE_S)
    start = {"state": State.QUEUED, "attempts": attempts, "not_before": now + pause, "finished_at": None}
    return {**_NOBODY, **start, "stage": "", "fraction": 0.0, "started_at": None, "error_code": "", "error": ""}


def _lost() -> LeaseLost:
    return LeaseLost("the job was given to somebody else or has ended: this worker was silent for too long")
