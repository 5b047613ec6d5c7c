"""The server's executor on a real Ray cluster of two nodes: jobs are proved there, and nothing that dies loses one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.ray.ray_cluster import RunningCluster, running_cluster
from tests.serve.kit import real_answer
from vml import api
from vml.backends.types import Visibility
from vml.proof import Proof
from vml.ray import Need
from vml.ray.answers import Ended
from vml.ray.kit import pack
from vml.serve.executor import Work
from vml.serve.ray_dispatcher import FIGURES, Dispatcher, _Job, _Ready
from vml.serve.ray_executor import RayExecutor
from vml.serve.records import NewJob, State
from vml.serve.refusals import StoreUnavailable
from vml.serve.store import Store


def until(condition: Callable[[], Any], patience_s: float = 90.0) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.05)


def inputs(first: float) -> dict[str, Any]:
    return {"x": np.array([[first, 1.0, -2.0, 0.25]], np.float32)}


@pytest.fixture
def work(tmp_path: Path, tiny_model: Any, alone: None, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("VML_CACHE_DIR", str(tmp_path / "cache"))
    database = f"sqlite:///{tmp_path / 'vml.db'}"
    return Work(database, {"tiny": str(tiny_model.folder)}, lease_s=5.0, poll_s=0.05, retry_s=0.05, threads=1)


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


def test_jobs_are_proved_on_the_nodes(live: Store, tiny_model: Any, executor: RayExecutor) -> None:
    ids = ask(live, tiny_model, np.linspace(-3, 3, 12))
    cancelled = ids[:2]
    for id in cancelled:
        live.cancel(id)
    changed = real_answer(tiny_model, inputs(3.25), "tiny", NewJob("sumcheck"))
    changed = replace(changed, claim=replace(changed.claim, output=b"\x07" * 32))
    (recorded,) = live.record([changed])
    wrong = str(recorded.job)
    executor.start()
    until(lambda: ended(live, [*ids, wrong]))
    assert states(live, cancelled) == {State.CANCELLED}
    assert states(live, ids[2:]) == {State.PROVED}
    assert {job.attempts for job in map(live.job, ids[2:]) if job} == {1}
    for id in (ids[2], ids[-1]):
        job = live.job(id)
        assert job is not None
        record = live.proof(job.claim)
        assert record is not None
        api.verify(Proof.from_bytes(record.data), model=tiny_model, context=bytes(32))
    # An answer that the model does not give is not proved, whatever the nodes send.
    job = live.job(wrong)
    assert job is not None
    assert (job.state, job.error_code) == (State.FAILED, "ProvingError")
    assert live.proof(changed.claim.digest()) is None
    told = executor.describe()
    assert (told["kind"], told["nodes"], told["connected"]) == ("ray", 2, True)
    assert 1 <= told["workers"] <= 2
    executor.stop(5.0)
    assert executor.describe()["connected"] is False


class Sent:
    """A crew whose only process has sent a proof."""

    def __init__(self, end: Ended) -> None:
        self.ends = [end]

    def poll(self, timeout_s: float) -> list[Ended]:
        ends, self.ends = self.ends, []
        return ends

    def progress(self) -> dict[str, Any]:
        return {}

    def slots(self, need: Any) -> int:
        return 1

    def describe(self) -> dict[str, int]:
        return dict.fromkeys(FIGURES, 0)

    def cancel(self, id: str) -> None: ...
    def close(self) -> None: ...


def test_a_proof_is_kept_while_the_database_takes_none(
    live: Store, tiny_model: Any, work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (id,) = ask(live, tiny_model, [1.0])
    dispatcher = Dispatcher(
        work, "w", live, SimpleNamespace(ray=SimpleNamespace(remote=lambda holder: holder)), [0] * 4
    )
    lease = live.lease("w", seconds=work.lease_s)
    assert lease is not None
    keys = api.setup(tiny_model, "sumcheck")
    ready: Future[Any] = Future()
    ready.set_result(_Ready(tiny_model, keys, pack(tiny_model, keys, Visibility()), Need(0)))
    dispatcher._jobs[id] = _Job(lease, ready, time.monotonic(), submitted=True)
    proof = api.prove(tiny_model, inputs(1.0), backend="sumcheck", keys=keys)
    dispatcher._crew = Sent(Ended(id, "node", proof=proof.to_bytes()))  # type: ignore[assignment]
    drain, finish, refused = threading.Event(), live.finish, []

    def finishing(*arguments: Any) -> None:
        if len(refused) < 3:
            refused.append(arguments)
            raise StoreUnavailable("the disk is full")
        finish(*arguments)

    monkeypatch.setattr(live, "finish", finishing)
    drain.set()
    dispatcher.serve(drain, threading.Event())
    job = live.job(id)
    assert job is not None
    assert (job.state, job.attempts, len(refused)) == (State.PROVED, 1, 3)
    assert "not taken yet" in caplog.text


@pytest.mark.slow
def test_the_process_between_dies_and_nothing_is_lost(
    live: Store, tiny_model: Any, executor: RayExecutor, work: Work
) -> None:
    ids = ask(live, tiny_model, np.linspace(-3, 3, 40))
    executor.start()
    for _ in range(2):
        until(lambda: executor.describe()["busy"] > 0)
        pid = executor.describe()["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: executor.describe()["pid"] not in (0, pid))  # type: ignore[misc]
    until(lambda: ended(live, ids), 120.0)
    assert states(live, ids) == {State.PROVED}


@pytest.mark.slow
def test_a_node_dies_and_nothing_is_lost(live: Store, tiny_model: Any, work: Work, tmp_path: Path) -> None:
    with running_cluster("1", "1", environment={"VML_CACHE_DIR": str(tmp_path / "nodes")}) as lossy:
        executor = RayExecutor(work, lossy.executor)
        ids = ask(live, tiny_model, np.linspace(-3, 3, 60))
        executor.start()
        try:
            until(lambda: executor.describe()["workers"] == 2 and executor.describe()["busy"] == 2)
            lossy.kill_node(1)
            until(lambda: ended(live, ids), 120.0)
            until(lambda: executor.describe()["nodes"] == 1)
        finally:
            executor.stop(0.0)
    assert states(live, ids) == {State.PROVED}


def test_a_cluster_that_is_not_there_is_waited_for(live: Store, tiny_model: Any, work: Work) -> None:
    with pytest.raises(ValueError, match="ray:HOST:PORT"):
        RayExecutor(work, "ray://nowhere")
    (id,) = ask(live, tiny_model, [1.0])
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
