"""Quotes under a root of the tests' own with exactly one thing wrong: each gives its own code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.tee.forge_dcap import (
    ANCHORS,
    DAY,
    FMSPC,
    MODULE,
    NOW,
    PPID,
    ROOT_DER,
    Certificates,
    Forgery,
    crl,
    iso,
    level,
    platform_level,
    raw_point,
    root_of,
    sgx_extension,
)
from vml.errors import EvidenceRejected, MalformedProof, VerificationError
from vml.tee import (
    DcapCollateral,
    Evidence,
    Family,
    Kind,
    Reason,
    SgxClaims,
    TdxClaims,
    TrustAnchors,
    Verified,
    verify_evidence,
)
from vml.tee.anchors import SIMULATOR_OID
from vml.tee.dcap.quote import read_quote
from vml.tee.dcap.second import disagreement, second_opinion
from vml.tee.reasons import code_of
from vml.tee.verified import TcbStatus, TdHistory
from vml.tee.x509 import simulator_root

PAST, FUTURE = (NOW - 50 * DAY, NOW - DAY), (NOW + DAY, NOW + 50 * DAY)
AGAIN = Certificates(serials={"ca": 22, "tcb": 44})
KINDS = {
    "SGX v3": Forgery(tdx=False, version=3),
    "TDX v4": Forgery(),
    "TDX v5, TD 1.0": Forgery(version=5, body_type=2),
    "TDX v5, TD 1.5": Forgery(version=5),
    "TDX v5, TD 1.5 extended": Forgery(version=5, body_type=4),
}


def setting(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda item: item.update(values)


def verify(forgery: Forgery, anchors: TrustAnchors = ANCHORS, at: int = NOW) -> Verified:
    return verify_evidence(forgery.evidence(), anchors, at)


def extension(**changes: Any) -> bytes:
    values = {"svns": (5,) * 16, "pce_svn": 11, "fmspc": FMSPC, "pce_id": bytes(2), "ppid": PPID}
    return sgx_extension(**{**values, **changes})


def newest(status: str) -> Callable[[dict[str, Any]], object]:
    return lambda item: item["tcbLevels"][0].update(tcbStatus=status)


def module(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda item: item["tdxModuleIdentities"][0].update(values)


# One thing wrong each, and its code.
WRONG: dict[str, tuple[Forgery, Reason]] = {
    "another vendor's quoting enclave": (Forgery(header={12: b"\x00"}), Reason.QE_VENDOR),
    # The platform's chain.
    "PCK chain without its root": (Forgery(chains={"pck": ("pck", "ca")}), Reason.PCK_CHAIN),
    "PCK chain out of order": (Forgery(chains={"pck": ("ca", "pck", "root")}), Reason.PCK_CHAIN),
    "PCK chain with one certificate too many": (
        Forgery(chains={"pck": ("pck", "ca", "root", "root")}),
        Reason.PCK_CHAIN,
    ),
    "PCK signed by another": (Forgery(certificates=Certificates(signers={"pck": "tcb"})), Reason.PCK_CHAIN),
    "PCK issuer without the right": (Forgery(certificates=Certificates(authorities=("root",))), Reason.PCK_CHAIN),
    "PCK with rights of an issuer": (
        Forgery(certificates=Certificates(authorities=("root", "ca", "pck"))),
        Reason.PCK_CHAIN,
    ),
    "PCK with an unknown critical extension": (
        Forgery(certificates=Certificates(extensions={"pck": (("1.2.3.4", b"\x05\x00", True),)})),
        Reason.PCK_CHAIN,
    ),
    "PCK expired": (Forgery(certificates=Certificates(valid={"pck": PAST})), Reason.CERTIFICATE_EXPIRED),
    "PCK not valid yet": (Forgery(certificates=Certificates(valid={"pck": FUTURE})), Reason.CERTIFICATE_NOT_YET_VALID),
    "PCK issuer expired": (Forgery(certificates=Certificates(valid={"ca": PAST})), Reason.CERTIFICATE_EXPIRED),
    "root expired": (Forgery(certificates=Certificates(valid={"root": PAST})), Reason.UNTRUSTED_ROOT),
    "PCK without a platform": (Forgery(extension=b"\x30\x00"), Reason.PCK_CHAIN),
    "platform that is no sequence": (Forgery(extension=b"\x31" + extension()[1:]), Reason.PCK_CHAIN),
    "platform cut off": (Forgery(extension=extension()[:-3]), Reason.PCK_CHAIN),
    "platform with a long PPID": (Forgery(extension=extension(ppid=bytes(17))), Reason.PCK_CHAIN),
    "platform with a security version of 256": (Forgery(extension=extension(svns=(256,) * 16)), Reason.PCK_CHAIN),
    # Revocation lists.
    "root's list missing": (Forgery(collateral={"root_crl": b""}), Reason.CRL_INVALID),
    "PCK list missing": (Forgery(collateral={"pck_crl": b""}), Reason.CRL_INVALID),
    "root's list by another": (Forgery(list_signers={"root": "tcb"}), Reason.CRL_INVALID),
    "PCK list by another": (Forgery(list_signers={"ca": "root"}), Reason.CRL_INVALID),
    "root's list in place of the PCK list": (
        Forgery(collateral={"pck_crl": crl("root", (), (NOW - DAY, NOW + DAY))}),
        Reason.CRL_INVALID,
    ),
    "root's list over": (Forgery(lists={"root": PAST}), Reason.COLLATERAL_EXPIRED),
    "root's list of the future": (Forgery(lists={"root": FUTURE}), Reason.COLLATERAL_NOT_YET_VALID),
    "PCK list over": (Forgery(lists={"ca": PAST}), Reason.COLLATERAL_EXPIRED),
    "PCK list of the future": (Forgery(lists={"ca": FUTURE}), Reason.COLLATERAL_NOT_YET_VALID),
    "PCK list's chain of another issuer": (Forgery(chains={"pck_crl": ("tcb", "root")}), Reason.CRL_INVALID),
    "PCK list of another issuer, complete": (
        Forgery(chains={"pck_crl": ("tcb", "root")}, collateral={"pck_crl": crl("tcb", (), (NOW - DAY, NOW + DAY))}),
        Reason.CRL_INVALID,
    ),
    "PCK list's chain cut": (Forgery(chains={"pck_crl": ("ca",)}), Reason.CRL_INVALID),
    "PCK revoked": (Forgery(revoked={"ca": (3,)}), Reason.CERTIFICATE_REVOKED),
    "PCK issuer revoked": (Forgery(revoked={"root": (2,)}), Reason.CERTIFICATE_REVOKED),
    "TCB signer revoked": (Forgery(revoked={"root": (4,)}), Reason.CERTIFICATE_REVOKED),
    # The same keys certified a second time: each certificate counts by itself.
    "PCK issuer revoked, certified again": (
        Forgery(revoked={"root": (2,)}, collateral={"pck_crl_chain": AGAIN.pem("ca", "root")}),
        Reason.CERTIFICATE_REVOKED,
    ),
    "PCK list's issuer revoked": (
        Forgery(revoked={"root": (22,)}, collateral={"pck_crl_chain": AGAIN.pem("ca", "root")}),
        Reason.CERTIFICATE_REVOKED,
    ),
    "PCK list's issuer expired": (
        Forgery(collateral={"pck_crl_chain": Certificates(valid={"ca": PAST}).pem("ca", "root")}),
        Reason.CERTIFICATE_EXPIRED,
    ),
    **{
        f"signer of {part} revoked": (
            Forgery(revoked={"root": (44,)}, collateral={f"{part}_chain": AGAIN.pem("tcb", "root")}),
            Reason.CERTIFICATE_REVOKED,
        )
        for part in ("tcb_info", "qe_identity")
    },
    **{
        f"signer of {part} expired": (
            Forgery(collateral={f"{part}_chain": Certificates(valid={"tcb": PAST}).pem("tcb", "root")}),
            Reason.CERTIFICATE_EXPIRED,
        )
        for part in ("tcb_info", "qe_identity")
    },
    # What Intel says.
    "TCB info missing": (Forgery(collateral={"tcb_info": b""}), Reason.COLLATERAL_MISSING),
    "TCB info without a signature": (Forgery(collateral={"tcb_info_signature": b""}), Reason.COLLATERAL_MISSING),
    "TCB info with a short signature": (
        Forgery(collateral={"tcb_info_signature": bytes(63)}),
        Reason.TCBINFO_SIGNATURE,
    ),
    "TCB info signed by another": (Forgery(signers={"tcb_info": "pck"}), Reason.TCBINFO_SIGNATURE),
    "TCB info with a chain that is none": (Forgery(collateral={"tcb_info_chain": b"-"}), Reason.TCBINFO_CHAIN),
    "TCB info under a platform's chain": (
        Forgery(chains={"tcb_info": ("pck", "ca", "root")}, signers={"tcb_info": "pck"}),
        Reason.TCBINFO_CHAIN,
    ),
    "TCB info under the PCK issuer": (
        Forgery(chains={"tcb_info": ("ca", "root")}, signers={"tcb_info": "ca"}),
        Reason.TCBINFO_CHAIN,
    ),
    "TCB info over": (Forgery(tcb_info=setting(nextUpdate=iso(NOW - 1))), Reason.COLLATERAL_EXPIRED),
    "TCB info of the future": (Forgery(tcb_info=setting(issueDate=iso(NOW + 1))), Reason.COLLATERAL_NOT_YET_VALID),
    "TCB info for SGX": (Forgery(tcb_info=setting(id="SGX")), Reason.MALFORMED),
    "TCB info of version 2": (Forgery(tcb_info=setting(version=2)), Reason.MALFORMED),
    "TCB info of another type": (Forgery(tcb_info=setting(tcbType=1)), Reason.MALFORMED),
    "TCB info without levels": (Forgery(tcb_info=lambda item: item.pop("tcbLevels")), Reason.MALFORMED),
    "TCB info with a status of its own": (Forgery(tcb_info=newest("Fine")), Reason.MALFORMED),
    "TCB info with a status no level has": (Forgery(tcb_info=newest("TDRelaunchAdvised")), Reason.MALFORMED),
    "TCB info with an odd time": (Forgery(tcb_info=setting(issueDate="2026-01-01")), Reason.MALFORMED),
    "TCB info with a 13th month": (Forgery(tcb_info=setting(issueDate="2026-13-01T00:00:00Z")), Reason.MALFORMED),
    "TCB info of another family": (Forgery(tcb_info=setting(fmspc="00906ED50001")), Reason.FMSPC_MISMATCH),
    "TCB info of another PCE": (Forgery(tcb_info=setting(pceId="0001")), Reason.FMSPC_MISMATCH),
    "identity missing": (Forgery(collateral={"qe_identity": b""}), Reason.COLLATERAL_MISSING),
    "identity without a chain": (Forgery(collateral={"qe_identity_chain": b""}), Reason.COLLATERAL_MISSING),
    "identity signed by another": (Forgery(signers={"qe_identity": "root"}), Reason.QEID_SIGNATURE),
    "identity's chain cut": (Forgery(chains={"qe_identity": ("tcb",)}), Reason.QEID_CHAIN),
    "identity over": (Forgery(identity=setting(nextUpdate=iso(NOW - 1))), Reason.COLLATERAL_EXPIRED),
    "identity of the future": (Forgery(identity=setting(issueDate=iso(NOW + 1))), Reason.COLLATERAL_NOT_YET_VALID),
    "identity for SGX": (Forgery(identity=setting(id="QE")), Reason.MALFORMED),
    "identity of version 1": (Forgery(identity=setting(version=1)), Reason.MALFORMED),
    "signer expired": (Forgery(certificates=Certificates(valid={"tcb": PAST})), Reason.CERTIFICATE_EXPIRED),
    # Who signed what.
    "QE report signed by another": (Forgery(signers={"qe": "ca"}), Reason.QE_SIGNATURE),
    "another attestation key": (Forgery(qe={320: bytes(32)}), Reason.AK_BINDING),
    "more than the attestation key": (Forgery(qe={352: b"\x01"}), Reason.AK_BINDING),
    "body signed by another": (Forgery(signers={"quote": "pck"}), Reason.QUOTE_SIGNATURE),
    # The quoting enclave.
    "QE in debug mode": (Forgery(qe={48: b"\x17"}), Reason.QE_IDENTITY_MISMATCH),
    "QE with another MISCSELECT": (Forgery(qe={16: b"\x01"}), Reason.QE_IDENTITY_MISMATCH),
    "QE of another signer": (Forgery(qe={128: b"\x00"}), Reason.QE_IDENTITY_MISMATCH),
    "QE of another product": (Forgery(qe={256: b"\x01"}), Reason.QE_IDENTITY_MISMATCH),
    "QE below every level": (Forgery(qe={258: b"\x01"}), Reason.TCB_LEVEL_NONE),
    "QE revoked": (Forgery(identity=newest("Revoked")), Reason.TCB_REVOKED),
    # The TDX module.
    "module of an unknown version": (Forgery(body={1: b"\x02"}), Reason.TDX_MODULE_MISMATCH),
    "module named twice": (
        Forgery(tcb_info=lambda item: item["tdxModuleIdentities"].append(item["tdxModuleIdentities"][0])),
        Reason.TDX_MODULE_MISMATCH,
    ),
    "module of another signer": (Forgery(body={64: b"\x01"}), Reason.TDX_MODULE_MISMATCH),
    "module with other attributes": (Forgery(body={112: b"\x01"}), Reason.TDX_MODULE_MISMATCH),
    "first module of another signer": (
        Forgery(body={0: b"\x05\x00", 64: b"\x01"}),
        Reason.TDX_MODULE_MISMATCH,
    ),
    "module below every level": (Forgery(body={0: b"\x01"}), Reason.TCB_LEVEL_NONE),
    "module revoked": (Forgery(tcb_info=module(tcbLevels=[level({"isvsvn": 6}, "Revoked")])), Reason.TCB_REVOKED),
    "module of now unknown": (Forgery(version=5, body={585: b"\x02"}), Reason.TDX_MODULE_MISMATCH),
    "module of now below every level": (Forgery(version=5, body={584: b"\x01"}), Reason.TCB_LEVEL_NONE),
    # Levels.
    "platform below every level": (Forgery(svns=(5,) * 15 + (4,)), Reason.TCB_LEVEL_NONE),
    "PCE below every level": (Forgery(pce_svn=10), Reason.TCB_LEVEL_NONE),
    "TDX components below every level": (Forgery(body={15: b"\x04"}), Reason.TCB_LEVEL_NONE),
    "unversioned module below every level": (Forgery(body={0: b"\x04\x00"}), Reason.TCB_LEVEL_NONE),
    "TDX components of now below every level": (Forgery(version=5, body={599: b"\x04"}), Reason.TCB_LEVEL_NONE),
    "platform revoked": (Forgery(tcb_info=newest("Revoked")), Reason.TCB_REVOKED),
    "no level at all": (Forgery(tcb_info=setting(tcbLevels=[])), Reason.TCB_LEVEL_NONE),
    # Event logs.
    "event log that gives other registers": (Forgery(event_log=b"[]"), Reason.EVENT_LOG_MISMATCH),
    "event log of an SGX quote": (Forgery(tdx=False, version=3, event_log=b"[]"), Reason.MALFORMED),
}


@pytest.mark.parametrize("forgery", KINDS.values(), ids=KINDS)
def test_a_good_quote(forgery: Forgery) -> None:
    found = verify(forgery)
    assert isinstance(found, TdxClaims if forgery.tdx else SgxClaims)
    assert found.tcb.status == TcbStatus.UP_TO_DATE
    assert found.tcb.advisories == ()
    assert found.tcb.crl_numbers == (7, 7)
    assert found.tcb.fmspc == FMSPC
    assert found.ppid == PPID
    assert (found.not_after, found.limited_by) == (NOW + 20 * DAY, "tcb_info")
    assert (found.window.not_before, found.window.opened_by) == (NOW - 8 * DAY, "pck_crl")
    assert not found.simulated
    assert not found.debug
    assert disagreement(found, second_opinion(forgery.evidence(), NOW, ROOT_DER)) == ""


@pytest.mark.parametrize(("forgery", "reason"), WRONG.values(), ids=WRONG)
def test_one_thing_wrong(forgery: Forgery, reason: Reason) -> None:
    with pytest.raises(VerificationError) as refused:
        verify(forgery)
    assert code_of(refused.value) == reason


@pytest.mark.parametrize("forgery", KINDS.values(), ids=KINDS)
def test_lengths_fit_exactly(forgery: Forgery) -> None:
    """Every length in a quote, one more and one less, with and without bytes to take."""
    data = forgery.quote()
    body = 48 + {3: 384, 4: 584}.get(forgery.version, 6 + int.from_bytes(data[50:54], "little"))
    certified = body + 4 + 128 + (0 if forgery.version == 3 else 6)
    auth = certified + 448
    inner = auth + 2 + int.from_bytes(data[auth : auth + 2], "little")
    places = {body: 4, auth: 2, inner: 2, inner + 2: 4}
    if forgery.version > 3:
        places |= {certified - 6: 2, certified - 4: 4}
    if forgery.version == 5:
        places |= {48: 2, 50: 4}
    places |= {0: 2, 2: 2, 4: 4}
    for offset, size in places.items():
        value = int.from_bytes(data[offset : offset + size], "little")
        for other in (value + 1, max(value - 1, 0), value ^ 1 << 8 * size - 1):
            if other == value:
                continue
            altered = data[:offset] + other.to_bytes(size, "little") + data[offset + size :]
            for padded in (altered, altered + bytes(8)):
                with pytest.raises(MalformedProof):
                    read_quote(padded)
    for cut in (0, 47, 48, body, body + 3, certified, auth, inner, len(data) - 1):
        with pytest.raises(MalformedProof):
            read_quote(data[:cut])
    for trailer in (b"\x01", bytes(9) + b"\x01", bytes(1 << 17)):
        with pytest.raises(MalformedProof):
            read_quote(data + trailer)
    assert read_quote(data + bytes(100)) == read_quote(data)


def test_evidence_needs_its_collateral() -> None:
    evidence = replace(Forgery().evidence(), collateral=None)
    with pytest.raises(EvidenceRejected) as refused:
        verify_evidence(evidence, ANCHORS, NOW)
    assert refused.value.reason == Reason.COLLATERAL_MISSING


@pytest.mark.parametrize("body_type", [0, 1, 5, 0x103])
def test_a_body_type_of_the_other_size(body_type: int) -> None:
    with pytest.raises(MalformedProof):
        read_quote(Forgery(version=5, body_type=body_type).quote())


def test_an_extended_report() -> None:
    """Each field by its place in Intel's header, and signed like all others."""
    fields = {648: b"\x02", 649: b"i" * 32, 729: b"f" * 48, 829: b"c" * 48}
    found = verify(Forgery(version=5, body_type=4, body=fields))
    assert isinstance(found, TdxClaims)
    assert found.history == TdHistory(2, b"i" * 32, b"f" * 48, b"c" * 48)
    plain = verify(Forgery(version=5))
    assert isinstance(plain, TdxClaims)
    assert plain.history is None
    assert (found.mr_td, found.rtmr, found.mr_service_td) == (plain.mr_td, plain.rtmr, plain.mr_service_td)
    data = bytearray(Forgery(version=5, body_type=4).quote())
    data[54 + 884] ^= 1
    with pytest.raises(EvidenceRejected) as refused:
        verify_evidence(replace(Forgery(version=5, body_type=4).evidence(), data=bytes(data)), ANCHORS, NOW)
    assert refused.value.reason == Reason.QUOTE_SIGNATURE


