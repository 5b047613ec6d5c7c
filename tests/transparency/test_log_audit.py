"""Auditing: an entry stands where the log says, a log only grew; everything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml import canonical
from vml.claim import Claim
from vml.errors import LogRejected, MalformedProof, VerificationError
from vml.keccak import keccak256
from vml.transparency import tree
from vml.transparency.audit import Entry, Evidence, audit_entry, audit_growth, context_of
from vml.transparency.checkpoint import Checkpoint, LogProof
from vml.transparency.note import NoteSigner

SIGNER = NoteSigner("log.example/vml", bytes(range(32)))
KEY = SIGNER.verifier
CASE = context_of("case 4711")
RECEIPT = {"epoch": 1, "signature": "0x00"}


def claim_of(number: int, context: bytes = CASE) -> Claim:
    return Claim(b"\x01" * 32, number.to_bytes(32, "big"), b"\x03" * 32, context)


def entry_of(number: int, **changes: Any) -> bytes:
    fields = {
        "claim": claim_of(number).to_json(),
        "created_at": 1_700_000_000 + number,
        "model_name": "digits",
        "receipt": RECEIPT,
        "semantics": "vml-int/1",
    }
    return canonical.encode({**fields, **changes})


class Log:
    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.nodes = tree.grown(0, {}, [tree.leaf_hash(entry) for entry in entries])

    def note(self, size: int) -> bytes:
        root = tree.fold([self.nodes[node] for node in tree.full_ranges(0, size)])
        return Checkpoint(SIGNER.name, size, root).sign(SIGNER)

    def evidence(self, index: int) -> Evidence:
        size = len(self.entries)
        hashes = tuple(tree.joined(tree.inclusion_ranges(index, size), self.nodes))
        return Evidence(self.entries[index], LogProof(index, hashes, self.note(size)).encode())

    def consistency(self, first: int, second: int) -> list[bytes]:
        return tree.joined(tree.consistency_ranges(first, second), self.nodes)


LOG = Log([entry_of(number) for number in range(7)])


def test_which_model_decided_and_when() -> None:
    found = audit_entry(LOG.evidence(3), KEY, digest=claim_of(3).digest())
    assert found.entry == Entry(claim_of(3), 1_700_000_003, "digits", "vml-int/1", canonical.encode(RECEIPT))
    assert (found.index, found.checkpoint.size) == (3, 7)
    assert audit_entry(LOG.evidence(3), KEY, context=CASE) == found
    assert audit_entry(LOG.evidence(3), KEY, digest=claim_of(3).digest(), context=CASE) == found


def test_the_context_of_a_case() -> None:
    assert context_of("case 4711") == keccak256(b"vml/serve-nonce/v1case 4711")


def test_another_claim_than_the_one_in_question() -> None:
    with pytest.raises(LogRejected, match="another_claim"):
        audit_entry(LOG.evidence(3), KEY, digest=claim_of(4).digest())
    with pytest.raises(LogRejected, match="another_claim"):
        audit_entry(LOG.evidence(3), KEY, context=context_of("case 4712"))
    with pytest.raises(ValueError, match="which decision"):
        audit_entry(LOG.evidence(3), KEY)


def test_another_key_another_entry_another_place() -> None:
    good = LOG.evidence(3)
    stranger = NoteSigner(SIGNER.name, bytes(32))
    digest = claim_of(3).digest()
    with pytest.raises(LogRejected, match="signature"):
        audit_entry(good, stranger.verifier, digest=digest)
    proof = LogProof.decode(good.log_proof)
    forged = Checkpoint(SIGNER.name, 7, bytes(32)).sign(stranger)
    with pytest.raises(LogRejected, match="signature"):
        audit_entry(replace(good, log_proof=replace(proof, note=forged).encode()), KEY, digest=digest)
    elsewhere = SIGNER.sign(Checkpoint("another.example", 7, bytes(32)).text())
    with pytest.raises(LogRejected, match="origin"):
        audit_entry(replace(good, log_proof=replace(proof, note=elsewhere).encode()), KEY, digest=digest)
    with pytest.raises(LogRejected, match="inclusion"):
        audit_entry(replace(good, entry=entry_of(3, model_name="letters")), KEY, digest=digest)
    for index in (0, 2, 4, 7):
        moved = replace(LogProof.decode(good.log_proof), index=index)
        with pytest.raises(LogRejected, match="inclusion"):
            audit_entry(replace(good, log_proof=moved.encode()), KEY, digest=digest)


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1},
        {"created_at": "1"},
        {"created_at": True},
        {"created_at": -1},
        {"created_at": 253402300800},
        {"model_name": "digits\nproof  sumcheck, cryptographic"},
        {"semantics": "vml-int/1\nproof  sumcheck, cryptographic"},
        {"semantics": "\x1b[2K"},
        {"model_name": ""},
        {"model_name": 5},
        {"semantics": None},
        {"model_name": "x" * 256},
        {"receipt": []},
        {"receipt": "x"},
        {"claim": {}},
        {"claim": {**claim_of(0).to_json(), "model": "0x" + "AA" * 32}},
    ],
)
def test_entries_of_another_form(changes: dict[str, Any]) -> None:
    log = Log([entry_of(0, **changes)])
    with pytest.raises(MalformedProof):
        audit_entry(log.evidence(0), KEY, context=CASE)


def test_an_entry_in_another_spelling() -> None:
    for data in (
        entry_of(0) + b" ",
        b"{}",
        b"[]",
        b"5",
        entry_of(0).replace(b'"receipt":', b'"receipt":null,"receipt":'),
    ):
        with pytest.raises(MalformedProof):
            audit_entry(Log([data]).evidence(0), KEY, context=CASE)


def test_lone_surrogates_are_no_text() -> None:
    data = entry_of(0, model_name="x").replace(b'"x"', rb'"\ud800"')
    with pytest.raises(MalformedProof):
        audit_entry(Log([data]).evidence(0), KEY, context=CASE)


def test_an_entry_without_a_receipt() -> None:
    assert audit_entry(Log([entry_of(0, receipt=None)]).evidence(0), KEY, context=CASE).entry.receipt == b""


def test_evidence_is_kept_and_read_again() -> None:
    made = replace(LOG.evidence(2), envelope=b"a proof", certificates=(b"c",), revocations=(b"r", b"s"))
    assert Evidence.from_bytes(made.to_bytes()) == made
    assert Evidence.from_bytes(LOG.evidence(2).to_bytes()) == LOG.evidence(2)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "vml-log-evidence/2"},
        {"more": 1},
        {"log_proof": 5},
        {"entry": None},
        {"entry": "*"},
        {"entry": "AB=="},
        {"envelope": 5},
        {"certificates": 5},
        {"certificates": [5]},
        {"revocations": ["AAAA"] * 65},
    ],
)
def test_evidence_of_another_form(changes: dict[str, Any]) -> None:
    value = json.loads(LOG.evidence(2).to_bytes())
    with pytest.raises(MalformedProof):
        Evidence.from_bytes(canonical.encode({**value, **changes}))


@given(st.binary(max_size=100))
def test_any_bytes_raise_the_documented_errors(data: bytes) -> None:
    with pytest.raises(MalformedProof):
        Evidence.from_bytes(data)
    with pytest.raises(VerificationError):
        audit_entry(replace(LOG.evidence(0), log_proof=data), KEY, context=CASE)


def test_a_log_that_only_grew() -> None:
    with pytest.raises(MalformedProof):
        Evidence.from_bytes(b"5")
    for first in range(8):
        before, after = audit_growth(LOG.note(first), LOG.note(7), LOG.consistency(first, 7), KEY)
        assert (before.size, after.size) == (first, 7)


def test_a_log_that_was_rewritten_shortened_or_split() -> None:
    rewritten = Log([*LOG.entries[:2], entry_of(99), *LOG.entries[3:]])
    with pytest.raises(LogRejected, match="others than before"):
        audit_growth(LOG.note(5), rewritten.note(7), rewritten.consistency(5, 7), KEY)
    with pytest.raises(LogRejected, match="shrank"):
        audit_growth(LOG.note(7), LOG.note(5), [], KEY)
    with pytest.raises(LogRejected, match="split view"):
        audit_growth(LOG.note(7), rewritten.note(7), [], KEY)
    stranger = NoteSigner(SIGNER.name, bytes(32))
    forged = Checkpoint(SIGNER.name, 0, tree.EMPTY_ROOT).sign(stranger)
    for earlier, later in ((forged, LOG.note(7)), (LOG.note(0), forged)):
        with pytest.raises(LogRejected, match="signature"):
            audit_growth(earlier, later, [], KEY)
