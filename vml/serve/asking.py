"""Asking for proofs: new jobs, the same job asked for again, room for more, the beacon's choice, cancelling."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from vml.serve.records import ENDS, NewJob, State
from vml.serve.refusals import InputsNotKept, Overloaded
from vml.serve.sampling import chosen
from vml.serve.tables import claims, inputs, jobs

OPEN = tuple(state.value for state in State if state not in ENDS)
NOT_SAMPLED = "NotSampled"
"""Code of a job that the beacon did not choose; its state is `cancelled`."""

_USUAL_S = 10.0
"""How long a job takes, as long as none has ended."""
_LONGEST_WAIT_S = 600.0


def depth(connection: Connection) -> int:
    """How many jobs have not ended."""
    return connection.execute(select(func.count()).where(jobs.c.state.in_(OPEN))).scalar_one()


class Room:
    """How many more jobs are taken on, within one transaction.

    A job that waits for the beacon takes as much room as its chance to be chosen.

    Args:
        connection: in that transaction.
        max_jobs: on the way, at most.
        max_each: of these of one client, at most; None for no bound.
    """

    def __init__(self, connection: Connection, max_jobs: int, max_each: int | None = None) -> None:
        self._connection, self._max_jobs, self._max_each = connection, max_jobs, max_each
        self._taken = self._count()
        self._each: dict[str, float] = {}

    def _count(self, *which: ColumnElement[bool]) -> float:
        sure = select(func.count()).where(jobs.c.state.in_([State.QUEUED, State.RUNNING]), *which)
        chances = select(func.sum(1.0 / jobs.c.sample)).where(jobs.c.state == State.WAITING, *which)
        found = self._connection.execute(sure).scalar_one(), self._connection.execute(chances).scalar() or 0
        return float(found[0]) + float(found[1])

    def take(self, earlier: Row[Any] | None, asked: NewJob) -> bool:
        """Take a place for a job, unless one that was asked for earlier has it or needs none.

        Args:
            earlier: the job's row, where there is one.
            asked: what is asked for.

        Returns:
            False where everything is taken.
        """
        if earlier is not None and (earlier.state in OPEN or earlier.state == State.PROVED):
            return True
        share = 1 / asked.sample if asked.first_state is State.WAITING else 1
        if self._taken >= self._max_jobs:
            return False
        if self._max_each is not None:
            if asked.client not in self._each:
                self._each[asked.client] = self._count(jobs.c.client == asked.client)
            if self._each[asked.client] >= self._max_each:
                return False
            self._each[asked.client] += share
        self._taken += share
        return True

    def refusal(self, client: str = "") -> Overloaded:
        """With the time after which there should be a place: what is too much, at the pace of the latest jobs."""
        ended = jobs.c.state == State.PROVED
        latest = select(jobs.c.started_at, jobs.c.finished_at).where(ended).order_by(jobs.c.finished_at.desc())
        times = [max(0.0, end - start) for start, end in self._connection.execute(latest.limit(50))]
        pace = sum(times) / len(times) if times else _USUAL_S
        running = select(func.count()).where(jobs.c.state == State.RUNNING)
        workers = max(1, self._connection.execute(running).scalar_one())
        wait = pace * (self._taken - self._max_jobs + 1) / workers
        said = f"{self._taken:.0f} proofs are waiting or running"
        if self._taken < self._max_jobs:
            wait, said = pace, f"{self._each[client]:.0f} proofs of this client are waiting or running"
        return Overloaded(min(max(wait, 1.0), _LONGEST_WAIT_S), said)


def begin(claim: bytes, model_name: str, asked: NewJob, now: float) -> dict[str, Any]:
    """The row of a job that is asked for the first time.

    Args:
        claim: 32-byte digest.
        model_name: under which the model was asked.
        asked: the proof.
        now: unix seconds.
    """
    return {"id": token_hex(16), "claim": claim, "model_name": model_name, **_at_the_start(asked, now)}


def again(connection: Connection, earlier: Row[Any], asked: NewJob, now: float) -> None:
    """Ask again for a job that exists: one that failed or was cancelled starts anew, others may move forward.

    Args:
        connection: in a transaction.
        earlier: its row.
        asked: the proof.
        now: unix seconds.
    """
    this = jobs.c.id == earlier.id
    if earlier.state in (State.FAILED, State.CANCELLED):
        # The state is asked for again: elsewhere the same may have been done since the row was read.
        states = jobs.c.state.in_([State.FAILED, State.CANCELLED])
        connection.execute(update(jobs).where(this, states).values(**_at_the_start(asked, now)))
    elif earlier.state in OPEN:
        wanted: dict[str, Any] = {"cancel_asked": False, "priority": max(asked.priority, earlier.priority)}
        wanted["client"] = earlier.client if earlier.client == asked.client else None
        if any(getattr(earlier, name) != value for name, value in wanted.items()):
            connection.execute(update(jobs).where(this, jobs.c.state.in_(OPEN)).values(**wanted))
        if earlier.state == State.WAITING and asked.first_state is State.QUEUED:
            connection.execute(
                update(jobs).where(this, jobs.c.state == State.WAITING).values(state=State.QUEUED, not_before=now)
            )


def share(connection: Connection, job: str) -> None:
    """Somebody else asks for a job, too: it is nobody's own any more."""
    connection.execute(update(jobs).where(jobs.c.id == job, jobs.c.state.in_(OPEN)).values(client=None))


