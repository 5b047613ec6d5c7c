"""Every corruption of genuine quotes that the vectors list gives its code."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.tee.genuine import VENDORS, dcap_collateral, dcap_evidence, negatives, require, time_of, vector
from vml.errors import VerificationError
from vml.tee import Evidence, verify_evidence
from vml.tee.reasons import code_of

require()

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNATURE = 636
DAY = 86_400


def flipped(data: bytes, offset: int, mask: int = 1) -> bytes:
    return data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]


def twin(data: bytes) -> bytes:
    s = int.from_bytes(data[SIGNATURE + 32 : SIGNATURE + 64], "big")
    return data[: SIGNATURE + 32] + (P256_ORDER - s).to_bytes(32, "big") + data[SIGNATURE + 64 :]


def signed_by_an_attacker(data: bytes) -> bytes:
    """Another MRTD and another attestation key, which signed it; the report of the quoting enclave stays."""
    key = ec.derive_private_key(7, ec.SECP256R1())
    body = flipped(data[: SIGNATURE - 4], 184)
    r, s = decode_dss_signature(key.sign(body, ec.ECDSA(SHA256(), deterministic_signing=True)))
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return body + data[SIGNATURE - 4 : SIGNATURE] + signature + point + data[SIGNATURE + 128 :]


def with_collateral(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, collateral=replace(evidence.collateral, **changes))


def other_collateral(evidence: Evidence) -> Evidence:
    sgx = dcap_collateral(vector("sgx-v3-hello"))
    names = [name for name in sgx.__slots__ if name.startswith(("tcb_info", "qe_identity"))]
    return with_collateral(evidence, **{name: getattr(sgx, name) for name in names})


def window(item: dict[str, Any], end: int) -> int:
    return int(datetime.fromisoformat(item["valid_window"][end]).timestamp())


# Corruptions that are more than a bit of the quote: what becomes of the evidence.
OF_EVIDENCE: dict[str, Callable[[Evidence], Evidence]] = {
    "trailing zero pad removed": lambda e: replace(e, data=e.data.rstrip(b"\x00") + b"\x00"),
    "append 1 byte": lambda e: replace(e, data=e.data + b"\x01"),
    "truncate 1 byte after strip": lambda e: replace(e, data=e.data.rstrip(b"\x00")[:-1]),
    "empty": lambda e: replace(e, data=b""),
    "quote signature s -> n-s (malleable twin)": lambda e: replace(e, data=twin(e.data)),
    "attacker replaces body and AK, re-signs (QE report kept)": lambda e: replace(
        e, data=signed_by_an_attacker(e.data)
    ),
    "tcb_info_signature flip": lambda e: with_collateral(
        e,
        tcb_info_signature=flipped(e.collateral.tcb_info_signature, 5),
    ),
    "qe_identity changed": lambda e: with_collateral(
        e,
        qe_identity=e.collateral.qe_identity.replace(b"UpToDate", b"OutOfDate"),
    ),
    "SGX tcb_info+QE for TDX quote": other_collateral,
    "root crl flip": lambda e: with_collateral(e, root_crl=flipped(e.collateral.root_crl, 60)),
    "missing root_ca_crl (empty)": lambda e: with_collateral(e, root_crl=b""),
}
OF_TIME: dict[str, Callable[[dict[str, Any]], int]] = {
    "time = window end + 1 day": lambda item: window(item, 1) + DAY,
    "time = window start - 1 day": lambda item: window(item, 0) - DAY,
}


def corrupted(row: dict[str, Any]) -> tuple[Evidence, int]:
    """The evidence of a row, and the time to verify it at."""
    item = vector(row["base"])
    evidence, at, name = dcap_evidence(item), time_of(item), row["mutation"]
    if name in OF_TIME:
        return evidence, OF_TIME[name](item)
    if name in OF_EVIDENCE:
        return OF_EVIDENCE[name](evidence), at
    mask = re.search(r"\^0x([0-9a-f]{2})$", name)
    return replace(evidence, data=flipped(evidence.data, row["offset"], int(mask[1], 16) if mask else 1)), at


ROWS = negatives("sgx", "tdx")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['base']}: {row['mutation']}")
def test_a_corruption_gives_its_code(row: dict[str, Any]) -> None:
    expected = row["expected"].split()[0].rstrip(",")
    evidence, at = corrupted(row)
    original = dcap_evidence(vector(row["base"]))
    assert (evidence, at) != (original, time_of(vector(row["base"])))
    if expected == "ACCEPT":
        found = verify_evidence(evidence, VENDORS, at)
        assert found.evidence_id == verify_evidence(original, VENDORS, at).evidence_id
        return
    with pytest.raises(VerificationError) as refused:
        verify_evidence(evidence, VENDORS, at)
    assert code_of(refused.value) == expected


def test_no_corruption_is_left_without_a_meaning() -> None:
    """A row that is no bit of the quote has an entry above, and no entry has lost its row."""
    named = {row["mutation"] for row in ROWS if row["offset"] is None} | {"empty", "append 1 byte"}
    known = set(OF_EVIDENCE) | set(OF_TIME)
    assert named <= known
    assert known <= {row["mutation"] for row in ROWS}
