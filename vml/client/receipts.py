"""A server's receipt: its key's signature of a claim, as everybody can keep and show it.

    {"algorithm":"secp256k1","claim":"0x…","epoch":1,"issued_at":1700000000,"key_id":"0x…","public_key":"0x…64 bytes",
     "sequence":7,"signature":"0x…64 bytes"}

in canonical JSON (RFC 8785), at most `MAX_BYTES`. What is signed is `vml.tee.binding.Receipt`. A plain server's key is
attested by nothing: the receipt proves nothing about the answer. It shows who gave it, so that a server which answered
falsely can be held to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vml import canonical
from vml.claim import parse_bytes32
from vml.errors import MalformedProof, ProofRejected
from vml.tee.binding import PUBLIC_KEY, SIGNATURE, Algorithm, KeyCertificate, Receipt, key_id, sign_receipt
from vml.tee.binding import verify_receipt as verify_signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

MAX_BYTES = 4096
FOREVER = (1 << 64) - 1
ALGORITHMS = {"secp256k1": Algorithm.SECP256K1, "p256": Algorithm.P256}
NAMES = {algorithm: name for name, algorithm in ALGORITHMS.items()}
_FIELDS = {"algorithm", "claim", "epoch", "issued_at", "key_id", "public_key", "sequence", "signature"}


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt, its key and its signature.

    Args:
        receipt: what is said.
        algorithm: how the key signs.
        public_key: 64 bytes, x and y.
        signature: 64 bytes, r and s, low s.
    """

    receipt: Receipt
    algorithm: Algorithm
    public_key: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Canonical JSON, put together here: one is made for every answer of a server."""
        said = self.receipt
        return (
            f'{{"algorithm":"{NAMES[self.algorithm]}","claim":"0x{said.claim.hex()}","epoch":{said.epoch},'
            f'"issued_at":{said.issued_at},"key_id":"0x{said.key_id.hex()}","public_key":"0x{self.public_key.hex()}",'
            f'"sequence":{said.sequence},"signature":"0x{self.signature.hex()}"}}'
        ).encode()


def sign(receipt: Receipt, algorithm: Algorithm, public_key: bytes, key: ec.EllipticCurvePrivateKey) -> SignedReceipt:
    """Sign a receipt.

    Args:
        receipt: names the key.
        algorithm, public_key: of the key.
        key: the key.

    Raises:
        ValueError: the receipt is another key's.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    return SignedReceipt(receipt, algorithm, public_key, sign_receipt(receipt, algorithm, key))


def read(data: bytes | str) -> SignedReceipt:
    """Read a receipt strictly; nothing is checked but its form.

    Raises:
        MalformedProof: anything but a receipt in its one encoding.
    """
    raw = data.encode() if isinstance(data, str) else data
    try:
        item = canonical.decode(raw, max_bytes=MAX_BYTES)
        if not isinstance(item, dict) or set(item) != _FIELDS:
            raise ValueError("not the fields of a receipt")
        if item["algorithm"] not in tuple(ALGORITHMS):
            raise ValueError(f"the algorithm is one of {', '.join(ALGORITHMS)}")
        numbers = [_integer(item[name]) for name in ("epoch", "sequence", "issued_at")]
        return SignedReceipt(
            Receipt(parse_bytes32(item["claim"]), parse_bytes32(item["key_id"]), *numbers),
            ALGORITHMS[item["algorithm"]],
            _bytes(item["public_key"], PUBLIC_KEY),
            _bytes(item["signature"], SIGNATURE),
        )
    except (ValueError, TypeError) as error:
        raise MalformedProof(f"the receipt: {error}") from None


def verify(signed: SignedReceipt, claim: bytes, key: bytes) -> None:
    """Check that a server's key signed for a claim. Returns nothing or raises.

    Args:
        signed: from the server.
        claim: 32-byte digest that it must be about.
        key: 32-byte id of the key that the verifier expects.

    Raises:
        ProofRejected: of another claim or key.
        EvidenceRejected: RECEIPT_SIGNATURE.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    # step 1: it is about this claim.
    if signed.receipt.claim != claim:
        raise ProofRejected("1: the receipt's claim", "0x" + claim.hex(), "0x" + signed.receipt.claim.hex())
    # step 2: the key that is shown is the one that is expected, and the receipt names it.
    shown = key_id(signed.algorithm, signed.public_key)
    if shown != key:
        raise ProofRejected("2: the receipt's key", "0x" + key.hex(), "0x" + shown.hex())
    # step 3: it signed this.
    named = KeyCertificate(signed.algorithm, signed.public_key, bytes(32), bytes(32), signed.receipt.epoch, FOREVER)
    verify_signature(signed.receipt, signed.signature, named)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("a number is missing")
    return value


def _bytes(value: Any, size: int) -> bytes:
    if not isinstance(value, str) or re.fullmatch(rf"0x[0-9a-f]{{{2 * size}}}", value) is None:
        raise ValueError(f"0x and {2 * size} digits are missing")
    return bytes.fromhex(value[2:])
