"""What a verifier of signed runs accepts, and what each of its steps refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

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
    check,
    decoded,
    honest,
    identity_of,
    mallorys_key,
    model,
    other_run,
    pins,
    private_key,
    receipt_key,
    restated,
    row_of,
    signed,
)
from vml.backends.tee.inside import run
from vml.backends.types import (
    ANY_NONCE,
    TEE_ANCHORS,
    TEE_MIN_EPOCH,
    TEE_NONCE,
    TEE_NONCE_SENT_AT,
    TEE_POLICIES,
)
from vml.claim import ZERO_CONTEXT
from vml.errors import ClaimMismatch, EvidenceRejected, MalformedProof, PolicyRejected, ProofRejected
from vml.model.graph import encode_specs
from vml.policy import Policy
from vml.proof import Proof
from vml.tee.anchors import TrustAnchors
from vml.tee.appraise import MAX_SKEW_S
from vml.tee.binding import Algorithm, public_key_of
from vml.tee.files import read_json, write_json
from vml.tee.reasons import Reason
from vml.tee.verify import verify_evidence
from vml.tee_sim import anchors, matching_policy, simulate


def refused(code: Reason, make: Callable[[], object]) -> None:
    with pytest.raises(EvidenceRejected) as caught:
        make()
    assert caught.value.reason == code, caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_honest(kind: str) -> None:
    verdict = check(honest(kind), kind=kind, public_input=INPUTS)
    assert verdict.assurance == "hardware"
    assert verdict.backend == "tee"
    assert verdict.semantics == "vml-int/1"
    assert verdict.final
    assert verdict.simulated
    assert verdict.claims == honest(kind).claims
    assert verdict.remarks[0] == "physical adversary: not covered"
    assert any("physical adversary: not covered" in line for line in verdict.trusted)
    assert verdict.trusted[0].startswith("nobody: the evidence is simulated")
    told = "\n".join(verdict.remarks)
    assert "nonce: yours, answered" in told
    assert "this key dies in" in told
    assert "number 1" in told
    assert f"revocation, {kind}: {'NOT CHECKED' if kind == 'nitro' else 'checked'}" in told


@pytest.mark.parametrize("scheme", ["tee/2", "tee/1/more", "optimistic/1"])
def test_step_1_the_scheme(scheme: str) -> None:
    with pytest.raises(MalformedProof, match="is not 'tee/1'"):
        check(replace(honest(), scheme=scheme))


def test_step_2_one_claim_and_its_run() -> None:
    with pytest.raises(MalformedProof, match="one claim, not 2"):
        check(replace(honest(), claims=honest().claims * 2))
    with pytest.raises(MalformedProof, match="evidence file"):
        check(altered(honest(), evidence=b"{}"))
    with pytest.raises(MalformedProof):
        check(replace(honest(), payload=b""))


def test_step_3_the_model() -> None:
    with pytest.raises(ClaimMismatch, match="model"):
        check(certified(honest(), model=b"\1" * 32))
    with pytest.raises(ClaimMismatch, match="model"):
        check(altered(honest(), source=b"\1" * 32))
    with pytest.raises(ClaimMismatch, match="model"):
        check(altered(honest(), inputs=encode_specs(model().outputs)))
    # Attested for whatever model its maker likes, which is not the verifier's.
    odd = replace(decoded(honest()), source=b"\1" * 32)
    claim = replace(honest().claims[0], model=identity_of(odd))
    forged = replace(altered(honest(), source=b"\1" * 32), claims=(claim,))
    forged = attested(certified(forged, model=identity_of(odd)), mallorys_key(), model=identity_of(odd))
    assert check(forged, model=frozenset({identity_of(odd)})).claims == (claim,)
    with pytest.raises(ClaimMismatch, match="model"):
        check(forged)


def test_step_3_a_certificate_of_another_model() -> None:
    """Genuine hardware, a genuine key of another model: its receipts are good for that model only."""
    other = attested(honest(), mallorys_key(), model=b"\2" * 32)
    with pytest.raises(ClaimMismatch, match="model"):
        check(other)


def test_step_4_the_public_section() -> None:
    with pytest.raises(MalformedProof):
        check(replace(honest(), public={}))
    with pytest.raises(ClaimMismatch, match="input"):
        check(replace(honest(), public=other_run().public))


def test_step_5_what_is_expected() -> None:
    with pytest.raises(ClaimMismatch, match="context"):
        check(honest(), context=ZERO_CONTEXT)
    with pytest.raises(ClaimMismatch, match="input"):
        check(honest(), public_input=OTHER_INPUTS)
    with pytest.raises(ClaimMismatch, match="model"):
        check(honest(), model=frozenset())


def test_step_6_the_policy_is_the_verifiers() -> None:
    policy = matching_policy("tdx")
    for accepted in ((), None, (matching_policy("snp"),), (b"\1" * 32,)):
        with pytest.raises(ProofRejected, match="6: the appraisal policy"):
            check(honest(), held=pins(**{TEE_POLICIES: accepted}))
    assert check(honest(), held=pins(**{TEE_POLICIES: (matching_policy("snp"), policy)})).simulated
    assert check(honest(), held=pins(**{TEE_POLICIES: (b"\1" * 32, policy.policy_id)})).simulated
    # A text beside the id that is not the policy.
    for accepted in ((policy,), (policy.policy_id,)):
        with pytest.raises(ProofRejected, match="6: the text"):
            check(altered(honest(), policy=matching_policy("snp").canonical()), held=pins(**{TEE_POLICIES: accepted}))
        with pytest.raises(ProofRejected, match="6: the text"):
            check(altered(honest(), policy=b""), held=pins(**{TEE_POLICIES: accepted}))


def test_step_6_a_pinned_text_that_is_no_policy() -> None:
    text = b'{"version":7}'
    made = hashlib.sha256(text).digest()
    forged = attested(altered(honest(), policy=text), mallorys_key(), policy_id=made)
    with pytest.raises(MalformedProof, match="policy"):
        check(forged, held=pins(**{TEE_POLICIES: (made,)}))


def test_a_policy_of_the_forger() -> None:
    """He attests a key for a policy that accepts anything of his; the verifier did not pin it."""
    lax = matching_policy("tdx", {"mr_td": b"\1" * 48}).model_copy(update={"require_nonce": False})
    forged = attested(
        altered(honest(), policy=lax.canonical()),
        mallorys_key(),
        measurements={"mr_td": b"\1" * 48},
        policy_id=lax.policy_id,
    )
    assert check(forged, held=pins(**{TEE_POLICIES: (lax,)})).simulated
    with pytest.raises(ProofRejected, match="6: the appraisal policy"):
        check(forged)


def test_step_7_genuine_under_the_verifiers_roots() -> None:
    refused(Reason.SIMULATED_EVIDENCE, lambda: check(honest(), held=pins(**{TEE_ANCHORS: None})))
    refused(Reason.SIMULATED_EVIDENCE, lambda: check(honest(), held=pins(**{TEE_ANCHORS: TrustAnchors.vendors()})))
    elsewhere = attested(honest(), mallorys_key(), seed="another root")
    refused(Reason.SIMULATED_EVIDENCE, lambda: check(elsewhere))
    assert check(elsewhere, held=pins(**{TEE_ANCHORS: anchors("another root")})).simulated
    for fault, code in (("revoked", Reason.CERTIFICATE_REVOKED), ("bad-key", Reason.AK_BINDING)):
        refused(code, lambda fault=fault: check(attested(honest(), mallorys_key(), fault=fault)))


def test_step_7_at_the_stated_time() -> None:
    end = decoded(honest()).certificate.not_after
    assert check(honest(), now=end)
    with pytest.raises(EvidenceRejected, match="EXPIRED"):
        check(honest(), now=end + 1)
    with pytest.raises(EvidenceRejected):
        check(honest(), now=AT - 100 * 86_400)
    with pytest.raises(ValueError, match="for a time"):
        check(honest(), now=None)


def test_step_8_acceptable() -> None:
    for fault, code in (
        ("debug", Reason.DEBUG_ENABLED),
        ("outofdate", Reason.TCB_STATUS_REFUSED),
        ("wrong-measurement", Reason.MEASUREMENT_MISMATCH),
    ):
        refused(code, lambda fault=fault: check(attested(honest(), mallorys_key(), fault=fault)))
    # Simulated evidence, under roots that are trusted, and a policy that does not say so.
    strict = matching_policy("tdx").model_copy(update={"allow_simulated": False})
    forged = attested(altered(honest(), policy=strict.canonical()), mallorys_key(), policy_id=strict.policy_id)
    refused(Reason.SIMULATED_EVIDENCE, lambda: check(forged, held=pins(**{TEE_POLICIES: (strict,)})))


def test_step_8_the_nonce() -> None:
    with pytest.raises(EvidenceRejected, match=r"NONCE_MISSING.*--tee-nonce any"):
        check(honest(), held=pins(**{TEE_NONCE: None}))
    refused(Reason.NONCE_MISMATCH, lambda: check(honest(), held=pins(**{TEE_NONCE: b"\1" * 32})))
    told = check(honest(), held=pins(**{TEE_NONCE: ANY_NONCE})).remarks
    assert any("somebody else's" in line for line in told)
    for bad in (b"", b"\1" * 31, "some", 5):
        with pytest.raises(ValueError, match="a nonce is 32 bytes"):
            check(honest(), held=pins(**{TEE_NONCE: bad}))


def unasking(**more: Any) -> tuple[Proof, dict[str, Any]]:
    """A run under a policy that asks for no nonce, and the pins for it."""
    policy = matching_policy("tdx").model_copy(update={"require_nonce": False, **more})
    made = attested(altered(honest(), policy=policy.canonical()), mallorys_key(), policy_id=policy.policy_id)
    return made, {TEE_POLICIES: (policy,)}


def test_step_8_a_policy_without_a_nonce() -> None:
    made, accepted = unasking()
    told = check(made, held=pins(**accepted, **{TEE_NONCE: None})).remarks
    assert any(line == "nonce: not asked for" for line in told)
    refused(Reason.NONCE_MISMATCH, lambda: check(made, held=pins(**accepted, **{TEE_NONCE: b"\1" * 32})))


def test_step_8_the_age() -> None:
    made, accepted = unasking(max_age_s=60)
    refused(Reason.EVIDENCE_TOO_OLD, lambda: check(made, held=pins(**accepted)))
    assert check(made, held=pins(**accepted, **{TEE_NONCE_SENT_AT: AT - 60}))
    refused(Reason.EVIDENCE_TOO_OLD, lambda: check(made, held=pins(**accepted, **{TEE_NONCE_SENT_AT: AT - 61})))
    # When somebody else's nonce was sent is not known, whatever the verifier says.
    others = {**accepted, TEE_NONCE: ANY_NONCE, TEE_NONCE_SENT_AT: AT}
    refused(Reason.EVIDENCE_TOO_OLD, lambda: check(made, held=pins(**others)))


@pytest.mark.parametrize("kind", KINDS)
def test_step_9_the_key(kind: str) -> None:
    """Genuine evidence, and somebody else's key beside it, which signs."""
    key = mallorys_key()
    swapped = signed(certified(honest(kind), public_key=public_key_of(key)), key)
    refused(Reason.KEY_BINDING, lambda: check(swapped, kind=kind))


