"""Whom evidence is trusted for: vendor roots, pinned by SHA-256 of the certificate and of its public key.

Certificates come with evidence and collateral; here are only their hashes. Which roots count is decided by the caller's
configuration alone, never by evidence and never by the environment. Simulators have roots of their own, which carry a
marker that no vendor's does: they are refused by name unless the caller added them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SIMULATOR_OID = "1.3.6.1.4.1.32473.3824995031.3308148766.3018005398.2611369378"
"""A certificate extension that says: made by a simulator.

Below the number that RFC 5612 reserves for examples, which no vendor uses, it is the UUID
e3fccad7-c52e-581e-b3e3-1b969ba655a2 in four numbers, since libraries hold 32 bits of one.
"""
SIMULATOR_NAME = "NOT A REAL TEE"
"""What every subject under a simulator's root says."""
SIMULATOR_FMSPC = bytes.fromhex("ff53494d554c")
"""The family of platforms that simulated Intel quotes name; Intel gives out none that begins with ff."""


class Family(StrEnum):
    """Chains that end in a root of their own."""

    INTEL = "intel-sgx"
    AMD_MILAN = "amd-milan"
    AMD_GENOA = "amd-genoa"
    AMD_TURIN = "amd-turin"
    AWS_NITRO = "aws-nitro"
    NVIDIA_DEVICE = "nvidia-device"
    NVIDIA_RIM = "nvidia-rim"


@dataclass(frozen=True, slots=True)
class Root:
    """One root certificate: SHA-256 of its DER and of its SubjectPublicKeyInfo, 32 bytes each."""

    family: Family
    certificate: bytes
    public_key: bytes
    simulated: bool = False

    def __post_init__(self) -> None:
        if len(self.certificate) != 32 or len(self.public_key) != 32:
            raise ValueError("a root is pinned by two SHA-256 digests of 32 bytes")


def _pin(family: Family, certificate: str, public_key: str) -> Root:
    return Root(family, bytes.fromhex(certificate), bytes.fromhex(public_key))


VENDOR_ROOTS = (
    # CN=Intel SGX Root CA, 2018-05-21 to 2049-12-31
    _pin(
        Family.INTEL,
        "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
        "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e",
    ),
    # CN=ARK-Milan, 2020-10-22 to 2045-10-22
    _pin(
        Family.AMD_MILAN,
        "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
        "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
    ),
    # CN=ARK-Genoa, 2022-01-26 to 2047-01-26
    _pin(
        Family.AMD_GENOA,
        "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
        "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
    ),
    # CN=ARK-Turin, 2023-05-15 to 2048-05-15
    _pin(
        Family.AMD_TURIN,
        "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
        "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
    ),
    # CN=aws.nitro-enclaves, 2019-10-28 to 2049-10-28
    _pin(
        Family.AWS_NITRO,
        "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
        "f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225",
    ),
    # CN=NVIDIA Device Identity CA, 2021-11-05, no end
    _pin(
        Family.NVIDIA_DEVICE,
        "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48",
        "a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4",
    ),
    # CN=NVIDIA CoRIM signing Root CA, 2023-03-16 to 2053-03-08
    _pin(
        Family.NVIDIA_RIM,
        "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1",
        "dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3",
    ),
)


class TrustAnchors:
    """The roots a caller trusts. Immutable; made by `vendors`, widened by `with_simulator`."""

    __slots__ = ("_roots",)

    def __init__(self, roots: Iterable[Root]) -> None:
        self._roots = tuple(roots)

    @classmethod
    def vendors(cls) -> TrustAnchors:
        """The vendors' own roots, as pinned here: the default."""
        return cls(VENDOR_ROOTS)

    def with_simulator(self, roots: Iterable[Root]) -> TrustAnchors:
        """These anchors and a simulator's roots. Every verdict that rests on one says ``simulated``.

        Raises:
            ValueError: a root does not say that it is simulated.
        """
        added = tuple(roots)
        if not all(root.simulated for root in added):
            raise ValueError("a simulator's root has to be marked as simulated")
        return TrustAnchors((*self._roots, *added))

    @property
    def roots(self) -> tuple[Root, ...]:
        return self._roots

    def find(self, families: Iterable[Family], certificate: bytes, public_key: bytes) -> Root | None:
        """The pinned root with these bytes (DER of the certificate, DER of its public key), or None."""
        wanted = set(families)
        digests = hashlib.sha256(certificate).digest(), hashlib.sha256(public_key).digest()
        for root in self._roots:
            if root.family in wanted and (root.certificate, root.public_key) == digests:
                return root
        return None
