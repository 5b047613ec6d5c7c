"""Every shipped model through the whole integer pipeline: compile, run, compare."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from vml.model import interpreter
from vml.model.compiler import compile_model

CIRCUITS = Path(__file__).parents[1] / "circuits"
NAMES = sorted(path.parent.name for path in CIRCUITS.glob("*/info.json"))
# What int16 numbers may cost on held-out rows, fixed beforehand.
ACCURACY_LOSS = 0.01
AGREEMENT = 0.98

Array = np.ndarray[Any, Any]


@cache
def compiled(name: str) -> Any:
    with np.load(CIRCUITS / name / "calibration.npz") as calibration:
        return compile_model(CIRCUITS / name / "model.onnx", calibration=dict(calibration))


@cache
def holdout(name: str) -> tuple[str, Array, Array]:
    with np.load(CIRCUITS / name / "holdout.npz") as file:
        (edge,) = [key for key in file.files if key != "labels"]
        return edge, file[edge], file["labels"]


@cache
def answers(name: str) -> tuple[Array, Array]:
    """Scores of the integer and of the float model on every held-out row."""
    model, (edge, rows, _) = compiled(name), holdout(name)
    scores = model.outputs[0].name
    integer = [
        model.dequantize(model.run(model.quantize({edge: rows[i : i + 1]}, saturate=True)))[scores]
        for i in range(len(rows))
    ]
    session = onnxruntime.InferenceSession(CIRCUITS / name / "model.onnx", providers=["CPUExecutionProvider"])
    floats = [session.run(None, {edge: rows[i : i + 1]})[0] for i in range(len(rows))]
    return np.concatenate(integer), np.concatenate(floats)


@pytest.mark.parametrize("name", NAMES)
def test_interpreter_and_executor_agree_on_the_sample(name: str) -> None:
    model = compiled(name)
    with np.load(CIRCUITS / name / "sample.npz") as sample:
        codes = model.quantize(dict(sample))
    slow = interpreter.run(model.graph, {key: value.ravel().tolist() for key, value in codes.items()})
    fast = model.run(codes)
    assert {key: value.ravel().tolist() for key, value in fast.items()} == slow


@pytest.mark.parametrize("name", NAMES)
def test_integers_cost_no_accuracy(name: str) -> None:
    integer, floats = answers(name)
    labels = holdout(name)[2]
    lost = (floats.argmax(1) == labels).mean() - (integer.argmax(1) == labels).mean()
    assert lost <= ACCURACY_LOSS
    assert (integer.argmax(1) == floats.argmax(1)).mean() >= AGREEMENT


@pytest.mark.parametrize("name", NAMES)
def test_recorded_integer_accuracy_is_what_the_compiler_gives_today(name: str) -> None:
    integer, _ = answers(name)
    recorded = json.loads((CIRCUITS / name / "info.json").read_text())
    measured = (integer.argmax(1) == holdout(name)[2]).mean()
    # Calibration reads float activations, which another processor may round differently.
    assert measured == pytest.approx(recorded["accuracy"]["integer_holdout"], abs=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_commitment_is_the_same_twice(name: str) -> None:
    with np.load(CIRCUITS / name / "calibration.npz") as calibration:
        again = compile_model(CIRCUITS / name / "model.onnx", calibration=dict(calibration))
    assert again.commitment == compiled(name).commitment


def test_digits_mlp_decides_inside_the_graph() -> None:
    model, (edge, rows, _) = compiled("digits-mlp"), holdout("digits-mlp")
    for row in rows[:20]:
        codes = model.run(model.quantize({edge: row[None]}, saturate=True))
        assert int(codes["label"].reshape(())) == int(codes["logits"].argmax())