def test_what_an_enclave_was_started_with() -> None:
    fields = {32: b"x" * 16, 192: b"c" * 64, 260: b"\x02\x01", 304: b"f" * 16}
    found = verify(Forgery(tdx=False, version=3, body=fields))
    assert isinstance(found, SgxClaims)
    assert (found.isv_ext_prod_id, found.config_id, found.isv_family_id) == (b"x" * 16, b"c" * 64, b"f" * 16)
    assert found.config_svn == 0x102
    assert found.measurements["config_id"] == b"c" * 64


def test_a_repeated_name_is_refused() -> None:
    """A parser that takes the first and one that takes the last would read two TCB infos."""
    forgery = Forgery()
    good = forgery.tcb_info_json()

    class Twice(Forgery):
        def tcb_info_json(self) -> bytes:
            return good[:-1] + b',"fmspc":"00906ED50001"}'

    with pytest.raises(MalformedProof):
        verify(Twice())


@pytest.mark.parametrize(
    "text", [b"null", b"[]", b"{", b'{"a":' * 5000, b"\xff", b'{"tcbEvaluationDataNumber":' + b"9" * 5000]
)
def test_signed_nonsense_is_malformed(text: bytes) -> None:
    class Nonsense(Forgery):
        def tcb_info_json(self) -> bytes:
            return text

    with pytest.raises(MalformedProof):
        verify(Nonsense())


