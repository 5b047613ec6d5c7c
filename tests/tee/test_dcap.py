"""Genuine quotes of SGX and TDX: each gives exactly the verdict and the fields its manifest states."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.tee.genuine import VENDORS, dcap_evidence, require, time_of, vectors
from tests.tee.two_engines import check_altered
from vml.errors import EvidenceRejected, MalformedProof
from vml.tee import Evidence, Kind, Reason, SgxClaims, TdxClaims, verify_evidence
from vml.tee.dcap.pck import read_platform
from vml.tee.dcap.quote import SgxReport, TdReport, read_quote
from vml.tee.dcap.second import disagreement, second_opinion
from vml.tee.verified import TcbStatus
from vml.tee.x509 import load_chain

require()

QUOTES = vectors("sgx", "tdx")
LIMITS = {"tcb": "tcb_info", "qe": "qe_identity", "pck_crl": "pck_crl"}
NO_LEVEL = "no matching TCB level"

every_quote = pytest.mark.parametrize("item", QUOTES, ids=lambda item: item["id"])


def without_trailer(item: dict[str, Any]) -> Evidence:
    """The evidence, cut where the manifest says that trailing bytes begin."""
    evidence, trailing = dcap_evidence(item), item["fields"]["trailing_bytes"]
    data = evidence.data[: len(evidence.data) - trailing]
    assert not trailing or len(data) + trailing == len(evidence.data)
    return Evidence(evidence.kind, data, evidence.collateral)


def verify(item: dict[str, Any]) -> SgxClaims | TdxClaims:
    found = verify_evidence(without_trailer(item), VENDORS, time_of(item))
    assert isinstance(found, SgxClaims | TdxClaims)
    return found


def body_fields(report: SgxReport | TdReport) -> dict[str, Any]:
    """The fields of a report that the manifest lists, as it writes them."""
    found: dict[str, Any] = {"report_data": report.report_data.hex()}
    if isinstance(report, SgxReport):
        found |= {name: getattr(report, name).hex() for name in ("attributes", "mr_enclave", "mr_signer")}
        return found | {"isv_prod_id": report.isv_prod_id, "isv_svn": report.isv_svn}
    names = ("tee_tcb_svn", "mr_seam", "td_attributes", "xfam", "mr_td", "mr_config_id", "mr_owner")
    return found | {name: getattr(report, name).hex() for name in names} | {"rtmr": [r.hex() for r in report.rtmr]}


@every_quote
def test_the_fields(item: dict[str, Any]) -> None:
    quote = read_quote(without_trailer(item).data)
    certificates = load_chain(quote.pck_chain)
    platform = read_platform(certificates[0])
    issuer = certificates[1].subject.rfc4514_string()
    found = {
        "version": quote.version,
        "attestation_key_type": int.from_bytes(quote.signed[2:4], "little"),
        "tee_type": quote.tee_type,
        "qe_vendor_id": quote.qe_vendor.hex(),
        "fmspc": platform.fmspc.hex().upper(),
        "ca": next(name for name in ("processor", "platform") if name.title() in issuer),
        "ppid": platform.ppid.hex(),
        "trailing_bytes": item["fields"]["trailing_bytes"],
    }
    report = SgxReport.read(quote.body) if item["kind"] == "sgx" else TdReport.read(quote.body)
    assert found | body_fields(report) == item["fields"]


@every_quote
def test_the_verdict(item: dict[str, Any]) -> None:
    expected = item["expected"]
    assert expected["crypto"] == "pass"
    if expected["tcb"] == NO_LEVEL:
        with pytest.raises(EvidenceRejected) as refused:
            verify(item)
        assert refused.value.reason == Reason.TCB_LEVEL_NONE
        assert expected["strict"] == "reject"
        return
    found = verify(item)
    assert found.tcb.status == expected["tcb"]
    assert found.tcb.evaluation_data_number == item["tcb_evaluation_data_number"]
    weak = found.debug or (isinstance(found, TdxClaims) and not found.sept_ve_disable)
    acceptable = found.tcb.status == TcbStatus.UP_TO_DATE and not weak
    assert acceptable == (expected["strict"] == "accept")
    assert found.debug == ("DEBUG" in expected.get("reason", ""))


@every_quote
def test_the_claims(item: dict[str, Any]) -> None:
    if item["expected"]["tcb"] == NO_LEVEL:
        return
    found, fields = verify(item), item["fields"]
    assert found.report_data.hex() == fields["report_data"]
    assert found.platform_id is not None
    assert found.platform_id.hex() == fields["ppid"]
    assert found.tcb.fmspc.hex().upper() == fields["fmspc"]
    assert not found.simulated
    assert found.at == time_of(item)
    expected = {name: fields[name] for name in found.measurements if name in fields}
    if isinstance(found, TdxClaims):
        expected |= {f"rtmr{index}": value for index, value in enumerate(fields["rtmr"])}
        assert found.events is None
        assert (found.mr_service_td is None) == (fields["version"] == 4)
    assert {name: found.measurements[name].hex() for name in expected} == expected
    assert found.bound_digest == found.report_data[:32]
    assert found.nonce == found.report_data[32:]


@every_quote
def test_the_window(item: dict[str, Any]) -> None:
    """It is the manifest's, to the second, and holds at both ends and nowhere beyond."""
    if item["expected"]["tcb"] == NO_LEVEL:
        return
    found = verify(item)
    first, last = (int(datetime.fromisoformat(text).timestamp()) for text in item["valid_window"])
    opened, closed = (LIMITS[name] for name in item["window_limited_by"])
    window = found.window
    assert (window.not_before, window.opened_by) == (first, opened)
    assert (window.not_after, window.closed_by) == (last, closed)
    assert (found.not_after, found.limited_by) == (last, closed)
    evidence = without_trailer(item)
    for at in (first, last):
        verify_evidence(evidence, VENDORS, at)
    for at, reason in ((first - 1, Reason.COLLATERAL_NOT_YET_VALID), (last + 1, Reason.COLLATERAL_EXPIRED)):
        with pytest.raises(EvidenceRejected) as refused:
            verify_evidence(evidence, VENDORS, at)
        assert refused.value.reason == reason


