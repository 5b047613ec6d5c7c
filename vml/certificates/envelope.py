"""What certificates and revocation lists share: a signed object in canonical JSON, and the forms that keys sign.

    {"format": name, member: {...}, "signature": {"keys": [base64...], "kind", "value": base64}}

The signature covers the member's canonical bytes. Ed25519 keys and those of X.509 certificates sign
``tag || 0x0A || kind || 0x0A || bytes``, so that no signature is good as another kind's or for another statement; an
EIP-712 key signs a struct that shows what matters and holds the keccak-256 of the bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vml import canonical
from vml.certificates import reading
from vml.errors import MalformedProof
from vml.keccak import keccak256

MAX_KEYS = 8
MAX_KEY_BYTES = 1 << 14
MAX_SIGNATURE_BYTES = 1 << 10

DOMAIN_TYPE = b"EIP712Domain(string name,string version)"
DOMAIN = keccak256(keccak256(DOMAIN_TYPE) + keccak256(b"vml certificates") + keccak256(b"1"))


@dataclass(frozen=True)
class Signable:
    """What is signed.

    Args:
        tag: tells what kind of statement it is.
        issuer: who says it.
        body: its canonical bytes.
        struct: 32-byte hashStruct of EIP-712.
    """

    tag: bytes
    issuer: str
    body: bytes
    struct: bytes

    def message(self, kind: str) -> bytes:
        """What a key of this kind signs, unless it signs typed data."""
        return self.tag + b"\n" + kind.encode() + b"\n" + self.body

    def digest(self) -> bytes:
        """The 32 bytes that an EIP-712 key signs."""
        return keccak256(b"\x19\x01" + DOMAIN + self.struct)


@dataclass(frozen=True)
class Signature:
    """A signature as it travels.

    Args:
        kind: "ed25519", "eip712" or "x509".
        keys: the public key (32 bytes; x and y, 64 bytes), or the chain's certificates in DER, leaf first.
        value: the signature.
    """

    kind: str
    keys: tuple[bytes, ...]
    value: bytes

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        keys = [base64.b64encode(key).decode() for key in self.keys]
        return {"keys": keys, "kind": self.kind, "value": base64.b64encode(self.value).decode()}

    @classmethod
    def from_json(cls, value: object) -> Signature:
        """Read what `to_json` wrote. MalformedProof for anything else."""
        found = reading.record("signature", value, ("keys", "kind", "value"))
        keys = reading.items("keys", found["keys"], lambda k: reading.binary("a key", k, MAX_KEY_BYTES), 1, MAX_KEYS)
        kind = reading.text("kind", found["kind"])
        return cls(kind, keys, reading.binary("the signature", found["value"], MAX_SIGNATURE_BYTES))


def encode(name: str, member: str, value: Mapping[str, Any], signature: Signature) -> bytes:
    """A signed object as canonical JSON."""
    return canonical.encode({"format": name, member: value, "signature": signature.to_json()})


def decode(data: bytes, name: str, member: str, max_bytes: int) -> tuple[Any, Signature]:
    """The object that `encode` wrote, and its signature, unverified.

    Raises:
        MalformedProof: other bytes, or an object of another format.
    """
    # step 1: the one encoding, so that what is signed has one text
    try:
        value = canonical.decode(data, max_bytes=max_bytes)
    except canonical.NotCanonical as error:
        raise MalformedProof(f"{name}: {error}") from error

    # step 2: of this format
    found = reading.record(f"a file of format {name}", value, ("format", member, "signature"))
    if found["format"] != name:
        raise MalformedProof(f"format {str(found['format'])[:80]!r}, expected {name!r}")
    return found[member], Signature.from_json(found["signature"])
