"""Predictions: sizes are exact, every count has a cost, what does not fit says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.networks import mlp
from vml import api
from vml.backends.sumcheck import estimate
from vml.backends.sumcheck.payload import decode_body, decode_payload
from vml.backends.sumcheck.setup import model_circuit
from vml.backends.sumcheck.work import distinct_columns, envelope_bytes, payload_bytes, work_of
from vml.backends.types import SetupOptions, Visibility
from vml.errors import UnsupportedModel
from vml.model import Model

NETWORK = mlp(10_000)


@pytest.fixture(scope="module")
def model() -> Model:
    return api.compile(NETWORK.onnx, calibration=NETWORK.calibration)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_size_of_a_proof_is_known_before(model: Model, tmp_path: Path, batch: int) -> None:
    keys = api.setup(model, "sumcheck", SetupOptions(cache_dir=tmp_path))
    proof = api.prove(model, [NETWORK.sample] * batch, backend="sumcheck", keys=keys)
    circuit = model_circuit(model, batch)
    opening = decode_body(decode_payload(proof.payload)[2], circuit).opening
    opened = len(opening.fixed_columns), len(opening.level2_columns)
    assert payload_bytes(circuit, *opened) == len(proof.payload)
    assert envelope_bytes(circuit, len(proof.payload)) == len(proof.to_bytes())
    assert work_of(circuit).proof_bytes == envelope_bytes(circuit, payload_bytes(circuit, *distinct_columns(circuit)))
    assert work_of(circuit).proof_bytes == pytest.approx(len(proof.to_bytes()), rel=0.03)


def test_every_count_has_a_cost(model: Model) -> None:
    work = work_of(model_circuit(model, 1))
    for stage, counts in {"setup": work.setup, **work.prove}.items():
        assert set(estimate.read_costs()["ns"][stage]) == {*counts, "always"}


def test_more_work_costs_more(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    # One speed for both: measured apart, on a busy machine they would differ.
    monkeypatch.setattr(estimate, "slowness", lambda: dict.fromkeys(estimate.SPEEDS, 1.0))
    one, many = estimate.predict(model, 1), estimate.predict(model, 16)
    assert one.fits
    assert many.fits
    assert 0 < one.setup_s < 10  # type: ignore[operator]
    assert 0 < one.prove_s < many.prove_s < 16 * one.prove_s  # type: ignore[operator]
    assert one.proof_bytes < many.proof_bytes < 16 * one.proof_bytes  # type: ignore[operator]
    assert one.memory_bytes < many.memory_bytes  # type: ignore[operator]


def test_what_needs_too_much_memory_does_not_fit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "available_bytes", lambda: 1 << 20)
    found = estimate.estimate(model, Visibility())
    assert not found.fits
    assert "GiB of memory" in found.reasons[0]


def test_a_refusal_is_the_plan_s_reason(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnsupportedModel("node 7 cannot be proved")

    monkeypatch.setattr(estimate, "model_circuit", refuse)
    option = next(option for option in api.plan(model) if option.backend == "sumcheck")
    assert not option.serves
    assert option.why == ("node 7 cannot be proved",)


def test_every_speed_is_measured() -> None:
    speeds = estimate.measure_speeds()
    assert set(speeds) == set(estimate.SPEEDS)
    assert all(0 < speed < float("inf") for speed in speeds.values())
