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

The receipt's claim and key id are not in it: they follow from the envelope's claim and the certificate. Nor is entry 7
of the certificate, the digest of GPUs: keys that have one sign no runs of the exact model.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vml import canonical, policyfile
from vml.errors import MalformedProof
from vml.keccak import HASH_BYTES
from vml.merkle import model_digest
from vml.model.semantics import semantics_digest
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.binding import PUBLIC_KEY, SIGNATURE, UINT64, Algorithm, KeyCertificate, Receipt
from vml.tee.files import MAX_BYTES as MAX_EVIDENCE_BYTES

NONCE = 32
MAX_SPEC_BYTES = 1 << 24
_HEAD = struct.Struct(f">B{PUBLIC_KEY}s32s32sQQ{NONCE}sQQ{SIGNATURE}s{HASH_BYTES}s")
_LIMITS = (MAX_SPEC_BYTES, MAX_SPEC_BYTES, policyfile.MAX_POLICY_BYTES, MAX_EVIDENCE_BYTES)


@dataclass(frozen=True)
class SignedRun:
    """What an attested key says of one run, and what makes the key one.

    Args:
        certificate: of the key; it names no GPUs, whose evidence is not carried: the exact model runs on none.
        nonce: 32 bytes that the evidence answers.
        sequence: of the receipt.
        issued_at: of the receipt, unix seconds.
        signature: 64 bytes r, s of the receipt's digest.
        graph: 32-byte graph root.
        inputs, outputs: encoded specs (`vml.model.graph.encode_specs`).
        policy: canonical JSON of the appraisal policy that the key was made for, at most 1 MiB.
        evidence: the self-contained file (`vml.tee.files`), at most 24 MiB.

    Raises:
        ValueError: a field of another size or range.
    """

    certificate: KeyCertificate
    nonce: bytes
    sequence: int
    issued_at: int
    signature: bytes
    graph: bytes
    inputs: bytes
    outputs: bytes
    policy: bytes
    evidence: bytes

    def __post_init__(self) -> None:
        if self.certificate.gpus is not None:
            raise ValueError("a signed run carries no evidence of GPUs, so its key may name none")
        if len(self.nonce) != NONCE or len(self.signature) != SIGNATURE or len(self.graph) != HASH_BYTES:
            raise ValueError(f"a nonce is {NONCE} bytes, a signature {SIGNATURE}, a root {HASH_BYTES}")
        if not 0 <= self.sequence < UINT64 or not 0 <= self.issued_at < UINT64:
            raise ValueError("sequence and time are integers of 64 bits")
        for part, limit in zip(self._parts, _LIMITS, strict=True):
            if len(part) > limit:
                raise ValueError(f"a part of {len(part)} bytes, at most {limit}")

    @property
    def _parts(self) -> tuple[bytes, bytes, bytes, bytes]:
        return self.inputs, self.outputs, self.policy, self.evidence

    @property
    def model(self) -> bytes:
        """The model identity that graph root and specs hash to."""
        return model_digest(semantics_digest(), self.graph, self.inputs, self.outputs)

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
                self.graph,
            )
        ]
        for part in self._parts:
            parts += [struct.pack(">I", len(part)), part]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> SignedRun:
        """Read what `encode` wrote; nothing else is accepted. Policy and evidence stay bytes.

        Args:
            data: bytes from anyone.

        Raises:
            MalformedProof: bytes are missing or left over, or a field is out of its bounds.
        """
        try:
            algorithm, public_key, model, policy_id, epoch, not_after, *rest = _HEAD.unpack_from(data)
            certificate = KeyCertificate(Algorithm(algorithm), public_key, model, policy_id, epoch, not_after)
            parts, at = [], _HEAD.size
            for _ in _LIMITS:
                (size,) = struct.unpack_from(">I", data, at)
                parts.append(data[at + 4 : at + 4 + size])
                at += 4 + size
            run = cls(certificate, *rest, *parts)
        except (struct.error, ValueError) as error:
            raise MalformedProof(f"the signed run: {error}") from None
        if at != len(data):
            raise MalformedProof("the signed run does not end with its evidence")
        return run


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
