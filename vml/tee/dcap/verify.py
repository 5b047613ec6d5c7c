"""Is a quote of Intel SGX or TDX genuine? Offline, for a stated time.

 1. The bytes are exactly one quote, of the kind that was promised (``quote``).
 2. The quoting enclave's vendor is Intel.
 3. Collateral came with it.
 4. The platform's certificate (PCK) chains to a pinned root, and is valid at the time.
 5. The two revocation lists are their issuers', current, and name none of these certificates.
 6. The TCB info is signed under the same root, by a certificate that is valid and not revoked, and current.
 7. So is the identity of the quoting enclave.
 8. The platform's key signed the quoting enclave's report.
 9. That report names the attestation key.
10. The attestation key signed header and body.
11. The quoting enclave is the one Intel names.
12. The TCB info is about this family of platforms.
13. The TDX module is one Intel names; so is the one that runs now, where it was updated under the domain.
14. A TCB level matches, and none is revoked.
15. The event log, where one came, gives the run-time registers.

Statuses other than revoked, advisories, debug and all other attributes are claims: whether they are acceptable is the
appraisal's business. High and low s both pass, since Intel's own signatures come in both.

Source: Intel, "SGX DCAP Quote Verification Library", verification flow.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from vml.errors import MalformedProof
from vml.tee.anchors import Family, TrustAnchors
from vml.tee.dcap.collateral import EnclaveIdentity, TcbInfo, read_enclave_identity, read_tcb_info
from vml.tee.dcap.eventlog import read_event_log, replay
from vml.tee.dcap.pck import read_platform
from vml.tee.dcap.quote import TDX_TYPE, Quote, SgxReport, TdReport, read_quote
from vml.tee.dcap.tcb import after_update, check_module, check_quoting_enclave, converge, levels_of
from vml.tee.evidence import DcapCollateral, Evidence, Kind
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.verified import DcapTcb, LogEvent, SgxClaims, TcbStatus, TdxClaims, Window
from vml.tee.x509 import (
    Chain,
    Links,
    RevocationList,
    check_chain,
    check_times,
    ec_key_of,
    load_chain,
    load_crl,
    same_authority,
)

INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")


@dataclass(frozen=True, slots=True)
class _Lists:
    """The root's revocation list and the PCK issuer's."""

    root: RevocationList
    pck: RevocationList


def verify_quote(evidence: Evidence, anchors: TrustAnchors, at: int) -> SgxClaims | TdxClaims:
    """Check a quote with its collateral; the numbered steps above.

    Args:
        evidence: of kind SGX or TDX, with `DcapCollateral`.
        anchors: whom to trust.
        at: unix seconds.

    Raises:
        MalformedProof: bytes that are not one well-formed quote or collateral.
        EvidenceRejected: not genuine at this time.
    """
    # step 1: the bytes are exactly one quote, of the kind that was promised.
    quote = read_quote(evidence.data)
    tdx = quote.tee_type == TDX_TYPE
    if evidence.kind != (Kind.TDX if tdx else Kind.SGX):
        raise malformed("quote", f"of another kind than {evidence.kind}")
    # step 2: the quoting enclave's vendor is Intel.
    if quote.qe_vendor != INTEL_QE_VENDOR:
        raise rejected(Reason.QE_VENDOR, quote.qe_vendor.hex())
    # step 3: collateral came with it.
    collateral = evidence.collateral
    if not isinstance(collateral, DcapCollateral):
        raise rejected(Reason.COLLATERAL_MISSING, "a quote needs DCAP collateral")
    # step 4: the platform's certificate chains to a pinned root.
    links: Links = set()
    pck = _chain(quote.pck_chain, 3, anchors, Reason.PCK_CHAIN, links)
    check_times(pck.certificates, at)
    platform = read_platform(pck.leaf)
    # What Intel says has to come from the root that the platform's certificate comes from.
    anchors = TrustAnchors((pck.root,))
    # step 5: the revocation lists are their issuers', current, and name none of these certificates.
    lists = _lists(collateral, pck, anchors, at, links)
    lists.root.check_not_revoked(pck.certificates[1])
    lists.pck.check_not_revoked(pck.leaf)
    # step 6: the TCB info is signed under the same root, and current.
    tcb_chain = _signed(
        collateral.tcb_info_chain,
        collateral.tcb_info,
        collateral.tcb_info_signature,
        anchors,
        (Reason.TCBINFO_CHAIN, Reason.TCBINFO_SIGNATURE),
        links,
    )
    _check_signer(tcb_chain, lists, at)
    info = read_tcb_info(collateral.tcb_info, tdx=tdx)
    _check_current(info, at, "TCB info")
    # step 7: so is the identity of the quoting enclave.
    identity_chain = _signed(
        collateral.qe_identity_chain,
        collateral.qe_identity,
        collateral.qe_identity_signature,
        anchors,
        (Reason.QEID_CHAIN, Reason.QEID_SIGNATURE),
        links,
    )
    _check_signer(identity_chain, lists, at)
    identity = read_enclave_identity(collateral.qe_identity, tdx=tdx)
    _check_current(identity, at, "enclave identity")
    # step 8: the platform's key signed the quoting enclave's report.
    _check_signature(
        ec_key_of(pck.leaf, ec.SECP256R1, Reason.PCK_CHAIN), quote.qe_signature, quote.qe_report, Reason.QE_SIGNATURE
    )
    # step 9: that report names the attestation key.
    enclave = SgxReport.read(quote.qe_report)
    named = hashlib.sha256(quote.attestation_key + quote.auth_data).digest()
    if enclave.report_data != named + bytes(32):
        raise rejected(Reason.AK_BINDING, "the report of the quoting enclave names another key")
    # step 10: the attestation key signed header and body.
    _check_signature(_attestation_key(quote), quote.signature, quote.signed, Reason.QUOTE_SIGNATURE)
    # step 11: the quoting enclave is the one Intel names.
    check_quoting_enclave(identity, enclave)
    # step 12: the TCB info is about this family of platforms.
    if (info.fmspc, info.pce_id) != (platform.fmspc, platform.pce_id):
        raise rejected(Reason.FMSPC_MISMATCH, f"TCB info of {info.fmspc.hex()}, platform {platform.fmspc.hex()}")
    # step 13: the TDX module is one Intel names, the one at launch and the one now.
    report = TdReport.read(quote.body) if tdx else None
    launch, now = (report.tee_tcb_svn, report.tee_tcb_svn2) if report is not None else (None, None)
    if report is not None:
        check_module(info, report, report.tee_tcb_svn)
    if report is not None and report.tee_tcb_svn2 is not None:
        check_module(info, report, report.tee_tcb_svn2)
    # step 14: a TCB level matches, and none is revoked.
    levels = levels_of(info, identity, platform, enclave.isv_svn, launch)
    status = converge(level.status for level in levels)
    if now is not None:
        later = levels_of(info, identity, platform, enclave.isv_svn, now)
        status = after_update(status, converge(level.status for level in later))
    if status == TcbStatus.REVOKED:
        raise rejected(Reason.TCB_REVOKED, f"the platform's level is of unix time {levels[0].date}")
    tcb = DcapTcb(
        status=status,
        advisories=tuple(sorted({advisory for level in levels for advisory in level.advisories})),
        evaluation_data_number=min(info.evaluation_data_number, identity.evaluation_data_number),
        fmspc=platform.fmspc,
        pce_id=platform.pce_id,
        tcb_date=levels[0].date,
        crl_numbers=(lists.root.number, lists.pck.number),
    )
    window = Window.of(
        [
            ("tcb_info", info.issued, info.next_update),
            ("qe_identity", identity.issued, identity.next_update),
            ("pck_crl", lists.pck.this_update, lists.pck.next_update),
            ("root_crl", lists.root.this_update, lists.root.next_update),
            ("pck_chain", pck.not_before, pck.not_after),
            ("tcb_info_chain", tcb_chain.not_before, tcb_chain.not_after),
            ("qe_identity_chain", identity_chain.not_before, identity_chain.not_after),
        ]
    )
    simulated = pck.root.simulated
    if report is None:
        if evidence.event_log is not None:
            raise malformed("event log", "an SGX quote has no registers")
        return _sgx_claims(quote, platform.ppid, tcb, window, simulated, at)
    # step 15: the event log gives the run-time registers.
    events = None
    if evidence.event_log is not None:
        events = read_event_log(evidence.event_log)
        if replay(events) != report.rtmr:
            raise rejected(Reason.EVENT_LOG_MISMATCH, "the registers of the quote hold other values")
    return _tdx_claims(quote, report, platform.ppid, tcb, window, simulated, at, events)


def _chain(
    pem: bytes, length: int, anchors: TrustAnchors, failure: Reason, links: Links, *, authority: bool = False
) -> Chain:
    """A chain of `length` certificates to Intel's root. A text that cannot be read does not hold together either."""
    try:
        certificates = load_chain(pem)
    except MalformedProof as error:
        raise rejected(failure, str(error)) from error
    if len(certificates) != length:
        raise rejected(failure, f"{len(certificates)} certificates, not {length}")
    return check_chain(
        certificates, anchors, (Family.INTEL,), failure, leaf_may_sign_certificates=authority, links=links
    )


