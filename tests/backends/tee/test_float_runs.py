"""Float runs: what a verdict says, and every swap that has to fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.backends.tee import signed_runs
from tests.backends.tee.float_runs import (
    check,
    claiming,
    description_digest,
    honest,
    identity_of,
    keys,
    loaded,
    model,
    model_id,
    other_run,
    private_key,
    restated,
    runtime,
    sides_of,
    source,
)
from tests.backends.tee.signed_runs import (
    AT,
    CONTEXT,
    INPUTS,
    KINDS,
    NONCE,
    OTHER_INPUTS,
    SEED,
    altered,
    attested,
    certified,
    decoded,
    mallorys_key,
    signed,
)
from vml import api
from vml.backends.tee import TeeBackend
from vml.backends.tee.floats import VALUES, FloatSpec
from vml.backends.types import Attesting, Environment, SetupOptions, Visibility
from vml.errors import ClaimMismatch, EvidenceRejected, MalformedProof, PolicyRejected, ProvingError, UnsupportedModel
from vml.policy import Policy
from vml.proof import Proof
from vml.tee.binding import public_key_of
from vml.tee.reasons import Reason
from vml.tee_sim import anchors, matching_policy
from vml.values import value_bytes


def refused(code: Reason, make: Callable[[], object]) -> None:
    with pytest.raises(EvidenceRejected) as caught:
        make()
    assert caught.value.reason == code, caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_honest(kind: str) -> None:
    verdict = check(honest(kind), kind=kind, public_input=INPUTS)
    assert (verdict.scheme, verdict.semantics) == ("tee/float/1", "onnxruntime-float/1")
    assert verdict.claims == honest(kind).claims
    assert verdict.vk_digest == description_digest(honest(kind))
    assert verdict.simulated
    told = "\n".join(verdict.remarks)
    assert f"engine: onnxruntime {runtime().version} (floats), CPUExecutionProvider\n" in told
    assert f"engine's machine: {runtime().machine[0]}" in told
    assert "physical adversary: not covered" in told
    assert any(line.startswith("onnxruntime: that its kernels") for line in verdict.trusted)
    assert any("SHA-256" in line for line in verdict.revealed)


def test_the_exact_engine_says_so_too() -> None:
    verdict = signed_runs.check(signed_runs.honest())
    assert "engine: the exact integer model" in verdict.remarks
    assert verdict.vk_digest is None


def test_values_are_bound_bit_for_bit() -> None:
    outputs = loaded().evaluate({name: np.asarray(array) for name, array in INPUTS.items()})
    assert check(honest(), public_output=outputs).final
    zero = {**INPUTS, "y": np.array([3, -4, 0.0], np.float32)}
    made = TeeBackend().prove(keys(), zero, CONTEXT, visibility=Visibility())
    assert check(made, public_input=zero).final
    with pytest.raises(ClaimMismatch, match="input"):
        check(made, public_input={**zero, "y": np.array([3, -4, -0.0], np.float32)})
    odd = {**outputs, "rest": np.nextafter(outputs["rest"], np.float32(2))}
    with pytest.raises(ClaimMismatch, match="output"):
        check(honest(), public_output=odd)
    with pytest.raises(ClaimMismatch, match="output"):
        check(honest(), public_output={**outputs, "rest": np.full((2, 3), np.nan, np.float32)})
    wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in outputs.items()}
    assert check(honest(), public_output=wide).final


@pytest.mark.parametrize(
    "given",
    [
        {"x": INPUTS["x"]},
        {**INPUTS, "z": INPUTS["y"]},
        {**INPUTS, "y": INPUTS["y"][:2]},
        {**INPUTS, "y": np.array(["a", "b", "c"])},
    ],
)
def test_a_verifiers_own_mistakes(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"the model has|shape|holds"):
        check(honest(), public_input=given)


@pytest.mark.parametrize(
    ("dtype", "value", "made"),
    [
        ("float32", 1e300, np.inf),
        ("float32", -1e300, -np.inf),
        ("float32", 1e-60, 0.0),
        ("float32", 0.1, 0.1),
        ("float32", 16777217, 16777216.0),
        ("float32", np.uint64(2**64 - 1), 2.0**64),
        ("float16", np.float32(70000), np.inf),
        ("float64", 2**53 + 1, 2.0**53),
        ("int64", np.uint64(2**64 - 1), -1),
        ("uint8", 257, 1),
    ],
)
def test_expectations_are_not_rounded(dtype: str, value: Any, made: Any) -> None:
    """What a verifier expects is a number, not whatever a cast makes of it."""
    specs, row = [FloatSpec("y", dtype, (1,))], [value_bytes(np.array([made], dtype))]
    with pytest.raises(ValueError, match="does not fit"):
        VALUES.is_output(specs, {"y": np.array([value])}, [row])
    assert VALUES.is_output(specs, {"y": np.array([made], dtype)}, [row])
    assert VALUES.is_output(specs, {"y": np.array([np.array(made, dtype)]).astype(dtype)}, [row])


def test_expectations_of_another_type() -> None:
    specs, row = [FloatSpec("y", "float32", (1,))], [value_bytes(np.ones(1, np.float32))]
    for held in (np.ones(1), np.ones(1, np.int64), np.ones(1, np.float16)):
        assert VALUES.is_input(specs, {"y": held}, [row])
    assert not VALUES.is_input(specs, {"y": np.array([np.nan])}, [row])
    with pytest.raises(ValueError, match="holds float32"):
        VALUES.is_input(specs, {"y": np.ones(1, np.bool_)}, [row])


@pytest.mark.parametrize("bad", [np.full((2, 3), 0.5, np.float32), np.full((2, 3), 2)])
def test_truth_values_of_a_verifier(bad: Any) -> None:
    outputs = loaded().evaluate(INPUTS)
    assert check(honest(), public_output={**outputs, "positive": outputs["positive"].astype(np.int64)}).final
    with pytest.raises(ValueError, match=r"holds|fit"):
        check(honest(), public_output={**outputs, "positive": bad})


# The identity: where a verifier gets it from.


def verdict_on(held: Any, **change: Any) -> Any:
    environment = Environment(now=AT, pins=api.tee_pins([matching_policy("tdx")], anchors=anchors(SEED), nonce=NONCE))
    rules = Policy.default().relaxed(allow_simulated=True).model_copy(update=change)
    return api.verify(honest(), model=held, context=CONTEXT, policy=rules, environment=environment)


def test_the_identity_from_a_number_or_a_model() -> None:
    """A model without a folder: made again from its source and the description in the proof."""
    assert verdict_on(model_id()) == verdict_on("0x" + model_id().hex()) == verdict_on(model())
    with pytest.raises(ClaimMismatch, match="model"):
        verdict_on(replace(model(), source=source().replace(b"floats", b"others")))
    with pytest.raises(UnsupportedModel, match="one encoding"):
        verdict_on(replace(model(), source=source() + b"\x52\x00"))
    with pytest.raises(ClaimMismatch, match="model"):
        verdict_on(model().commitment)


def test_policies_pin_the_semantics_and_the_runtime() -> None:
    assert verdict_on(model(), semantics=frozenset({"onnxruntime-float/1"})).final
    assert verdict_on(model(), verifying_keys=frozenset({description_digest(honest())})).final
    with pytest.raises(PolicyRejected, match="semantics"):
        verdict_on(model(), semantics=frozenset({"vml-int/1"}))
    with pytest.raises(PolicyRejected, match="verifying_keys"):
        verdict_on(model(), verifying_keys=frozenset({b"\1" * 32}))


def test_recompute_takes_nothing_but_the_description_from_the_proof() -> None:
    backend, options = TeeBackend(), SetupOptions()
    assert backend.recompute(source(), honest(), options) == model_id()
    lies = altered(honest(), source=b"\1" * 32, inputs=b"", outputs=b"")
    assert backend.recompute(source(), lies, options) == model_id()
    with pytest.raises(MalformedProof):
        backend.recompute(source(), replace(honest(), scheme="tee/9"), options)
    with pytest.raises(ValueError, match="compiled folder"):
        backend.recompute(source(), signed_runs.honest(), options)


def test_engines_of_a_set_up() -> None:
    assert keys().model == model_id() != model().commitment
    assert keys().verifying_key == decoded(honest()).description
    with pytest.raises(ValueError, match="no engine 'fast'"):
        keys(engine="fast")
    with pytest.raises(ValueError, match="which runtime"):
        TeeBackend().setup(model(), SetupOptions(attesting=Attesting(engine="float")))
    with pytest.raises(UnsupportedModel, match="ONNX"):
        TeeBackend().setup(signed_runs.model(), SetupOptions(attesting=keys().attesting))


def test_a_runtime_that_changed_since_the_set_up() -> None:
    """The key would be one of a runtime that is not here."""
    described = replace(runtime(), version="1.0.0").encode()
    with pytest.raises(ProvingError, match="signs for the model"):
        TeeBackend().prove(replace(keys(), verifying_key=described), INPUTS, CONTEXT, visibility=Visibility())


def test_inputs_are_not_converted() -> None:
    with pytest.raises(ValueError, match=r"float64, the model takes float32"):
        TeeBackend().prove(keys(), {**INPUTS, "y": INPUTS["y"].astype(np.float64)}, CONTEXT, visibility=Visibility())


# Attacks.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model", "input", "output", "context"])
def test_a_claim_swapped_under_the_receipt(name: str, kind: str) -> None:
    swapped = replace(honest(kind).claims[0], **{name: bytes(range(32))})
    expected = {"model": frozenset({swapped.model}), "context": swapped.context}
    with pytest.raises((ClaimMismatch, EvidenceRejected)):
        check(replace(honest(kind), claims=(swapped,)), kind=kind, **expected)


@pytest.mark.parametrize("side", [0, 1])
def test_another_input_or_output(side: int) -> None:
    sides = copy.deepcopy(sides_of(honest()))
    values = bytearray(sides[side][1])
    values[-1] ^= 1
    sides[side][1] = bytes(values)
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(restated(honest(), sides)))


def test_another_context() -> None:
    moved = restated(honest(), sides_of(honest()), context=b"\x44" * 32)
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(moved, context=b"\x44" * 32))


def test_another_run_of_the_same_key() -> None:
    with pytest.raises(ClaimMismatch):
        check(replace(honest(), public=other_run().public))
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(altered(honest(), signature=decoded(other_run()).signature)))
    with pytest.raises(ClaimMismatch, match="input"):
        check(honest(), public_input=OTHER_INPUTS)


@pytest.mark.parametrize("kind", KINDS)
def test_another_key(kind: str) -> None:
    key = mallorys_key()
    swapped = signed(certified(honest(kind), public_key=public_key_of(key)), key)
    refused(Reason.KEY_BINDING, lambda: check(swapped, kind=kind))


OTHERS: dict[str, dict[str, Any]] = {
    "version": {"version": "1.31.2"},
    "build": {"build": "ORT Build Info: mine"},
    "provider": {"providers": (("CUDAExecutionProvider", {"use_tf32": "1"}), ("CPUExecutionProvider", {}))},
    "provider options": {"providers": (("CPUExecutionProvider", {"fast": "1"}),)},
    "optimization": {"optimization": "all"},
    "threads": {"threads": (2, 1)},
    "threads between": {"threads": (1, 2)},
    "deterministic": {"deterministic": False},
    "machine": {"machine": ("aarch64", "asimd")},
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_runtime_is_another_model(name: str) -> None:
    """Shown alone it is not the claim's; claimed as well, nobody asked for it; accepted, no key signed it."""
    described = replace(runtime(), **OTHERS[name]).encode()
    with pytest.raises(ClaimMismatch, match="model"):
        check(altered(honest(), description=described))
    moved, found = claiming(honest(), description=described)
    with pytest.raises(ClaimMismatch, match="model"):
        check(moved)
    for proof in (moved, signed(moved, private_key())):
        refused(Reason.KEY_BINDING, lambda proof=proof: check(proof, model=frozenset({found})))
    # Hardware that attests whatever Mallory likes: even then it is the other model's claim, and says so.
    lie = attested(moved, mallorys_key(), model=found)
    assert check(lie, model=frozenset({found})).vk_digest != check(honest()).vk_digest
    with pytest.raises(ClaimMismatch, match="model"):
        check(lie)


