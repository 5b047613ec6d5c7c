"""`vml prove --each` and `--executor ray`: a folder of proofs, made on two real nodes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.ray.ray_cluster import RunningCluster
from tests.ray.ray_world import Ran, World

Run = Callable[..., Ran]


def test_proofs_of_both_nodes_verify(world: World, cluster: RunningCluster, run_vml: Run, tmp_path: Path) -> None:
    folder = tmp_path / "proofs"
    asked = world.model, world.inputs, "-o", folder, "--each", "--executor", cluster.executor, "--json"
    done = run_vml("prove", *asked)
    assert done.code == 0, done.err
    made = done.json
    assert (made["proved"], made["kept"], made["failed"]) == (world.rows, 0, 0)
    assert len({item["node"] for item in made["proofs"]}) == 2
    names = [f"many-{number:04d}.proof.json" for number in range(1, world.rows + 1)]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in (names[0], names[-1]):
        verified = run_vml("verify", folder / name, "--model", world.model)
        assert verified.code == 0, verified.err

    # What is there is not made again: nothing is left to do, so that no cluster is asked either.
    again = run_vml("prove", *asked[:-2], "ray:127.0.0.1:1", "--json")
    assert again.code == 0, again.err
    assert again.json["kept"] == world.rows
    assert again.json["proofs"][3]["claims"] == made["proofs"][3]["claims"]


def test_one_bad_row_does_not_stop_the_rest(
    world: World, cluster: RunningCluster, run_vml: Run, tmp_path: Path
) -> None:
    with np.load(world.inputs) as found:
        arrays = {name: found[name][:3].copy() for name in found.files}
    next(iter(arrays.values()))[1] = 1e6
    bad, missing = tmp_path / "bad.npz", tmp_path / "missing.npz"
    np.savez(bad, **arrays)
    done = run_vml("prove", world.model, bad, missing, "-o", tmp_path / "out", "--executor", cluster.executor, "--json")
    assert done.code == 5, done.err
    assert done.json["error"]["message"] == "2 of 4 inputs failed"
    states = [item["state"] for item in done.json["proofs"]]
    assert states == ["proved", "failed", "proved", "failed"]
    assert done.json["proofs"][1]["error"]["type"] == "OutOfRange"
    assert done.json["proofs"][3]["error"]["type"] == "FileNotFoundError"


def test_a_batch_is_one_proof(world: World, cluster: RunningCluster, run_vml: Run, tmp_path: Path) -> None:
    proof = tmp_path / "batch.proof.json"
    asked = "prove", world.model, world.inputs, "-o", proof, "--batch", "--backend", "sumcheck"
    done = run_vml(*asked, "--executor", cluster.executor, "--json")
    assert done.code == 0, done.err
    assert len(done.json["claims"]) == world.rows
    assert run_vml("verify", proof, "--model", world.model).code == 0


def test_one_after_the_other_without_a_cluster(world: World, run_vml: Run, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    done = run_vml("prove", world.model, world.inputs, "-o", folder, "--each", "--json")
    assert done.code == 0, done.err
    assert done.json["proved"] == world.rows

    # A row that changed meanwhile is not passed off as proved, and the proof that is there is not lost.
    with np.load(world.inputs) as found:
        arrays = {name: found[name].copy() for name in found.files}
    column = next(iter(arrays.values()))
    column[[2, 5]] = column[[5, 2]]
    shutil.copy(world.inputs, tmp_path / "many.npz")
    np.savez(tmp_path / "many.npz", **arrays)
    changed = run_vml("prove", world.model, tmp_path / "many.npz", "-o", folder, "--each")
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
def test_refusals(world: World, run_vml: Run, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = run_vml("prove", world.model, world.inputs, "-o", tmp_path / "p", "--batch", *arguments)
    assert done.code == code, done.err
    assert words in done.err
