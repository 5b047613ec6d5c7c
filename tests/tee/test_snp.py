"""Genuine SEV-SNP reports: each gives exactly the verdict and the fields its manifest states, corrupted ones a code."""

from __future__ import annotations

import re
import ssl
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.tee.genuine import VENDORS, negatives, read, require, vector, vectors
from vml.errors import EvidenceRejected, VerificationError
from vml.tee import Evidence, Family, Kind, Reason, SnpClaims, SnpCollateral, verify_evidence
from vml.tee.reasons import code_of
from vml.tee.snp.endorsement import read_endorsement
from vml.tee.snp.report import Report, read_report
from vml.tee.x509 import check_chain, load_certificate, load_chain

require()

REPORTS = vectors("snp")
CERTIFICATES = vectors("snp-cert")
ROWS = negatives("snp")
# The chain of a vector that brings none of its own.
CHAINS = {"snp-milan-dstack-v3": "roots/amd_milan.ask_ark.pem"}

every_report = pytest.mark.parametrize("item", REPORTS, ids=lambda item: item["id"])


def file_of(item: dict[str, Any], end: str) -> str:
    return next(file["path"] for file in item["files"] if end in file["path"])


def der(data: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(data.decode()) if data.startswith(b"-----") else data


def evidence_of(item: dict[str, Any]) -> Evidence:
    """The vector's report and certificate, with AMD's two above it."""
    chain = CHAINS.get(item["id"]) or file_of(item, "_ark.pem")
    key = file_of(item, ".vlek." if item["fields"]["signing_key"] == "VLEK" else ".vcek.")
    return Evidence(Kind.SNP, read(file_of(item, ".report.bin")), SnpCollateral(der(read(key)), read(chain)))


def window_of(item: dict[str, Any]) -> tuple[int, int]:
    first, last = (int(datetime.fromisoformat(text).timestamp()) for text in item["verify_at"]["vek_valid"])
    return first, last


def verify(item: dict[str, Any], at: int | None = None) -> SnpClaims:
    found = verify_evidence(evidence_of(item), VENDORS, window_of(item)[0] if at is None else at)
    assert isinstance(found, SnpClaims)
    return found


def tcb(raw: bytes) -> dict[str, Any]:
    """A TCB as the manifest writes it (Milan and Genoa)."""
    return {"bl": raw[0], "tee": raw[1], "snp": raw[6], "ucode": raw[7], "raw": raw.hex()}


def fields_of(report: Report) -> dict[str, Any]:
    """The fields the manifest lists, as it writes them."""
    return {
        "version": report.version,
        "policy": hex(report.policy),
        "debug": bool(report.policy >> 19 & 1),
        "vmpl": report.vmpl,
        "signing_key": report.signing_key,
        "platform_info": hex(report.platform_info),
        "cpuid": None if report.processor is None else bytes(report.processor).hex(),
        "report_data": report.report_data.hex(),
        "measurement": report.measurement.hex(),
        "host_data": report.host_data.hex(),
        "id_key_digest": report.id_key_digest.hex(),
        "chip_id": report.chip_id.hex(),
        "reported_tcb": tcb(report.reported_tcb),
        "committed_tcb": tcb(report.committed_tcb),
        "launch_tcb": tcb(report.launch_tcb),
        "current_tcb": tcb(report.current_tcb),
    }


@every_report
def test_fields_are_the_manifests(item: dict[str, Any]) -> None:
    assert fields_of(read_report(evidence_of(item).data)) == item["fields"]


@every_report
def test_the_verdict_is_the_manifests(item: dict[str, Any]) -> None:
    fields = item["fields"]
    assert item["expected"]["crypto"] == "pass"
    found = verify(item)
    assert found.product.lower() in item["id"]
    assert (found.version, found.vmpl, found.signing_key) == tuple(
        fields[n] for n in ("version", "vmpl", "signing_key")
    )
    assert (hex(found.policy), hex(found.platform_info)) == (fields["policy"], fields["platform_info"])
    assert found.debug == fields["debug"]
    assert found.report_data.hex() == fields["report_data"]
    measured = {name: value.hex() for name, value in found.measurements.items()}
    assert {name: measured[name] for name in measured if name in fields} == {
        name: fields[name] for name in ("measurement", "host_data", "id_key_digest")
    }
    assert found.platform_id == (None if fields["signing_key"] == "VLEK" else bytes.fromhex(fields["chip_id"]))
    for name, claimed in (
        ("reported_tcb", found.tcb),
        ("committed_tcb", found.committed_tcb),
        ("launch_tcb", found.launch_tcb),
        ("current_tcb", found.current_tcb),
    ):
        parts = (claimed.boot_loader, claimed.tee, claimed.snp, claimed.microcode)
        assert parts == tuple(fields[name][part] for part in ("bl", "tee", "snp", "ucode"))
        assert claimed.fmc is None
    assert not found.simulated


@every_report
def test_it_verifies_as_long_as_its_key_is_valid(item: dict[str, Any]) -> None:
    first, last = window_of(item)
    key = item["fields"]["signing_key"]
    for at in (first, last):
        found = verify(item, at)
        assert (found.not_after, found.limited_by) == (last, key.lower())
        assert (found.window.not_before, found.window.opened_by) == (first, key.lower())
    for at, reason in ((first - 1, Reason.CERTIFICATE_NOT_YET_VALID), (last + 1, Reason[f"{key}_EXPIRED"])):
        with pytest.raises(EvidenceRejected) as refused:
            verify(item, at)
        assert refused.value.reason == reason


@every_report
def test_every_bit_is_signed_or_zero(item: dict[str, Any]) -> None:
    """Any one bit of a report changed is refused; the first of the signature's twins is not reachable by one bit."""
    evidence, (first, _) = evidence_of(item), window_of(item)
    for at in range(0, len(evidence.data), 3):
        altered = evidence.data[:at] + bytes([evidence.data[at] ^ 1 << at % 8]) + evidence.data[at + 1 :]
        with pytest.raises(VerificationError) as refused:
            verify_evidence(replace(evidence, data=altered), VENDORS, first)
        assert code_of(refused.value) in (Reason.MALFORMED, Reason.REPORT_SIGNATURE)


@every_report
def test_certificates_of_others_do_not_fit(item: dict[str, Any]) -> None:
    evidence, collateral = evidence_of(item), evidence_of(item).collateral
    for other in REPORTS:
        if other["id"] == item["id"]:
            continue
        foreign = evidence_of(other).collateral
        at = max(window_of(item)[0], window_of(other)[0])
        with pytest.raises(EvidenceRejected):
            verify_evidence(replace(evidence, collateral=foreign), VENDORS, at)
        assert isinstance(foreign, SnpCollateral)
        assert isinstance(collateral, SnpCollateral)
        mixed = replace(collateral, chain=foreign.chain)
        if mixed != collateral:
            with pytest.raises(EvidenceRejected) as refused:
                verify_evidence(replace(evidence, collateral=mixed), VENDORS, at)
            assert refused.value.reason == Reason.VEK_CHAIN


@pytest.mark.parametrize("item", CERTIFICATES, ids=lambda item: item["id"])
def test_a_certificate_without_a_report(item: dict[str, Any]) -> None:
    """Turin: the chain passes and its chip and TCB are read, as the manifest expects; no report is public."""
    assert item["expected"] == {"chain": "pass"}
    key = load_certificate(read(file_of(item, ".vcek.")))
    chain = check_chain(
        (key, *load_chain(read(file_of(item, "_ark.pem")))), VENDORS, [Family.AMD_TURIN], Reason.VEK_CHAIN
    )
    endorsed = read_endorsement(chain.leaf)
    assert (endorsed.product, endorsed.signing_key, endorsed.tcb) == ("Turin", "VCEK", bytes([0] * 7 + [9]))
    assert endorsed.chip_id is not None
    assert len(endorsed.chip_id) == 8


def corrupted(row: dict[str, Any]) -> tuple[Evidence, int]:
    """The evidence of a row, and the time to verify it at."""
    item = vector(row["base"])
    evidence, (at, _) = evidence_of(item), window_of(item)
    moment = re.fullmatch(r"time=(\d{4}-\d\d-\d\d)", row["mutation"])
    if moment:
        return evidence, int(datetime.fromisoformat(moment[1] + "T00:00:00+00:00").timestamp())
    if row["offset"] is None:
        assert row["mutation"] == "use trustee.vcek.der"
        other = vector("snp-milan-dstack-v3")
        return replace(evidence, collateral=evidence_of(other).collateral), window_of(other)[0]
    offset, mask = row["offset"], 8 if "debug" in row["mutation"] else 1
    return replace(
        evidence, data=evidence.data[:offset] + bytes([evidence.data[offset] ^ mask]) + evidence.data[offset + 1 :]
    ), at


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['base']}: {row['mutation']}")
def test_a_corruption_gives_its_code(row: dict[str, Any]) -> None:
    expected = re.findall(r"[A-Z_]{5,}", row["expected"].partition("(")[0])
    evidence, at = corrupted(row)
    with pytest.raises(VerificationError) as refused:
        verify_evidence(evidence, VENDORS, at)
    assert code_of(refused.value) in expected
    assert expected


def test_every_report_has_an_identity_of_its_own() -> None:
    ids = [read_report(evidence_of(item).data).evidence_id for item in REPORTS]
    assert len(set(ids)) == len(ids)