@pytest.mark.parametrize(
    "change", [{"epoch": 2}, {"not_after": AT + 5}, {"policy_id": matching_policy("snp").policy_id}]
)
def test_step_9_every_field_of_the_certificate(change: dict[str, Any]) -> None:
    """Re-signed by the attested key: the evidence carries another certificate."""
    forged = certified(honest(), **change)
    if "policy_id" in change:
        forged = altered(forged, policy=matching_policy("snp").canonical())
    forged = signed(forged, private_key())
    held = pins(**{TEE_POLICIES: (matching_policy("tdx"), matching_policy("snp"), matching_policy("tdx").policy_id)})
    with pytest.raises(EvidenceRejected) as caught:
        check(forged, held=held)
    wanted = Reason.KIND_NOT_ALLOWED if "policy_id" in change else Reason.KEY_BINDING
    assert caught.value.reason == wanted


def test_step_9_a_policy_that_accepts_as_much_is_another_one() -> None:
    other = matching_policy("tdx").model_copy(update={"max_age_s": None, "require_nonce": False})
    forged = certified(altered(honest(), policy=other.canonical()), policy_id=other.policy_id)
    forged = signed(forged, private_key())
    refused(Reason.KEY_BINDING, lambda: check(forged, held=pins(**{TEE_POLICIES: (other,)})))


