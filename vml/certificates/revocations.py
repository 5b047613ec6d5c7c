"""Revocation lists: what an authority no longer stands by; canonical JSON, ``vml-revocations/1``.

    {"issued_at", "issuer", "next_update", "number", "revoked": [{"reason", "revoked_at", "serial"}...]}

A list is good until its next update; its number rises with each one, so that whoever remembers the last number cannot
be given an older list. An EIP-712 key signs ``RevocationList(string issuer,uint64 number,uint64 issuedAt,uint64
nextUpdate,bytes32 body)`` under the domain of certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vml import canonical
from vml.certificates import reading
from vml.certificates.envelope import Signable, Signature, decode, encode
from vml.errors import MalformedProof
from vml.keccak import keccak256

FORMAT = "vml-revocations/1"
MAX_BYTES = 1 << 22
MAX_REVOKED = 10_000
LIST_TYPE = b"RevocationList(string issuer,uint64 number,uint64 issuedAt,uint64 nextUpdate,bytes32 body)"


@dataclass(frozen=True)
class Revoked:
    """One certificate that no longer holds.

    Args:
        serial: 32 bytes.
        revoked_at: from which unix second on.
        reason: in words.
    """

    serial: bytes
    revoked_at: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {"reason": self.reason, "revoked_at": self.revoked_at, "serial": reading.hexed(self.serial)}

    @classmethod
    def from_json(cls, value: object) -> Revoked:
        """Read what `to_json` wrote. MalformedProof for anything else."""
        found = reading.record("a revocation", value, ("reason", "revoked_at", "serial"))
        return cls(
            reading.bytes32("serial", found["serial"]),
            reading.integer("revoked_at", found["revoked_at"]),
            reading.text("reason", found["reason"], least=0),
        )


@dataclass(frozen=True)
class Revocations:
    """One issue of an authority's list.

    Args:
        issuer: the authority's name.
        number: rises with every issue, from 1.
        issued_at, next_update: first and last unix second at which it is good.
        revoked: by rising serial.
    """

    issuer: str
    number: int
    issued_at: int
    next_update: int
    revoked: tuple[Revoked, ...]

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {**vars(self), "revoked": [each.to_json() for each in self.revoked]}

    @classmethod
    def from_json(cls, value: object) -> Revocations:
        """Read what `to_json` wrote. MalformedProof for anything else."""
        found = reading.record("the list", value, tuple(cls.__dataclass_fields__))
        made = cls(
            issuer=reading.name("issuer", found["issuer"]),
            number=reading.integer("number", found["number"]),
            issued_at=reading.integer("issued_at", found["issued_at"]),
            next_update=reading.integer("next_update", found["next_update"]),
            revoked=reading.items("revoked", found["revoked"], Revoked.from_json, 0, MAX_REVOKED),
        )
        reading.ordered("serials", [each.serial for each in made.revoked])
        if made.number < 1 or made.issued_at > made.next_update:
            raise MalformedProof("a list has a number from 1 on, and ends after it begins")
        return made

    def find(self, serial: bytes) -> Revoked | None:
        """The entry of a certificate; None where it is not revoked."""
        return next((each for each in self.revoked if each.serial == serial), None)

    def signable(self) -> Signable:
        """What its signature covers."""
        body = canonical.encode(self.to_json())
        numbers = b"".join(value.to_bytes(32, "big") for value in (self.number, self.issued_at, self.next_update))
        struct = keccak256(keccak256(LIST_TYPE) + keccak256(self.issuer.encode()) + numbers + keccak256(body))
        return Signable(b"vml/revocations/v1", self.issuer, body, struct)


@dataclass(frozen=True)
class SignedRevocations:
    """A list and its signature."""

    revocations: Revocations
    signature: Signature

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return encode(FORMAT, "revocations", self.revocations.to_json(), self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> SignedRevocations:
        """Read a list, unverified.

        Raises:
            MalformedProof: not the canonical encoding of a list.
        """
        value, signature = decode(data, FORMAT, "revocations", MAX_BYTES)
        return cls(Revocations.from_json(value), signature)
