"""Attacks on ezkl proofs: each numbered step of the verifier, and the circuit behind step 14, must hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.backends.ezkl.conftest import CONTEXT, LENIENT, SALT, Case, sample
from vml.backends.ezkl import srs, verifier
from vml.backends.ezkl.bn254 import P, R
from vml.backends.ezkl.commitments import context_limbs, model_identity, word_of
from vml.backends.ezkl.statement import ENGINE_VERSION, SEMANTICS, encode_settings
from vml.backends.types import Environment
from vml.claim import Context
from vml.errors import (
    ClaimMismatch,
    MalformedProof,
    PolicyRejected,
    ProofRejected,
    VerificationError,
)
from vml.keccak import keccak256
from vml.policy import Policy
from vml.proof import Proof

OTHER = bytes(31) + b"\x01"


def altered(instances: tuple[bytes, ...], index: int, value: int) -> tuple[bytes, ...]:
    changed = list(instances)
    changed[index] = (value % R).to_bytes(32, "big")
    return tuple(changed)


def as_int(word: bytes) -> int:
    return int.from_bytes(word, "big")


# What verifies


def test_a_public_proof_verifies_and_says_what_it_rests_on(public: Case) -> None:
    verdict = public.verify(Proof.from_bytes(public.proof.to_bytes()))
    assert verdict.claims == public.proof.claims
    assert (verdict.backend, verdict.assurance, verdict.semantics) == ("ezkl", "cryptographic", SEMANTICS)
    assert verdict.hidden == ()
    assert verdict.unsafe_setup
    assert not verdict.simulated
    assert verdict.setup_id == srs.TEST_SETUP_ID
    assert verdict.vk_digest == keccak256(public.circuit.verifying_key)
    assert verdict.engine == f"ezkl {ENGINE_VERSION}"
    assert any("forge" in line for line in verdict.trusted)


def test_the_output_is_the_models_within_the_stated_error(public: Case) -> None:
    import onnxruntime

    from tests.backends.ezkl.conftest import tiny_mlp

    (expected,) = onnxruntime.InferenceSession(tiny_mlp()).run(None, sample())
    (output,) = public.proof.public["output"]
    got = np.array(output["values"]) / 2.0 ** output["scale"]
    assert np.abs(got - expected.ravel()).max() <= 2 * public.circuit.meta["allowed_error"]


def test_an_input_the_verifier_holds_is_recognised(public: Case) -> None:
    public.verify(expected=public.expectation(public_input=sample(), input=public.claim.input))


def test_an_output_the_verifier_holds_is_recognised(public: Case) -> None:
    (output,) = public.proof.public["output"]
    values = np.array(output["values"]).reshape(output["shape"]) / 2.0 ** output["scale"]
    public.verify(expected=public.expectation(public_output={"y": values}, output=public.claim.output))


def test_a_private_input_verifies_and_is_not_in_the_proof(private: Case, public: Case) -> None:
    verdict = private.verify()
    assert len(verdict.hidden) == 1
    assert "input" in verdict.hidden[0]
    assert "input" not in private.proof.public
    statement = public.circuit.statement
    data = private.proof.to_bytes() + private.proof.payload
    assert statement.input_words(public.payload.instances)
    for word in set(statement.input_words(public.payload.instances)) - {bytes(32)}:
        assert word not in data


def test_a_private_input_opens_with_its_salt_only(private: Case) -> None:
    private.verify(expected=private.expectation(public_input=sample(), salt=SALT))
    with pytest.raises(ClaimMismatch):
        private.verify(expected=private.expectation(public_input=sample(), salt=bytes(32)))
    with pytest.raises(ClaimMismatch):
        private.verify(expected=private.expectation(public_input=sample(4), salt=SALT))
    with pytest.raises(ValueError, match="salt"):
        private.verify(expected=private.expectation(public_input=sample()))


def test_a_hidden_model_verifies_and_says_so(hidden_model: Case) -> None:
    verdict = hidden_model.verify(expected=hidden_model.expectation(public_input=sample()))
    assert [line.split(":")[0] for line in verdict.hidden] == ["input", "model"]


def test_a_context_preimage_may_travel_along(public: Case) -> None:
    context = Context("0x" + "11" * 20, 1, "0x" + "22" * 20, bytes(32), "0x" + "33" * 20, 5)
    proof = replace(public.proof, public={**public.proof.public, "context_preimage": context.to_json()})
    with pytest.raises(ClaimMismatch) as error:
        public.verify(proof)
    assert error.value.field == "context"
    malformed = replace(public.proof, public={**public.proof.public, "context_preimage": None})
    with pytest.raises(MalformedProof):
        public.verify(malformed)


# The four standing attacks, with the envelope made to agree: the circuit refuses


def test_another_input_is_refused_by_the_circuit(public: Case) -> None:
    words = public.payload.instances
    for delta in (1, -1, 1 << 40):
        forged = public.relabelled(altered(words, 0, as_int(words[0]) + delta))
        with pytest.raises(ProofRejected):
            public.verify(forged)


def test_another_output_is_refused_by_the_circuit(public: Case) -> None:
    words = public.payload.instances
    forged = public.relabelled(altered(words, 20, as_int(words[20]) + 1))
    with pytest.raises(ProofRejected):
        public.verify(forged)


def test_swapped_outputs_are_refused_by_the_circuit(public: Case) -> None:
    words = list(public.payload.instances)
    words[20], words[21] = words[21], words[20]
    with pytest.raises(ProofRejected):
        public.verify(public.relabelled(tuple(words)))


def test_replay_in_another_context_is_refused_by_the_circuit(public: Case) -> None:
    other = bytes(reversed(CONTEXT))
    limbs = tuple(word_of(limb) for limb in context_limbs(other))
    words = public.payload.instances
    forged = public.relabelled((*words[:4], *limbs, *words[20:22], *limbs), context=other)
    with pytest.raises(ProofRejected):
        public.verify(forged, public.expectation(context=other))


def test_another_model_is_refused_by_the_circuit(public: Case, other_model: Case) -> None:
    parts = {
        "wrapper": other_model.payload.wrapper,
        "settings": other_model.payload.settings,
        "verifying_key": other_model.payload.verifying_key,
    }
    forged = replace(public.with_payload(**parts), claims=(replace(public.claim, model=other_model.claim.model),))
    with pytest.raises(VerificationError) as error:
        other_model.verify(forged)
    assert isinstance(error.value, ProofRejected | MalformedProof | ClaimMismatch)
    same_scales = other_model.circuit.statement.output_scales == public.circuit.statement.output_scales
    assert isinstance(error.value, ProofRejected) or not same_scales


def test_another_private_input_digest_is_refused_by_the_circuit(private: Case) -> None:
    words = private.payload.instances
    with pytest.raises(ProofRejected):
        private.verify(private.relabelled(altered(words, 0, as_int(words[0]) + 1)))
    with pytest.raises(ProofRejected):
        private.verify(private.relabelled(altered(words, 1, as_int(words[1]) + 1)))


def test_another_context_with_a_private_input_is_refused_by_the_circuit(private: Case) -> None:
    other = bytes(reversed(CONTEXT))
    limbs = tuple(word_of(limb) for limb in context_limbs(other))
    forged = private.relabelled((*private.payload.instances[:4], *limbs), context=other)
    with pytest.raises(ProofRejected):
        private.verify(forged, private.expectation(context=other))


def test_other_hidden_weights_are_another_model(hidden_model: Case) -> None:
    words = altered(hidden_model.payload.instances, 2, as_int(hidden_model.payload.instances[2]) + 1)
    forged = hidden_model.relabelled(words)
    with pytest.raises(ClaimMismatch) as error:
        hidden_model.verify(forged)
    assert error.value.field == "model"
    # Even a verifier who pins the forger's identity is told no.
    parts = hidden_model.payload
    identity = model_identity(
        ENGINE_VERSION,
        keccak256(parts.verifying_key),
        keccak256(parts.settings),
        srs.setup_id(parts.tau_g2),
        str(hidden_model.circuit.statement.visibility),
        keccak256(parts.wrapper),
        [words[2]],
    )
    relabelled = replace(forged, claims=(replace(forged.claims[0], model=identity),))
    with pytest.raises(ProofRejected):
        hidden_model.verify(relabelled, hidden_model.expectation(model=frozenset({identity})))


# A claim field altered, the payload kept


@pytest.mark.parametrize("field", ["model", "input", "output", "context"])
def test_a_claim_field_altered_is_refused(public: Case, field: str) -> None:
    expected = public.expectation()
    if field == "context":
        expected = public.expectation(context=OTHER)
    if field == "model":
        expected = public.expectation(model=frozenset({OTHER}))
    with pytest.raises(ClaimMismatch) as error:
        public.verify(public.with_claim(**{field: OTHER}), expected)
    assert error.value.field == field


def test_the_verifiers_pins_are_compared(public: Case) -> None:
    for field, changes in (
        ("model", {"model": frozenset({OTHER})}),
        ("model", {"model": frozenset()}),
        ("context", {"context": bytes(32)}),
        ("input", {"input": OTHER}),
        ("input", {"public_input": sample(4)}),
        ("output", {"output": OTHER}),
        ("output", {"public_output": {"y": np.zeros((1, 2), np.float32)}}),
    ):
        with pytest.raises(ClaimMismatch) as error:
            public.verify(expected=public.expectation(**changes))
        assert error.value.field == field


def test_one_limb_of_either_context_copy_counts(public: Case) -> None:
    words = public.payload.instances
    for index in (4, 19, 22, 37):
        forged = public.with_payload(instances=altered(words, index, as_int(words[index]) ^ 1))
        with pytest.raises(ClaimMismatch) as error:
            public.verify(forged)
        assert error.value.field == "context"


# The payload


def test_the_whole_identity_is_checked(public: Case, other_model: Case) -> None:
    settings = json.loads(public.payload.settings)
    settings["run_args"]["decomp_legs"] += 1
    key = bytearray(public.payload.verifying_key)
    key[-1] ^= 1
    wrapper = public.payload.wrapper.replace(b'"x"', b'"z"')
    for parts in (
        {"settings": encode_settings(settings)},
        {"verifying_key": bytes(key)},
        {"verifying_key": other_model.payload.verifying_key},
        {"wrapper": wrapper},
        {"tau_g2": srs.bn254.g2_to_raw(srs.bn254.G2_GENERATOR)},
    ):
        with pytest.raises(ClaimMismatch) as error:
            public.verify(public.with_payload(**parts))
        assert error.value.field == "model"


def test_a_set_up_of_the_provers_own_is_another_model(public: Case) -> None:
    from vml.backends.ezkl import bn254

    point = bn254.g2_mul(12345, bn254.G2_GENERATOR)
    assert point is not None
    with pytest.raises(ClaimMismatch) as error:
        public.verify(public.with_payload(tau_g2=bn254.g2_to_raw(point)))
    assert error.value.field == "model"


@pytest.mark.parametrize("tau_g2", [bytes(128), b"\xff" * 128, bytes(127) + b"\x01"])
def test_a_point_off_the_curve_is_malformed(public: Case, tau_g2: bytes) -> None:
    with pytest.raises(MalformedProof):
        public.verify(public.with_payload(tau_g2=tau_g2))


def test_missing_and_extra_instances(public: Case) -> None:
    words = public.payload.instances
    for instances in (words[:-1], (*words, bytes(32)), words[1:], ()):
        with pytest.raises(MalformedProof):
            public.verify(public.with_payload(instances=instances))


def test_an_instance_plus_the_modulus_is_malformed(public: Case) -> None:
    words = public.payload.instances
    for index in (0, 5, 20, 37):
        changed = list(words)
        small = as_int(words[index])
        if small + R >= 1 << 256:
            continue
        changed[index] = (small + R).to_bytes(32, "big")
        with pytest.raises(MalformedProof, match="canonical"):
            public.verify(public.with_payload(instances=tuple(changed)))


def test_an_instance_beyond_128_bits_is_malformed(public: Case) -> None:
    forged = public.with_payload(instances=altered(public.payload.instances, 20, 1 << 130))
    statement = public.circuit.statement
    words = (*public.payload.instances[:20], (1 << 130).to_bytes(32, "big"), *public.payload.instances[21:])
    claim = replace(public.claim, output=statement.commit_output(statement.output_words(words)))
    with pytest.raises(MalformedProof):
        public.verify(replace(forged, claims=(claim,)))


def test_bytes_after_the_proof_are_refused(public: Case) -> None:
    proof = public.payload.proof
    for surplus in (b"\0", bytes(32), bytes(64), proof[-32:]):
        with pytest.raises(MalformedProof):
            public.verify(public.with_payload(proof=proof + surplus))


def test_truncated_proofs_are_refused(public: Case) -> None:
    proof = public.payload.proof
    for cut, error in (
        (proof[:-1], MalformedProof),
        (b"", MalformedProof),
        (proof[:-32], ProofRejected),
        (proof[:32], ProofRejected),
    ):
        with pytest.raises(error):
            public.verify(public.with_payload(proof=cut))


def test_every_part_of_the_proof_counts(public: Case) -> None:
    proof = public.payload.proof
    for index in range(0, len(proof), max(1, len(proof) // 12)):
        changed = bytearray(proof)
        changed[index] ^= 1
        with pytest.raises(ProofRejected):
            public.verify(public.with_payload(proof=bytes(changed)))


def test_a_coordinate_plus_the_modulus_is_refused(public: Case) -> None:
    proof = bytearray(public.payload.proof)
    for start in range(0, 320, 32):
        value = int.from_bytes(proof[start : start + 32], "big") + P
        if value < 1 << 256:
            changed = bytes(proof[:start]) + value.to_bytes(32, "big") + bytes(proof[start + 32 :])
            with pytest.raises(ProofRejected):
                public.verify(public.with_payload(proof=changed))
            return
    pytest.fail("no coordinate leaves room for the modulus")


def test_a_key_pinned_by_mistake_cannot_crash_the_verifier(public: Case) -> None:
    """Even a pinned identity over nonsense gives a typed refusal: ezkl panics in its own process."""
    parts = public.payload
    for key in (b"", bytes(64), parts.verifying_key[:-5], b"\xff" * len(parts.verifying_key)):
        identity = model_identity(
            ENGINE_VERSION,
            keccak256(key),
            keccak256(parts.settings),
            srs.setup_id(parts.tau_g2),
            str(public.circuit.statement.visibility),
            keccak256(parts.wrapper),
        )
        forged = public.with_payload(verifying_key=key)
        forged = replace(forged, claims=(replace(public.claim, model=identity),))
        with pytest.raises(ProofRejected):
            public.verify(forged, public.expectation(model=frozenset({identity})))


# The envelope


def test_the_public_section_says_what_the_instances_say(public: Case) -> None:
    section = public.proof.public
    (output,) = section["output"]
    for name, value in (
        ("output", [{**output, "values": [output["values"][0] + 1, *output["values"][1:]]}]),
        ("output", [{**output, "scale": output["scale"] + 1}]),
        ("output", [{**output, "name": "z"}]),
        ("input", []),
        ("hidden", ["model"]),
    ):
        with pytest.raises(ClaimMismatch) as error:
            public.verify(replace(public.proof, public={**section, name: value}))
        assert error.value.field == name
    for changed in ({**section, "more": 1}, {k: v for k, v in section.items() if k != "hidden"}):
        with pytest.raises(MalformedProof):
            public.verify(replace(public.proof, public=changed))


def test_schemes_and_claim_counts(public: Case) -> None:
    for scheme in ("ezkl/23.0.4/kzg-bn254/input-public/model-public", "ezkl/x", public.proof.scheme + "/a"):
        with pytest.raises(MalformedProof, match="is not one of ezkl"):
            public.verify(replace(public.proof, scheme=scheme))
    private = public.proof.scheme.replace("input-public", "input-private")
    with pytest.raises(MalformedProof):
        public.verify(replace(public.proof, scheme=private))
    with pytest.raises(MalformedProof):
        public.verify(replace(public.proof, claims=public.proof.claims * 2))


def test_random_bytes_are_malformed(public: Case) -> None:
    rng = np.random.default_rng(0)
    for size in (0, 3, 4, 200, 5000):
        with pytest.raises(MalformedProof):
            public.verify(replace(public.proof, payload=rng.bytes(size)))


def test_any_byte_of_the_envelope_counts(public: Case) -> None:
    data = public.proof.to_bytes()
    for index in np.random.default_rng(1).integers(0, len(data), 25):
        changed = bytearray(data)
        changed[index] ^= 1 << int(index) % 7
        with pytest.raises(VerificationError):
            public.verify(Proof.from_bytes(bytes(changed)))


# Policy and limits


def test_the_default_policy_refuses_the_test_set_up(public: Case) -> None:
    with pytest.raises(PolicyRejected):
        public.verify(policy=Policy.default())
    # Pinning its id does not make it safe.
    with pytest.raises(PolicyRejected):
        public.verify(policy=Policy(setups=frozenset({srs.TEST_SETUP_ID})))


def test_a_policy_pins_key_set_up_and_engine(public: Case) -> None:
    good = {
        "setups": frozenset({srs.TEST_SETUP_ID}),
        "verifying_keys": frozenset({keccak256(public.circuit.verifying_key)}),
        "engines": frozenset({f"ezkl {ENGINE_VERSION}"}),
    }
    public.verify(policy=Policy(**good, allow_unsafe_setup=True))
    for name, value in (("setups", OTHER), ("verifying_keys", OTHER), ("engines", "ezkl 1")):
        with pytest.raises(PolicyRejected):
            public.verify(policy=Policy(**{**good, name: frozenset({value})}, allow_unsafe_setup=True))


def test_set_ups_and_what_is_said_of_them(public: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    statement, claim = public.circuit.statement, public.claim
    ceremony = next(iter(srs.CEREMONIES))
    verdict = verifier._verdict(claim, "s", statement, ceremony, OTHER, LENIENT)
    assert not verdict.unsafe_setup
    assert "ceremony" in verdict.trusted[0]
    assert verifier._verdict(claim, "s", statement, OTHER, OTHER, LENIENT).unsafe_setup
    pinned = Policy(setups=frozenset({OTHER}))
    assert not verifier._verdict(claim, "s", statement, OTHER, OTHER, pinned).unsafe_setup


def test_limits_end_in_a_refusal(public: Case) -> None:
    for environment in (Environment(time_limit_s=0.0), Environment(memory_limit_bytes=1)):
        with pytest.raises(ProofRejected):
            public.verify(environment=environment)
