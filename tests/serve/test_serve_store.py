"""The store: what is remembered of an answer, once however often it is given; what is refused leaves no trace."""

from __future__ import annotations

import asyncio
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from tests.serve.kit import BACKEND, Clock, answer, asked, claim_of, proof_of
from vml import canonical
from vml.proof import Proof
from vml.serve import log, npz
from vml.serve.records import NewAnswer, NewJob, Recorded, State
from vml.serve.refusals import IdempotencyConflict, InputsNotKept, Overloaded, StoreUnavailable
from vml.serve.store import Store
from vml.serve.tables import claims, inputs, jobs, schema
from vml.serve.writer import GroupWriter

KEY = {"client": "alice", "idempotency_key": "k", "request_hash": b"\x07" * 32}


def test_an_answer_is_remembered_whole(store: Store, clock: Clock) -> None:
    (recorded,) = store.record([answer(1, client="alice", receipt=b'{"a":1}')])
    assert recorded == Recorded(claim_of(1).digest(), 0, None, True)
    kept = store.claim(recorded.digest)
    assert kept is not None
    assert (kept.claim, kept.digest, kept.semantics, kept.model_name) == (
        claim_of(1),
        recorded.digest,
        "vml-int/1",
        "digits",
    )
    assert (kept.created_at, kept.log_index, kept.receipt, kept.outputs, kept.client) == (
        clock.now,
        0,
        b'{"a":1}',
        b"[]",
        "alice",
    )
    arrays = store.inputs(recorded.digest)
    assert arrays is not None
    np.testing.assert_array_equal(arrays["x"], [1, 0.5])
    assert store.claim(b"\0" * 32) is None
    assert store.inputs(b"\0" * 32) is None


def test_a_claim_is_one_row_and_one_log_entry_however_often_it_is_answered(store: Store, clock: Clock) -> None:
    first = store.record([answer(1), answer(2), answer(1)])
    assert [r.log_index for r in first] == [0, 1, 0]
    assert [r.created for r in first] == [True, True, False]
    clock.advance(60)
    assert store.record([answer(2, receipt=b"{}"), answer(3)]) == [
        Recorded(claim_of(2).digest(), 1, None, False),
        Recorded(claim_of(3).digest(), 2, None, True),
    ]
    kept = store.claim(claim_of(2).digest())
    assert kept is not None
    assert kept.receipt == b""
    assert store.count_claims() == 3
    with store.reading() as connection:
        assert log.size(connection) == 3
        entries = [canonical.decode(data, max_bytes=1000) for data in log.entries(connection, 0, 9)]
        assert [entry["claim"] for entry in entries] == [claim_of(n).to_json() for n in (1, 2, 3)]


def test_claims_are_listed_newest_first(store: Store) -> None:
    store.record([replace(answer(n), model_name="even" if n % 2 == 0 else "odd") for n in range(6)])
    assert [c.log_index for c in store.claims(limit=3)] == [5, 4, 3]
    assert [c.log_index for c in store.claims(limit=3, before=3)] == [2, 1, 0]
    assert [c.log_index for c in store.claims(limit=9, name="odd")] == [5, 3, 1]
    assert [c.log_index for c in store.claims(limit=9, model=b"\x01" * 32)] == [5, 4, 3, 2, 1, 0]
    assert store.claims(limit=9, model=b"\x02" * 32) == []


def test_a_proof_is_asked_for_once(store: Store) -> None:
    one, two, other = store.record([asked(1), asked(1), asked(1, backend="ezkl")])
    assert one.job == two.job
    assert one.job != other.job
    assert store.record([asked(1)])[0].job == one.job
    assert store.ask(claim_of(1).digest(), NewJob(BACKEND)).id == one.job
    assert store.depth() == 2
    assert {job.id for job in store.jobs(limit=9)} == {one.job, other.job}
    assert {job.id for job in store.jobs(limit=9, claim=claim_of(1).digest())} == {one.job, other.job}
    assert store.jobs(limit=9, state=State.PROVED) == []
    assert store.count_jobs()[State.QUEUED] == 2


def test_a_job_asked_for_again_moves_forward_and_is_not_cancelled_any_more(store: Store) -> None:
    (recorded,) = store.record([asked(1, priority=1)])
    lease = store.lease("w", seconds=9)
    assert lease is not None
    store.cancel(str(recorded.job))
    store.record([asked(1, priority=5)])
    job = store.job(str(recorded.job))
    assert job is not None
    assert (job.priority, job.cancel_asked, job.state) == (5, False, State.RUNNING)
    store.record([asked(1, priority=2)])
    job = store.job(str(recorded.job))
    assert job is not None
    assert job.priority == 5


