"""The server's executor on a real Ray cluster of two nodes: jobs are proved there, and nothing that dies loses one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ray.ray_cluster import ALONE, RunningCluster, running_cluster
from tests.serve.kit import real_answer
from vml import api
from vml.proof import Proof
from vml.serve.executor import Work
from vml.serve.ray_executor import RayExecutor
from vml.serve.records import NewJob, State
from vml.serve.store import Store


def until(condition: Callable[[], Any], patience_s: float = 90.0) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.05)


def inputs(first: float) -> dict[str, Any]:
    return {"x": np.array([[first, 1.0, -2.0, 0.25]], np.float32)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    before = dict(os.environ)
    os.environ.update(ALONE)
    with running_cluster("1", "1", environment={"VML_CACHE_DIR": str(tmp_path_factory.mktemp("nodes"))}) as started:
        yield started
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def work(tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("VML_CACHE_DIR", str(tmp_path / "cache"))
    database = f"sqlite:///{tmp_path / 'vml.db'}"
    return Work(database, {"tiny": str(tiny.folder)}, lease_s=5.0, poll_s=0.05, retry_s=0.05, threads=1)


@pytest.fixture
def live(work: Work) -> Iterator[Store]:
    store = Store.open(work.url, retry_s=0.05)
    yield store
    store.close()


def ask(store: Store, model: Any, firsts: Any) -> list[str]:
    """Record an answer for each, with a job; the jobs' ids."""
    answers = [real_answer(model, inputs(float(first)), "tiny", NewJob("sumcheck")) for first in firsts]
    return [str(recorded.job) for recorded in store.record(answers)]


def ended(store: Store, ids: list[str]) -> bool:
    return all(job is not None and job.state.ended for job in map(store.job, ids))


def states(store: Store, ids: list[str]) -> set[State]:
    return {job.state for job in map(store.job, ids) if job is not None}


@pytest.fixture
def executor(work: Work, cluster: RunningCluster) -> Iterator[RayExecutor]:
    made = RayExecutor(work, cluster.executor)
    yield made
    made.stop(0.0)


def test_jobs_are_proved_on_the_nodes(live: Store, tiny: Any, executor: RayExecutor) -> None:
    ids = ask(live, tiny, np.linspace(-3, 3, 12))
    executor.start()
    until(lambda: ended(live, ids))
    assert states(live, ids) == {State.PROVED}
    jobs = [live.job(id) for id in ids]
    assert {job.attempts for job in jobs if job} == {1}
    for id in (ids[0], ids[-1]):
        job = live.job(id)
        assert job is not None
        record = live.proof(job.claim)
        assert record is not None
        api.verify(Proof.from_bytes(record.data), model=tiny, context=bytes(32))
    told = executor.describe()
    assert (told["kind"], told["nodes"], told["connected"]) == ("ray", 2, True)
    assert 1 <= told["workers"] <= 2
    executor.stop(5.0)
    assert executor.describe()["connected"] is False


def test_a_model_that_changed_meanwhile_is_not_proved(live: Store, tiny: Any, executor: RayExecutor) -> None:
    from dataclasses import replace

    answer = real_answer(tiny, inputs(1.0), "tiny", NewJob("sumcheck"))
    other = replace(answer, claim=replace(answer.claim, output=b"\x07" * 32))
    (recorded,) = live.record([other])
    executor.start()
    until(lambda: ended(live, [str(recorded.job)]))
    job = live.job(str(recorded.job))
    assert job is not None
    assert job.state is State.FAILED
    assert job.error_code == "ProvingError"
    assert live.proof(other.claim.digest()) is None


@pytest.mark.slow
def test_the_process_between_dies_and_nothing_is_lost(
    live: Store, tiny: Any, executor: RayExecutor, work: Work
) -> None:
    ids = ask(live, tiny, np.linspace(-3, 3, 40))
    executor.start()
    for _ in range(2):
        until(lambda: executor.describe()["busy"] > 0)
        pid = executor.describe()["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: executor.describe()["pid"] not in (0, pid))  # type: ignore[misc]
    until(lambda: ended(live, ids), 120.0)
    assert states(live, ids) == {State.PROVED}


@pytest.mark.slow
def test_a_node_dies_and_nothing_is_lost(live: Store, tiny: Any, work: Work, tmp_path: Path) -> None:
    with running_cluster("1", "1", environment={"VML_CACHE_DIR": str(tmp_path / "nodes")}) as lossy:
        executor = RayExecutor(work, lossy.executor)
        ids = ask(live, tiny, np.linspace(-3, 3, 60))
        executor.start()
        try:
            until(lambda: executor.describe()["workers"] == 2 and executor.describe()["busy"] == 2)
            lossy.kill_node(1)
            until(lambda: ended(live, ids), 120.0)
            assert executor.describe()["nodes"] == 1
        finally:
            executor.stop(0.0)
    assert states(live, ids) == {State.PROVED}


def test_a_cluster_that_is_not_there_is_waited_for(live: Store, tiny: Any, work: Work) -> None:
    with pytest.raises(ValueError, match="ray:HOST:PORT"):
        RayExecutor(work, "ray://nowhere")
    (id,) = ask(live, tiny, [1.0])
    executor = RayExecutor(work, "ray:127.0.0.1:1")
    executor.start()
    try:
        until(lambda: executor.describe()["restarts"] > 0)
        found = live.job(id)
        assert found is not None
        assert found.state is State.QUEUED
        assert executor.describe()["alive"] == 0
    finally:
        executor.stop(0.0)


def test_cancelled_and_handed_back(live: Store, tiny: Any, executor: RayExecutor) -> None:
    ids = ask(live, tiny, np.linspace(-3, 3, 6))
    for id in ids[:2]:
        live.cancel(id)
    executor.start()
    until(lambda: ended(live, ids))
    assert [job.state for job in map(live.job, ids) if job] == [State.CANCELLED] * 2 + [State.PROVED] * 4
