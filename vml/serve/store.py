"""Everything the server asks of its database, each question one transaction (docs/serve-jobs.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from vml.proof import Proof
from vml.serve import asking, queue, reading, recording
from vml.serve.database import Database
from vml.serve.records import ClaimRecord, Job, Lease, NewAnswer, NewJob, ProofRecord, Recorded, State
from vml.serve.tables import idempotency, inputs, jobs, signers

__all__ = ["Store"]


class Store:
    """What the server remembers. Thread-safe; calls block, so that an event loop hands them to a thread.

    Every method raises `StoreUnavailable` where the database does not answer for `patience_s`.

    Args:
        database: where it is remembered.
        clock: gives unix seconds; clocks of machines that share a database differ by less than a lease lasts.
        max_jobs: how many jobs may be on the way, at most.
        max_each: how many of them one client may have asked for; None for no bound.
        retry_s: pause before a job's second attempt; it doubles with each further one, up to a minute.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float],
        max_jobs: int,
        retry_s: float,
        max_each: int | None = None,
    ) -> None:
        self.database = database
        self._clock, self._max_jobs, self._max_each, self._retry_s = clock, max_jobs, max_each, retry_s

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        max_jobs: int = 10_000,
        max_each: int | None = None,
        retry_s: float = 1.0,
        patience_s: float = 30.0,
    ) -> Store:
        """Open a database, and make its tables where it has none.

        Args:
            url: ``sqlite:////absolute/path`` or ``postgresql://user:password@host:port/name``.
            clock, max_jobs, max_each, retry_s: see `Store`.
            patience_s: how long to go on trying while the database does not answer.

        Raises:
            ValueError: another kind of database, or one of another version.
            StoreUnavailable: it does not answer.
        """
        database = Database(url, patience_s=patience_s)
        return cls(database, clock=clock, max_jobs=max_jobs, max_each=max_each, retry_s=retry_s)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that changes nothing and sees one state of the database."""
        return self.database.reading()

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction of the only one who appends to the log meanwhile; committed at its end."""
        return self.database.appending()

    def record(self, answers: Sequence[NewAnswer]) -> list[Recorded]:
        """Remember answers in one transaction, all or none.

        Raises:
            IdempotencyConflict: an idempotency key is another request's.
            Overloaded: there is no room for a job.
        """
        return [_or_raise(outcome) for outcome in self._record(answers, all_or_none=True)]

    def record_each(self, answers: Sequence[NewAnswer]) -> list[recording.Outcome]:
        """Remember answers in one transaction, each unless it is refused by itself.

        Returns:
            What became of each, in order; a refusal is an `IdempotencyConflict` or `Overloaded`, not raised.
        """
        return self._record(answers, all_or_none=False)

    def _record(self, answers: Sequence[NewAnswer], *, all_or_none: bool) -> list[recording.Outcome]:
        prepared = [recording.Prepared.of(answer) for answer in answers]

        def work(connection: Connection) -> list[recording.Outcome]:
            outcomes = recording.record(connection, prepared, self._clock(), self._max_jobs, self._max_each)
            if all_or_none:
                for outcome in outcomes:
                    _or_raise(outcome)
            return outcomes

        return self.database.append(work)

    def replayed(self, client: str, key: str, request_hash: bytes) -> Recorded | None:
        """What was answered under an idempotency key before; None where nothing was.

        Raises:
            IdempotencyConflict: to another request.
        """
        return self.database.read(lambda c: recording.replayed(c, client, key, request_hash))

    def claim(self, digest: bytes) -> ClaimRecord | None:
        """One claim; None where it was never answered."""
        return self.database.read(lambda c: reading.claim(c, digest))

    def claims(
        self, *, limit: int, before: int | None = None, model: bytes | None = None, name: str | None = None
    ) -> list[ClaimRecord]:
        """Claims, the newest first.

        Args:
            limit: at most so many.
            before: only those with a lower log index.
            model: only those of this 32-byte commitment.
            name: only those asked under this name.
        """
        return self.database.read(lambda c: reading.newest_claims(c, limit, before, model, name))

    def count_claims(self) -> int:
        """How many claims were answered."""
        return self.database.read(reading.count_claims)

    def inputs(self, digest: bytes) -> Mapping[str, Any] | None:
        """Arrays by input name of a claim; None where they are not kept."""
        return self.database.read(lambda c: reading.kept_inputs(c, digest))

    def ask(self, claim: bytes, job: NewJob) -> Job:
        """Ask for a proof of a claim that was answered; the same job when asked again, anew where it failed.

        Raises:
            InputsNotKept: the claim is unknown, or there is nothing to start from.
            Overloaded: there is no room.
        """

        def work(connection: Connection) -> Job:
            id = asking.ask(connection, claim, job, self._clock(), self._max_jobs, self._max_each)
            found = reading.job(connection, id)
            assert found is not None
            return found

        return self.database.append(work)

    def job(self, id: str) -> Job | None:
        """One job; None where there is none of this id."""
        return self.database.read(lambda c: reading.job(c, id))

    def jobs(self, *, limit: int, state: State | None = None, claim: bytes | None = None) -> list[Job]:
        """Jobs, the newest first; those in one state, of one claim."""
        return self.database.read(lambda c: reading.newest_jobs(c, limit, state, claim))

    def count_jobs(self) -> dict[State, int]:
        """How many jobs are in each state."""
        return self.database.read(reading.count_jobs)

    def cancel(self, id: str) -> Job | None:
        """Cancel a job: at once where nobody runs it, else the worker is asked to stop. None for an unknown id."""

        def work(connection: Connection) -> Job | None:
            asking.cancel(connection, id, self._clock())
            return reading.job(connection, id)

        return self.database.write(work)

    def proof(self, claim: bytes, backend: str | None = None) -> ProofRecord | None:
        """A proof, by the digest of the claim that was answered or of one inside the proof; None for none."""
        return self.database.read(lambda c: reading.proof(c, claim, backend))

    def depth(self) -> int:
        """How many jobs have not ended."""
        return self.database.read(asking.depth)

    def forget_inputs(self, before: float) -> int:
        """Delete inputs that were kept before a time, except those that a job on the way starts from.

        Returns:
            Of how many claims.
        """
        on_the_way = select(jobs.c.claim).where(jobs.c.state.in_(asking.OPEN))
        old = delete(inputs).where(inputs.c.created_at < before, inputs.c.claim.not_in(on_the_way))

        # Nobody asks for a proof from them meanwhile.
        return self.database.append(lambda c: int(c.execute(old).rowcount))

    def sign_with(self, key_id: bytes, epoch: int, folder: str) -> None:
        """Say that receipts of a key and epoch are counted in a data folder, and in no other.

        Args:
            key_id: 32 bytes.
            epoch: of the key.
            folder: 32 hex digits that name it.

        Raises:
            ValueError: they are counted in another one, where the same numbers would be used.
        """

        def work(connection: Connection) -> tuple[str, int]:
            this = signers.c.key_id == key_id
            rows = {row.epoch: row.folder for row in connection.execute(select(signers).where(this))}
            if epoch not in rows:
                rows[epoch] = folder
                connection.execute(insert(signers).values(key_id=key_id, epoch=epoch, folder=folder))
            return rows[epoch], max(rows)

        counted_in, last = self.database.append(work)
        if counted_in != folder:
            raise ValueError(
                f"receipts of this key and epoch {epoch} are counted in another data folder: another server signs with "
                f"them, or that folder is lost. Take a key of its own, or --epoch {last + 1}"
            )

    def forget_keys(self, before: float) -> int:
        """Delete idempotency keys of requests before a time; how many."""
        old = delete(idempotency).where(idempotency.c.created_at < before)
        return self.database.write(lambda c: c.execute(old).rowcount)

    def lease(
        self,
        worker: str,
        *,
        seconds: float,
        backends: Collection[str] | None = None,
        models: Collection[str] | None = None,
    ) -> Lease | None:
        """Take the first job in line, and take jobs away from workers that fell silent.

        Args:
            worker: name of who takes it.
            seconds: how long the lease lasts unless `beat` prolongs it.
            backends, models: names of those the worker can do; None for all.

        Returns:
            The lease; None where nothing is ready.
        """
        token = token_hex(16)

        def work(connection: Connection) -> Lease | None:
            queue.expire(connection, self._clock(), pause_s=self._retry_s)
            return queue.lease(connection, worker, token, self._clock(), seconds, backends, models)

        if not self.database.read(lambda c: queue.anything_to_do(c, self._clock(), backends, models)):
            return None
        return self.database.write(work)

    def beat(self, lease: Lease, *, seconds: float, stage: str, fraction: float) -> bool:
        """Say that the worker is alive, and how far it is.

        Args:
            lease: of the job.
            seconds: how long the lease lasts from now on.
            stage, fraction: of the prover, fraction from 0.0 to 1.0.

        Returns:
            False where the worker is asked to stop.

        Raises:
            LeaseLost: the job is not this worker's any more.
        """
        return self.database.write(lambda c: queue.beat(c, lease, self._clock(), seconds, stage, fraction))

    def finish(self, lease: Lease, proof: Proof) -> None:
        """Publish the proof and end the job, both or neither.

        Raises:
            LeaseLost: the job is not this worker's any more; nothing is published.
            ValueError: the proof is too large for an envelope.
        """
        data = proof.to_bytes()
        self.database.write(lambda c: queue.finish(c, lease, proof, data, self._clock()))

    def fail(self, lease: Lease, error: Exception, *, retry: bool) -> State:
        """End an attempt: the job is queued again, or fails with a reason, or is cancelled where that was asked.

        Args:
            lease: of the job.
            error: what happened; its class and words without inputs are remembered.
            retry: whether another attempt may go better.

        Returns:
            Where the job is now.

        Raises:
            LeaseLost: the job is not this worker's any more.
        """
        return self.database.write(
            lambda c: queue.fail(c, lease, error, self._clock(), retry=retry, pause_s=self._retry_s)
        )

    def release(self, lease: Lease) -> None:
        """Hand a job back unfinished; the attempt does not count.

        Raises:
            LeaseLost: the job is not this worker's any more.
        """
        self.database.write(lambda c: queue.release(c, lease, self._clock()))

    def expire(self, worker: str | None = None) -> int:
        """Take jobs away from workers whose time is over, or from one that is known to be dead; how many."""
        return self.database.write(lambda c: queue.expire(c, self._clock(), pause_s=self._retry_s, worker=worker))

    def decide(self, beacon_round: int, value: bytes) -> tuple[int, int]:
        """Queue those of the waiting jobs that a round of the beacon chooses (`vml.serve.sampling.chosen`).

        Returns:
            (queued, dropped).
        """
        return self.database.write(lambda c: asking.decide(c, beacon_round, value, self._clock()))

    def waiting_rounds(self) -> list[int]:
        """The beacon's rounds that jobs wait for, the earliest first."""
        return self.database.read(reading.waiting_rounds)


def _or_raise(outcome: recording.Outcome) -> Recorded:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