# What the platform, the module or the quoting enclave say together: (forgery, status, advisories).
LEVELS = [platform_level(5, 11, 5), platform_level(1, 11, 1, "OutOfDate", "INTEL-SA-00001")]
OLD_MODULE = {0: b"\x03"}
OLD_ENCLAVE = {258: b"\x03"}
STANDINGS: dict[str, tuple[Forgery, str, tuple[str, ...]]] = {
    "hardening": (Forgery(tcb_info=newest("SWHardeningNeeded")), "SWHardeningNeeded", ()),
    "configuration": (Forgery(tcb_info=newest("ConfigurationNeeded")), "ConfigurationNeeded", ()),
    "old platform": (
        Forgery(svns=(4,) * 16, tcb_info=setting(tcbLevels=LEVELS)),
        "OutOfDate",
        ("INTEL-SA-00001",),
    ),
    "old TDX components": (
        Forgery(body={15: b"\x04"}, tcb_info=setting(tcbLevels=LEVELS)),
        "OutOfDate",
        ("INTEL-SA-00001",),
    ),
    "old module": (Forgery(body=OLD_MODULE), "OutOfDate", ("INTEL-SA-00003",)),
    "old quoting enclave": (Forgery(qe=OLD_ENCLAVE), "OutOfDate", ("INTEL-SA-00002",)),
    "old quoting enclave on a platform to be hardened": (
        Forgery(qe=OLD_ENCLAVE, tcb_info=newest("SWHardeningNeeded")),
        "OutOfDate",
        ("INTEL-SA-00002",),
    ),
    "old quoting enclave on a platform to be configured": (
        Forgery(qe=OLD_ENCLAVE, tcb_info=newest("ConfigurationAndSWHardeningNeeded")),
        "OutOfDateConfigurationNeeded",
        ("INTEL-SA-00002",),
    ),
    "both old": (Forgery(qe=OLD_ENCLAVE, body=OLD_MODULE), "OutOfDate", ("INTEL-SA-00002", "INTEL-SA-00003")),
    "unversioned module": (Forgery(body={0: b"\x05\x00"}), "UpToDate", ()),
    "module updated under the domain": (Forgery(version=5, body=OLD_MODULE), "TDRelaunchAdvised", ("INTEL-SA-00003",)),
    "module updated, platform to be configured": (
        Forgery(version=5, body=OLD_MODULE, tcb_info=newest("ConfigurationNeeded")),
        "TDRelaunchAdvisedConfigurationNeeded",
        ("INTEL-SA-00003",),
    ),
    "module old then and now": (Forgery(version=5, body={0: b"\x03", 584: b"\x03"}), "OutOfDate", ("INTEL-SA-00003",)),
    "module updated, quoting enclave old": (
        Forgery(version=5, body=OLD_MODULE, qe=OLD_ENCLAVE),
        "OutOfDate",
        ("INTEL-SA-00002", "INTEL-SA-00003"),
    ),
    "module attributes outside the mask": (
        Forgery(body={112: b"\x01"}, tcb_info=module(attributesMask="00" + "FF" * 7)),
        "UpToDate",
        (),
    ),
}