def test_step_9_a_report_of_zeros() -> None:
    """Evidence that attests nothing in particular."""
    zeros = simulate("tdx", report_data=bytes(64), seed=SEED, at=AT)
    forged = altered(honest(), evidence=write_json(zeros), nonce=bytes(32))
    refused(Reason.KEY_BINDING, lambda: check(forged, held=pins(**{TEE_NONCE: bytes(32)})))
    refused(Reason.NONCE_MISMATCH, lambda: check(forged))


def test_step_9_the_nonce_that_is_shown() -> None:
    shown = altered(honest(), nonce=b"\1" * 32)
    refused(Reason.NONCE_MISMATCH, lambda: check(shown))
    refused(Reason.NONCE_MISMATCH, lambda: check(shown, held=pins(**{TEE_NONCE: b"\1" * 32})))
    refused(Reason.NONCE_MISMATCH, lambda: check(shown, held=pins(**{TEE_NONCE: ANY_NONCE})))
    made, accepted = unasking()
    shown = altered(made, nonce=b"\1" * 32)
    refused(Reason.NONCE_MISMATCH, lambda: check(shown, held=pins(**accepted, **{TEE_NONCE: None})))


def test_step_9_evidence_of_an_earlier_nonce() -> None:
    """Evidence that was good for somebody else's nonce, or an earlier one, does not answer this one."""
    old = attested(honest(), private_key(), nonce=b"\x11" * 32)
    assert check(old, held=pins(**{TEE_NONCE: b"\x11" * 32}))
    refused(Reason.NONCE_MISMATCH, lambda: check(old))
    refused(Reason.NONCE_MISMATCH, lambda: check(altered(old, nonce=NONCE)))


