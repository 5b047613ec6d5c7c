"""Genuine evidence of Azure's confidential VMs: verdicts and fields as the manifest states them."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.tee.genuine import VENDORS, dcap_collateral, negatives, read, require, time_of, vector, vectors
from vml.errors import EvidenceRejected, VerificationError
from vml.tee import (
    AzureClaims,
    AzureCollateral,
    Evidence,
    Kind,
    Reason,
    SnpClaims,
    SnpCollateral,
    TdxClaims,
    verify_evidence,
)
from vml.tee.azure.evidence import read_vtpm_evidence
from vml.tee.azure.hcl import read_hcl
from vml.tee.reasons import code_of
from vml.tee.verified import TcbStatus

require()

QUOTES = vectors("azure-vtpm")
GENOA = {"id": "azure-snp-vtpm-genoa", "files": [vector("snp-genoa-azure-hcl")["files"][2]]}
"""The manifest lists this evidence with the SNP report that was taken out of it."""
MILAN_CHAIN, GENOA_CHAIN = "roots/amd_milan.ask_ark.pem", "roots/amd_genoa.ask_ark.pem"

every_quote = pytest.mark.parametrize("item", [*QUOTES, GENOA], ids=lambda item: item["id"])


def data_of(item: dict[str, Any]) -> bytes:
    return read(item["files"][0]["path"])


def evidence_of(item: dict[str, Any]) -> Evidence:
    """With the collateral of the hardware: AMD's chain, or what Intel says of the TD quote's platform."""
    data = data_of(item)
    vek = read_vtpm_evidence(data).vek
    if vek is None:
        return Evidence(Kind.AZURE, data, AzureCollateral(dcap_collateral(vector("tdx-v4-azure"))))
    chain = read(GENOA_CHAIN if "genoa" in item["id"] else MILAN_CHAIN)
    return Evidence(Kind.AZURE, data, AzureCollateral(SnpCollateral(vek, chain)))


def moment(item: dict[str, Any]) -> int:
    """The manifest gives no times: Intel's collateral's, or a year in which all three VCEKs are valid."""
    if "tdx" in item["id"]:
        return time_of(vector("tdx-v4-azure"))
    return int(datetime.fromisoformat("2026-01-01T00:00:00+00:00").timestamp())


def verify(item: dict[str, Any]) -> AzureClaims:
    found = verify_evidence(evidence_of(item), VENDORS, moment(item))
    assert isinstance(found, AzureClaims)
    return found


@every_quote
def test_the_verdict_is_the_manifests(item: dict[str, Any]) -> None:
    assert item.get("expected", {"crypto": "pass"}) == {"crypto": "pass"}
    found = verify(item)
    runtime = read_hcl(read_vtpm_evidence(data_of(item)).hcl_report).runtime
    assert found.report_data == hashlib.sha256(runtime).digest() + bytes(32)
    assert found.vm_configuration == json.loads(runtime)["vm-configuration"]
    assert found.runtime_user_data == bytes.fromhex(json.loads(runtime)["user-data"])
    assert found.vm_configuration["secure-boot"] is True
    assert sorted(found.pcrs) == list(range(24))
    assert found.platform_id
    assert not found.debug
    assert not found.simulated


def test_nonces_are_the_manifests() -> None:
    stated = {item["id"]: item["fields"]["tpm_extraData"] for item in QUOTES if "fields" in item}
    assert stated == {
        "azure-snp-vtpm-v0": 'b"challenge"',
        "azure-snp-vtpm-v2": "binary 50 bytes (hash-prefixed nonce)",
    }
    found = {item["id"]: verify(item).nonce for item in QUOTES}
    assert found["azure-snp-vtpm-v0"] == b"challenge"
    nonce = found["azure-snp-vtpm-v2"]
    assert nonce is not None
    # 48 bytes (a SHA-384 digest); the manifest counts two more, the length in front of them.
    assert len(nonce) == 50 - 2
    user_data = verify(vector("azure-snp-vtpm-v2")).runtime_user_data
    assert user_data is not None
    assert user_data[:48] == nonce


def test_the_hardware_inside() -> None:
    genoa = verify(GENOA).hardware
    assert isinstance(genoa, SnpClaims)
    report = read(vector("snp-genoa-azure-hcl")["files"][0]["path"])
    assert read_hcl(read_vtpm_evidence(data_of(GENOA)).hcl_report).hardware == report
    assert (genoa.product, genoa.vmpl, genoa.policy) == ("Genoa", 0, 0x3001F)
    for name in ("azure-snp-vtpm-v0", "azure-snp-vtpm-v2"):
        milan = verify(vector(name)).hardware
        assert isinstance(milan, SnpClaims)
        assert (milan.product, milan.vmpl, milan.signing_key) == ("Milan", 0, "VCEK")
    tdx = verify(vector("azure-tdx-vtpm-v1")).hardware
    assert isinstance(tdx, TdxClaims)
    assert tdx.tcb.status == TcbStatus.OUT_OF_DATE
    assert not tdx.sept_ve_disable
    quote = read_vtpm_evidence(data_of(vector("azure-tdx-vtpm-v1"))).td_quote
    assert quote == read("azure/trustee_az_td-quote.bin")


def test_the_list_of_corruptions_has_none_of_this_kind() -> None:
    """Should one be added, it needs a test; those below are this file's own."""
    assert negatives("azure-vtpm") == []
    assert negatives("snp-cert") == []