@pytest.mark.parametrize(("forgery", "status", "advisories"), STANDINGS.values(), ids=STANDINGS)
def test_the_standing(forgery: Forgery, status: str, advisories: tuple[str, ...]) -> None:
    found = verify(forgery)
    assert isinstance(found, TdxClaims)
    assert (found.tcb.status, found.tcb.advisories) == (status, advisories)


def test_a_module_revoked_now_or_then() -> None:
    levels = [level({"isvsvn": 6}), level({"isvsvn": 2}, "Revoked")]
    for body in (OLD_MODULE, {584: b"\x03"}):
        with pytest.raises(EvidenceRejected) as refused:
            verify(Forgery(version=5, body=body, tcb_info=module(tcbLevels=levels)))
        assert refused.value.reason == Reason.TCB_REVOKED


def test_the_lower_evaluation_number_counts() -> None:
    for forgery in (
        Forgery(tcb_info=setting(tcbEvaluationDataNumber=18)),
        Forgery(identity=setting(tcbEvaluationDataNumber=18)),
    ):
        found = verify(forgery)
        assert isinstance(found, TdxClaims)
        assert found.tcb.evaluation_data_number == 18


def test_debug_and_attributes_are_claims() -> None:
    assert verify(Forgery(body={120: b"\x01"})).debug
    assert verify(Forgery(tdx=False, version=3, body={48: b"\x07"})).debug
    found = verify(Forgery(body={123: b"\x00"}))
    assert isinstance(found, TdxClaims)
    assert not found.sept_ve_disable