def test_a_proof_on_demand_needs_inputs(store: Store, clock: Clock) -> None:
    store.record([answer(1, inputs={}), answer(2)])
    for digest in (claim_of(1).digest(), b"\0" * 32):
        with pytest.raises(InputsNotKept):
            store.ask(digest, NewJob(BACKEND))
    job = store.ask(claim_of(2).digest(), NewJob(BACKEND, priority=3))
    assert (job.state, job.priority, job.model_name) == (State.QUEUED, 3, "digits")
    store.record([asked(1)])  # the same answer again, and now its inputs are kept
    assert store.inputs(claim_of(1).digest()) is not None
    assert store.depth() == 2


def test_a_job_that_failed_is_not_begun_anew_from_nothing(narrow: Store, clock: Clock) -> None:
    narrow.record([asked(1)])
    lease = narrow.lease("w", seconds=9)
    assert lease is not None
    narrow.fail(lease, ValueError(), retry=False)
    narrow.record([asked(n) for n in range(2, 5)])
    with pytest.raises(Overloaded):
        narrow.ask(claim_of(1).digest(), NewJob(BACKEND))
    narrow.forget_inputs(clock.now + 1)
    with pytest.raises(InputsNotKept):
        narrow.ask(claim_of(1).digest(), NewJob(BACKEND))
    assert narrow.jobs(limit=1, state=State.FAILED)[0].id == lease.job


def test_inputs_are_forgotten_when_nobody_needs_them(store: Store, clock: Clock) -> None:
    store.record([answer(1), asked(2), asked(3)])
    lease = store.lease("w", seconds=9)
    assert lease is not None
    clock.advance(10)
    store.record([answer(4)])
    assert store.forget_inputs(clock.now) == 1
    assert store.inputs(claim_of(1).digest()) is None
    store.cancel(store.jobs(limit=9, state=State.QUEUED)[0].id)
    assert store.forget_inputs(clock.now) == 1
    assert store.inputs(lease.claim.digest()) is not None
    assert store.inputs(claim_of(4).digest()) is not None


def test_an_idempotency_key_gives_the_same_answer_again(store: Store) -> None:
    (first,) = store.record([replace(asked(1), **KEY)])
    again = replace(first, created=False)
    assert store.replayed("alice", "k", KEY["request_hash"]) == again
    assert store.replayed("bob", "k", KEY["request_hash"]) is None
    assert store.record([replace(asked(1), **KEY)]) == [again]
    # Whatever comes under the key of the same request, the first answer counts.
    assert store.record([replace(answer(2), **KEY)]) == [again]
    assert store.claim(claim_of(2).digest()) is None
    with pytest.raises(IdempotencyConflict):
        store.replayed("alice", "k", b"\x08" * 32)


def test_another_request_under_a_key_is_refused_and_harms_no_other(store: Store) -> None:
    group = [replace(answer(1), **KEY), replace(answer(2), **{**KEY, "request_hash": b"\x08" * 32}), answer(3)]
    first, second, third = store.record_each(group)
    assert isinstance(first, Recorded)
    assert isinstance(second, IdempotencyConflict)
    assert isinstance(third, Recorded)
    assert third.log_index == 1
    assert store.claim(claim_of(2).digest()) is None
    with pytest.raises(IdempotencyConflict):
        store.record([answer(4), group[1]])
    assert store.claim(claim_of(4).digest()) is None
    assert store.forget_keys(2e9) == 1
    assert isinstance(store.record_each([group[1]])[0], Recorded)


@pytest.fixture
def narrow(url: str, clock: Clock) -> Iterator[Store]:
    store = Store.open(url, clock=clock, max_jobs=3)
    yield store
    store.close()


def test_what_is_too_much_is_refused_and_leaves_no_trace(narrow: Store, clock: Clock) -> None:
    outcomes = narrow.record_each([asked(n) for n in range(5)] + [answer(9)])
    assert [type(o).__name__ for o in outcomes] == ["Recorded"] * 3 + ["Overloaded"] * 2 + ["Recorded"]
    assert narrow.claim(claim_of(3).digest()) is None
    assert narrow.count_claims() == 4
    assert narrow.depth() == 3
    with pytest.raises(Overloaded):
        narrow.ask(claim_of(9).digest(), NewJob(BACKEND))
    assert isinstance(narrow.record_each([asked(1)])[0], Recorded)  # that one has its place
    refusal = outcomes[3]
    assert isinstance(refusal, Overloaded)
    assert refusal.retry_after_s == 10.0  # nothing is known of how long jobs take
    lease = narrow.lease("w", seconds=9)
    assert lease is not None
    clock.advance(4)
    narrow.finish(lease, proof_of(lease))
    narrow.ask(claim_of(9).digest(), NewJob(BACKEND))
    with pytest.raises(Overloaded) as caught:
        narrow.record([asked(10)])
    assert caught.value.retry_after_s == 4.0