@pytest.mark.parametrize("description", [b"{}", b"\x1b[31m", b"0"])
def test_a_description_that_is_none(description: bytes) -> None:
    """Attested, signed, and pinned by its number: still nobody could say what ran."""
    moved, found = claiming(honest(), description=description)
    lie = attested(moved, mallorys_key(), model=found)
    with pytest.raises(MalformedProof, match="description of the runtime"):
        check(lie, model=frozenset({found}))


def test_another_file_is_another_model() -> None:
    moved, found = claiming(honest(), source=b"\1" * 32)
    with pytest.raises(ClaimMismatch, match="model"):
        check(moved)
    refused(Reason.KEY_BINDING, lambda: check(signed(moved, private_key()), model=frozenset({found})))


def relabelled(proof: Proof, scheme: str, described: bool) -> Proof:
    """The same run under the other engine's scheme, in that one's form of the payload."""
    description = runtime().encode() if described else b""
    return replace(proof, scheme=scheme, payload=replace(decoded(proof), description=description).encode())


def test_a_float_proof_relabelled_exact() -> None:
    with pytest.raises(MalformedProof):
        check(replace(honest(), scheme="tee/1"))
    with pytest.raises(ClaimMismatch, match="model"):
        check(relabelled(honest(), "tee/1", False))
    # Claimed as what the exact engine would name it, too.
    odd = relabelled(honest(), "tee/1", False)
    claim = replace(odd.claims[0], model=signed_runs.identity_of(decoded(odd)))
    for proof in (replace(odd, claims=(claim,)), certified(replace(odd, claims=(claim,)), model=claim.model)):
        with pytest.raises((ClaimMismatch, MalformedProof)):
            check(proof, model=frozenset({claim.model, model_id()}))


def test_an_exact_proof_relabelled_float() -> None:
    exact = signed_runs.honest()
    accepted = frozenset({model().commitment, model_id()})
    with pytest.raises(MalformedProof):
        check(replace(exact, scheme="tee/float/1"), model=accepted)
    odd = relabelled(exact, "tee/float/1", True)
    with pytest.raises(ClaimMismatch, match="model"):
        check(odd, model=accepted)
    claim = replace(odd.claims[0], model=identity_of(decoded(odd)))
    with pytest.raises((ClaimMismatch, MalformedProof)):
        check(certified(replace(odd, claims=(claim,)), model=claim.model), model=frozenset({claim.model}))


def test_a_key_of_one_engine_signs_nothing_of_the_other() -> None:
    """One key certificate, two claims: its model is one engine's."""
    exact = signed_runs.honest()
    mixed = replace(exact, payload=replace(decoded(exact), certificate=decoded(honest()).certificate).encode())
    with pytest.raises(ClaimMismatch, match="model"):
        check(mixed, model=frozenset({model().commitment, model_id()}))