def ask(
    connection: Connection, claim: bytes, asked: NewJob, now: float, max_jobs: int, max_each: int | None = None
) -> str:
    """Ask for a proof of a claim that was recorded; the append lock is held.

    Args:
        connection: in a transaction.
        claim: 32-byte digest.
        asked: the proof.
        now: unix seconds.
        max_jobs, max_each: see `Room`.

    Returns:
        The job's id.

    Raises:
        InputsNotKept: the claim is unknown, or there is nothing to start from.
        Overloaded: there is no room.
    """
    one = select(jobs).where(jobs.c.claim == claim, jobs.c.backend == asked.backend)
    earlier = connection.execute(one).one_or_none()
    if earlier is None or earlier.state in (State.FAILED, State.CANCELLED):
        if connection.execute(select(inputs.c.claim).where(inputs.c.claim == claim)).one_or_none() is None:
            raise InputsNotKept("the inputs of this claim are not kept: nothing can be proved from them any more")
        room = Room(connection, max_jobs, max_each)
        if not room.take(earlier, asked):
            raise room.refusal(asked.client)
    if earlier is not None:
        again(connection, earlier, asked, now)
        return str(earlier.id)
    name = connection.execute(select(claims.c.model_name).where(claims.c.digest == claim)).scalar_one()
    row = begin(claim, name, asked, now)
    connection.execute(insert(jobs).values(**row))
    return str(row["id"])


def cancel(connection: Connection, job: str, now: float) -> None:
    """Cancel a job nobody runs; ask whoever runs it to stop. An ended one stays as it is.

    Args:
        connection: in a transaction.
        job: id.
        now: unix seconds.
    """
    this = jobs.c.id == job
    waits = jobs.c.state.in_([State.QUEUED, State.WAITING])
    values = {"state": State.CANCELLED, "cancel_asked": True, "finished_at": now, "error": "cancelled on request"}
    if not connection.execute(update(jobs).where(this, waits).values(**values)).rowcount:
        running = jobs.c.state == State.RUNNING
        connection.execute(update(jobs).where(this, running).values(cancel_asked=True))


def decide(connection: Connection, beacon_round: int, value: bytes, now: float) -> tuple[int, int]:
    """Queue those of the waiting jobs that the beacon chooses, and drop the others.

    Args:
        connection: in a transaction.
        beacon_round: that is known now.
        value: its random value.
        now: unix seconds.

    Returns:
        (queued, dropped).
    """
    waits = jobs.c.state == State.WAITING, jobs.c.beacon_round == beacon_round
    rows = connection.execute(select(jobs.c.id, jobs.c.claim, jobs.c.sample).where(*waits).with_for_update()).all()
    lucky = [row.id for row in rows if chosen(row.claim, row.sample, value)]
    reason = f"round {beacon_round} of the beacon did not choose this claim"
    dropped = {"state": State.CANCELLED, "finished_at": now, "error_code": NOT_SAMPLED, "error": reason}
    for start in range(0, len(lucky), 500):
        these = jobs.c.id.in_(lucky[start : start + 500])
        connection.execute(update(jobs).where(*waits, these).values(state=State.QUEUED, not_before=now))
    if len(lucky) < len(rows):
        connection.execute(update(jobs).where(*waits).values(**dropped))
    return len(lucky), len(rows) - len(lucky)


def _at_the_start(asked: NewJob, now: float) -> dict[str, Any]:
    return {
        "backend": asked.backend,
        "state": asked.first_state,
        "priority": asked.priority,
        "stage": "",
        "fraction": 0.0,
        "attempts": 0,
        "max_attempts": asked.max_attempts,
        "not_before": now,
        "worker": "",
        "lease_token": "",
        "lease_until": 0.0,
        "cancel_asked": False,
        "sample": asked.sample,
        "beacon_round": asked.beacon_round,
        "created_at": now,
        "started_at": None,
        "finished_at": None,
        "error_code": "",
        "error": "",
        "proof_claims": b"",
        "client": asked.client,
    }
