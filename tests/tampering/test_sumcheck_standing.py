"""The four standing attacks on a sumcheck proof, and a payload kept for another claim, through the public interface."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import vml
from tests.backends.sumcheck.runs import sample_rows, shipped
from tests.backends.sumcheck.test_end_to_end import CONTEXT, proof_of
from tests.tampering.test_sumcheck_transcript import restated, rows_of, shifted
from vml.backends.exact.statement import commit
from vml.claim import ZERO_CONTEXT
from vml.errors import ClaimMismatch, ProofRejected, VerificationError
from vml.proof import Proof


def ask(proof: Proof, **changes: Any) -> Any:
    stage = shipped("digits-mlp")
    told: dict[str, Any] = {"model": stage.model.commitment, "key": stage.key.digest, "context": CONTEXT}
    return vml.verify(Proof.from_bytes(proof.to_bytes()), **(told | changes))


def sample() -> dict[str, Any]:
    """The input of the proof in the user's numbers: what the codes stand for."""
    stage = shipped("digits-mlp")
    (spec,) = stage.model.inputs
    (row,) = sample_rows("digits-mlp")
    return {spec.name: (row[spec.name] / float(spec.scale)).astype(spec.onnx_dtype)}


def answer() -> dict[str, Any]:
    model = shipped("digits-mlp").model
    return dict(model.dequantize(model.run(sample_rows("digits-mlp")[0])))


def test_the_honest_proof_is_accepted_with_everything_expected() -> None:
    verdict = ask(proof_of("digits-mlp"), input=sample(), output=answer())
    assert verdict.claims == proof_of("digits-mlp").claims


def test_another_model() -> None:
    stage, proof = shipped("digits-cnn"), proof_of("digits-mlp")
    with pytest.raises(ClaimMismatch, match="model"):
        ask(proof, model=stage.model.commitment)
    with pytest.raises(ProofRejected, match="verifying key"):
        ask(proof, key=stage.key.digest)
    with pytest.raises(ProofRejected, match="verifying key"):
        ask(proof_of("digits-cnn"))
    with pytest.raises(ClaimMismatch, match="model"):
        ask(replace(proof, claims=(replace(proof.claims[0], model=stage.model.commitment),)))


def test_another_input() -> None:
    proof = proof_of("digits-mlp")
    other = {name: np.roll(array, 1) for name, array in sample().items()}
    with pytest.raises(ClaimMismatch, match="input"):
        ask(proof, input=other)
    moved = proof_of("digits-mlp", 3)
    with pytest.raises(ClaimMismatch, match="input"):
        ask(replace(proof, claims=(replace(proof.claims[0], input=moved.claims[1].input),)))


def test_another_output() -> None:
    proof = proof_of("digits-mlp")
    other = {name: array + 1 for name, array in answer().items()}
    with pytest.raises(ClaimMismatch, match="output"):
        ask(proof, output=other)
    moved = proof_of("digits-mlp", 3)
    with pytest.raises(ClaimMismatch, match="output"):
        ask(replace(proof, claims=(replace(proof.claims[0], output=moved.claims[1].output),)))


def test_another_context() -> None:
    proof = proof_of("digits-mlp")
    with pytest.raises(ClaimMismatch, match="context"):
        ask(proof, context=ZERO_CONTEXT)
    with pytest.raises(VerificationError):  # the envelope says what the verifier wants to hear
        ask(replace(proof, claims=(replace(proof.claims[0], context=ZERO_CONTEXT),)), context=ZERO_CONTEXT)


@pytest.mark.parametrize("side", ["input", "output"])
def test_a_payload_kept_for_a_claim_that_is_consistent_with_its_numbers(side: str) -> None:
    """Public section and commitments agree, and say what was not proved."""
    stage, proof = shipped("digits-mlp"), proof_of("digits-mlp")
    (row,) = rows_of(stage, proof)
    tensors = getattr(row, f"{side}s")
    other = replace(row, **{f"{side}s": (shifted(tensors[0]), *tensors[1:])})
    forged = restated(stage, proof, [other], CONTEXT)
    specs = getattr(stage.graph, f"{side}s")
    assert getattr(forged.claims[0], side) == commit(specs, getattr(other, f"{side}s"))
    with pytest.raises(VerificationError):
        ask(forged)


@pytest.mark.parametrize("field", ["input", "output"])
def test_two_claims_of_a_batch_exchanged_in_one_field(field: str) -> None:
    proof = proof_of("digits-mlp", 3)
    first, second, third = proof.claims
    swapped = (
        replace(first, **{field: getattr(second, field)}),
        replace(second, **{field: getattr(first, field)}),
        third,
    )
    with pytest.raises(ClaimMismatch, match=field):
        ask(replace(proof, claims=swapped))
    stage = shipped("digits-mlp")
    rows = list(rows_of(stage, proof))
    side = f"{field}s"
    rows[0], rows[1] = (
        replace(rows[0], **{side: getattr(rows[1], side)}),
        replace(rows[1], **{side: getattr(rows[0], side)}),
    )
    with pytest.raises(VerificationError):
        ask(restated(stage, proof, rows, CONTEXT))


def test_no_key_is_pinned() -> None:
    with pytest.raises(ValueError, match="key"):
        ask(proof_of("digits-mlp"), key=None)