def _lists(collateral: DcapCollateral, pck: Chain, anchors: TrustAnchors, at: int, links: Links) -> _Lists:
    issuer, root = pck.certificates[1:]
    listed = _chain(collateral.pck_crl_chain, 2, anchors, Reason.CRL_INVALID, links, authority=True)
    if not same_authority(listed.leaf, issuer):
        raise rejected(Reason.CRL_INVALID, "the PCK list's chain is another issuer's")
    lists = _Lists(
        root=load_crl(collateral.root_crl, root, "the root's list"),
        pck=load_crl(collateral.pck_crl, listed.leaf, "the PCK list"),
    )
    lists.root.check_time(at, "the root's list")
    lists.pck.check_time(at, "the PCK list")
    lists.root.check_not_revoked(listed.leaf)
    check_times(listed.certificates, at)
    return lists


def _signed(
    chain: bytes, data: bytes, signature: bytes, anchors: TrustAnchors, failures: tuple[Reason, Reason], links: Links
) -> Chain:
    """The chain (of two) whose leaf signed `data`."""
    if not data or not signature or not chain:
        raise rejected(Reason.COLLATERAL_MISSING, f"nothing to check for {failures[1]}")
    found = _chain(chain, 2, anchors, failures[0], links)
    _check_signature(ec_key_of(found.leaf, ec.SECP256R1, failures[0]), signature, data, failures[1])
    return found


