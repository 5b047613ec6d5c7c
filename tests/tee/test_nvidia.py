"""Genuine reports of H100 GPUs: each gives exactly the verdict and the fields its manifest states."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.tee.genuine import VENDORS, negatives, read, require, vector, vectors
from vml.errors import EvidenceRejected, VerificationError
from vml.tee import Evidence, Kind, NvidiaClaims, NvidiaCollateral, Reason, verify_evidence
from vml.tee.nvidia.verify import certified_firmware
from vml.tee.reasons import code_of
from vml.tee.x509 import load_chain

require()

REPORTS = vectors("nvidia-gpu")
RIM_TIME = 1_748_736_000
"""2025-06-01, within the manifests' certificates."""
AFTER = 1_751_328_000
"""2025-07-01, after them."""
TEXTS = {"CHIP_SKU", "PROJECT", "PROJECT_SKU", "DRIVER_VERSION"}
NOT_LISTED = {"MSRSCNT"}

every_report = pytest.mark.parametrize("item", REPORTS, ids=lambda item: item["id"])


def paths(item: dict[str, Any]) -> dict[str, str]:
    return {file["path"].rpartition(".")[0].partition(".")[2]: file["path"] for file in item["files"]}


def evidence_of(item: dict[str, Any], rims: dict[str, Any] | None = None) -> Evidence:
    """A report with its chain, and with the manifests that came with `rims` (its own where there are any)."""
    found, manifests = paths(item), paths(rims or item)
    named = {name: read(manifests[name]) for name in ("driver_rim", "vbios_rim") if name in manifests}
    data = bytes.fromhex(read(found["report"]).decode().strip())
    return Evidence(Kind.NVIDIA, data, NvidiaCollateral(read(found["certchain"]), **named))


def verify(item: dict[str, Any]) -> NvidiaClaims:
    found = verify_evidence(evidence_of(item), VENDORS, RIM_TIME)
    assert isinstance(found, NvidiaClaims)
    return found


@every_report
def test_the_fields(item: dict[str, Any]) -> None:
    found, fields = verify(item), item["fields"]
    written = {
        name: data.rstrip(b"\x00").decode() if name in TEXTS else data.hex()
        for name, data in found.opaque.items()
        if name not in NOT_LISTED
    }
    assert written == fields["opaque"]
    assert found.nonce is not None
    assert found.nonce.hex() == fields["nonce"]
    assert len(found.blocks) == fields["measurement_blocks"]
    assert found.driver_version == fields["opaque"]["DRIVER_VERSION"]
    assert fields["trailing"] == 0
    assert (found.fwid.hex() if found.fwid else None) == fields["opaque"].get("FWID")


@every_report
def test_the_verdict(item: dict[str, Any]) -> None:
    expected, found = item["expected"], verify(item)
    assert expected["crypto"] == "pass"
    stated = re.match(r"(\d+)/(\d+) match", expected["rim"])
    assert found.matched == (int(stated[1]) if stated else None)
    assert stated is None or stated[1] == stated[2]
    assert found.debug == (stated is None)
    assert not found.simulated
    assert found.product == "GH100"


def test_the_window_is_the_manifests() -> None:
    item = vector("nvidia-h100-545")
    window = verify(item).window
    assert (window.opened_by, window.closed_by) == ("driver_rim", "vbios_rim")
    for at, reason in (
        (window.not_before - 1, Reason.CERTIFICATE_NOT_YET_VALID),
        (window.not_after + 1, Reason.RIM_CERT_EXPIRED),
    ):
        verify_evidence(evidence_of(item), VENDORS, at + (1 if reason != Reason.RIM_CERT_EXPIRED else -1))
        with pytest.raises(EvidenceRejected) as refused:
            verify_evidence(evidence_of(item), VENDORS, at)
        assert refused.value.reason == reason


@every_report
def test_certificates_name_the_firmware(item: dict[str, Any]) -> None:
    """The older report does not repeat what its certificate says; the newer one does."""
    leaf = load_chain(read(paths(item)["certchain"]))[0]
    firmware = certified_firmware(leaf)
    assert firmware is not None
    assert verify(item).fwid in (None, firmware)


def test_published_claims_of_the_same_report() -> None:
    """Another verifier's reading of the newer report: versions and every measurement."""
    item = vector("nvidia-h100-550")
    published = json.loads(read(paths(item)["trustee_expected_claims"]))
    found = verify(item)
    assert {str(index): digest.hex() for index, digest in found.blocks.items()} == published["measurements"]
    assert found.vbios_version.lower() == published["config"]["vbios_version"]
    assert found.driver_version == published["config"]["driver_version"]


def flipped(evidence: Evidence, at: int) -> Evidence:
    data = bytearray(evidence.data)
    data[at] ^= 1
    return replace(evidence, data=bytes(data))


def corrupted(row: dict[str, Any]) -> tuple[Evidence, int]:
    """The evidence of a row, and the time to verify it at."""
    evidence = evidence_of(vector(row["base"]))
    match row["mutation"]:
        case "SPDM request nonce (offset 4)":
            return flipped(evidence, 4), RIM_TIME
        case "measurement 1 digest (52)":
            return flipped(evidence, 52), RIM_TIME
        case "opaque byte":
            fwid = bytes.fromhex(vector(row["base"])["fields"]["opaque"]["FWID"])
            return flipped(evidence, evidence.data.index(fwid)), RIM_TIME
        case "report 550 against 545 RIMs":
            return evidence_of(vector("nvidia-h100-550"), vector(row["base"])), RIM_TIME
        case "RIM time 2025-07-01":
            return evidence, AFTER
    raise AssertionError(f"nothing is known of {row['mutation']}")


@pytest.mark.parametrize("row", negatives("nvidia-gpu"), ids=lambda row: f"{row['base']}: {row['mutation']}")
def test_a_corruption_gives_its_code(row: dict[str, Any]) -> None:
    evidence, at = corrupted(row)
    expected, counted = row["expected"].split()[0], re.search(r"\((\d+ of \d+)\)", row["expected"])
    with pytest.raises(VerificationError, match=counted[1] if counted else None) as refused:
        verify_evidence(evidence, VENDORS, at)
    assert code_of(refused.value) == expected


def test_a_report_and_the_chain_of_another_device() -> None:
    one, other = (evidence_of(item) for item in REPORTS)
    with pytest.raises(EvidenceRejected) as refused:
        verify_evidence(replace(one, collateral=other.collateral), VENDORS, RIM_TIME)
    assert refused.value.reason == Reason.SPDM_SIGNATURE
