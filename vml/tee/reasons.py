"""Why evidence is refused: one code a failure. Codes are part of the interface and keep their meaning."""

from __future__ import annotations

from enum import StrEnum

from vml.errors import EvidenceRejected, MalformedProof, VerificationError


class Reason(StrEnum):
    """A code and one line of what it means.

    ``EvidenceRejected.reason`` is always one of these. Bytes that cannot be read raise ``MalformedProof``, whose code
    is ``MALFORMED``: `code_of` gives the code of either.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Reason:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    MALFORMED = "MALFORMED", "the bytes are not one well-formed piece of evidence or collateral"

    # Every kind.
    COLLATERAL_MISSING = "COLLATERAL_MISSING", "something the check needs did not come with the evidence"
    COLLATERAL_EXPIRED = "COLLATERAL_EXPIRED", "the given time is after the collateral's next update"
    COLLATERAL_NOT_YET_VALID = "COLLATERAL_NOT_YET_VALID", "the given time is before the collateral was issued"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED", "the given time is after a certificate's last day"
    CERTIFICATE_NOT_YET_VALID = "CERTIFICATE_NOT_YET_VALID", "the given time is before a certificate's first day"
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED", "a revocation list names a certificate of the chain"
    CRL_INVALID = "CRL_INVALID", "a revocation list is missing, unreadable, of another issuer or badly signed"
    CRL_TOO_OLD = "CRL_TOO_OLD", "the revocation list is older than the policy allows"
    UNTRUSTED_ROOT = "UNTRUSTED_ROOT", "the chain is sound and ends in a root that is not pinned for this kind"
    SIMULATED_EVIDENCE = "SIMULATED_EVIDENCE", "made by a simulator, and no simulator root was allowed"

    # Intel SGX and TDX.
    QE_VENDOR = "QE_VENDOR", "the quoting enclave is not Intel's"
    QUOTE_SIGNATURE = "QUOTE_SIGNATURE", "the attestation key did not sign this header and body"
    AK_BINDING = "AK_BINDING", "the quoting enclave's report does not name this attestation key"
    QE_SIGNATURE = "QE_SIGNATURE", "the platform's key did not sign the quoting enclave's report"
    PCK_CHAIN = "PCK_CHAIN", "the platform's certificate chain does not hold together"
    TCBINFO_CHAIN = "TCBINFO_CHAIN", "the TCB info's certificate chain does not hold together"
    TCBINFO_SIGNATURE = "TCBINFO_SIGNATURE", "the TCB info is not signed by its chain"
    QEID_CHAIN = "QEID_CHAIN", "the enclave identity's certificate chain does not hold together"
    QEID_SIGNATURE = "QEID_SIGNATURE", "the enclave identity is not signed by its chain"
    FMSPC_MISMATCH = "FMSPC_MISMATCH", "the TCB info is about another family of platforms (FMSPC or PCE-ID)"
    QE_IDENTITY_MISMATCH = "QE_IDENTITY_MISMATCH", "the quoting enclave is not the one Intel names"
    TDX_MODULE_MISMATCH = "TDX_MODULE_MISMATCH", "the TDX module is not one Intel names"
    TCB_LEVEL_NONE = "TCB_LEVEL_NONE", "no TCB level of the collateral matches the platform, enclave or module"
    TCB_REVOKED = "TCB_REVOKED", "Intel revoked this TCB level"
    EVENT_LOG_MISMATCH = "EVENT_LOG_MISMATCH", "replaying the event log does not give the measured registers"

    # AMD SEV-SNP.
    VEK_CHAIN = "VEK_CHAIN", "the certificate chain of the VCEK or VLEK does not hold together"
    VCEK_EXPIRED = "VCEK_EXPIRED", "the given time is after the VCEK's last day"
    VLEK_EXPIRED = "VLEK_EXPIRED", "the given time is after the VLEK's last day"
    REPORT_SIGNATURE = "REPORT_SIGNATURE", "the report is not signed by the certified key"
    CHIP_ID_MISMATCH = "CHIP_ID_MISMATCH", "the certificate belongs to another chip than the report"
    PRODUCT_MISMATCH = "PRODUCT_MISMATCH", "the certificate belongs to another processor family than the report"
    TCB_MISMATCH = "TCB_MISMATCH", "the reported TCB is not the certified one"

    # AWS Nitro.
    NITRO_CHAIN = "NITRO_CHAIN", "the document's certificate chain does not hold together"
    COSE_SIGNATURE = "COSE_SIGNATURE", "the document is not signed by its certificate"

    # Azure: a virtual TPM bound to a hardware report.
    VMPL_REFUSED = "VMPL_REFUSED", "the hardware report was asked for from another privilege level than it has to be"
    RUNTIME_DATA_MISMATCH = "RUNTIME_DATA_MISMATCH", "the hardware report does not name this runtime data"
    TPM_KEY_MISMATCH = "TPM_KEY_MISMATCH", "the TPM quote is not under the key of the runtime data"
    TPM_SIGNATURE = "TPM_SIGNATURE", "the TPM's key did not sign the quote"
    PCR_MISMATCH = "PCR_MISMATCH", "the PCR values are not the quoted ones"

    # NVIDIA.
    GPU_CHAIN = "GPU_CHAIN", "the device's certificate chain does not hold together"
    SPDM_SIGNATURE = "SPDM_SIGNATURE", "the device's key did not sign the report"
    FWID_MISMATCH = "FWID_MISMATCH", "the report is about other firmware than the certificate"
    FWID_MISSING = "FWID_MISSING", "the policy asks which firmware the device runs, and the report does not say"
    RIM_MISSING = "RIM_MISSING", "no reference integrity manifest came with the evidence"
    RIM_CHAIN = "RIM_CHAIN", "a reference manifest's certificate chain does not hold together"
    RIM_CERT_EXPIRED = "RIM_CERT_EXPIRED", "the given time is after the last day of a reference manifest's certificate"
    RIM_SIGNATURE = "RIM_SIGNATURE", "a reference manifest is not signed by its certificate"
    RIM_MISMATCH = "RIM_MISMATCH", "measurements differ from the reference manifests"

    # Appraisal: genuine, and not acceptable.
    POLICY_INCOMPLETE = "POLICY_INCOMPLETE", "the policy does not say what would be acceptable"
    KIND_NOT_ALLOWED = "KIND_NOT_ALLOWED", "the policy does not accept this kind of evidence"
    NONCE_MISSING = "NONCE_MISSING", "the policy asks for a nonce and there is none"
    NONCE_MISMATCH = "NONCE_MISMATCH", "the evidence answers another nonce"
    MEASUREMENT_MISMATCH = "MEASUREMENT_MISMATCH", "a measurement is not one the policy names"
    MEASUREMENT_EXPIRED = "MEASUREMENT_EXPIRED", "the policy accepted these measurements until an earlier time"
    DEBUG_ENABLED = "DEBUG_ENABLED", "the environment can be debugged from outside"
    ATTRIBUTES_REFUSED = "ATTRIBUTES_REFUSED", "an attribute of the environment weakens it"
    SERVICE_TD_PRESENT = "SERVICE_TD_PRESENT", "a service TD is bound and the policy names none"
    TCB_STATUS_REFUSED = "TCB_STATUS_REFUSED", "the policy does not accept this TCB status"
    TCB_TOO_OLD = "TCB_TOO_OLD", "the TCB is below the policy's floor"
    EVALUATION_NUMBER_TOO_LOW = "EVALUATION_NUMBER_TOO_LOW", "the collateral is older than the policy allows"
    ADVISORY_REFUSED = "ADVISORY_REFUSED", "an advisory applies that the policy does not allow"
    PLATFORM_UNKNOWN = "PLATFORM_UNKNOWN", "the policy names platforms and the evidence hides its own"
    PLATFORM_NOT_ALLOWED = "PLATFORM_NOT_ALLOWED", "the platform is not one the policy names"
    EVIDENCE_TOO_OLD = "EVIDENCE_TOO_OLD", "the evidence is older than the policy allows, or its age is unknown"
    EVENT_LOG_MISSING = "EVENT_LOG_MISSING", "the policy asks for an event log and there is none"

    # Keys, receipts and evidence about each other.
    KEY_BINDING = "KEY_BINDING", "the evidence does not name this key certificate"
    KEY_EXPIRED = "KEY_EXPIRED", "the given time is after the key's last second"
    KEY_OUTLIVES_EVIDENCE = "KEY_OUTLIVES_EVIDENCE", "the key claims to live longer than what it rests on"
    EPOCH_ROTATED = "EPOCH_ROTATED", "the key's epoch is over"
    RECEIPT_TIME = "RECEIPT_TIME", "the receipt was issued before the evidence begins, or after the given time"
    RECEIPT_SIGNATURE = "RECEIPT_SIGNATURE", "the receipt is not signed by the attested key"
    GPU_BINDING = "GPU_BINDING", "processor and GPU evidence do not name each other"


def malformed(what: str, detail: str = "") -> MalformedProof:
    """The error for bytes that cannot be read: `what` names the part, for example "quote"."""
    return MalformedProof(f"{Reason.MALFORMED}: {what}" + (f": {detail}" if detail else ""))


def rejected(reason: Reason, detail: str = "") -> EvidenceRejected:
    """The error for evidence that was read and is not genuine or not acceptable."""
    return EvidenceRejected(reason, detail)


def code_of(error: VerificationError) -> Reason | None:
    """The code of an error of this package; None for errors of other parts of vml."""
    if isinstance(error, MalformedProof):
        return Reason.MALFORMED
    return Reason[error.reason] if isinstance(error, EvidenceRejected) else None
