"""Is a report of AMD SEV-SNP genuine? Offline, for a stated time.

 1. The bytes are exactly one report (``report``).
 2. Collateral came with it.
 3. The key's certificate chains over AMD's signing key to a pinned root: VCEK to ASK, VLEK to ASVK, to ARK.
 4. The certificates are valid at the time.
 5. AMD's revocation list, where one came, is signed by the root, current, and does not name the signing key.
 6. The key signed the report.
 7. The report names the kind of key that the certificate is for.
 8. Certificate, root and processor are of one product.
 9. The reported TCB is the certified one.
10. The chip is the one the certificate belongs to.

The TCB of the claims is the certificate's, which AMD vouches for, never the report's own word. Policy (debug,
migration), VMPL, platform information and the other three TCBs are claims: whether they are acceptable is the
appraisal's business. Under a VCEK a report without a chip id (masked by the host) is refused; under a VLEK, which many
machines share, the chip is unknown whatever the report says. High and low s both pass.

Every VCEK and VLEK has the serial number 0, so no list can name one: what AMD revokes is an ASK or ASVK.
"""

from __future__ import annotations

from dataclasses import replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from vml.errors import MalformedProof
from vml.tee.anchors import Family, TrustAnchors
from vml.tee.evidence import Evidence, SnpCollateral
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.snp.endorsement import GENOA, MILAN, TURIN, Endorsement, product_of, read_endorsement, tcb_of
from vml.tee.snp.report import Report, read_report
from vml.tee.verified import SnpClaims, Window
from vml.tee.x509 import (
    Certificate,
    Chain,
    check_chain,
    check_times,
    ec_key_of,
    load_certificate,
    load_chain,
    load_crl,
    unix,
)

FAMILIES = {Family.AMD_MILAN: MILAN, Family.AMD_GENOA: GENOA, Family.AMD_TURIN: TURIN}
EXPIRED = {"VCEK": Reason.VCEK_EXPIRED, "VLEK": Reason.VLEK_EXPIRED}


def verify_report(evidence: Evidence, anchors: TrustAnchors, at: int) -> SnpClaims:
    """Check a report with its collateral; the numbered steps above.

    Args:
        evidence: of kind SNP, with `SnpCollateral`.
        anchors: whom to trust.
        at: unix seconds.

    Raises:
        MalformedProof: bytes that are not one well-formed report.
        EvidenceRejected: not genuine at this time.
    """
    # step 1: the bytes are exactly one report, and nothing else came with it.
    report = read_report(evidence.data)
    if evidence.event_log is not None:
        raise malformed("event log", "an SNP report has no registers")
    # step 2: collateral came with it.
    collateral = evidence.collateral
    if not isinstance(collateral, SnpCollateral) or not collateral.vek or not collateral.chain:
        raise rejected(Reason.COLLATERAL_MISSING, "a report needs the certificate of its key and the two above")
    # step 3: the key's certificate chains to a pinned root.
    chain = check_chain(_certificates(collateral), anchors, FAMILIES, Reason.VEK_CHAIN)
    key = ec_key_of(chain.leaf, ec.SECP384R1, Reason.VEK_CHAIN)
    endorsed = read_endorsement(chain.leaf)
    # step 4: the certificates are valid at the time.
    check_times((chain.leaf,), at, expired=EXPIRED[endorsed.signing_key])
    check_times(chain.certificates[1:], at)
    # step 5: the revocation list, where one came, is the root's, current, and does not name the signing key.
    parts, listed = _validity(chain, endorsed), None
    if collateral.crl:
        listed = load_crl(collateral.crl, chain.certificates[-1], "AMD's list")
        listed.check_time(at, "AMD's list")
        listed.check_not_revoked(chain.certificates[1])
        parts.append(("crl", listed.this_update, listed.next_update))
    # step 6: the key signed the report.
    try:
        key.verify(encode_dss_signature(*report.signature), report.signed, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise rejected(Reason.REPORT_SIGNATURE, "not this key's signature") from error
    # step 7: the report names the kind of key that the certificate is for.
    if report.signing_key != endorsed.signing_key:
        raise rejected(Reason.REPORT_SIGNATURE, f"signed by a {endorsed.signing_key}, and names a {report.signing_key}")
    # step 8: certificate, root and processor are of one product.
    _check_product(report, endorsed, chain.root.family)
    # step 9: the reported TCB is the certified one.
    if report.reported_tcb != endorsed.tcb:
        raise rejected(Reason.TCB_MISMATCH, f"{report.reported_tcb.hex()}, certified {endorsed.tcb.hex()}")
    # step 10: the chip is the one the certificate belongs to.
    if endorsed.chip_id is not None and report.chip_id != endorsed.chip_id.ljust(64, b"\x00"):
        raise rejected(Reason.CHIP_ID_MISMATCH, f"the certificate is of {endorsed.chip_id.hex()}")
    claims = _claims(report, endorsed, Window.of(parts), chain.root.simulated, at)
    if listed is None:
        return claims
    return replace(claims, crl_number=listed.number, crl_issued=listed.this_update)


def _certificates(collateral: SnpCollateral) -> tuple[Certificate, ...]:
    """Key, signing key, root. A certificate that cannot be read does not hold together either."""
    try:
        above = load_chain(collateral.chain)
        found = (load_certificate(collateral.vek, "VCEK or VLEK"), *above)
    except MalformedProof as error:
        raise rejected(Reason.VEK_CHAIN, str(error)) from error
    if len(found) != 3:
        raise rejected(Reason.VEK_CHAIN, f"{len(above)} certificates above the key's, not 2")
    return found


def _validity(chain: Chain, endorsed: Endorsement) -> list[tuple[str, int | None, int | None]]:
    names = (endorsed.signing_key.lower(), "signing_key", "root")
    return [
        (name, unix(certificate.not_valid_before_utc), unix(certificate.not_valid_after_utc))
        for name, certificate in zip(names, chain.certificates, strict=True)
    ]


def _check_product(report: Report, endorsed: Endorsement, family: Family) -> None:
    if endorsed.product != FAMILIES[family]:
        raise rejected(Reason.PRODUCT_MISMATCH, f"a {endorsed.product} under the root of {FAMILIES[family]}")
    if report.processor is not None and product_of(report.processor) != endorsed.product:
        raise rejected(Reason.PRODUCT_MISMATCH, f"a {endorsed.product} with the processor {report.processor}")


def _claims(report: Report, endorsed: Endorsement, window: Window, simulated: bool, at: int) -> SnpClaims:
    return SnpClaims(
        evidence_id=report.evidence_id,
        window=window,
        simulated=simulated,
        at=at,
        version=report.version,
        product=endorsed.product,
        signing_key=endorsed.signing_key,
        guest_svn=report.guest_svn,
        policy=report.policy,
        family_id=report.family_id,
        image_id=report.image_id,
        vmpl=report.vmpl,
        platform_info=report.platform_info,
        data=report.report_data,
        measurement=report.measurement,
        host_data=report.host_data,
        id_key_digest=report.id_key_digest,
        author_key_digest=report.author_key_digest,
        report_id=report.report_id,
        chip_id=endorsed.chip_id,
        tcb=tcb_of(endorsed.product, endorsed.tcb),
        committed_tcb=tcb_of(endorsed.product, report.committed_tcb),
        current_tcb=tcb_of(endorsed.product, report.current_tcb),
        launch_tcb=tcb_of(endorsed.product, report.launch_tcb),
        mitigations=report.mitigations,
    )
