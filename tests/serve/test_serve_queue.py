"""The queue: order, leases, attempts, ends; everything may be asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.serve.kit import BACKEND, Clock, answer, asked, claim_of, ids, proof_of, taken, the
from vml.errors import ProvingError
from vml.serve.database import Database
from vml.serve.records import NewJob, State
from vml.serve.refusals import JobCancelled, LeaseLost
from vml.serve.sampling import chosen
from vml.serve.store import Store

ERROR = ProvingError("it did not work")


def test_the_highest_priority_comes_first_then_the_oldest(store: Store, clock: Clock) -> None:
    expected = []
    for number, priority in enumerate((0, 5, -5, 5, 0)):
        expected += ids(store, asked(number, priority=priority))
        clock.advance(1)
    order = [taken(store).job for _ in range(5)]
    assert order == [expected[place] for place in (1, 3, 0, 4, 2)]
    assert store.lease("w", seconds=30) is None


def test_a_worker_takes_what_it_can_do(store: Store) -> None:
    one, two, three = ids(store, asked(1), asked(2, backend="ezkl"), answer(3, NewJob(BACKEND), model_name="other"))
    assert store.lease("w", seconds=30, backends=["tee"]) is None
    assert store.lease("w", seconds=30, backends=[]) is None
    assert taken(store, backends=["ezkl", "tee"]).job == two
    assert taken(store, models=["other"]).job == three
    assert taken(store, backends=[BACKEND], models=["digits"]).job == one


def test_a_job_from_start_to_proof(store: Store, clock: Clock) -> None:
    (id,) = ids(store, asked(1))
    assert (the(store, id).state, the(store, id).started_at) == (State.QUEUED, None)
    clock.advance(2)
    lease = taken(store, "worker one")
    assert (lease.claim, lease.model_name, lease.backend, lease.attempt) == (claim_of(1), "digits", BACKEND, 1)
    assert lease.until == clock.now + 30
    assert list(lease.inputs["x"]) == [1.0, 0.5]
    clock.advance(2)
    assert store.beat(lease, seconds=30, stage="products", fraction=0.25)
    job = the(store, id)
    assert (job.state, job.stage, job.fraction, job.worker) == (State.RUNNING, "products", 0.25, "worker one")
    assert (job.created_at, job.started_at) == (clock.now - 4, clock.now - 2)
    store.finish(lease, proof_of(lease))
    job = the(store, id)
    assert (job.state, job.fraction, job.finished_at, job.attempts) == (State.PROVED, 1.0, clock.now, 1)
    assert job.proof_claims == (claim_of(1).digest(),)
    assert store.depth() == 0
    assert store.cancel(id) == job
    assert store.ask(claim_of(1).digest(), NewJob(BACKEND)) == job
    with pytest.raises(LeaseLost):
        store.beat(lease, seconds=30, stage="", fraction=0.0)
    with pytest.raises(LeaseLost):
        store.fail(lease, ERROR, retry=True)
    with pytest.raises(LeaseLost):
        store.release(lease)


def test_attempts_are_counted_and_pauses_grow(store: Store, clock: Clock) -> None:
    (id,) = ids(store, asked(1, max_attempts=4))
    for attempt, pause in ((1, 1.0), (2, 2.0), (3, 4.0)):
        lease = taken(store)
        assert lease.attempt == attempt
        assert store.fail(lease, ERROR, retry=True) is State.QUEUED
        job = the(store, id)
        assert (job.state, job.attempts, job.error_code, job.error) == (
            State.QUEUED,
            attempt,
            "ProvingError",
            "it did not work",
        )
        clock.advance(pause - 0.01)
        assert store.lease("w", seconds=30) is None
        clock.advance(0.01)
    assert store.fail(taken(store), ERROR, retry=True) is State.FAILED
    job = the(store, id)
    assert (job.state, job.attempts, job.finished_at) == (State.FAILED, 4, clock.now)
    # Asked for again, it begins anew.
    assert store.ask(claim_of(1).digest(), NewJob(BACKEND)).id == id
    assert (the(store, id).state, the(store, id).attempts, the(store, id).error) == (State.QUEUED, 0, "")
    assert taken(store).attempt == 1


def test_what_cannot_be_cured_fails_at_once(store: Store) -> None:
    (id,) = ids(store, asked(1))
    assert store.fail(taken(store), ValueError("x"), retry=False) is State.FAILED
    assert (the(store, id).attempts, the(store, id).error_code) == (1, "ValueError")


def test_a_silent_worker_loses_its_job_and_changes_nothing_any_more(store: Store, clock: Clock) -> None:
    (id,) = ids(store, asked(1, max_attempts=2))
    late = taken(store, "late")
    clock.advance(30)
    assert store.expire() == 0
    clock.advance(0.1)
    assert store.beat(late, seconds=5, stage="", fraction=0.0)  # late, but nobody had taken it
    clock.advance(5.1)
    assert store.lease("next", seconds=30) is None  # a pause before the second attempt
    assert the(store, id).state is State.QUEUED
    too_late: list[Callable[[], object]] = [
        lambda: store.beat(late, seconds=30, stage="x", fraction=0.9),
        lambda: store.finish(late, proof_of(late)),
        lambda: store.fail(late, ERROR, retry=True),
        lambda: store.release(late),
    ]
    for ask in too_late:
        with pytest.raises(LeaseLost):
            ask()
    clock.advance(1)
    second = taken(store, "next")
    assert (second.job, second.attempt) == (id, 2)
    for ask in too_late:
        with pytest.raises(LeaseLost):
            ask()
    assert (the(store, id).state, the(store, id).worker) == (State.RUNNING, "next")
    assert store.proof(claim_of(1).digest()) is None
    clock.advance(31)
    assert store.expire() == 1
    job = the(store, id)
    assert (job.state, job.error_code) == (State.FAILED, "WorkerLost")
    assert "begun 2 times" in job.error
    with pytest.raises(LeaseLost):
        store.finish(second, proof_of(second))


def test_a_worker_known_to_be_dead_gives_up_its_jobs_at_once(store: Store) -> None:
    one, two = ids(store, asked(1), asked(2))
    first = taken(store, "a")
    taken(store, "b")
    assert store.expire(worker="a") == 1
    assert the(store, first.job).state is State.QUEUED
    assert {the(store, one).state, the(store, two).state} == {State.QUEUED, State.RUNNING}


def test_cancelling(store: Store, clock: Clock) -> None:
    queued, running, silent, failing, back = ids(
        store,
        asked(1, priority=-1),
        asked(2, priority=9),
        asked(3, priority=8),
        asked(4, priority=7),
        asked(5, priority=6),
    )
    job = store.cancel(queued)
    assert job is not None
    assert (job.state, job.finished_at, job.error) == (State.CANCELLED, clock.now, "cancelled on request")
    leases = [taken(store) for _ in range(4)]
    for id in (running, silent, failing, back):
        job = store.cancel(id)
        assert job is not None
        assert (job.state, job.cancel_asked) == (State.RUNNING, True)
    assert not store.beat(leases[0], seconds=30, stage="", fraction=0.0)
    assert store.fail(leases[0], JobCancelled("x"), retry=False) is State.CANCELLED
    assert store.fail(leases[2], ERROR, retry=True) is State.CANCELLED
    store.release(leases[3])
    clock.advance(31)
    assert store.expire() == 1
    assert {the(store, id).state for id in (running, silent, failing, back)} == {State.CANCELLED}
    assert store.cancel("0" * 32) is None
    # A proof that is ready all the same is published.
    (late,) = ids(store, asked(6))
    lease = taken(store)
    store.cancel(late)
    store.finish(lease, proof_of(lease))
    assert (the(store, late).state, the(store, late).cancel_asked) == (State.PROVED, False)


def test_whoever_asks_again_takes_back_the_cancelling(store: Store) -> None:
    (id,) = ids(store, asked(1))
    lease = taken(store)
    store.cancel(id)
    store.ask(claim_of(1).digest(), NewJob(BACKEND))
    assert store.fail(lease, JobCancelled("x"), retry=False) is State.QUEUED  # the worker had heard of it already
    assert (the(store, id).attempts, the(store, id).error) == (0, "")


def test_handing_back_does_not_count(store: Store) -> None:
    (id,) = ids(store, asked(1, max_attempts=1))
    for _ in range(5):
        store.release(taken(store))
    assert the(store, id).attempts == 0
    assert taken(store).attempt == 1


def test_the_beacon_chooses(store: Store) -> None:
    count, value = 40, b"\x05" * 32
    all_ids = ids(store, *(asked(n, sample=4, beacon_round=7) for n in range(count)))
    (other, sure) = ids(store, asked(100, sample=4, beacon_round=9), asked(101, sample=1, beacon_round=7))
    assert store.waiting_rounds() == [7, 9]
    assert taken(store).job == sure  # one in one needs no beacon
    assert store.lease("w", seconds=30) is None
    lucky = {id for n, id in enumerate(all_ids) if chosen(claim_of(n).digest(), 4, value)}
    assert 0 < len(lucky) < count
    assert store.decide(7, value) == (len(lucky), count - len(lucky))
    assert store.decide(7, b"\x06" * 32) == (0, 0)
    for id in all_ids:
        job = the(store, id)
        assert (job.state, job.error_code) == ((State.QUEUED, "") if id in lucky else (State.CANCELLED, "NotSampled"))
    assert the(store, other).state is State.WAITING
    store.cancel(other)
    assert the(store, other).state is State.CANCELLED
    # Asked for outright, the beacon has no say.
    dropped = next(n for n, id in enumerate(all_ids) if id not in lucky)
    assert store.ask(claim_of(dropped).digest(), NewJob(BACKEND)).state is State.QUEUED
    (waiting,) = ids(store, asked(102, sample=4, beacon_round=11))
    assert ids(store, asked(102)) == [waiting]
    assert the(store, waiting).state is State.QUEUED


class Twice(Database):
    """Forgets that a transaction was committed, and runs it again."""

    def write(self, work: Callable[[Any], Any]) -> Any:
        super().write(work)
        return super().write(work)


@pytest.fixture
def twice(url: str, clock: Clock) -> Iterator[Store]:
    store = Store(Twice(url), clock=clock, max_jobs=100, retry_s=1.0)
    yield store
    store.close()


def test_everything_may_be_done_twice(twice: Store, clock: Clock) -> None:
    one, two, three, four = ids(twice, *(asked(n, priority=-n) for n in range(4)))
    assert (twice.count_claims(), twice.depth()) == (4, 4)
    lease = taken(twice)
    assert (lease.job, lease.attempt) == (one, 1)
    assert twice.depth() == 4
    assert [job.id for job in twice.jobs(limit=9, state=State.RUNNING)] == [one]
    assert twice.beat(lease, seconds=30, stage="x", fraction=0.5)
    twice.finish(lease, proof_of(lease))
    assert the(twice, one).state is State.PROVED
    assert twice.fail(taken(twice), ERROR, retry=True) is State.QUEUED
    assert (the(twice, two).state, the(twice, two).attempts) == (State.QUEUED, 1)
    assert twice.fail(taken(twice), ERROR, retry=False) is State.FAILED
    assert the(twice, three).attempts == 1
    twice.release(taken(twice))
    assert (the(twice, four).state, the(twice, four).attempts) == (State.QUEUED, 0)
    lease = taken(twice)
    clock.advance(31)
    twice.expire()
    assert (the(twice, four).state, the(twice, four).attempts) == (State.QUEUED, 1)
    twice.cancel(four)
    assert the(twice, four).state is State.CANCELLED
    assert twice.ask(claim_of(3).digest(), NewJob(BACKEND)).state is State.QUEUED
    ids(twice, *(asked(n, sample=2, beacon_round=1) for n in range(10, 20)))
    twice.decide(1, b"x")
    assert twice.waiting_rounds() == []
    key = {"client": "a", "idempotency_key": "k", "request_hash": b"\x01" * 32}
    (first,) = twice.record([answer(30, **key)])
    assert twice.replayed("a", "k", b"\x01" * 32) == first
