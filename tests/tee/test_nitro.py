"""Genuine Nitro documents: each gives exactly the verdict and the fields its manifest states."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import cbor2
import pytest

from tests.tee.genuine import VENDORS, negatives, read, require, time_of, vectors
from vml.errors import EvidenceRejected, MalformedProof, VerificationError
from vml.tee import Evidence, Kind, NitroClaims, Reason, verify_evidence
from vml.tee.nitro.document import Document, read_document
from vml.tee.reasons import code_of

require()

DOCUMENTS = vectors("nitro")
GENUINE = [item for item in DOCUMENTS if item["genuine"]]

every_document = pytest.mark.parametrize("item", DOCUMENTS, ids=lambda item: item["id"])
every_genuine = pytest.mark.parametrize("item", GENUINE, ids=lambda item: item["id"])


def evidence_of(item: dict[str, Any]) -> Evidence:
    return Evidence(Kind.NITRO, read(item["files"][0]["path"]))


def verify(item: dict[str, Any], at: int | None = None) -> NitroClaims:
    found = verify_evidence(evidence_of(item), VENDORS, time_of(item) if at is None else at)
    assert isinstance(found, NitroClaims)
    return found


def hexed(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def fields_of(document: Document | NitroClaims, nonce: bytes | None, debug: bool) -> dict[str, Any]:
    """The fields as the manifest writes them: of the registers those that are not zero."""
    return {
        "module": document.module_id,
        "digest": "SHA384",
        "ts": document.timestamp_ms,
        "pcrs": {str(index): value.hex() for index, value in document.pcrs.items() if any(value)},
        "public_key": hexed(document.public_key),
        "user_data": hexed(document.user_data),
        "nonce": hexed(nonce),
        "debug": debug,
    }


@every_document
def test_fields_are_the_manifests(item: dict[str, Any]) -> None:
    document = read_document(evidence_of(item).data)
    debug = any(not any(document.pcrs[index]) for index in range(3))
    assert fields_of(document, document.nonce, debug) == item["fields"]
    assert len(document.pcrs) == 16


@every_document
def test_another_decoder_reads_the_same(item: dict[str, Any]) -> None:
    data = evidence_of(item).data
    _, _, payload, signature = cbor2.loads(data)
    found, document = cbor2.loads(payload), read_document(data)
    assert (document.payload, document.certificate) == (payload, found["certificate"])
    assert list(document.cabundle) == found["cabundle"]
    assert dict(document.pcrs) == found["pcrs"]
    assert b"".join(number.to_bytes(48, "big") for number in document.signature) == signature


@every_document
def test_the_verdict_is_the_manifests(item: dict[str, Any]) -> None:
    """Debug is a claim, which the appraisal refuses; a mock's root is refused here."""
    expected = item["expected"]
    if not item["genuine"]:
        assert (expected["crypto"], expected["strict"]) == ("cose pass, chain fail", "reject")
        with pytest.raises(EvidenceRejected) as refused:
            verify(item)
        assert refused.value.reason == Reason.UNTRUSTED_ROOT
        return
    assert expected["crypto"] == "pass"
    found = verify(item)
    assert fields_of(found, found.document_nonce, found.debug) == item["fields"]
    assert (expected["strict"] == "reject") == found.debug
    assert not found.simulated


@every_genuine
def test_it_verifies_within_its_window(item: dict[str, Any]) -> None:
    first, last = (int(datetime.fromisoformat(text).timestamp()) for text in item["valid_window"])
    for at in (first, last):
        found = verify(item, at)
        assert (found.not_after, found.limited_by) == (last, "certificate")
        assert found.window.not_before == first
    for at, reason in ((first - 1, Reason.CERTIFICATE_NOT_YET_VALID), (last + 1, Reason.CERTIFICATE_EXPIRED)):
        with pytest.raises(EvidenceRejected) as refused:
            verify(item, at)
        assert refused.value.reason == reason


def test_the_list_of_corruptions_has_none_of_this_kind() -> None:
    """Should one be added, it needs a test; those below are this file's own."""
    assert negatives("nitro") == []


def altered(data: bytes, field: bytes, skip: int = 2) -> bytes:
    """One bit changed in the middle of what stands behind a field's name."""
    at = data.index(field) + len(field) + skip
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@every_genuine
def test_a_corruption_gives_its_code(item: dict[str, Any]) -> None:
    evidence = evidence_of(item)
    data = evidence.data
    document = read_document(data)
    leaf = data.index(document.certificate)
    cases = {
        altered(data, b"\xa1\x01", 1): "MALFORMED",
        b"\xd2" + data: "MALFORMED",
        data + b"\x00": "MALFORMED",
        data[:-1]: "MALFORMED",
        b"": "MALFORMED",
        altered(data, b"\x64pcrs\xb0\x00"): "COSE_SIGNATURE",
        altered(data, b"timestamp", 3): "COSE_SIGNATURE",
        altered(data, b"module_id", 4): "COSE_SIGNATURE",
        data[:-1] + bytes([data[-1] ^ 1]): "COSE_SIGNATURE",
        data[: leaf + 60] + bytes([data[leaf + 60] ^ 1]) + data[leaf + 61 :]: "NITRO_CHAIN",
        altered(data, document.certificate[:-4], 2): "NITRO_CHAIN",
    }
    if document.public_key:
        cases[altered(data, b"public_key", 3)] = "COSE_SIGNATURE"
    for changed, expected in cases.items():
        with pytest.raises(VerificationError) as refused:
            verify_evidence(replace(evidence, data=changed), VENDORS, time_of(item))
        assert code_of(refused.value) == expected


@every_genuine
def test_bytes_anywhere_are_signed_or_fixed(item: dict[str, Any]) -> None:
    evidence = evidence_of(item)
    for at in range(0, len(evidence.data), 67):
        changed = evidence.data[:at] + bytes([evidence.data[at] ^ 1 << at % 8]) + evidence.data[at + 1 :]
        with pytest.raises((EvidenceRejected, MalformedProof)):
            verify_evidence(replace(evidence, data=changed), VENDORS, time_of(item))


def test_every_document_has_an_identity_of_its_own() -> None:
    ids = [read_document(evidence_of(item).data).evidence_id for item in DOCUMENTS]
    assert len(set(ids)) == len(ids)
