"""The tamper manifest of a signed run, and the standing attacks on it.

Every field of the envelope, the claim, the public section, the payload, the certificate and the evidence file is listed
with how it is altered and the error that must follow, whichever nonce and policy the verifier pinned. A field that is
missing here fails the suite.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.tee.signed_runs import (
    AT,
    INPUTS,
    KINDS,
    OTHER_INPUTS,
    altered,
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
    restated,
    row_of,
    signed,
)
from tests.tampering.exact_envelope import Alterations, flipped
from vml import canonical
from vml.backends.tee.payload import SignedRun
from vml.backends.types import ANY_NONCE, TEE_NONCE, TEE_POLICIES
from vml.claim import ZERO_CONTEXT, Claim
from vml.errors import ClaimMismatch, EvidenceRejected, MalformedProof, ProofRejected, VerificationError
from vml.model.graph import encode_specs
from vml.proof import Proof
from vml.tee.binding import Algorithm, KeyCertificate, public_key_of
from vml.tee_sim import matching_policy

MALFORMED, MISMATCH, REJECTED, EVIDENCE = MalformedProof, ClaimMismatch, ProofRejected, EvidenceRejected
Case = tuple[str, Callable[[], Proof], Any]


def field(**change: Any) -> Callable[[], Proof]:
    return lambda: altered(honest(), **change)


def turned(name: str, error: Any) -> Case:
    return ("a bit", lambda: altered(honest(), **{name: flipped(getattr(decoded(honest()), name))}), error)


def certificate(**change: Any) -> Callable[[], Proof]:
    return lambda: certified(honest(), **change)


def specs(side: str, **change: Any) -> Callable[[], Proof]:
    def make() -> Proof:
        first, *rest = getattr(model(), side)
        return altered(honest(), **{side: encode_specs((replace(first, **change), *rest))})

    return make


PAYLOAD: dict[str, tuple[Case, ...]] = {
    "certificate": (("another key's", lambda: certified(honest(), public_key=decoded_key()), EVIDENCE),),
    "nonce": (turned("nonce", EVIDENCE), ("zeros", field(nonce=bytes(32)), EVIDENCE)),
    "sequence": (("another", field(sequence=2), EVIDENCE), ("zero", field(sequence=0), EVIDENCE)),
    "issued_at": (("later", field(issued_at=AT + 1), EVIDENCE), ("earlier", field(issued_at=AT - 1), EVIDENCE)),
    "signature": (
        turned("signature", EVIDENCE),
        ("zeros", field(signature=bytes(64)), EVIDENCE),
        ("of another run", lambda: altered(honest(), signature=decoded(other_run()).signature), EVIDENCE),
        ("by another key", lambda: altered(honest(), signature=mallorys_signature()), EVIDENCE),
    ),
    "source": (turned("source", MISMATCH),),
    "inputs": (
        ("another name", specs("inputs", name="z"), MISMATCH),
        ("another scale", specs("inputs", scale=2), MISMATCH),
        ("another type", specs("inputs", onnx_dtype="float64"), MISMATCH),
        ("nothing", field(inputs=b""), MISMATCH),
    ),
    "outputs": (
        ("another name", specs("outputs", name="z"), MISMATCH),
        ("another node", specs("outputs", node=0), MISMATCH),
    ),
    "policy": (
        turned("policy", REJECTED),
        ("nothing", field(policy=b""), REJECTED),
        ("another", field(policy=matching_policy("snp").canonical()), REJECTED),
    ),
    "evidence": (
        turned("evidence", MALFORMED),
        ("nothing", field(evidence=b""), MALFORMED),
        ("of another kind", lambda: altered(honest(), evidence=decoded(honest("snp")).evidence), EVIDENCE),
    ),
}
CERTIFICATE: dict[str, tuple[Case, ...]] = {
    "algorithm": (("the other", certificate(algorithm=Algorithm.P256), EVIDENCE),),
    "public_key": (
        ("a bit", lambda: certified(honest(), public_key=flipped(decoded(honest()).certificate.public_key)), EVIDENCE),
        ("zeros", certificate(public_key=bytes(64)), EVIDENCE),
    ),
    "model": (("another", certificate(model=b"\1" * 32), MISMATCH), ("zeros", certificate(model=bytes(32)), MISMATCH)),
    "policy_id": (("another", certificate(policy_id=b"\1" * 32), REJECTED),),
    "epoch": (("the next", certificate(epoch=2), EVIDENCE), ("zero", certificate(epoch=0), EVIDENCE)),
    "not_after": (
        ("later", lambda: certified(honest(), not_after=decoded(honest()).certificate.not_after + 1), EVIDENCE),
        ("earlier", lambda: certified(honest(), not_after=decoded(honest()).certificate.not_after - 1), EVIDENCE),
        ("never", certificate(not_after=(1 << 64) - 1), EVIDENCE),
    ),
}


def decoded_key() -> bytes:
    return public_key_of(mallorys_key())


def mallorys_signature() -> bytes:
    return decoded(signed(certified(honest(), public_key=decoded_key()), mallorys_key())).signature


# The evidence file: every field, and every part of the collateral.


def filed(alter: Callable[[Any], Any]) -> Callable[[], Proof]:
    def make() -> Proof:
        item = json.loads(decoded(honest()).evidence)
        alter(item)
        return altered(honest(), evidence=canonical.encode(item))

    return make


def collateral(name: str, value: Any) -> Callable[[], Proof]:
    return filed(lambda item: item["collateral"].__setitem__(name, value))


def spoiled(name: str) -> Callable[[], Proof]:
    def alter(item: Any) -> None:
        holder = item if name in item else item["collateral"]
        data = bytearray(base64.b64decode(holder[name]))
        data[len(data) // 2] ^= 1
        holder[name] = base64.b64encode(bytes(data)).decode()

    return filed(alter)


EITHER = (MALFORMED, EVIDENCE)
FILE: dict[str, tuple[Case, ...]] = {
    "format": (("another", filed(lambda item: item.update(format="vml-evidence/2")), MALFORMED),),
    "kind": (
        ("another", filed(lambda item: item.update(kind="sgx")), EITHER),
        ("none", filed(lambda item: item.update(kind="sev")), MALFORMED),
    ),
    "data": (("a bit", spoiled("data"), EITHER), ("nothing", filed(lambda item: item.update(data="")), MALFORMED)),
    "collateral": (("none", filed(lambda item: item.update(collateral=None)), EITHER),),
    "event_log": (("one", filed(lambda item: item.update(event_log="e30=")), EITHER),),
}
COLLATERAL: dict[str, tuple[Case, ...]] = {
    name: (
        ("a bit", spoiled(name), EITHER),
        ("nothing", collateral(name, ""), EITHER),
        ("a number", collateral(name, 5), MALFORMED),
    )
    for name in (
        "tcb_info",
        "tcb_info_signature",
        "tcb_info_chain",
        "qe_identity",
        "qe_identity_signature",
        "qe_identity_chain",
        "pck_crl",
        "pck_crl_chain",
        "root_crl",
    )
}


# The envelope.


ALTERED = Alterations(honest)
replaced, claimed, published, entry, code = (
    ALTERED.replaced,
    ALTERED.claimed,
    ALTERED.published,
    ALTERED.entry,
    ALTERED.code,
)

CLAIM: dict[str, tuple[Case, ...]] = {
    name: (
        ("a bit", claimed(name), VerificationError),
        ("another", claimed(name, bytes(range(32))), VerificationError),
    )
    for name in ("model", "input", "output", "context")
}
ENVELOPE: dict[str, tuple[Case, ...]] = {
    "scheme": (("another version", replaced(scheme="tee/2"), MALFORMED),),
    "claims": (
        ("twice", lambda: replace(honest(), claims=honest().claims * 2), MALFORMED),
        ("those of another run", lambda: replace(honest(), claims=other_run().claims), MISMATCH),
    ),
    "public": (
        ("nothing", replaced(public={}), MALFORMED),
        ("that of another run", lambda: replace(honest(), public=other_run().public), MISMATCH),
    ),
    "payload": (
        ("nothing", replaced(payload=b""), MALFORMED),
        ("more", lambda: replace(honest(), payload=honest().payload + b"\0"), MALFORMED),
        ("that of another run", lambda: replace(honest(), payload=other_run().payload), EVIDENCE),
    ),
}
ENTRY: dict[str, tuple[Case, ...]] = {
    "name": (("another", entry("name", "rest"), MALFORMED),),
    "dtype": (("another", entry("dtype", "int64"), MALFORMED),),
    "shape": (("another", entry("shape", [2, 1]), MALFORMED),),
    "scale": (("another", entry("scale", ["2", "1"]), MALFORMED),),
    "codes": (
        ("another output", code("output"), MISMATCH),
        ("another input", code("input"), MISMATCH),
        ("none", entry("codes", []), MALFORMED),
    ),
}
PUBLIC: dict[str, tuple[Case, ...]] = {
    "hidden": (("something", published(lambda public: public.update(hidden=["input"])), MALFORMED),),
    "input": (("missing", published(lambda public: public.pop("input")), MALFORMED),),
    "output": (("missing", published(lambda public: public.pop("output")), MALFORMED),),
}
TABLES = {
    "payload": PAYLOAD,
    "certificate": CERTIFICATE,
    "file": FILE,
    "collateral": COLLATERAL,
    "claim": CLAIM,
    "envelope": ENVELOPE,
    "public": PUBLIC,
    "entry": ENTRY,
}
CASES = [(f"{group} {name}", *row) for group, table in TABLES.items() for name, rows in table.items() for row in rows]
VERIFIERS: dict[str, dict[str, Any]] = {
    "nonce and policy": {},
    "any nonce": {TEE_NONCE: ANY_NONCE},
    "policy by its id": {TEE_POLICIES: (matching_policy("tdx").policy_id,)},
}


@pytest.mark.parametrize(("name", "how", "make", "error"), CASES, ids=[f"{n}: {h}" for n, h, *_ in CASES])
@pytest.mark.parametrize("verifier", VERIFIERS)
def test_altered(name: str, how: str, make: Callable[[], Proof], error: Any, verifier: str) -> None:
    with pytest.raises(error):
        check(make(), held=pins(**VERIFIERS[verifier]))


def test_the_manifest_has_every_field() -> None:
    # Description and GPUs stand in a manifest of their own: test_tee_float_manifest.py.
    assert {item.name for item in dataclasses.fields(SignedRun)} - {"description", "gpus"} == PAYLOAD.keys()
    assert {item.name for item in dataclasses.fields(KeyCertificate)} - {"gpus"} == CERTIFICATE.keys()
    assert {item.name for item in dataclasses.fields(Proof)} == ENVELOPE.keys()
    assert {item.name for item in dataclasses.fields(Claim)} == CLAIM.keys()
    evidence = json.loads(decoded(honest()).evidence)
    assert evidence.keys() == FILE.keys()
    assert evidence["collateral"].keys() == COLLATERAL.keys()
    assert honest().public.keys() == PUBLIC.keys()
    for side in ("input", "output"):
        assert all(item.keys() == ENTRY.keys() for item in honest().public[side])


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_what_is_not_altered_is_accepted(verifier: str) -> None:
    assert altered(honest()) == honest()
    assert published(lambda public: None)() == honest()
    assert filed(lambda item: None)() == honest()
    assert check(honest(), held=pins(**VERIFIERS[verifier])).final


# The four standing attacks: labels that agree with each other, over what was signed for another claim.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model", "input", "output", "context"])
def test_a_claim_swapped_under_the_receipt(name: str, kind: str) -> None:
    swapped = replace(honest(kind).claims[0], **{name: bytes(range(32))})
    expected = {"model": frozenset({swapped.model}), "context": swapped.context}
    with pytest.raises((ClaimMismatch, EvidenceRejected)):
        check(replace(honest(kind), claims=(swapped,)), kind=kind, **expected)


def test_another_model() -> None:
    """The model's own specs, another graph root, and the certificate changed to match: the evidence names another."""
    odd = replace(decoded(honest()), source=b"\1" * 32)
    claim = replace(honest().claims[0], model=identity_of(odd))
    forged = replace(certified(altered(honest(), source=b"\1" * 32), model=identity_of(odd)), claims=(claim,))
    with pytest.raises(ClaimMismatch, match="model"):
        check(forged)
    for proof in (forged, signed(forged, private_key())):  # by the attested key, even
        with pytest.raises(EvidenceRejected, match="KEY_BINDING"):
            check(proof, model=frozenset({claim.model}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_another_input_or_output(side: str, kind: str) -> None:
    row = row_of(honest(kind))
    first, *rest = getattr(row, side)
    lie = restated(honest(kind), replace(row, **{side: ((first[0] + 1, *first[1:]), *rest)}))
    with pytest.raises(EvidenceRejected, match="RECEIPT_SIGNATURE"):
        check(lie, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_another_context(kind: str) -> None:
    moved = restated(honest(kind), row_of(honest(kind)), context=b"\x44" * 32)
    with pytest.raises(EvidenceRejected, match="RECEIPT_SIGNATURE"):
        check(moved, kind=kind, context=b"\x44" * 32)
    with pytest.raises(ClaimMismatch, match="context"):
        check(honest(kind), kind=kind, context=ZERO_CONTEXT)


def test_the_inputs_are_not_what_the_forger_says() -> None:
    with pytest.raises(ClaimMismatch, match="input"):
        check(honest(), public_input=OTHER_INPUTS)
    assert check(honest(), public_input=INPUTS).final
