"""Workers: real proofs, stops, hand-backs, errors without inputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.serve.kit import answer, proof_of, real_answer, the, tiny_inputs, until
from vml import api
from vml.errors import BackendUnavailable, ClaimMismatch, OutOfRange, ProvingError, UnsupportedModel
from vml.proof import Proof
from vml.serve import worker
from vml.serve.blame import blame, worth_retrying
from vml.serve.executor import Work
from vml.serve.proving import Prover
from vml.serve.records import NewJob, State
from vml.serve.refusals import JobCancelled, LeaseLost, StoreUnavailable, TimeLimit
from vml.serve.store import Store


def do(work: Work, store: Store, prover: Any, stop: threading.Event | None = None) -> None:
    lease = store.lease("w", seconds=work.lease_s)
    assert lease is not None
    worker.do(work, store, prover, lease, stop or threading.Event())


class Acting:
    """A prover that does as it is told."""

    def __init__(self, act: Callable[[Any, Callable[[str, float], None]], Any]) -> None:
        self.prove = act


def raising(error: Exception) -> Acting:
    def act(lease: Any, progress: Any) -> Any:
        raise error

    return Acting(act)


def test_a_real_proof(live: Store, work: Work, tiny: Any) -> None:
    context = b"\x05" * 32
    live.record([real_answer(tiny, tiny_inputs(1.0), "tiny", NewJob("sumcheck"), context=context)])
    do(work, live, Prover(work.models, work.options))
    (job,) = live.jobs(limit=2)
    assert (job.state, job.fraction, job.attempts, job.error) == (State.PROVED, 1.0, 1, "")
    record = live.proof(job.claim)
    assert record is not None
    proof = Proof.from_bytes(record.data)
    assert proof.claims[0].digest() == job.claim
    api.verify(proof, model=tiny.folder, context=context)


def test_a_model_that_changed_meanwhile_proves_nothing(live: Store, work: Work, tiny: Any) -> None:
    made = real_answer(tiny, tiny_inputs(1.0), "tiny", NewJob("sumcheck"))
    other_model = replace(made, claim=replace(made.claim, model=b"\x08" * 32))
    other_output = replace(made, claim=replace(made.claim, output=b"\x08" * 32))
    prover = Prover(work.models, work.options)
    for changed, field in ((other_model, "model"), (other_output, "output")):
        (recorded,) = live.record([changed])
        do(work, live, prover)
        job = the(live, recorded.job)
        assert (job.state, job.error_code, job.attempts) == (State.FAILED, "ClaimMismatch", 1)
        assert f"'{field}'" in job.error
        assert live.proof(recorded.digest) is None


def test_nothing_is_proved_from_nothing(live: Store, work: Work, tiny: Any) -> None:
    made = real_answer(tiny, tiny_inputs(1.0), "tiny", NewJob("sumcheck"))
    live.record([made])
    lease = live.lease("w", seconds=5)
    assert lease is not None
    worker.do(work, live, Prover(work.models, work.options), replace(lease, inputs={}), threading.Event())
    assert the(live, lease.job).error_code == "InputsNotKept"


ERRORS: list[tuple[Exception, bool, str]] = [
    (OutOfRange("x", (0, 1), 3.75, "[-1, 1]"), False, "x[(…, …)] = … is outside […, …]"),
    (ValueError("row 3 holds 0.125"), False, "row … holds …"),
    (TypeError("x"), False, "x"),
    (UnsupportedModel("opset 23 is too new"), False, "opset 23 is too new"),
    (ClaimMismatch("output", "ab", "12"), False, "claim field 'output': expected ab, got 12"),
    (TimeLimit("took too long"), False, "took too long"),
    (ProvingError("layer_2 got -1.5e-3, nan and +7"), True, "layer_2 got …, … and …"),
    (BackendUnavailable("pip install vml[ezkl]==1.0"), True, "pip install vml[ezkl]==1.0"),
    (OSError(28, "No space left on device"), True, "No space left on device"),
    (MemoryError(), True, "no words"),
    (RuntimeError("a\0b\nc"), True, "ab c"),
    (KeyError("x"), False, "'x'"),
]


@pytest.mark.parametrize(("error", "again", "words"), ERRORS, ids=lambda v: type(v).__name__)
def test_what_is_remembered_of_an_error(error: Exception, again: bool, words: str) -> None:
    assert worth_retrying(error) is again
    assert blame(error) == (type(error).__name__, words)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("error", "again", "words"), ERRORS[:1] + ERRORS[6:7], ids=lambda v: type(v).__name__)
def test_errors_end_a_job_or_begin_it_anew(
    live: Store, work: Work, caplog: pytest.LogCaptureFixture, error: Exception, again: bool, words: str
) -> None:
    (recorded,) = live.record([answer(1, NewJob("sumcheck", max_attempts=2))])
    do(work, live, raising(error))
    job = the(live, recorded.job)
    assert (job.state, job.error) == (State.QUEUED if again else State.FAILED, words)
    if again:
        time.sleep(0.06)
        do(work, live, raising(error))
        job = the(live, recorded.job)
        assert (job.state, job.error, job.attempts) == (State.FAILED, words, 2)
    assert "test_serve_worker.py" in caplog.text  # where it happened is told, what the values were is not
    assert "3.75" not in caplog.text
    assert "-1.5e-3" not in caplog.text


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_running_job_is_cancelled_at_the_next_progress_call(live: Store, work: Work) -> None:
    (recorded,) = live.record([answer(1, NewJob("sumcheck"))])
    seen: list[BaseException] = []

    def act(lease: Any, progress: Callable[[str, float], None]) -> Any:
        progress("begun", 0.25)
        until(lambda: the(live, lease.job).fraction == 0.25)  # it is told
        live.cancel(lease.job)
        try:
            while True:
                progress("going on", 0.5)
                time.sleep(0.01)
        except JobCancelled as error:
            seen.append(error)
            raise

    do(replace(work, lease_s=0.9), live, Acting(act))
    assert len(seen) == 1
    job = the(live, recorded.job)
    assert (job.state, job.error, job.worker) == (State.CANCELLED, "cancelled on request", "")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_lease_is_kept_as_long_as_the_prover_works(live: Store, work: Work) -> None:
    (recorded,) = live.record([answer(1, NewJob("sumcheck"))])

    def act(lease: Any, progress: Callable[[str, float], None]) -> Any:
        for _ in range(20):
            time.sleep(0.05)
            assert live.expire() == 0
        return Proof("sumcheck/1", (lease.claim,), {}, b"")

    do(replace(work, lease_s=0.3), live, Acting(act))
    assert the(live, recorded.job).state is State.PROVED


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_whoever_lost_the_lease_hears_of_it_and_publishes_nothing(live: Store, work: Work) -> None:
    (recorded,) = live.record([answer(1, NewJob("sumcheck"))])
    lost = []

    def act(lease: Any, progress: Callable[[str, float], None]) -> Any:
        live.expire(worker="w")
        try:
            for step in range(200):
                progress("going on", step / 200)
                time.sleep(0.02)
        except LeaseLost:
            lost.append(True)
        return Proof("sumcheck/1", (lease.claim,), {}, b"")

    do(replace(work, lease_s=0.3), live, Acting(act))
    assert lost == [True]
    assert the(live, recorded.job).state is State.QUEUED
    assert live.proof(recorded.digest) is None


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_worker_that_is_to_end_hands_its_job_back(live: Store, work: Work) -> None:
    (recorded,) = live.record([answer(1, NewJob("sumcheck"))])
    stop = threading.Event()

    def act(lease: Any, progress: Callable[[str, float], None]) -> Any:
        progress("a", 0.0)
        stop.set()
        progress("b", 0.5)

    do(work, live, Acting(act), stop)
    job = the(live, recorded.job)
    assert (job.state, job.attempts, job.stage) == (State.QUEUED, 0, "")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_proof_is_kept_while_the_database_takes_nothing(
    live: Store, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recorded,) = live.record([answer(1, NewJob("sumcheck"))])
    monkeypatch.setattr(worker, "HAND_IN_S", 0.01)
    finish, refusals = live.finish, [True] * 3

    def full(lease: Any, proof: Any) -> None:
        if refusals:
            refusals.pop()
            raise StoreUnavailable("the disk is full")
        finish(lease, proof)

    monkeypatch.setattr(live, "finish", full)
    do(work, live, Acting(lambda lease, progress: proof_of(lease)))
    assert the(live, recorded.job).state is State.PROVED
    # A worker that is to end does not wait.
    (second,) = live.record([answer(2, NewJob("sumcheck"))])
    refusals += [True] * 1000
    stop = threading.Event()
    stop.set()
    do(work, live, Acting(lambda lease, progress: proof_of(lease)), stop)
    job = the(live, second.job)
    assert (job.state, job.attempts) == (State.QUEUED, 0)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_attempt_has_a_time_limit(live: Store, work: Work) -> None:
    (recorded,) = live.record([answer(1, NewJob("sumcheck"))])

    def act(lease: Any, progress: Callable[[str, float], None]) -> Any:
        while True:
            progress("going on", 0.5)
            time.sleep(0.01)

    do(replace(work, time_limit_s=0.2, lease_s=0.3), live, Acting(act))
    job = the(live, recorded.job)
    assert (job.state, job.error_code) == (State.FAILED, "TimeLimit")