def _check_signer(chain: Chain, lists: _Lists, at: int) -> None:
    check_times(chain.certificates, at)
    lists.root.check_not_revoked(chain.leaf)


def _check_current(item: TcbInfo | EnclaveIdentity, at: int, name: str) -> None:
    if at > item.next_update:
        raise rejected(Reason.COLLATERAL_EXPIRED, f"{name} ended at unix time {item.next_update}")
    if at < item.issued:
        raise rejected(Reason.COLLATERAL_NOT_YET_VALID, f"{name} begins at unix time {item.issued}")


def _check_signature(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, failure: Reason) -> None:
    """ECDSA with SHA-256; the signature is r and s, 32 bytes each."""
    if len(signature) != 64:
        raise rejected(failure, f"a signature of {len(signature)} bytes")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise rejected(failure, "not this key's signature") from error


def _attestation_key(quote: Quote) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + quote.attestation_key)
    except ValueError as error:
        raise rejected(Reason.QUOTE_SIGNATURE, "the attestation key is no point of the curve") from error


def _sgx_claims(quote: Quote, ppid: bytes, tcb: DcapTcb, window: Window, simulated: bool, at: int) -> SgxClaims:
    report = SgxReport.read(quote.body)
    return SgxClaims(
        evidence_id=quote.evidence_id,
        window=window,
        simulated=simulated,
        at=at,
        body=quote.body,
        cpu_svn=report.cpu_svn,
        misc_select=int.from_bytes(report.misc_select, "little"),
        attributes=report.attributes,
        mr_enclave=report.mr_enclave,
        mr_signer=report.mr_signer,
        isv_prod_id=report.isv_prod_id,
        isv_svn=report.isv_svn,
        isv_ext_prod_id=report.isv_ext_prod_id,
        isv_family_id=report.isv_family_id,
        config_id=report.config_id,
        config_svn=report.config_svn,
        data=report.report_data,
        ppid=ppid,
        tcb=tcb,
    )


def _tdx_claims(
    quote: Quote,
    report: TdReport,
    ppid: bytes,
    tcb: DcapTcb,
    window: Window,
    simulated: bool,
    at: int,
    events: tuple[LogEvent, ...] | None,
) -> TdxClaims:
    return TdxClaims(
        evidence_id=quote.evidence_id,
        window=window,
        simulated=simulated,
        at=at,
        body=quote.body,
        tee_tcb_svn=report.tee_tcb_svn,
        mr_seam=report.mr_seam,
        mr_signer_seam=report.mr_signer_seam,
        seam_attributes=report.seam_attributes,
        td_attributes=report.td_attributes,
        xfam=report.xfam,
        mr_td=report.mr_td,
        mr_config_id=report.mr_config_id,
        mr_owner=report.mr_owner,
        mr_owner_config=report.mr_owner_config,
        rtmr=report.rtmr,
        data=report.report_data,
        tee_tcb_svn2=report.tee_tcb_svn2,
        mr_service_td=report.mr_service_td,
        history=report.history,
        ppid=ppid,
        tcb=tcb,
        events=events,
    )
