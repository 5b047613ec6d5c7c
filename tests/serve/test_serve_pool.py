"""Pools: processes that are replaced when they die, let jobs end or hand them back, and end with their server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.serve import provers
from tests.serve.kit import real_answer, the, tiny_inputs, until
from vml.serve.executor import Work
from vml.serve.pool import Pool
from vml.serve.records import NewJob, State
from vml.serve.store import Store


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
        real_answer(tiny, tiny_inputs(first, place / 16), "tiny", NewJob(provers.SLOW, **job))
        for place, first in enumerate(firsts)
    ]
    return [str(recorded.job) for recorded in store.record(group)]


def test_a_pool_proves_for_real_and_with_others(live: Store, work: Work, tiny: Any, pools: Any) -> None:
    (real,) = live.record([real_answer(tiny, tiny_inputs(1.0), "tiny", NewJob("sumcheck"))])
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
