"""The bytes of a signed run: one encoding, fixed fields first, every length known before it is read.

Integers are big-endian::

     1  algorithm of the key                      8  sequence of the receipt
    64  public key: x, y                          8  issued at, unix seconds
    32  model of the certificate                 64  signature of the receipt: r, s
    32  policy id                                32  graph root
     8  epoch                                    u32 length || input specs
     8  not after, unix seconds                  u32 length || output specs
    32  nonce that the evidence answers          u32 length || appraisal policy, canonical JSON
                                                 u32 length || evidence, the file of docs/tee-evidence.md

The receipt's claim and key id are not in it: they follow from the envelope's claim and the certificate. In a float run
(``docs/tee-float.md``) the SHA-256 of the ONNX file stands in place of the graph root, and before the input specs
u32 length || description of the runtime. Where the certificate names GPUs there follows::

    32  entry 7 of the certificate               u32 length || evidence, of each GPU, ids ascending
     1  count of GPUs, 1 .. 64
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from vml import canonical, policyfile
from vml.errors import MalformedProof
from vml.keccak import HASH_BYTES
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.binding import PUBLIC_KEY, SIGNATURE, UINT64, Algorithm, KeyCertificate, Receipt
from vml.tee.files import MAX_BYTES as MAX_EVIDENCE_BYTES

NONCE = 32
MAX_SPEC_BYTES = 1 << 24
MAX_DESCRIPTION_BYTES = 1 << 16
MAX_GPUS = 64
_HEAD = struct.Struct(f">B{PUBLIC_KEY}s32s32sQQ{NONCE}sQQ{SIGNATURE}s{HASH_BYTES}s")
_HEAD_FIELDS = ("nonce", "sequence", "issued_at", "signature", "source")
_LIMITS = {
    "description": MAX_DESCRIPTION_BYTES,
    "inputs": MAX_SPEC_BYTES,
    "outputs": MAX_SPEC_BYTES,
    "policy": policyfile.MAX_POLICY_BYTES,
    "evidence": MAX_EVIDENCE_BYTES,
}
_GPUS = struct.Struct(f">{HASH_BYTES}sB")


@dataclass(frozen=True)
class SignedRun:
    """What an attested key says of one run, and what makes the key one.

    Args:
        certificate: of the key.
        nonce: 32 bytes that the evidence answers.
        sequence: of the receipt.
        issued_at: of the receipt, unix seconds.
        signature: 64 bytes r, s of the receipt's digest.
        source: 32 bytes: the graph root, or the SHA-256 of an ONNX file.
        inputs, outputs: encoded specs, as the engine has them.
        policy: canonical JSON of the appraisal policy that the key was made for, at most 1 MiB.
        evidence: the self-contained file (`vml.tee.files`), at most 24 MiB.
        description: of the runtime, where the engine has one; else empty.
        gpus: a file of evidence for each GPU, where the certificate names some; verifiers want ascending evidence ids.

    Raises:
        ValueError: a field of another size or range; GPUs without a certificate that names them, or the reverse.
    """

    certificate: KeyCertificate
    nonce: bytes
    sequence: int
    issued_at: int
    signature: bytes
    source: bytes
    inputs: bytes
    outputs: bytes
    policy: bytes
    evidence: bytes
    description: bytes = b""
    gpus: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if (self.certificate.gpus is None) != (not self.gpus) or len(self.gpus) > MAX_GPUS:
            raise ValueError(f"a key names GPUs exactly where there is evidence of them, of at most {MAX_GPUS}")
        if len(self.nonce) != NONCE or len(self.signature) != SIGNATURE or len(self.source) != HASH_BYTES:
            raise ValueError(f"a nonce is {NONCE} bytes, a signature {SIGNATURE}, a root {HASH_BYTES}")
        if not 0 <= self.sequence < UINT64 or not 0 <= self.issued_at < UINT64:
            raise ValueError("sequence and time are integers of 64 bits")
        sized = [(getattr(self, name), limit) for name, limit in _LIMITS.items()]
        for part, limit in [*sized, *((gpu, MAX_EVIDENCE_BYTES) for gpu in self.gpus)]:
            if len(part) > limit:
                raise ValueError(f"a part of {len(part)} bytes, at most {limit}")

    def receipt(self, claim: bytes) -> Receipt:
        """The receipt of a claim's digest, of 32 bytes, as this key signed it."""
        return Receipt(claim, self.certificate.key_id, self.certificate.epoch, self.sequence, self.issued_at)

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        certificate = self.certificate
        parts = [
            _HEAD.pack(
                certificate.algorithm,
                certificate.public_key,
                certificate.model,
                certificate.policy_id,
                certificate.epoch,
                certificate.not_after,
                self.nonce,
                self.sequence,
                self.issued_at,
                self.signature,
                self.source,
            )
        ]
        held = [getattr(self, name) for name in _LIMITS if name != "description" or self.description]
        parts += map(_sized, held)
        if certificate.gpus is not None:
            parts += [_GPUS.pack(certificate.gpus, len(self.gpus)), *map(_sized, self.gpus)]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, described: bool = False) -> SignedRun:
        """Read what `encode` wrote; nothing else is accepted. Description, policy and evidence stay bytes.

        Args:
            data: bytes from anyone.
            described: the engine's runs have a description, which is not empty.

        Raises:
            MalformedProof: bytes are missing or left over, or a field is out of its bounds.
        """
        try:
            algorithm, public_key, model, policy_id, epoch, not_after, *held = _HEAD.unpack_from(data)
            names = [name for name in _LIMITS if name != "description" or described]
            parts: dict[str, Any] = dict(zip(_HEAD_FIELDS, held, strict=True))
            at = _HEAD.size
            for name in names:
                parts[name], at = _part(data, at)
            named, gpus = None, list[bytes]()
            if at < len(data):
                named, count = _GPUS.unpack_from(data, at)
                at += _GPUS.size
                for _ in range(count):
                    gpu, at = _part(data, at)
                    gpus.append(gpu)
            certificate = KeyCertificate(Algorithm(algorithm), public_key, model, policy_id, epoch, not_after, named)
            run = cls(certificate, gpus=tuple(gpus), **parts)
        except (struct.error, ValueError) as error:
            raise MalformedProof(f"the signed run: {error}") from None
        if at != len(data) or described != bool(run.description):
            raise MalformedProof("the signed run does not end with its evidence, or has no description")
        return run


def _sized(part: bytes) -> bytes:
    return struct.pack(">I", len(part)) + part


def _part(data: bytes, at: int) -> tuple[bytes, int]:
    """The part that begins at `at`, as far as there is one, and where it should end."""
    (size,) = struct.unpack_from(">I", data, at)
    return data[at + 4 : at + 4 + size], at + 4 + size


def read_policy(data: bytes) -> AppraisalPolicy:
    """An appraisal policy from its canonical JSON (`AppraisalPolicy.canonical`).

    Args:
        data: bytes from anyone.

    Raises:
        MalformedProof: anything but the canonical form of a policy.
    """
    try:
        fields = canonical.decode(data, max_bytes=policyfile.MAX_POLICY_BYTES)
        if not isinstance(fields, dict):
            raise MalformedProof("the appraisal policy is no object")
        policy = policyfile.validated(AppraisalPolicy, fields, "the appraisal policy")
    except (canonical.NotCanonical, ValueError) as error:
        raise MalformedProof(str(error)[:500]) from None
    if policy.canonical() != data:
        raise MalformedProof("the appraisal policy is not in its one encoding")
    return policy