def test_who_limits_the_life() -> None:
    limits = {
        "qe_identity": Forgery(identity=setting(nextUpdate=iso(NOW + DAY))),
        "pck_crl": Forgery(lists={"ca": (NOW - DAY, NOW + DAY)}),
        "root_crl": Forgery(lists={"root": (NOW - DAY, NOW + DAY)}),
        "pck_chain": Forgery(certificates=Certificates(valid={"pck": (NOW - DAY, NOW + DAY)})),
        "tcb_info_chain": Forgery(certificates=Certificates(valid={"tcb": (NOW - DAY, NOW + DAY)})),
    }
    for name, forgery in limits.items():
        found = verify(forgery)
        assert (found.not_after, found.limited_by) == (NOW + DAY, name)
        with pytest.raises(EvidenceRejected):
            verify(forgery, at=NOW + DAY + 1)


def test_another_root_is_refused() -> None:
    with pytest.raises(EvidenceRejected) as refused:
        verify(Forgery(), TrustAnchors.vendors())
    assert refused.value.reason == Reason.UNTRUSTED_ROOT
    assert verify(Forgery(), TrustAnchors.vendors().with_simulator([root_of(simulated=True)])).simulated


def test_a_root_of_another_family_is_refused() -> None:
    root = replace(root_of(), family=Family.AWS_NITRO)
    with pytest.raises(EvidenceRejected) as refused:
        verify(Forgery(), TrustAnchors([root]))
    assert refused.value.reason == Reason.UNTRUSTED_ROOT


