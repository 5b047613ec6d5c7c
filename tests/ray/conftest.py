"""A compiled model, its inputs, and a command line in a process of its own: Ray keeps one cluster a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.stand_in import tiny_onnx
from tests.ray import holders
from tests.ray.ray_cluster import ALONE, RunningCluster, running_cluster
from tests.ray.ray_world import Ran, World
from vml import api
from vml.cli import main

CIRCUIT = Path(__file__).parents[2] / "circuits" / "breast-cancer-mlp"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    place = tmp_path_factory.mktemp("ray")
    with np.load(CIRCUIT / "calibration.npz") as found:
        samples = {name: found[name] for name in found.files}
    model = api.compile(CIRCUIT / "model.onnx", calibration=samples).save(place / "model.vml")
    rows = 8
    np.savez(place / "many.npz", **{spec.name: samples[spec.name][:rows] for spec in model.inputs})
    return World(place / "model.vml", place / "many.npz", rows, place / "cache")


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """This process, too, speaks to loopback only; Ray reads that once, when it is loaded."""
    before = dict(os.environ)
    os.environ.update(ALONE)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, marks: Path) -> Iterator[RunningCluster]:
    """Two nodes of one core each, with a cache of their own: they share no file with the caller."""
    with running_cluster(
        "1", "1", environment={"VML_CACHE_DIR": str(tmp_path_factory.mktemp("nodes")), holders.MARKS: str(marks)}
    ) as started:
        yield started


@pytest.fixture
def run_vml(world: World) -> Callable[..., Ran]:
    def run(*arguments: object) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "vml", *map(str, arguments)],
            env=world.environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def vml_here(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """The command line in this process, for what ends before a cluster is asked."""
    monkeypatch.setenv("VML_CACHE_DIR", str(world.cache))

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of eight weights, in a folder."""
    return api.compile(tiny_onnx(), input_range=(-4.0, 4.0)).save(tmp_path_factory.mktemp("tiny") / "tiny.vml")


@pytest.fixture(scope="session")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")
