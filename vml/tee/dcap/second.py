"""A second opinion on quotes: ``dcap-qvl``, another implementation, where it is installed.

It never decides. What the two say about a quote is compared, and a difference is reported: one of them is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vml.errors import BackendUnavailable, VerificationError
from vml.tee.dcap.collateral import write_collateral
from vml.tee.evidence import DcapCollateral, Evidence
from vml.tee.reasons import Reason, code_of
from vml.tee.verified import SgxClaims, TdxClaims

# What the second engine refuses on its own account: here these are claims, and the appraisal's business.
OWN_POLICY = (
    "Debug mode is enabled",
    "Invalid MR service TD",
    "Reserved bits in TD attributes are set",
    "SEPT_VE_DISABLE is not enabled",
    "SERVTD_EXT is enabled",
    "TD migration is enabled",
    "TD profiling is enabled",
)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the second engine says: an error, or status, advisories and family (6 bytes)."""

    error: str = ""
    status: str = ""
    advisories: tuple[str, ...] = ()
    fmspc: bytes = b""

    @property
    def own_policy(self) -> bool:
        """It refuses something that is a claim here."""
        return any(text in self.error for text in OWN_POLICY)


def second_opinion(evidence: Evidence, at: int, root: bytes | None = None) -> Opinion:
    """Ask the second engine. Its answer is about the bytes as they are: it lets trailing bytes pass, for example.

    Args:
        evidence: a quote with DCAP collateral.
        at: unix seconds.
        root: DER of the root to trust instead of Intel's.

    Raises:
        BackendUnavailable: dcap-qvl is not installed.
        ValueError: no DCAP collateral.
    """
    try:
        import dcap_qvl
    except ImportError as error:
        raise BackendUnavailable("a second opinion needs dcap-qvl: pip install dcap-qvl") from error
    if not isinstance(evidence.collateral, DcapCollateral):
        raise ValueError("a second opinion needs DCAP collateral")
    try:
        collateral: Any = dcap_qvl.QuoteCollateralV3.from_json(write_collateral(evidence.collateral).decode())
        if root is None:
            report: Any = dcap_qvl.verify(evidence.data, collateral, at)
        else:
            report = dcap_qvl.verify_with_root_ca(evidence.data, collateral, root, at)
        fmspc = bytes.fromhex(dcap_qvl.parse_quote(evidence.data).fmspc())
        return Opinion("", report.status, tuple(sorted(report.advisory_ids)), fmspc)
    except ValueError as error:
        return Opinion(str(error) or "refused")


def disagreement(found: SgxClaims | TdxClaims | VerificationError, opinion: Opinion) -> str:
    """How the two differ, in words; empty where they agree.

    Refusing what is malformed is no disagreement: the second engine reads quotes less strictly on purpose.
    """
    if isinstance(found, VerificationError):
        if opinion.error or code_of(found) == Reason.MALFORMED:
            return ""
        return f"refused here ({found}), and {opinion.status} there"
    if opinion.error:
        return "" if opinion.own_policy else f"{found.tcb.status} here, and refused there ({opinion.error})"
    ours = found.tcb.status, found.tcb.advisories, found.tcb.fmspc
    theirs = opinion.status, opinion.advisories, opinion.fmspc
    return "" if ours == theirs else f"{ours} here, and {theirs} there"
