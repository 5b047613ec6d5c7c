"""Whose revocation lists were looked at for genuine evidence, in words: a verdict says so, and where none were."""

from __future__ import annotations

from vml.tee.verified import AzureClaims, NitroClaims, NvidiaClaims, SgxClaims, SnpClaims, TdxClaims, Verified


def revocation(claims: Verified) -> str:
    """What is known about revoked certificates under these claims. It begins with "checked" or with "NOT CHECKED"."""
    if isinstance(claims, AzureClaims):
        return revocation(claims.hardware)
    if isinstance(claims, SgxClaims | TdxClaims):
        root, platforms = claims.tcb.crl_numbers
        return f"checked: Intel's lists, of authorities (number {root}) and of platforms (number {platforms})"
    if isinstance(claims, SnpClaims):
        if claims.crl_number is None:
            return "NOT CHECKED: AMD's list did not come with the evidence"
        return f"checked: AMD's list, of signing keys (number {claims.crl_number}); none names a single chip"
    if isinstance(claims, NitroClaims):
        return "NOT CHECKED: AWS's lists do not come with documents; their certificates live for hours"
    if isinstance(claims, NvidiaClaims):
        return "NOT CHECKED: NVIDIA tells about revoked GPUs and manifests online only"
    raise TypeError(f"claims of no known kind: {type(claims).__name__}")
