"""Processes that lie, die or load nothing; nodes that go away or are too small. All on real nodes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ray import holders
from tests.ray.ray_cluster import RunningCluster, running_cluster
from tests.ray.ray_world import World
from vml import api
from vml.backends.types import Visibility
from vml.claim import ZERO_CONTEXT
from vml.errors import ProvingError
from vml.ray import Cluster, Made, Need, connect, prove_each
from vml.ray.answers import read
from vml.ray.crew import RESTARTS, TRIES
from vml.ray.proving import salt_of

Run = Callable[..., Iterator[Made]]


@pytest.fixture
def run(world: World, tiny_model: Any, monkeypatch: pytest.MonkeyPatch, alone: None) -> Run:
    """Prove rows of a tiny model with processes of some class."""
    monkeypatch.setenv("VML_CACHE_DIR", str(world.cache))
    keys = api.setup(tiny_model, "sumcheck")

    def prove(cluster: Cluster, holder: type, firsts: Sequence[float]) -> Iterator[Made]:
        rows = [{"x": np.array([[first, 1.0, -2.0, 0.25]], np.float32)} for first in firsts]
        common = {"keys": keys, "context": ZERO_CONTEXT, "visibility": Visibility()}
        return prove_each(cluster, tiny_model, rows, holder=holder, **common)  # type: ignore[arg-type]

    return prove


@contextmanager
def joined(cluster: RunningCluster) -> Iterator[Cluster]:
    with connect(cluster.executor) as connection:
        yield connection


def test_nothing_wrong_is_accepted(run: Run, cluster: RunningCluster) -> None:
    sent = [holders.OTHER_INPUT, holders.FORGED, holders.NO_PROOF, holders.BABBLE, holders.DEEP, holders.HONEST]
    with joined(cluster) as connection:
        made = sorted(run(connection, holders.Untrue, sent), key=lambda one: one.index)
    words = ["the claim's input is", "no proof of this", "no proof of this", "no answer of a process", "opens nothing"]
    for one, word in zip(made[:5], words, strict=True):
        assert one.proof is None
        assert isinstance(one.error, ProvingError)
        assert word in str(one.error)
    assert made[5].proof is not None


@pytest.mark.parametrize(
    "answer",
    [None, 7, [], {}, {"node": 1}, {"node": "n", "failure": 3}, {"node": "n", "failure": ("a",)},
     {"node": "n", "failure": None}, {"node": "n", "failure": None, "proof": 5, "opening": b"", "seconds": 1},
     {"node": "n", "failure": None, "proof": b"", "opening": b"", "seconds": "x"},
     {"node": "n", "failure": None, "proof": 10**12, "opening": b"", "seconds": 0.0}],
)  # fmt: skip
def test_whatever_a_process_sends_ends_its_own_task_only(answer: Any) -> None:
    ended = read("task", "", answer)
    assert (ended.id, ended.proof) == ("task", b"")
    assert isinstance(ended.error, ProvingError)


@pytest.mark.parametrize("opening", [b"[" * 100_000, b"[]", b"7", b"{}", b'{"salt": 7}', b"\xff", b'{"salt": "0x"}'])
def test_what_opens_nothing(opening: bytes) -> None:
    # As some libraries leave it: nothing stops a parser that recurses but the end of its stack.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        refuse(opening)
    finally:
        sys.setrecursionlimit(before)


def refuse(opening: bytes) -> None:
    with pytest.raises(ProvingError, match="opens nothing"):
        salt_of(opening)


@pytest.mark.slow
def test_keys_that_no_node_can_load(run: Run, cluster: RunningCluster) -> None:
    with joined(cluster) as connection:
        made = list(run(connection, holders.Broken, [0.5, 1.0]))
    assert all(one.proof is None and "this node has no disk" in str(one.error) for one in made)


@pytest.mark.slow
def test_a_process_that_dies_is_begun_again_a_few_times(run: Run, cluster: RunningCluster, marks: Path) -> None:
    with joined(cluster) as connection:
        made = sorted(run(connection, holders.Mortal, [0.5, 3.5, 1.0]), key=lambda one: one.index)
    assert [one.proof is not None for one in made] == [True, False, True]
    assert isinstance(made[1].error, ProvingError)
    assert "every process that worked on it died" in str(made[1].error)
    # Ray counts a try that did not reach the process, too.
    assert TRIES <= len(list(marks.glob("3.5-*"))) <= TRIES * (RESTARTS + 1)


def test_what_no_node_can_hold_is_refused(cluster: RunningCluster, alone: None) -> None:
    started = time.monotonic()
    with joined(cluster) as connection:
        with pytest.raises(ProvingError, match=r"takes 1024.00 GiB of memory .* no node"):
            connection.require_room(Need(1 << 40))
        with pytest.raises(ProvingError, match=r"2 core\(s\), which no node"):
            connection.require_room(Need(1, cpus=2))
        connection.require_room(Need(1))
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_node_that_is_lost_loses_nothing(run: Run, tmp_path: Path) -> None:
    killed: list[int] = []
    with running_cluster("1", "1", environment={"VML_CACHE_DIR": str(tmp_path)}) as lossy, joined(lossy) as connection:
        made = []
        for one in run(connection, holders.Slow, list(np.linspace(-3, 3, 16))):
            made.append(one)
            if not killed and len({each.node for each in made}) == 2:
                lossy.kill_node(1)
                killed.append(len(made))
        left = {node.id for node in connection.nodes()}
    assert [one.error for one in made] == [None] * 16
    assert sorted(one.index for one in made) == list(range(16))
    assert killed[0] < 12, "it was in the middle"
    assert len(left) == 1
    assert {one.node for one in made[killed[0] + 1 :]} == left


@pytest.mark.slow
def test_a_model_too_large_for_the_nodes_is_refused_by_its_plan(world: World, run_vml: Any, tmp_path: Path) -> None:
    with running_cluster("1:80", environment={"VML_CACHE_DIR": str(tmp_path)}) as small:
        asked = world.model, world.inputs, "-o", tmp_path / "out", "--each", "--executor", small.executor
        done = run_vml("prove", *asked, "--backend", "sumcheck", "--json")
    assert done.code == 5
    assert "which no node of the Ray cluster has" in done.json["error"]["message"]
