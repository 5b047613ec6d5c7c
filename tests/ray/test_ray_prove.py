"""`vml prove --each` and `--executor ray`: a folder of proofs, made on two real nodes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ray.ray_cluster import RunningCluster, running_cluster
from tests.ray.ray_world import Ran, World
from vml import api

Run = Callable[..., Ran]


def test_proofs_of_both_nodes_and_two_bad_inputs(
    world: World, cluster: RunningCluster, run_vml: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "proofs"
    with np.load(world.inputs) as found:
        arrays = {name: found[name][:2].copy() for name in found.files}
    next(iter(arrays.values()))[1] = 1e6
    bad, missing = tmp_path / "bad.npz", tmp_path / "missing.npz"
    np.savez(bad, **arrays)
    asked = "prove", world.model, world.inputs, bad, missing, "-o", folder, "--json", "--executor"
    done = run_vml(*asked, cluster.executor)
    assert done.code == 5, done.err
    made = done.json
    assert made["error"]["message"] == "2 of 11 inputs failed"
    assert (made["proved"], made["kept"], made["failed"]) == (world.rows + 1, 0, 2)
    assert len({item["node"] for item in made["proofs"] if item["node"]}) == 2
    names = [f"many-{number:04d}.proof.json" for number in range(1, world.rows + 1)]
    assert sorted(path.name for path in folder.iterdir()) == ["bad-0001.proof.json", *names]
    assert [item["error"]["type"] for item in made["proofs"][-2:]] == ["OutOfRange", "FileNotFoundError"]
    for name in (names[0], names[-1]):
        api.verify((folder / name).read_bytes(), model=world.model)

    # What is there is not made again: nothing is left to do, so that no cluster is asked either.
    again = run_vml(*asked, "ray:127.0.0.1:1")
    assert again.code == 5, again.err
    assert again.json["kept"] == world.rows + 1
    assert again.json["proofs"][3]["claims"] == made["proofs"][3]["claims"]


@pytest.mark.slow
def test_a_batch_is_one_proof(world: World, cluster: RunningCluster, run_vml: Run, tmp_path: Path) -> None:
    batch(world, cluster.executor, run_vml, tmp_path)


@pytest.mark.slow  # where cores are scarce, Ray's proxy gives up on its own servers, which take seconds to start
def test_a_cluster_is_asked_from_outside(world: World, cluster: RunningCluster, run_vml: Run, tmp_path: Path) -> None:
    batch(world, cluster.client, run_vml, tmp_path)


def batch(world: World, executor: str, run_vml: Run, tmp_path: Path) -> None:
    proof = tmp_path / "batch.proof.json"
    asked = "prove", world.model, world.inputs, "-o", proof, "--batch", "--backend", "sumcheck"
    done = run_vml(*asked, "--executor", executor, "--json")
    assert done.code == 0, done.err
    assert len(done.json["claims"]) == world.rows
    api.verify(proof.read_bytes(), model=world.model)


def test_one_after_the_other_without_a_cluster(world: World, vml_here: Run, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    done = vml_here("prove", world.model, world.inputs, "-o", folder, "--each", "--json")
    assert done.code == 0, done.err
    assert done.json["proved"] == world.rows

    # A row that changed meanwhile is not passed off as proved, and the proof that is there is not lost.
    with np.load(world.inputs) as found:
        arrays = {name: found[name].copy() for name in found.files}
    column = next(iter(arrays.values()))
    column[[2, 5]] = column[[5, 2]]
    shutil.copy(world.inputs, tmp_path / "many.npz")
    np.savez(tmp_path / "many.npz", **arrays)
    changed = vml_here("prove", world.model, tmp_path / "many.npz", "-o", folder, "--each")
    assert changed.code == 2
    assert "holds no proof of row 2" in changed.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--executor", "ray:127.0.0.1:1"], 4, "no Ray cluster listens"),
        (["--executor", "ray:/nonsense"], 2, "ray:HOST:PORT"),
        (["--executor", "rays"], 2, "ray:HOST:PORT"),
        (["--each", "--batch"], 2, "choose"),
    ],
)
def test_refusals(world: World, vml_here: Run, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = vml_here("prove", world.model, world.inputs, "-o", tmp_path / "p", "--batch", *arguments)
    assert done.code == code, done.err
    assert words in done.err


@pytest.mark.slow
def test_a_cluster_whose_head_is_lost_ends_the_command_and_keeps_the_proofs(
    world: World, tiny_model: Any, run_vml: Run, tmp_path: Path
) -> None:
    rows, folder = tmp_path / "rows.npz", tmp_path / "out"
    np.savez(rows, x=np.random.default_rng(0).uniform(-3, 3, (300, 4)).astype(np.float32))
    asked = "prove", tiny_model.folder, rows, "-o", folder, "--each", "--backend", "sumcheck", "--executor"
    with running_cluster("1", "1", environment={"VML_CACHE_DIR": str(tmp_path / "nodes")}) as lossy:

        def lose() -> None:
            while len(list(folder.glob("*.proof.json"))) < 3:
                time.sleep(0.1)
            lossy.kill_node(0)

        losing = threading.Thread(target=lose, daemon=True)
        losing.start()
        done = run_vml(*asked, lossy.executor)
        losing.join(10)
    assert done.code == 5, done.err
    assert "Ray cluster" in done.err
    made = len(list(folder.glob("*.proof.json")))
    assert 3 <= made < 300
