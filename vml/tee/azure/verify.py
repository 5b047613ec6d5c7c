"""Is a TPM quote of an Azure confidential VM genuine? Offline, for a stated time.

1. The bytes are exactly one piece of evidence (``evidence``, ``hcl``, ``tpm``).
2. Collateral came with it, of the hardware inside, and names the same VCEK.
3. The hardware report is genuine (``vml.tee.snp``, ``vml.tee.dcap``).
4. An SNP report was asked for at VMPL 0, where Azure's paravisor runs and the guest does not.
5. It names this runtime data, and nothing else.
6. The runtime data names a key of the virtual TPM that can only sign.
7. That key signed the TPM quote.
8. The registers are the quoted ones.

So the hardware vouches for the paravisor, the paravisor for the TPM's key, and the TPM for registers and nonce: what
the guest booted is no stronger than Microsoft's paravisor, whose measurement is the hardware report's. The nonce is
the quote's extra data, and 64 bytes of the guest's choice stand in the runtime data. For TDX the quote counts, and
the TD report in the HCL report, which it was made from, is not looked at.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from vml.tee.anchors import TrustAnchors
from vml.tee.azure.evidence import VtpmEvidence, read_vtpm_evidence
from vml.tee.azure.hcl import SNP_REPORT, TDX_REPORT, read_hcl, read_runtime
from vml.tee.azure.tpm import read_tpm_quote
from vml.tee.dcap.verify import verify_quote
from vml.tee.evidence import AzureCollateral, DcapCollateral, Evidence, Kind, SnpCollateral
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.snp.verify import verify_report
from vml.tee.verified import AzureClaims, SnpClaims, TdxClaims

ID_TAG = b"vml/evidence/azure/v1"


def verify_vtpm(evidence: Evidence, anchors: TrustAnchors, at: int) -> AzureClaims:
    """Check a TPM quote with the hardware report it rests on; the numbered steps above.

    Args:
        evidence: of kind Azure, with `AzureCollateral`.
        anchors: whom to trust.
        at: unix seconds.

    Raises:
        MalformedProof: bytes that are not one well-formed piece of evidence.
        EvidenceRejected: not genuine at this time.
    """
    # step 1: the bytes are exactly one piece of evidence, of one kind of hardware, and no event log came with it.
    parts = read_vtpm_evidence(evidence.data)
    hcl, quote = read_hcl(parts.hcl_report), read_tpm_quote(parts.message)
    if evidence.event_log is not None:
        raise malformed("event log", "none is checked here")
    if hcl.report_type != (SNP_REPORT if parts.td_quote is None else TDX_REPORT):
        raise malformed("HCL report", f"of type {hcl.report_type}, which is of another kind of hardware")
    # step 2: collateral came with it, of the hardware inside, and names the same VCEK.
    collateral = evidence.collateral.hardware if isinstance(evidence.collateral, AzureCollateral) else None
    if not isinstance(collateral, SnpCollateral if parts.td_quote is None else DcapCollateral):
        raise rejected(Reason.COLLATERAL_MISSING, "the hardware report inside needs its collateral")
    if isinstance(collateral, SnpCollateral) and collateral.vek != parts.vek:
        raise rejected(Reason.VEK_CHAIN, "evidence and collateral bring different certificates")
    # step 3: the hardware report is genuine.
    hardware = _hardware(parts, hcl.hardware, collateral, anchors, at)
    # step 4: it was asked for at VMPL 0.
    if isinstance(hardware, SnpClaims) and hardware.vmpl != 0:
        raise rejected(Reason.VMPL_REFUSED, f"VMPL {hardware.vmpl}")
    # step 5: it names this runtime data, and nothing else.
    named = hashlib.sha256(hcl.runtime).digest()
    if hardware.report_data != named + bytes(32):
        raise rejected(Reason.RUNTIME_DATA_MISMATCH, f"the hash is {named.hex()}")
    # step 6: the runtime data names a key that can only sign.
    runtime = read_runtime(hcl.runtime)
    # step 7: that key signed the TPM quote.
    try:
        runtime.key.verify(parts.signature, parts.message, padding.PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise rejected(Reason.TPM_SIGNATURE, "not the signature of the key in the runtime data") from error
    # step 8: the registers are the quoted ones.
    pcrs = {index: parts.pcrs[index] for index in quote.registers}
    if hashlib.sha256(b"".join(pcrs.values())).digest() != quote.digest:
        raise rejected(Reason.PCR_MISMATCH, f"the quoted hash is {quote.digest.hex()}")
    return AzureClaims(
        evidence_id=hashlib.sha256(ID_TAG + hardware.evidence_id + named + parts.message).digest(),
        window=hardware.window,
        simulated=hardware.simulated,
        at=at,
        hardware=hardware,
        runtime_user_data=runtime.user_data,
        extra_data=quote.extra_data,
        pcrs=pcrs,
        vm_configuration=runtime.vm_configuration,
    )


def _hardware(
    parts: VtpmEvidence, report: bytes, collateral: SnpCollateral | DcapCollateral, anchors: TrustAnchors, at: int
) -> SnpClaims | TdxClaims:
    if parts.td_quote is None:
        return verify_report(Evidence(Kind.SNP, report, collateral), anchors, at)
    found = verify_quote(Evidence(Kind.TDX, parts.td_quote, collateral), anchors, at)
    assert isinstance(found, TdxClaims)
    return found
