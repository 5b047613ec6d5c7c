"""Workers: real proofs, stops, hand-backs, errors without inputs; processes that are replaced and end with theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve import provers
from tests.serve.kit import answer, proof_of, real_answer
from vml import api
from vml.errors import BackendUnavailable, ClaimMismatch, OutOfRange, ProvingError, UnsupportedModel
from vml.proof import Proof
from vml.serve import worker
from vml.serve.blame import blame, worth_retrying
from vml.serve.executor import Work
from vml.serve.pool import Pool
from vml.serve.proving import Prover
from vml.serve.records import Job, NewJob, State
from vml.serve.refusals import JobCancelled, LeaseLost, StoreUnavailable, TimeLimit
from vml.serve.store import Store


def until(condition: Callable[[], Any], patience_s: float = 30.0) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)


def inputs(first: float, rest: float = 1.0) -> dict[str, Any]:
    return {"x": np.array([[first, rest, -2.0, 0.25]], np.float32)}


@pytest.fixture
def live(url: str) -> Iterator[Store]:
    store = Store.open(url, retry_s=0.05)
    yield store
    store.close()


@pytest.fixture
def work(url: str, tiny: Any) -> Work:
    return Work(url, {"tiny": str(tiny.folder)}, lease_s=5.0, poll_s=0.05, retry_s=0.05)


def the(store: Store, id: str | None) -> Job:
    job = store.job(str(id))
    assert job is not None
    return job


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
    live.record([real_answer(tiny, inputs(1.0), "tiny", NewJob("sumcheck"), context=context)])
    do(work, live, Prover(work.models, work.options))
    (job,) = live.jobs(limit=2)
    assert (job.state, job.fraction, job.attempts, job.error) == (State.PROVED, 1.0, 1, "")
    record = live.proof(job.claim)
    assert record is not None
    proof = Proof.from_bytes(record.data)
    assert proof.claims[0].digest() == job.claim
    api.verify(proof, model=tiny.folder, context=context)


def test_a_model_that_changed_meanwhile_proves_nothing(live: Store, work: Work, tiny: Any) -> None:
    made = real_answer(tiny, inputs(1.0), "tiny", NewJob("sumcheck"))
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
    made = real_answer(tiny, inputs(1.0), "tiny", NewJob("sumcheck"))
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


@pytest.fixture
def pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pool]]:
    """Starts pools of processes with the slow backend, and stops them."""
    monkeypatch.setenv("VML_TEST_LOG", str(tmp_path / "log"))
    made: list[Pool] = []

    def start(work: Work, workers: int = 1, target: Any = provers.run) -> Pool:
        made.append(Pool(work, workers=workers, target=target))
        made[-1].start()
        return made[-1]

    yield start
    for pool in made:
        pool.stop(0.0)


def slow(store: Store, tiny: Any, *firsts: float, **job: Any) -> list[str]:
    """Ask for proofs of the slow backend; the first input says how it behaves."""
    group = [
        real_answer(tiny, inputs(first, place / 16), "tiny", NewJob(provers.SLOW, **job))
        for place, first in enumerate(firsts)
    ]
    return [str(recorded.job) for recorded in store.record(group)]


def test_a_pool_proves_for_real_and_with_others(live: Store, work: Work, tiny: Any, pools: Any) -> None:
    (real,) = live.record([real_answer(tiny, inputs(1.0), "tiny", NewJob("sumcheck"))])
    ids = [*slow(live, tiny, 1.0, 1.0, 1.0, 3.25), str(real.job)]
    pool = pools(work, 2)
    until(lambda: live.depth() == 0, 60)
    assert [the(live, id).state for id in ids] == [State.PROVED] * 3 + [State.FAILED, State.PROVED]
    assert the(live, ids[3]).error == "a value of … was not to my liking"
    assert pool.describe() | {"pids": []} == {"kind": "local", "workers": 2, "alive": 2, "restarts": 0, "pids": []}
    pool.stop(10.0)
    assert pool.alive() == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_job_that_kills_its_workers_fails_and_the_next_one_is_proved(
    live: Store, work: Work, tiny: Any, pools: Any, tmp_path: Path
) -> None:
    bad, good = slow(live, tiny, 3.5, 1.0, max_attempts=2)
    pool = pools(replace(work, lease_s=60.0))  # the pool sees the death; nobody waits for the lease
    until(lambda: live.depth() == 0)
    job = the(live, bad)
    assert (job.state, job.error_code, job.attempts) == (State.FAILED, "WorkerLost", 2)
    assert the(live, good).state is State.PROVED
    assert pool.describe()["restarts"] == 2
    starts = (tmp_path / "log").read_text().split()[::2]
    assert sorted(map(starts.count, set(starts))) == [1, 2]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_prover_that_never_looks_up_is_killed(live: Store, work: Work, tiny: Any, pools: Any, tmp_path: Path) -> None:
    (stuck,) = slow(live, tiny, 3.125)
    pools(replace(work, lease_s=0.5, cancel_s=0.3))
    until(lambda: (tmp_path / "log").exists())
    live.cancel(stuck)
    until(lambda: live.depth() == 0)
    assert the(live, stuck).state is State.CANCELLED
    (good,) = slow(live, tiny, 1.0)
    until(lambda: the(live, good).state is State.PROVED)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_stopping_a_pool_lets_jobs_end_or_hands_them_back(
    live: Store, work: Work, tiny: Any, pools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VML_TEST_STEP_S", "0.2")
    (first,) = slow(live, tiny, 1.0)
    pool = pools(work)
    until(lambda: (tmp_path / "log").exists())
    (second,) = slow(live, tiny, 1.5)
    pool.stop(20.0)
    assert the(live, first).state is State.PROVED
    assert the(live, second).state is State.QUEUED
    monkeypatch.setenv("VML_TEST_STEP_S", "2")
    (tmp_path / "log").unlink()
    pool = pools(work)
    until(lambda: (tmp_path / "log").exists())
    pool.stop(0.1)
    job = the(live, second)
    assert (job.state, job.attempts) == (State.QUEUED, 0)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_workers_that_cannot_begin_are_not_started_without_end(work: Work, pools: Any) -> None:
    pool = pools(work, 1, provers.crash)
    time.sleep(3.0)
    assert 1 <= pool.describe()["restarts"] <= 5
    with pytest.raises(RuntimeError):
        pool.start()
    with pytest.raises(ValueError, match="at least one"):
        Pool(work, workers=0)


SERVER = """
import sys, time
from tests.serve import provers
from vml.serve.executor import Work
from vml.serve.pool import Pool
if __name__ == "__main__":
    pool = Pool(Work(sys.argv[1], {}, poll_s=0.05), workers=2, target=provers.run)
    pool.start()
    while pool.alive() < 2:
        time.sleep(0.02)
    print(*pool.describe()["pids"], flush=True)
    if sys.argv[2] == "leave":
        sys.exit(0)
    time.sleep(60)
"""


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("end", ["kill", "leave"])
def test_workers_end_when_their_server_does(url: str, tmp_path: Path, end: str) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(script), url, end]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        pids = [int(word) for word in server.stdout.readline().split()]
        assert len(pids) == 2
        if end == "kill":
            server.send_signal(signal.SIGKILL)
        try:
            server.wait(30)
        finally:
            server.kill()
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and runs(pid) for pid in pids))


def runs(pid: int) -> bool:
    """Whether a process lives; one that nobody waited for is a zombie and does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
