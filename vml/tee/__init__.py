"""Attestation evidence of trusted execution environments: is it genuine, and is it acceptable?

``verify_evidence`` answers the first question offline: every time is an argument, everything it needs travels with the
evidence, and trust comes from pinned vendor roots only. ``vml.tee.appraise`` answers the second with a policy.
Needs the extra ``tee``.
"""

from vml.tee.anchors import Family, Root, TrustAnchors
from vml.tee.evidence import AzureCollateral, DcapCollateral, Evidence, Kind, NvidiaCollateral, SnpCollateral
from vml.tee.reasons import Reason
from vml.tee.verified import AzureClaims, NitroClaims, NvidiaClaims, SgxClaims, SnpClaims, TdxClaims, Verified, Window
from vml.tee.verify import verify_evidence

__all__ = [
    "AzureClaims",
    "AzureCollateral",
    "DcapCollateral",
    "Evidence",
    "Family",
    "Kind",
    "NitroClaims",
    "NvidiaClaims",
    "NvidiaCollateral",
    "Reason",
    "Root",
    "SgxClaims",
    "SnpClaims",
    "SnpCollateral",
    "TdxClaims",
    "TrustAnchors",
    "Verified",
    "Window",
    "verify_evidence",
]