@every_quote
def test_a_corruption_gives_its_code(item: dict[str, Any]) -> None:
    evidence = evidence_of(item)
    fields = json.loads(evidence.data)
    old = "quote" in fields
    parts = read_vtpm_evidence(evidence.data)
    hcl = bytearray(parts.hcl_report)
    hcl[1236 + 40] ^= 1
    name = "quote" if old else "tpm_quote"

    def form(data: bytes) -> Any:
        return list(data) if old else data.hex()

    def quote(**values: Any) -> dict[str, Any]:
        return {**fields, name: {**fields[name], **values}}

    bit = bytes([parts.message[60] ^ 1])
    hcl_form: Any = list(hcl) if old else base64.urlsafe_b64encode(hcl).decode()
    pcrs = [form(value) for value in parts.pcrs]
    cases: list[tuple[dict[str, Any], Reason]] = [
        (quote(message=form(parts.message[:60] + bit + parts.message[61:])), Reason.TPM_SIGNATURE),
        (quote(signature=form(parts.signature[:-1] + bytes([parts.signature[-1] ^ 1]))), Reason.TPM_SIGNATURE),
        (quote(pcrs=[pcrs[1], *pcrs[1:]]), Reason.PCR_MISMATCH),
        (quote(message=form(parts.message + b"\x00")), Reason.MALFORMED),
        ({**fields, "report" if old else "hcl_report": hcl_form}, Reason.RUNTIME_DATA_MISMATCH),
    ]
    for changed, reason in cases:
        with pytest.raises(VerificationError) as refused:
            verify_evidence(replace(evidence, data=json.dumps(changed).encode()), VENDORS, moment(item))
        assert code_of(refused.value) == reason


def test_quotes_do_not_go_with_the_runtime_data_of_another() -> None:
    first, other = (json.loads(data_of(vector(name))) for name in ("azure-snp-vtpm-v2", "azure-tdx-vtpm-v1"))
    mixed = json.dumps({**first, "tpm_quote": other["tpm_quote"]}).encode()
    item = vector("azure-snp-vtpm-v2")
    with pytest.raises(EvidenceRejected) as refused:
        verify_evidence(replace(evidence_of(item), data=mixed), VENDORS, moment(item))
    assert refused.value.reason == Reason.TPM_SIGNATURE


def test_every_piece_has_an_identity_of_its_own() -> None:
    ids = [verify(item).evidence_id for item in (*QUOTES, GENOA)]
    assert len(set(ids)) == len(ids)
