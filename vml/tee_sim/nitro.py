"""Simulated attestation documents of Nitro enclaves; the layout is that of `vml.tee.nitro.document`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from vml.tee_sim.certificates import DAY, FIRST, LAST, Authority, Certificate
from vml.tee_sim.faults import Fault
from vml.tee_sim.keys import derived, ec_key, sign

HOUR = 3600
LIFE = 3 * HOUR
"""How long a document's certificate lives."""
PROTECTED = cbor2.dumps({1: -35})
PCRS = 16
_CHAIN = ("Nitro root", "Nitro region", "Nitro zone", "Nitro instance")


def _authority(seed: str, name: str) -> Authority:
    return Authority(seed, name, ec.SECP384R1)


@cache
def root_certificate(seed: str) -> bytes:
    """The root, in DER."""
    root = _authority(seed, "Nitro root")
    return Certificate(root, root, authority=len(_CHAIN) - 1).der()


@lru_cache(maxsize=64)
def _bundle(seed: str, day: int) -> tuple[bytes, ...]:
    """From the root down to the instance's certificate, which lives for two days."""
    made = [root_certificate(seed)]
    for depth, name in enumerate(_CHAIN[1:], 1):
        valid = (day, day + 2 * DAY) if depth == len(_CHAIN) - 1 else (FIRST, LAST)
        holder, issuer = _authority(seed, name), _authority(seed, _CHAIN[depth - 1])
        made.append(Certificate(holder, issuer, valid=valid, authority=len(_CHAIN) - 1 - depth).der())
    return tuple(made)


@lru_cache(maxsize=64)
def _leaf(seed: str, first: int) -> bytes:
    holder, issuer = _authority(seed, "Nitro enclave"), _authority(seed, _CHAIN[-1])
    return Certificate(holder, issuer, valid=(first, first + LIFE)).der()


def document(
    seed: str, report_data: bytes, public_key: bytes | None, measured: Mapping[str, bytes], at: int, fault: Fault | None
) -> bytes:
    """A document.

    Args:
        seed: whose keys.
        report_data: 64 bytes: user data and nonce, 32 each.
        public_key: what the enclave puts into the field of that name; None: nothing.
        measured: all PCRs.
        at: unix seconds, the document's time.
        fault: what is wrong with it, or None.
    """
    hour, day = at - at % HOUR, at - at % DAY
    pcrs = {index: measured[f"pcr{index}"] for index in range(PCRS)}
    if fault == Fault.DEBUG:
        pcrs |= {index: bytes(48) for index in range(3)}
    payload = cbor2.dumps(
        {
            "module_id": f"i-{derived(seed, 'instance', 8).hex()}-enc{derived(seed, 'enclave', 8).hex()}",
            "digest": "SHA384",
            "timestamp": at * 1000,
            "pcrs": pcrs,
            "certificate": _leaf(seed, hour - LIFE - 1 if fault == Fault.EXPIRED else hour),
            "cabundle": list(_bundle(seed, day)),
            "public_key": public_key,
            "user_data": report_data[:32],
            "nonce": report_data[32:],
        }
    )
    name = "Nitro other enclave" if fault == Fault.BAD_KEY else "Nitro enclave"
    signed = cbor2.dumps(["Signature1", PROTECTED, b"", payload])
    r, s = sign(ec_key(seed, name, ec.SECP384R1), signed)
    return cbor2.dumps([PROTECTED, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])