@every_quote
def test_only_zeros_may_follow(item: dict[str, Any]) -> None:
    """One genuine file has a text behind the quote, which is refused; zeros are padding and change nothing."""
    data, cut = dcap_evidence(item).data, without_trailer(item).data
    if any(data[len(cut) :]):
        with pytest.raises(MalformedProof):
            read_quote(data)
    else:
        assert read_quote(data) == read_quote(cut)
    assert read_quote(cut + bytes(3)).evidence_id == read_quote(cut).evidence_id


@every_quote
def test_another_engine_agrees(item: dict[str, Any]) -> None:
    evidence, at = without_trailer(item), time_of(item)
    try:
        found: Any = verify(item)
    except EvidenceRejected as error:
        found = error
    opinion = second_opinion(evidence, at)
    assert disagreement(found, opinion) == ""
    assert isinstance(found, EvidenceRejected) == bool(opinion.error) or opinion.own_policy


@every_quote
def test_another_engine_agrees_on_altered_quotes(item: dict[str, Any]) -> None:
    check_altered(without_trailer(item), VENDORS, time_of(item), None, 40, 5)


def test_every_quote_has_an_identity_of_its_own() -> None:
    ids = [read_quote(without_trailer(item).data).evidence_id for item in QUOTES]
    assert len(set(ids)) == len(ids)
    assert all(len(name) == 32 for name in ids)


def test_the_kind_is_the_callers() -> None:
    """Evidence does not say what it is: a TDX quote handed in as SGX is not looked at further."""
    item = next(item for item in QUOTES if item["kind"] == "tdx")
    evidence = without_trailer(item)
    with pytest.raises(MalformedProof):
        verify_evidence(Evidence(Kind.SGX, evidence.data, evidence.collateral), VENDORS, time_of(item))
