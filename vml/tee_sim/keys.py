"""Keys from a seed, and signatures that are the same each time.

Elliptic keys follow from seed and name. RSA keys take seconds to find, so there are two for everybody: the primes are
``SHAKE-256(label || counter)`` with the first two bits and the last one set, and the counters below are the first that
give primes. None of this is secret.

Source: RFC 6979 (ECDSA nonces); RFC 8017, section 9.1 (PSS, whose salt is derived here as well).
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache

from Crypto.Hash import SHA384 as PssHash
from Crypto.PublicKey import RSA
from Crypto.Signature import pss
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

RSA_BITS = 4096
EXPONENT = 65537
PRIMES = {"ark": (323, 156), "ask": (692, 168)}
"""For each RSA key the counters of its two primes."""
_RSA_LABEL = b"vml/tee-sim/rsa/v1/"
_KEY_LABEL = b"vml/tee-sim/key/v1/"


def derived(seed: str, name: str, size: int) -> bytes:
    """`size` bytes for a name under a seed."""
    told = seed.encode()
    return hashlib.shake_256(_KEY_LABEL + len(told).to_bytes(4, "big") + told + name.encode()).digest(size)


def serial(seed: str, name: str) -> int:
    """A positive serial number of 19 bytes."""
    return int.from_bytes(derived(seed, f"serial {name}", 19), "big") | 1


@lru_cache(maxsize=256)
def ec_key(seed: str, name: str, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """The key of this name, on `curve`."""
    made = curve()
    number = int.from_bytes(derived(seed, f"{made.name} {name}", made.key_size // 4), "big")
    return ec.derive_private_key(number % (made.group_order - 1) + 1, made)


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> tuple[int, int]:
    """r and s, with the hash that goes with the curve."""
    algorithm = SHA384() if isinstance(key.curve, ec.SECP384R1) else SHA256()
    return decode_dss_signature(key.sign(data, ec.ECDSA(algorithm, deterministic_signing=True)))


def signature_p256(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """r and s, 32 bytes each, big endian."""
    r, s = sign(key, data)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """x and y of the public key."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def prime(name: str, counter: int) -> int:
    """The number that stands at `counter`; a prime at those of `PRIMES`."""
    made = bytearray(hashlib.shake_256(_RSA_LABEL + name.encode() + counter.to_bytes(4, "big")).digest(RSA_BITS // 16))
    made[0] |= 0xC0
    made[-1] |= 1
    return int.from_bytes(made, "big")


@cache
def rsa_key(name: str) -> RSA.RsaKey:
    """One of the two RSA keys, "ark" or "ask"."""
    p, q = (prime(f"{name}/{part}", counter) for part, counter in zip("pq", PRIMES[name], strict=True))
    d = pow(EXPONENT, -1, (p - 1) * (q - 1))
    return RSA.construct((p * q, EXPONENT, d, p, q), consistency_check=False)


@cache
def rsa_public_key(name: str) -> rsa.RSAPublicKey:
    """Its public half."""
    loaded = load_der_public_key(rsa_key(name).public_key().export_key("DER"))
    assert isinstance(loaded, rsa.RSAPublicKey)
    return loaded


def sign_pss(name: str, data: bytes) -> bytes:
    """RSASSA-PSS with SHA-384 and a salt of 48 bytes, derived from what is signed."""

    def salt(size: int) -> bytes:
        return hashlib.shake_256(b"vml/tee-sim/salt/v1/" + data).digest(size)

    signer = pss.new(rsa_key(name), salt_bytes=PssHash.digest_size, rand_func=salt)
    return signer.sign(PssHash.new(data))