def test_jobs_that_wait_for_the_beacon_take_less_room(narrow: Store) -> None:
    outcomes = narrow.record_each([asked(n, sample=2, beacon_round=7) for n in range(8)])
    assert [type(o).__name__ for o in outcomes] == ["Recorded"] * 6 + ["Overloaded"] * 2


def test_a_proof_is_found_by_its_own_claim_too(store: Store) -> None:
    (recorded,) = store.record([asked(1, backend="ezkl")])
    lease = store.lease("w", seconds=9)
    assert lease is not None
    inside = replace(claim_of(1), model=b"\x09" * 32)
    proof = Proof("ezkl/x", (inside,), {}, b"p")
    store.finish(lease, proof)
    for digest in (recorded.digest, inside.digest()):
        found = store.proof(digest)
        assert found is not None
        assert (found.data, found.claim, found.claims) == (proof.to_bytes(), recorded.digest, (inside.digest(),))
        assert (found.backend, found.scheme, found.job) == ("ezkl", "ezkl/x", recorded.job)
        assert store.proof(digest, "ezkl") == found
        assert store.proof(digest, "sumcheck") is None
    job = store.job(str(recorded.job))
    assert job is not None
    assert job.proof_claims == (inside.digest(),)


def test_many_threads_record_at_once(url: str) -> None:
    def fill(offset: int) -> None:
        own = Store.open(url)
        for start in range(0, 30, 5):
            own.record([asked(n) for n in range(offset + start, offset + start + 5)])
        own.close()

    # Half of what one records, the next one records too.
    threads = [threading.Thread(target=fill, args=(offset,)) for offset in range(0, 60, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = Store.open(url)
    assert store.count_claims() == store.depth() == 75
    assert [c.log_index for c in store.claims(limit=100)] == list(range(74, -1, -1))
    with store.reading() as connection:
        assert log.size(connection) == 75
        assert len(log.inclusion(connection, 40, 75)) > 0
    store.close()


def test_names_of_inputs_may_be_anything(store: Store) -> None:
    arrays: dict[str, Any] = {
        "file": np.arange(3, dtype=np.int8),
        "a/b": np.float32([[1.5]]),
        "é": np.array(True),
        "names": np.zeros((0, 2)),
    }
    store.record([answer(1, inputs=arrays)])
    kept = store.inputs(claim_of(1).digest())
    assert kept is not None
    assert kept.keys() == arrays.keys()
    for name, array in arrays.items():
        assert kept[name].dtype == array.dtype
        np.testing.assert_array_equal(kept[name], array)


def test_no_object_is_pickled_or_unpickled() -> None:
    with pytest.raises(ValueError, match="objects"):
        npz.encode({"x": np.array([{}])})
    file = BytesIO()
    np.savez(file, names=np.array(["x"]), **{"0": np.array([{}])})
    with pytest.raises(ValueError, match="allow_pickle"):
        npz.decode(file.getvalue())
    with zipfile.ZipFile(BytesIO(npz.encode({"x": np.zeros(2)}))) as archive:
        assert archive.namelist() == ["names.npy", "0.npy"]


def test_answers_and_jobs_check_themselves() -> None:
    for bad in ({"client": "a" * 256}, {"idempotency_key": "k"}, {"model_name": "a\0b"}, {"semantics": "s" * 65}):
        with pytest.raises(ValueError, match=r"characters|hash"):
            answer(1, **bad)
    with pytest.raises(ValueError, match="inputs"):
        answer(1, NewJob(BACKEND), inputs={})
    for bad_job in ({"priority": 2_000_000}, {"max_attempts": 0}, {"sample": 0}, {"backend": ""}):
        with pytest.raises(ValueError, match=r"\w"):
            NewJob(**{"backend": BACKEND, **bad_job})


def test_a_job_is_of_who_asked_and_each_has_so_many(url: str, clock: Clock) -> None:
    store = Store.open(url, clock=clock, max_jobs=9, max_each=2)

    def asked_by(client: str, number: int) -> NewAnswer:
        return answer(number, NewJob(BACKEND, client=client), client=client)

    def client_of(number: int) -> str | None:
        (job,) = store.jobs(limit=1, claim=claim_of(number).digest())
        return job.client

    # The last two of one transaction ask for the same.
    store.record([asked_by("a", 1), asked_by("a", 2), asked_by("b", 3), asked_by("c", 3)])
    assert [client_of(number) for number in (1, 2, 3)] == ["a", "a", None]
    (refused,) = store.record_each([asked_by("a", 4)])
    assert isinstance(refused, Overloaded)
    assert "2 proofs of this client" in str(refused)
    store.record([asked_by("b", 4), asked_by("b", 1)])
    assert [client_of(number) for number in (4, 1)] == ["b", None]
    (job,) = store.jobs(limit=1, claim=claim_of(2).digest())
    store.cancel(job.id)
    assert store.ask(claim_of(2).digest(), NewJob(BACKEND, client="c")).client == "c"
    store.close()


def test_a_key_and_epoch_are_counted_in_one_folder(store: Store) -> None:
    one, two = "1" * 32, "2" * 32
    for folder, epoch in ((one, 1), (one, 1), (one, 5), (two, 2)):
        store.sign_with(b"k" * 32, epoch, folder)
    store.sign_with(b"l" * 32, 1, two)
    with pytest.raises(ValueError, match="--epoch 6"):
        store.sign_with(b"k" * 32, 1, two)


def test_the_database_is_its_owners_and_of_one_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'vml.db'}"
    store = Store.open(url)
    store.record([answer(1)])
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    with store.writing() as connection:
        connection.execute(update(schema).values(version=99))
    store.close()
    with pytest.raises(ValueError, match="version 99"):
        Store.open(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://h/x", "nonsense", "oracle+x://", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"database"):
        Store.open(url)


def test_errors_show_no_values(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'vml.db'}", patience_s=0.1)
    with store.writing() as connection:
        connection.exec_driver_sql("DROP TABLE inputs")
    with pytest.raises(StoreUnavailable) as caught:
        store.record([answer(1, client="secret-client")])
    assert "no such table" in str(caught.value)
    assert "secret-client" not in str(caught.value)
    assert caught.value.__cause__ is None
    store.close()


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def work() -> None:
        with store.writing() as connection:
            log.append(connection, [(b"\1" * 32, b"{}")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    with store.reading() as connection:
        assert log.size(connection) == 0
        assert [connection.execute(select(t)).all() for t in (claims, inputs, jobs)] == [[], [], []]


class Counting:
    """A store that counts its groups and may be held up."""

    def __init__(self, store: Store) -> None:
        self.store, self.groups, self.go = store, list[int](), threading.Event()
        self.go.set()
        self.poison: NewAnswer | None = None

    def record_each(self, answers: list[NewAnswer]) -> Any:
        self.go.wait(30)
        self.groups.append(len(answers))
        if self.poison in answers:
            raise ZeroDivisionError
        return self.store.record_each(answers)


def test_answers_share_commits(store: Store) -> None:
    counting = Counting(store)
    writer = GroupWriter(counting, max_group=16)  # type: ignore[arg-type]

    async def main() -> list[Recorded]:
        return await asyncio.gather(*(writer.record(answer(n)) for n in range(100)))

    recorded = asyncio.run(main())
    writer.close()
    assert sorted(r.log_index for r in recorded) == list(range(100))
    assert sum(counting.groups) == 100
    assert 7 <= len(counting.groups) < 40
    assert max(counting.groups) <= 16
    with pytest.raises(StoreUnavailable):
        writer.submit(answer(1))


def test_the_writer_does_not_grow_without_end_and_closes_when_all_is_durable(store: Store) -> None:
    counting = Counting(store)
    counting.go.clear()
    writer = GroupWriter(counting, max_waiting=5)  # type: ignore[arg-type]
    futures = [writer.submit(answer(0))]
    while len(writer._waiting):
        pass  # the first is under way
    futures += [writer.submit(answer(n)) for n in range(1, 6)]
    with pytest.raises(Overloaded):
        writer.submit(answer(6))
    futures[2].cancel()  # a client that went away: its answer is remembered all the same
    threading.Timer(0.1, counting.go.set).start()
    writer.close()
    assert [f.result().log_index for f in futures if not f.cancelled()] == [0, 1, 3, 4, 5]
    assert store.count_claims() == 6


def test_one_bad_answer_harms_no_other(store: Store) -> None:
    counting = Counting(store)
    counting.go.clear()
    counting.poison = answer(3)
    writer = GroupWriter(counting)  # type: ignore[arg-type]
    answers = [counting.poison if n == 3 else answer(n) for n in range(6)]
    futures = [writer.submit(a) for a in answers]
    counting.go.set()
    writer.close()
    assert [type(f.exception()) for f in futures] == [type(None)] * 3 + [ZeroDivisionError] + [type(None)] * 2
    assert store.count_claims() == 5
