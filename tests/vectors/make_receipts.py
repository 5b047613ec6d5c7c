"""Makes the vectors of key certificates and receipts: a second implementation of the bytes, from docs/tee-evidence.md.

Nothing of vml is imported. CBOR is cbor2's, typed data and secp256k1 signatures are a wallet's (eth_account); P-256 is
written out here, with the nonce of RFC 6979, and stands the example of its appendix A.2.5.

Run: ``python tests/vectors/make_receipts.py``
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import cbor2
from Crypto.Hash import keccak
from eth_account import Account
from eth_account.messages import encode_typed_data

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_receipts.py"
ORIGIN = "Written out by the generator from docs/tee-evidence.md and RFC 6979, without importing vml."
LARGEST = (1 << 64) - 1

# P-256: the field's modulus, the order, and the generator's coordinates. SEC 2, section 2.4.2.
P = (1 << 256) - (1 << 224) + (1 << 192) + (1 << 96) - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

Point = tuple[int, int] | None


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def added(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    (x, y), (u, v) = one, other
    if x == u and (y + v) % P == 0:
        return None
    slope = (3 * x * x - 3) * pow(2 * y, -1, P) if x == u else (v - y) * pow(u - x, -1, P)
    w = (slope * slope - x - u) % P
    return w, (slope * (x - w) - y) % P


def times(count: int, point: Point) -> Point:
    found: Point = None
    while count:
        found = added(found, point) if count & 1 else found
        point, count = added(point, point), count >> 1
    return found


def nonce(secret: int, digest: bytes) -> int:
    """RFC 6979, section 3.2, with SHA-256; the first candidate is in range in every vector."""

    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, hashlib.sha256).digest()

    seed = secret.to_bytes(32, "big") + (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    key, value = bytes(32), b"\x01" * 32
    for separator in (b"\x00", b"\x01"):
        key = mac(key, value + separator + seed)
        value = mac(key, value)
    found = int.from_bytes(mac(key, value), "big")
    assert 0 < found < N
    return found


def p256(secret: int, digest: bytes) -> tuple[int, int]:
    k = nonce(secret, digest)
    point = times(k, G)
    assert point is not None
    r = point[0] % N
    return r, (int.from_bytes(digest, "big") + r * secret) * pow(k, -1, N) % N


def packed(first: int, second: int) -> bytes:
    return first.to_bytes(32, "big") + second.to_bytes(32, "big")


def typed(receipt: dict[str, Any]) -> dict[str, Any]:
    """What a wallet is shown."""
    members = ("claim bytes32", "keyId bytes32", "epoch uint64", "sequence uint64", "issuedAt uint64")
    domain = ("name string", "version string")
    return {
        "domain": {"name": "vml", "version": "1"},
        "types": {
            name: [dict(zip(("name", "type"), field.split(), strict=True)) for field in listed]
            for name, listed in (("EIP712Domain", domain), ("Receipt", members))
        },
        "primaryType": "Receipt",
        "message": receipt,
    }


def case(name: str, algorithm: int, numbers: tuple[int, int, int, int]) -> dict[str, Any]:
    """One key certificate and one receipt; `numbers`: epoch, the key's last second, sequence, time of issue."""
    epoch, not_after, sequence, issued_at = numbers
    secret = int.from_bytes(keccak256(b"secret of " + name.encode()), "big") >> 1
    if algorithm == 1:
        public = bytes(Account.from_key(secret.to_bytes(32, "big"))._key_obj.public_key.to_bytes())
    else:
        point = times(secret, G)
        assert point is not None
        public = packed(*point)
    model, policy = keccak256(b"model of " + name.encode()), keccak256(b"policy of " + name.encode())
    encoded = cbor2.dumps({1: algorithm, 2: public, 3: model, 4: policy, 5: epoch, 6: not_after}, canonical=True)
    key_id = keccak256(bytes([algorithm]) + public)
    claim = keccak256(b"claim of " + name.encode())
    fields = {"claim": claim, "keyId": key_id, "epoch": epoch, "sequence": sequence, "issuedAt": issued_at}
    message = encode_typed_data(full_message=typed(fields))
    digest = keccak256(b"\x19\x01" + message.header + message.body)
    made: dict[str, Any] = {
        "name": name,
        "secret": "0x" + secret.to_bytes(32, "big").hex(),
        "certificate": {
            "algorithm": algorithm,
            "public_key": "0x" + public.hex(),
            "model": "0x" + model.hex(),
            "policy_id": "0x" + policy.hex(),
            "epoch": str(epoch),
            "not_after": str(not_after),
        },
        "certificate_cbor": "0x" + encoded.hex(),
        "certificate_digest": "0x" + hashlib.sha256(b"vml/tee-key/v1" + encoded).hexdigest(),
        "key_id": "0x" + key_id.hex(),
        "receipt": {"claim": "0x" + claim.hex(), "sequence": str(sequence), "issued_at": str(issued_at)},
        "receipt_digest": "0x" + digest.hex(),
    }
    if algorithm == 1:
        signed = Account.sign_message(message, secret.to_bytes(32, "big"))
        return made | {"signature": "0x" + packed(signed.r, signed.s).hex(), "v": signed.v}
    r, s = p256(secret, digest)
    return made | {"signature": "0x" + packed(r, min(s, N - s)).hex()}


def build() -> dict[str, dict[str, Any]]:
    """Every vector file, by its name."""
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    assert p256(secret, hashlib.sha256(b"sample").digest()) == (
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )
    cases = [
        case(f"{curve} {what}", algorithm, numbers)
        for curve, algorithm in (("secp256k1", 1), ("P-256", 2))
        for what, numbers in (
            ("first", (0, 1_800_000_000, 0, 1_700_000_000)),
            ("small", (23, 24, 255, 24)),
            ("byte", (24, 256, 256, 255)),
            ("word", (65_535, 65_536, 4_294_967_295, 65_536)),
            ("largest", (LARGEST, LARGEST, LARGEST, LARGEST)),
        )
    ]
    return {"receipts.json": {"origin": ORIGIN, "generator": GENERATOR, "cases": cases}}


def main() -> None:
    for name, value in build().items():
        (HERE / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