def test_a_root_is_its_certificate_and_its_key() -> None:
    good, other = root_of(), root_of("other")
    for root in (replace(good, certificate=other.certificate), replace(good, public_key=other.public_key)):
        with pytest.raises(EvidenceRejected) as refused:
            verify(Forgery(), TrustAnchors([root]))
        assert refused.value.reason == Reason.UNTRUSTED_ROOT


@pytest.mark.parametrize(("part", "signer"), [("tcb_info", "other"), ("qe_identity", "other")])
def test_two_trusted_roots_do_not_mix(part: str, signer: str) -> None:
    """What Intel says has to come from the root of the platform's certificate, even if another is trusted as well."""
    anchors = TrustAnchors([root_of(), root_of("other", simulated=True)])
    certificates = Certificates(signers={"tcb": "other"})
    mixed = Forgery(chains={part: ("tcb", "other")})
    chain = certificates.pem("tcb", "other")
    with pytest.raises(EvidenceRejected) as refused:
        verify(replace(mixed, chains={}, collateral={f"{part}_chain": chain}), anchors)
    assert refused.value.reason == Reason.UNTRUSTED_ROOT


def test_a_simulators_chain_is_named() -> None:
    """Its marker is in a certificate, so that evidence under a leaked root is called what it is."""
    marked = Certificates(extensions={"root": ((SIMULATOR_OID, b"\x05\x00", False),)})
    with pytest.raises(EvidenceRejected) as refused:
        verify(Forgery(certificates=marked), TrustAnchors.vendors())
    assert refused.value.reason == Reason.SIMULATED_EVIDENCE
    with pytest.raises(ValueError, match=re.escape(SIMULATOR_OID)):
        simulator_root(Family.INTEL, Certificates().make("root").public_bytes(Encoding.DER))
    with pytest.raises(ValueError, match="marked as simulated"):
        TrustAnchors.vendors().with_simulator([root_of()])


