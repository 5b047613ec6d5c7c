"""The bytes of a signed run: one encoding, and nothing else is read."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tee.signed_runs import KINDS, decoded, honest, identity_of, model
from vml.backends.tee import payload
from vml.backends.tee.payload import SignedRun, read_policy
from vml.errors import MalformedProof
from vml.tee.binding import verify_receipt
from vml.tee_sim import matching_policy

HEAD = 1 + 64 + 32 + 32 + 8 + 8 + 32 + 8 + 8 + 64 + 32


VECTORS = Path(__file__).parents[2] / "vectors" / "signed_runs.json"
CASES: list[dict[str, str]] = json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vectors(case: dict[str, str]) -> None:
    """Bytes that a second implementation wrote, and the receipts in them."""
    said = {name: bytes.fromhex(text.removeprefix("0x")) for name, text in case.items() if name != "name"}
    run = SignedRun.decode(said["payload"])
    assert run.encode() == said["payload"]
    for name in ("nonce", "source", "inputs", "outputs", "policy", "evidence"):
        assert getattr(run, name) == said[name]
    assert run.certificate.digest() == said["certificate_digest"]
    receipt = run.receipt(said["claim"])
    assert receipt.key_id == said["key_id"]
    verify_receipt(receipt, run.signature, run.certificate)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str) -> None:
    data = honest(kind).payload
    run = SignedRun.decode(data)
    assert run.encode() == data
    assert identity_of(run) == model().commitment == run.certificate.model
    assert read_policy(run.policy) == matching_policy(kind)


def test_layout() -> None:
    data, run = honest().payload, decoded(honest())
    certificate = run.certificate
    assert data[0] == certificate.algorithm == 1
    assert data[1:65] == certificate.public_key
    assert data[65:97] == certificate.model
    assert data[97:129] == certificate.policy_id
    assert struct.unpack(">QQ", data[129:145]) == (certificate.epoch, certificate.not_after)
    assert data[145:177] == run.nonce
    assert struct.unpack(">QQ", data[177:193]) == (run.sequence, run.issued_at)
    assert data[193:257] == run.signature
    assert data[257:289] == run.source
    rest = b"".join(struct.pack(">I", len(part)) + part for part in (run.inputs, run.outputs, run.policy, run.evidence))
    assert data[HEAD:] == rest


def test_every_cut_is_malformed() -> None:
    data = honest("nitro").payload
    run = decoded(honest("nitro"))
    ends = len(data) - len(run.evidence)
    for size in [*range(ends + 8), len(data) - 1]:
        with pytest.raises(MalformedProof):
            SignedRun.decode(data[:size])
    with pytest.raises(MalformedProof, match="signed run"):
        SignedRun.decode(data + b"\0")


@pytest.mark.parametrize("algorithm", [0, 3, 255])
def test_unknown_algorithms(algorithm: int) -> None:
    with pytest.raises(MalformedProof, match="signed run"):
        SignedRun.decode(bytes([algorithm]) + honest().payload[1:])


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": b""},
        {"nonce": bytes(33)},
        {"signature": bytes(65)},
        {"source": bytes(31)},
        {"sequence": 1 << 64},
        {"sequence": -1},
        {"issued_at": 1 << 64},
        {"issued_at": -1},
    ],
)
def test_fields_of_another_size(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"nonce|64 bits"):
        replace(decoded(honest()), **change)


def test_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = honest().payload
    monkeypatch.setitem(payload._LIMITS, "evidence", 100)
    with pytest.raises(MalformedProof, match="at most 100"):
        SignedRun.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"version":2}',
        b'{"version":1 }',
        b'{"nitro":{"measurements":[]},"version":1}',  # a default, spelled out
        b'{"max_age_s":-1,"version":1}',
        b'{"other":1,"version":1}',
        b"[" * 100_000,
        b"version: 1",
    ],
)
def test_policies_of_another_form(data: bytes) -> None:
    with pytest.raises(MalformedProof, match=r"policy|canonical|JSON|deep|UTF"):
        read_policy(data)


@pytest.mark.parametrize("data", [b"[]", b"1", b"null"])
def test_policies_are_objects(data: bytes) -> None:
    with pytest.raises(MalformedProof, match="is no object"):
        read_policy(data)


def test_policies_have_one_spelling() -> None:
    data = matching_policy("tdx").canonical()
    assert read_policy(data).policy_id == matching_policy("tdx").policy_id
    for other in (json.dumps(json.loads(data)).encode(), data + b"\n", data.replace(b'"version":1', b'"version":1.0')):
        with pytest.raises(MalformedProof):
            read_policy(other)
