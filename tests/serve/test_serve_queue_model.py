"""The queue against a plain model of it: whatever is done in whatever order, both agree."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tests.serve.kit import BACKEND, Clock, asked, claim_of, ids, proof_of, the
from vml.errors import ProvingError
from vml.serve.records import Job, Lease, NewJob, State
from vml.serve.refusals import LeaseLost
from vml.serve.store import Store

ERROR = ProvingError("it did not work")


@dataclass
class Plain:
    """A job as the model sees it."""

    state: State = State.QUEUED
    priority: int = 0
    attempts: int = 0
    max_attempts: int = 3
    not_before: float = 0.0
    until: float = 0.0
    token: str = ""
    cancel: bool = False


class Queue(RuleBasedStateMachine):
    """The store against a dictionary of jobs; one claim a job, numbered in the order they were asked for."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.store = Store.open(f"sqlite:///{Path(self.folder.name) / 'vml.db'}", clock=self.clock)
        self.jobs: dict[str, Plain] = {}
        self.claims = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def name(self, pick: int) -> str | None:
        return list(self.jobs)[pick % len(self.jobs)] if self.jobs else None

    def again(self, job: Plain, attempts: int, pause: float) -> None:
        job.state, job.attempts, job.not_before = State.QUEUED, attempts, self.clock.now + pause

    def expired(self) -> None:
        for job in self.jobs.values():
            if job.state is State.RUNNING and job.until < self.clock.now:
                job.token = ""
                if job.cancel:
                    job.state = State.CANCELLED
                elif job.attempts < job.max_attempts:
                    self.again(job, job.attempts, 2.0 ** (job.attempts - 1))
                else:
                    job.state = State.FAILED

    @rule(priority=st.integers(-2, 2), max_attempts=st.integers(1, 3))
    def ask(self, priority: int, max_attempts: int) -> None:
        (id,) = ids(self.store, asked(self.claims, priority=priority, max_attempts=max_attempts))
        self.jobs[id] = Plain(priority=priority, max_attempts=max_attempts)
        self.jobs[id].not_before = self.clock.now
        self.claims += 1
        self.clock.advance(0.001)

    @rule(pick=st.integers(0, 99))
    def ask_again(self, pick: int) -> None:
        id = self.name(pick)
        if id is None:
            return
        job = self.jobs[id]
        self.store.ask(claim_of(list(self.jobs).index(id)).digest(), NewJob(BACKEND))
        if job.state in (State.FAILED, State.CANCELLED):
            self.jobs[id] = Plain(not_before=self.clock.now)
            self.clock.advance(0.001)
        elif not job.state.ended:
            job.cancel, job.priority = False, max(job.priority, 0)

    @rule(target=leases, seconds=st.sampled_from([1.0, 10.0]))
    def lease(self, seconds: float) -> Any:
        self.expired()
        ready = [
            (-job.priority, self.the(id).created_at, id)
            for id, job in self.jobs.items()
            if job.state is State.QUEUED and job.not_before <= self.clock.now
        ]
        lease = self.store.lease("w", seconds=seconds)
        if not ready:
            assert lease is None
            return multiple()
        assert lease is not None
        assert lease.job == min(ready)[2]
        job = self.jobs[lease.job]
        assert lease.token not in {other.token for other in self.jobs.values()}
        job.state, job.token, job.until = State.RUNNING, lease.token, self.clock.now + seconds
        job.attempts += 1
        assert lease.attempt == job.attempts
        return lease

    def held(self, lease: Lease) -> Plain | None:
        job = self.jobs[lease.job]
        return job if job.state is State.RUNNING and job.token == lease.token else None

    @rule(lease=leases, seconds=st.sampled_from([1.0, 10.0]))
    def beat(self, lease: Lease, seconds: float) -> None:
        job = self.held(lease)
        if job is None:
            with pytest.raises(LeaseLost):
                self.store.beat(lease, seconds=seconds, stage="s", fraction=0.5)
        else:
            assert self.store.beat(lease, seconds=seconds, stage="s", fraction=0.5) is not job.cancel
            job.until = self.clock.now + seconds

    @rule(lease=leases)
    def finish(self, lease: Lease) -> None:
        job = self.held(lease)
        own = self.jobs[lease.job]
        if job is not None:
            self.store.finish(lease, proof_of(lease))
            job.state, job.cancel = State.PROVED, False
        elif own.state is State.PROVED and own.token == lease.token:
            self.store.finish(lease, proof_of(lease))
        else:
            with pytest.raises(LeaseLost):
                self.store.finish(lease, proof_of(lease))

    @rule(lease=consumes(leases), retry=st.booleans())
    def fail(self, lease: Lease, retry: bool) -> None:
        job = self.held(lease)
        own = self.jobs[lease.job]
        if job is None:
            if own.token == lease.token and own.state in (State.QUEUED, State.FAILED, State.CANCELLED):
                assert self.store.fail(lease, ERROR, retry=retry) is own.state
            else:
                with pytest.raises(LeaseLost):
                    self.store.fail(lease, ERROR, retry=retry)
            return
        if job.cancel:
            job.state = State.CANCELLED
        elif retry and job.attempts < job.max_attempts:
            self.again(job, job.attempts, 2.0 ** (job.attempts - 1))
        else:
            job.state = State.FAILED
        assert self.store.fail(lease, ERROR, retry=retry) is job.state

    @rule(lease=consumes(leases))
    def release(self, lease: Lease) -> None:
        job = self.held(lease)
        own = self.jobs[lease.job]
        if job is None:
            if own.token == lease.token and own.state in (State.QUEUED, State.CANCELLED):
                self.store.release(lease)
            else:
                with pytest.raises(LeaseLost):
                    self.store.release(lease)
            return
        self.store.release(lease)
        if job.cancel:
            job.state = State.CANCELLED
        else:
            self.again(job, job.attempts - 1, 0.0)

    @rule(pick=st.integers(0, 99))
    def cancel(self, pick: int) -> None:
        id = self.name(pick)
        if id is None:
            return
        self.store.cancel(id)
        job = self.jobs[id]
        if job.state is State.QUEUED:
            job.state = State.CANCELLED
        elif job.state is State.RUNNING:
            job.cancel = True

    @rule(seconds=st.sampled_from([0.5, 2.0, 9.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def expire(self) -> None:
        self.expired()
        self.store.expire()

    def the(self, id: str) -> Job:
        return the(self.store, id)

    @invariant()
    def same(self) -> None:
        shown = {job.id: job for job in self.store.jobs(limit=1000)}
        assert {id: (job.state, job.attempts) for id, job in shown.items()} == {
            id: (job.state, job.attempts) for id, job in self.jobs.items()
        }
        assert self.store.depth() == sum(not job.state.ended for job in self.jobs.values())
        for place, (id, job) in enumerate(self.jobs.items()):
            assert (self.store.proof(claim_of(place).digest()) is not None) is (job.state is State.PROVED)
            assert job.attempts <= shown[id].max_attempts


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=15, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None
)