def test_the_twin_of_a_signature_is_the_same_evidence() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    evidence = Forgery().evidence()
    at = 632 + 4 + 32
    s = int.from_bytes(evidence.data[at : at + 32], "big")
    twin = evidence.data[:at] + (order - s).to_bytes(32, "big") + evidence.data[at + 32 :]
    found = [verify_evidence(replace(evidence, data=data), ANCHORS, NOW) for data in (evidence.data, twin)]
    assert twin != evidence.data
    assert found[0].evidence_id == found[1].evidence_id
    others = [Forgery(body={200: b"\x00\x01"}), Forgery(header={30: b"\x01"}), Forgery(qe={0: b"\x01"})]
    assert len({found[0].evidence_id, *(verify(other).evidence_id for other in others)}) == 4


def test_times_are_unix_seconds() -> None:
    for at in (-1, 1 << 40):
        with pytest.raises(ValueError, match="unix time"):
            verify(Forgery(), at=at)


def test_an_attestation_key_off_the_curve() -> None:
    """The platform vouches for any bytes as a key; these are none."""

    class OffCurve(Forgery):
        def quote(self) -> bytes:
            return super().quote().replace(raw_point("ak"), bytes(63) + b"\x01")

        def qe_report(self, auth: bytes) -> bytes:
            named = hashlib.sha256(bytes(63) + b"\x01" + auth).digest()
            return replace(Forgery(), qe={320: named}).qe_report(auth)

    with pytest.raises(EvidenceRejected) as refused:
        verify(OffCurve())
    assert refused.value.reason == Reason.QUOTE_SIGNATURE


def test_every_kind_is_promised_by_the_caller() -> None:
    with pytest.raises(MalformedProof):
        verify_evidence(Evidence(Kind.SGX, Forgery().quote(), Forgery().evidence().collateral), ANCHORS, NOW)


def test_the_first_module_has_its_own_entry() -> None:
    """Where modules have no versions, `tdxModule` counts and not the numbered ones."""
    other = {**MODULE, "mrsigner": "01" * 48}
    verify(Forgery(body={0: b"\x05\x00"}, tcb_info=module(**other)))


def test_a_signature_has_one_length() -> None:
    """Read loosely, a zero before s would be a second form of each of Intel's signatures."""
    evidence = Forgery().evidence()
    assert isinstance(evidence.collateral, DcapCollateral)
    good = evidence.collateral.tcb_info_signature
    longer = replace(evidence.collateral, tcb_info_signature=good[:32] + b"\x00" + good[32:])
    with pytest.raises(EvidenceRejected) as refused:
        verify_evidence(replace(evidence, collateral=longer), ANCHORS, NOW)
    assert refused.value.reason == Reason.TCBINFO_SIGNATURE
