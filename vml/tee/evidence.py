"""What comes in: evidence, with the collateral that it is verified against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kinds of evidence."""

    SGX = "sgx"
    TDX = "tdx"
    SNP = "snp"
    NITRO = "nitro"
    AZURE = "azure"
    NVIDIA = "nvidia"


@dataclass(frozen=True, slots=True)
class DcapCollateral:
    """What Intel's services say about a platform. Chains are PEM, leaf first, root last; CRLs are DER.

    `tcb_info` and `qe_identity` are the exact bytes Intel signed: the JSON object without the envelope. Signatures are
    64 bytes, r and s.
    """

    tcb_info: bytes
    tcb_info_signature: bytes
    tcb_info_chain: bytes
    qe_identity: bytes
    qe_identity_signature: bytes
    qe_identity_chain: bytes
    pck_crl: bytes
    pck_crl_chain: bytes
    root_crl: bytes


@dataclass(frozen=True, slots=True)
class SnpCollateral:
    """The VCEK or VLEK (DER), the two certificates above (PEM: ASK or ASVK, then ARK), AMD's list (DER, or empty)."""

    vek: bytes
    chain: bytes
    crl: bytes = b""


@dataclass(frozen=True, slots=True)
class AzureCollateral:
    """Collateral of the hardware report inside: SNP's or Intel's."""

    hardware: SnpCollateral | DcapCollateral


@dataclass(frozen=True, slots=True)
class NvidiaCollateral:
    """The device's chain (PEM, leaf first) and the reference manifests (signed XML; empty where there is none)."""

    chain: bytes
    driver_rim: bytes = b""
    vbios_rim: bytes = b""


Collateral = DcapCollateral | SnpCollateral | AzureCollateral | NvidiaCollateral


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece of evidence, as bytes nobody has looked at.

    Args:
        kind: how to read `data`.
        data: the quote (SGX, TDX), the report (SNP, NVIDIA), the COSE document (Nitro), the JSON object (Azure).
        collateral: what the check needs besides; None for Nitro, whose document brings everything.
        event_log: the log behind the run-time registers (TDX), where there is one.
    """

    kind: Kind
    data: bytes
    collateral: Collateral | None = None
    event_log: bytes | None = None
