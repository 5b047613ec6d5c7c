"""A client believes nothing that it has not verified: a server lies in one place at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_stand_in import StandIn, other_input

import vml
from tests.cli.stand_in import tiny_onnx
from vml import api
from vml.backends.types import Environment
from vml.client import flow
from vml.client.exchange import Reply, drive
from vml.client.flow import Trust
from vml.client.reading import shown_outputs
from vml.errors import (
    ClaimMismatch,
    EvidenceRejected,
    MalformedProof,
    PolicyRejected,
    ProofRejected,
    ProvingError,
    ServerError,
    VerificationError,
)
from vml.model import Model
from vml.proof import Proof

INPUT = {"x": np.array([[0.5, -0.25, 1.0, 0.125]], dtype=np.float32)}
CHOSEN = b"\x05" * 32


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    compiled = vml.compile(tiny_onnx(), input_range=(-2.0, 2.0))
    return compiled.save(tmp_path_factory.mktemp("client") / "tiny.vml")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Model:
    compiled = vml.compile(tiny_onnx(seed=1), input_range=(-2.0, 2.0))
    return compiled.save(tmp_path_factory.mktemp("client") / "other.vml")


@pytest.fixture
def server(model: Model) -> StandIn:
    return StandIn(model)


def infer(server: StandIn, trust: Trust, *, parameters: Mapping[str, Any] | None = None, context: Any = None) -> Any:
    waits: list[float] = []
    steps = flow.infer("tiny", INPUT, trust, parameters=parameters or {}, context=context)
    return drive(steps, server, waits.append)


def test_an_honest_answer_is_verified(server: StandIn, model: Model) -> None:
    answer = infer(server, Trust(model, server_key=server.key_id))
    expected = model.dequantize(model.run(model.quantize(INPUT)))
    np.testing.assert_array_equal(answer.outputs["y"].astype(np.float32), expected["y"])
    assert answer.verdict.assurance == "cryptographic"
    assert answer.claim.model == model.commitment
    # What is kept convinces others, too.
    assert api.verify(answer.proof, model=model, context=answer.claim.context, input=INPUT) == answer.verdict


def test_a_commitment_and_a_key_are_enough(server: StandIn, model: Model) -> None:
    key = api.setup(model, "sumcheck").verifying_key
    from vml.keccak import keccak256

    answer = infer(server, Trust(model.commitment, key=keccak256(key)))
    assert answer.claim.model == model.commitment


def test_contexts_are_fresh_and_requests_can_be_repeated(server: StandIn, model: Model) -> None:
    first, second = infer(server, Trust(model)), infer(server, Trust(model))
    assert first.claim.context != second.claim.context
    keys = [request.headers.get("Idempotency-Key") for request in server.seen if request.method == "POST"]
    assert len(set(keys)) == 2
    assert None not in keys


def test_a_chosen_context_is_kept(server: StandIn, model: Model) -> None:
    assert infer(server, Trust(model), context=b"\x05" * 32).claim.context == b"\x05" * 32


# The four standing attacks, by a server that proves honestly what was not asked.


def test_another_model_is_refused(other: Model, model: Model) -> None:
    with pytest.raises(ClaimMismatch, match="model"):
        infer(StandIn(other), Trust(model))


def test_another_model_behind_the_right_name_is_refused(other: Model, model: Model) -> None:
    """The claim is said to be the pinned model's; the proof is another's."""

    def lie(said: dict[str, Any]) -> None:
        fields = {name: bytes.fromhex(said[f"vml_{name}"][2:]) for name in ("input", "output", "context")}
        claim = vml.Claim(model.commitment, **fields)
        said |= {"vml_model": "0x" + model.commitment.hex(), "vml_claim": "0x" + claim.digest().hex()}

    with pytest.raises(VerificationError):
        infer(StandIn(other, said=lie), Trust(model))


def test_another_input_is_refused(server: StandIn, model: Model) -> None:
    swapped = api.prove(model, other_input(INPUT), backend="sumcheck", context=b"\x05" * 32)
    with pytest.raises(ClaimMismatch, match="input"):
        infer(replace(server, proof=lambda _: swapped), Trust(model), context=b"\x05" * 32)


def test_another_output_is_refused(server: StandIn, model: Model) -> None:
    def lie(outputs: dict[str, Any]) -> None:
        outputs["y"] = outputs["y"] + np.float32(0.5)

    with pytest.raises(ClaimMismatch, match="output"):
        infer(replace(server, outputs=lie), Trust(model))


def test_an_old_proof_is_refused(server: StandIn, model: Model) -> None:
    old = api.prove(model, INPUT, backend="sumcheck", context=b"\x06" * 32)
    with pytest.raises(ClaimMismatch, match="context"):
        infer(replace(server, proof=lambda _: old), Trust(model))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_output_moved_within_its_code_is_refused(server: StandIn, model: Model, dtype: Any) -> None:
    """It quantises to the proved code: whoever may choose within a code decides ties and thresholds."""

    def lie(outputs: dict[str, Any]) -> None:
        (spec,) = model.outputs
        outputs["y"] = (outputs["y"] + float(0.3 / spec.scale)).astype(dtype)

    with pytest.raises(ClaimMismatch, match="output"):
        infer(replace(server, outputs=lie), Trust(model))


def test_a_false_first_answer_is_not_proved_by_the_proof_of_a_true_one(server: StandIn, model: Model) -> None:
    """The first claim says another output than the model gives; the proof that comes later is of the true claim."""

    def lie(said: dict[str, Any]) -> None:
        said["vml_output"] = "0x" + "0a" * 32
        fields = {name: bytes.fromhex(said[f"vml_{name}"][2:]) for name in ("model", "input", "output", "context")}
        said["vml_claim"] = "0x" + vml.Claim(**fields).digest().hex()

    with pytest.raises(ClaimMismatch, match="output"):
        infer(replace(server, said=lie), Trust(model))


def test_the_backend_that_was_asked_for_is_the_one_that_proves(server: StandIn, model: Model) -> None:
    assert infer(server, Trust(model), parameters={"backend": "sumcheck"}).verdict.backend == "sumcheck"
    with pytest.raises(PolicyRejected, match="ezkl was asked for"):
        infer(server, Trust(model), parameters={"backend": "ezkl"})


def test_the_outputs_are_the_proofs_own(server: StandIn, model: Model) -> None:
    answer = infer(server, Trust(model))
    assert answer.outputs["y"].dtype == np.float64
    (spec,) = model.outputs
    codes = np.asarray(answer.outputs["y"]) * float(spec.scale)
    np.testing.assert_allclose(codes, model.run(model.quantize(INPUT))["y"], rtol=1e-12)


def test_time_goes_on(model: Model) -> None:
    """Keys and evidence end while a client lives."""
    trust = Trust(model, clock=lambda: 2_000_000_000.5)
    assert trust.surroundings().now == 2_000_000_000
    assert Trust(model, environment=Environment(now=5)).surroundings().now == 5


def set_context(said: dict[str, Any]) -> None:
    said["vml_context"] = "0x" + "07" * 32
    fields = {name: bytes.fromhex(said[f"vml_{name}"][2:]) for name in ("model", "input", "output", "context")}
    said["vml_claim"] = "0x" + vml.Claim(**fields).digest().hex()


def set_digest(said: dict[str, Any]) -> None:
    said["vml_claim"] = "0x" + "08" * 32


@pytest.mark.parametrize(("lie", "field"), [(set_context, "context"), (set_digest, "digest")])
def test_a_claim_that_is_not_the_one_asked_for_is_refused(
    server: StandIn, model: Model, lie: Callable[[dict[str, Any]], None], field: str
) -> None:
    lying = replace(server, said=lie)
    with pytest.raises(ClaimMismatch, match=field):
        infer(lying, Trust(model))
    # Not even as an answer that nothing proves.
    with pytest.raises(ClaimMismatch, match=field):
        drive(flow.ask("tiny", INPUT, Trust(model), parameters={}, context=None), lying, [].append)


def test_an_altered_proof_is_refused(server: StandIn, model: Model) -> None:
    def alter(proof: Proof) -> Proof:
        middle = len(proof.payload) // 2
        return replace(
            proof, payload=proof.payload[:middle] + bytes([proof.payload[middle] ^ 1]) + proof.payload[middle + 1 :]
        )

    with pytest.raises(VerificationError):
        infer(replace(server, proof=alter), Trust(model))


@pytest.mark.parametrize("proof", [b"", b"{}", b"\xff" * 100])
def test_no_proof_is_refused(server: StandIn, model: Model, proof: bytes) -> None:
    with pytest.raises(MalformedProof):
        infer(replace(server, proof=lambda _: proof), Trust(model))


# Receipts.


def test_a_receipt_of_another_key_is_refused(server: StandIn, model: Model) -> None:
    with pytest.raises(ProofRejected, match="2: the receipt's key"):
        infer(server, Trust(model, server_key=b"\x01" * 32))


def test_a_receipt_for_another_claim_is_refused(server: StandIn, model: Model) -> None:
    old = server.receipt(vml.Claim(*([b"\x09" * 32] * 4))).decode()
    with pytest.raises(ProofRejected, match="1: the receipt's claim"):
        infer(replace(server, said=lambda said: said.update(vml_receipt=old)), Trust(model, server_key=server.key_id))


def test_a_missing_receipt_is_refused_where_a_key_is_pinned(server: StandIn, model: Model) -> None:
    silent = replace(server, said=lambda said: said.pop("vml_receipt"))
    with pytest.raises(MalformedProof):
        infer(silent, Trust(model, server_key=server.key_id))
    assert infer(silent, Trust(model)).receipt == b""


def test_an_altered_signature_is_refused(server: StandIn, model: Model) -> None:
    def lie(said: dict[str, Any]) -> None:
        text = said["vml_receipt"]
        said["vml_receipt"] = text[:-3] + ("0" if text[-3] != "0" else "1") + text[-2:]

    with pytest.raises(EvidenceRejected):
        infer(replace(server, said=lie), Trust(model, server_key=server.key_id))


# Refusals, and what is no protocol.


def test_a_busy_server_is_asked_again(server: StandIn, model: Model) -> None:
    busy = Reply(429, {"retry-after": "2"}, b'{"error":"busy"}')
    waits: list[float] = []
    again = replace(server, refusals=[busy, busy])
    drive(flow.infer("tiny", INPUT, Trust(model), parameters={}, context=None), again, waits.append)
    assert waits[:2] == [2.0, 2.0]
    keys = {request.headers["Idempotency-Key"] for request in again.seen if request.method == "POST"}
    assert len(keys) == 1, "a repeated request is the same request"


def test_a_refusal_is_told_in_the_servers_words(server: StandIn, model: Model) -> None:
    refusal = Reply(422, {}, b'{"error":"input x\\u0007 is out of range"}')
    with pytest.raises(ServerError, match=r"422.*input x\? is out of range") as caught:
        infer(replace(server, refusals=[refusal]), Trust(model))
    assert caught.value.status == 422


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"outputs":[]}', b'{"a":1,"a":2}', b"[" * 100_000])
def test_what_is_no_protocol_is_refused(server: StandIn, model: Model, body: bytes) -> None:
    with pytest.raises(ServerError):
        infer(replace(server, refusals=[Reply(200, {}, body)]), Trust(model))


@pytest.mark.parametrize("name", ["model", "input", "output", "context", "claim"])
@pytest.mark.parametrize("value", [None, "", "0x00", 7])
def test_a_claim_that_cannot_be_read_is_refused(server: StandIn, model: Model, name: str, value: Any) -> None:
    with pytest.raises(ServerError, match="no claim that can be read"):
        infer(replace(server, said=lambda said: said.update({f"vml_{name}": value})), Trust(model))


@pytest.mark.parametrize("job", ["x", "1" * 31, "G" * 32, "../jobs", "\ud800", 7])
def test_a_job_that_is_none_is_refused(server: StandIn, model: Model, job: Any) -> None:
    with pytest.raises(ServerError, match="a job that is none"):
        infer(replace(server, said=lambda said: said.update(vml_job=job)), Trust(model))


def test_a_receipt_that_is_no_text_is_refused(server: StandIn, model: Model) -> None:
    with pytest.raises(MalformedProof):
        infer(
            replace(server, said=lambda said: said.update(vml_receipt="\ud800")), Trust(model, server_key=server.key_id)
        )


@pytest.mark.parametrize("after", ["²", "soon", ""])
def test_an_odd_retry_after_is_a_refusal(server: StandIn, model: Model, after: str) -> None:
    with pytest.raises(ServerError, match="429"):
        infer(replace(server, refusals=[Reply(429, {"retry-after": after}, b"{}")]), Trust(model))


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_fails_is_a_reason(server: StandIn, model: Model, state: str) -> None:
    with pytest.raises(ProvingError, match=f"{state}: out of memory"):
        infer(replace(server, job={"state": state, "error": "out of memory"}), Trust(model))


# Answers without a proof.


def test_an_unproved_answer_says_so_and_can_be_proved_later(server: StandIn, model: Model) -> None:
    waits: list[float] = []
    steps = flow.ask("tiny", INPUT, Trust(model), parameters={}, context=None)
    pending = drive(steps, server, waits.append)
    assert not hasattr(pending, "outputs")
    assert pending.job == ""
    assert pending.log_index == 3
    with pytest.raises(ValueError, match="no proof was asked for"):
        drive(flow.prove(pending, Trust(model)), server, waits.append)
    pending = drive(flow.demand(pending, "sumcheck"), server, waits.append)
    assert drive(flow.prove(pending, Trust(model)), server, waits.append).claim == pending.claim


def test_a_folder_is_a_model(server: StandIn, model: Model) -> None:
    assert isinstance(model.folder, Path)
    assert infer(server, Trust(model.folder)).claim.model == model.commitment


# Backends with arithmetic of their own show outputs of their own.


def check(server: StandIn, model: Model, **changes: Any) -> Any:
    """A claim of the header Vml-Claim, for the input of this file."""
    pending = drive(flow.ask("tiny", INPUT, Trust(model), parameters={}, context=CHOSEN), server, [].append)
    arguments = {"inputs": INPUT, "context": CHOSEN, "outputs": None, "max_difference": 0.0, **changes}
    steps = flow.check(pending.digest, trust=Trust(model), backend="sumcheck", **arguments)
    return pending, drive(steps, server, [].append)


def test_a_claim_of_a_header_is_checked(server: StandIn, model: Model) -> None:
    pending, answer = check(server, model)
    np.testing.assert_allclose(answer.outputs["y"], pending.unverified_outputs["y"], rtol=1e-6)
    near = {"y": np.asarray(answer.outputs["y"]) + 0.001}
    check(server, model, outputs=near, max_difference=0.0011)
    for wrong in (near, {"z": near["y"]}, {"y": near["y"][0]}, {"y": near["y"] * np.nan}):
        with pytest.raises(ClaimMismatch, match="output"):
            check(server, model, outputs=wrong, max_difference=0.0009)
    # The right numbers in another shape are another output, however far off an answer may be.
    with pytest.raises(ClaimMismatch, match="shape"):
        check(server, model, outputs={"y": np.asarray(answer.outputs["y"])[0]}, max_difference=1e9)


def test_a_claim_that_nothing_shows_is_refused(server: StandIn, model: Model) -> None:
    flow_of = flow.ask("tiny", INPUT, Trust(model), parameters={}, context=CHOSEN)
    drive(flow_of, server, [].append)
    steps = flow.check(
        b"\x77" * 32,
        INPUT,
        Trust(model),
        backend="sumcheck",
        context=CHOSEN,
        outputs=None,
        max_difference=0.0,
    )
    with pytest.raises(ClaimMismatch, match="claim 0x7777"):
        drive(steps, server, [].append)


def test_a_claim_of_a_header_about_something_else_is_refused(server: StandIn, model: Model) -> None:
    with pytest.raises(ClaimMismatch, match="input"):
        check(server, model, inputs=other_input(INPUT))
    with pytest.raises(ClaimMismatch, match="context"):
        check(server, model, context=bytes(32))


def shown(output: Any) -> dict[str, Any]:
    return shown_outputs(Proof("ezkl/x", (vml.Claim(*([bytes(32)] * 4)),), {"output": output}, b""))


def test_outputs_of_fixed_point_are_read_from_the_proof() -> None:
    found = shown([{"name": "y", "shape": [1, 2], "scale": 3, "values": [8, -4]}])
    np.testing.assert_array_equal(found["y"], [[1.0, -0.5]])


@pytest.mark.parametrize("output", [None, 3, [{}], [{"name": "y", "shape": [2], "scale": 3, "values": [1]}]])
def test_outputs_that_cannot_be_read_are_refused(output: Any) -> None:
    with pytest.raises(MalformedProof, match="cannot be read here"):
        shown(output)