def test_step_9_a_key_that_outlives_its_evidence() -> None:
    end = decoded(honest()).certificate.not_after
    refused(Reason.KEY_OUTLIVES_EVIDENCE, lambda: check(attested(honest(), mallorys_key(), not_after=end + 1)))
    assert check(attested(honest(), mallorys_key(), not_after=end))


def test_step_10_the_receipt() -> None:
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(altered(honest(), signature=bytes(64))))
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(altered(honest(), signature=decoded(other_run()).signature)))
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(altered(honest(), sequence=2)))
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(altered(honest(), issued_at=AT - 1)))


def test_step_10_high_s_is_refused() -> None:
    signature = decoded(honest()).signature
    s = Algorithm.SECP256K1.order - int.from_bytes(signature[32:], "big")
    high = altered(honest(), signature=signature[:32] + s.to_bytes(32, "big"))
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(high))


def test_step_10_a_receipt_of_another_epoch() -> None:
    """The same key's receipt under its next certificate, shown beside the old one, and the reverse."""
    key, attestation = receipt_key(epoch=2)
    codes = model().quantize(INPUTS)
    second = run(model(), key, attestation, codes, CONTEXT, AT)
    assert check(second)
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(altered(honest(), signature=decoded(second).signature)))
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(altered(second, signature=decoded(honest()).signature)))


def test_step_11_the_keys_end() -> None:
    short = attested(honest(), mallorys_key(), not_after=AT + 100)
    assert check(short, now=AT + 100)
    refused(Reason.KEY_EXPIRED, lambda: check(short, now=AT + 101))
    late = signed(short, mallorys_key(), issued_at=AT + 101)
    refused(Reason.KEY_EXPIRED, lambda: check(late, now=AT + 100))


def test_step_11_rotated_epochs() -> None:
    assert check(honest(), held=pins(**{TEE_MIN_EPOCH: 1}))
    refused(Reason.EPOCH_ROTATED, lambda: check(honest(), held=pins(**{TEE_MIN_EPOCH: 2})))


def test_step_11_the_receipts_time() -> None:
    ahead = signed(honest(), private_key(), issued_at=AT + MAX_SKEW_S)
    assert check(ahead)
    refused(Reason.RECEIPT_TIME, lambda: check(signed(honest(), private_key(), issued_at=AT + MAX_SKEW_S + 1)))
    begins = verify_evidence(read_json(decoded(honest()).evidence), anchors(SEED), AT).window.not_before
    assert begins is not None
    assert check(signed(honest(), private_key(), issued_at=begins - MAX_SKEW_S))
    refused(Reason.RECEIPT_TIME, lambda: check(signed(honest(), private_key(), issued_at=begins - MAX_SKEW_S - 1)))


def test_step_12_the_policy() -> None:
    with pytest.raises(PolicyRejected, match="allow_simulated"):
        check(honest(), policy=Policy.default())
    with pytest.raises(PolicyRejected, match="assurance"):
        check(honest(), policy=Policy(assurance=frozenset({"cryptographic"}), allow_simulated=True))
    assert check(honest(), policy=Policy(assurance=frozenset({"hardware"}), allow_simulated=True))


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_another_input_or_output(side: str) -> None:
    row = row_of(honest())
    first, *rest = getattr(row, side)
    lie = restated(honest(), replace(row, **{side: ((first[0] + 1, *first[1:]), *rest)}))
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(lie))


def test_another_context() -> None:
    moved = restated(honest(), row_of(honest()), context=b"\x44" * 32)
    refused(Reason.RECEIPT_SIGNATURE, lambda: check(moved, context=b"\x44" * 32))


def test_p256_keys_sign_too() -> None:
    made = attested(honest(), mallorys_key(ec.SECP256R1), algorithm=Algorithm.P256)
    assert check(made)
    refused(Reason.KEY_BINDING, lambda: check(certified(made, algorithm=Algorithm.SECP256K1)))


def test_the_default_environment_trusts_nothing_of_the_proof() -> None:
    """Whatever it brings: without pins there is no policy, and without anchors no simulator."""
    with pytest.raises(ProofRejected, match="one that you hold"):
        check(honest(), held={})
