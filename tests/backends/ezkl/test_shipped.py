"""Shipped models through the whole path, and the tuner against ezkl's own calibration. Slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backends.ezkl.conftest import LENIENT
from vml.backends.ezkl import calibration, prover
from vml.backends.ezkl.circuit import Cost, RunArgs
from vml.backends.ezkl.process import Engine
from vml.backends.ezkl.setup import setup
from vml.backends.ezkl.tuner import Tuner
from vml.backends.ezkl.verifier import verify
from vml.backends.ezkl.wrapper import wrap
from vml.backends.types import ClaimExpectation, Environment, SetupOptions, Visibility

CIRCUITS = Path(__file__).parents[3] / "circuits"
LENET_MEMORY = 8 << 30


def arrays(name: str, file: str) -> dict[str, np.ndarray]:
    with np.load(CIRCUITS / name / file) as loaded:
        return dict(loaded)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["breast-cancer-mlp", "digits-mlp", "digits-cnn", "lenet5"])
def test_a_shipped_model_is_proved_and_verified(name: str, cache: Path) -> None:
    source = (CIRCUITS / name / "model.onnx").read_bytes()
    sample = arrays(name, "sample.npz")
    circuit = setup(source, arrays(name, "calibration.npz"), SetupOptions(cache_dir=cache))
    assert Cost(**circuit.meta["cost"]).memory_bytes < LENET_MEMORY
    proof, _ = prover.prove(circuit, sample, bytes(32), memory_limit_bytes=LENET_MEMORY)
    expected = ClaimExpectation(frozenset({circuit.identity}), public_input=sample)
    assert verify(proof, expected, LENIENT, Environment()).claims == proof.claims


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breast-cancer-mlp", "digits-mlp", "digits-cnn"])
def test_the_tuner_is_cheaper_and_no_less_accurate(name: str, tmp_path: Path) -> None:
    source = (CIRCUITS / name / "model.onnx").read_bytes()
    wrapped = wrap(source, Visibility())
    (tmp_path / "m.onnx").write_bytes(wrapped.onnx)
    rows = calibration.rows_of(wrapped.inputs, arrays(name, "calibration.npz"), 8)
    sample = calibration.make_sample(source, wrapped.inputs, rows, 0, tmp_path)
    with Engine() as engine:
        tuner = Tuner(engine, tmp_path / "m.onnx", sample, RunArgs(), tmp_path)
        default = tuner.default()
        tuned = tuner.search(default.error)
    assert tuned.error <= default.error
    assert tuned.cost.key_words * 3 < default.cost.key_words
