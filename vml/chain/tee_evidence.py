"""A key and the evidence for it, before any contract knows it: where it comes from, and whether it is to be believed.

What an attester answers to ``POST /v1/attest`` is such a file, and a signed run carries the same beside its receipt::

    {"certificate":{"algorithm":1,"epoch":"1","gpus":null,"model":"0x…","not_after":"…","policy_id":"0x…",
     "public_key":"0x…"},"evidence":{…},"gpus":[…],"nonce":"0x…"}

`judge` is what an attestor does before signing: it raises or returns what a contract is to be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vml import canonical
from vml.backends.tee.attester import ask
from vml.backends.tee.engines import engine_of
from vml.backends.tee.payload import MAX_GPUS, SignedRun
from vml.claim import parse_bytes32
from vml.errors import MalformedProof, ProofRejected
from vml.proof import Proof
from vml.tee.anchors import TrustAnchors
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.appraise import AttestationResult, appraise
from vml.tee.binding import Algorithm, KeyCertificate, require_bound
from vml.tee.evidence import Evidence
from vml.tee.files import MAX_BYTES, read_json, write_json
from vml.tee.gpus import gpu_nonce, require_gpus_bound
from vml.tee.reasons import Reason, rejected
from vml.tee.verified import NvidiaClaims
from vml.tee.verify import verify_evidence

PATH = "/v1/attest"
TIMEOUT_S = 120.0
ENDLESS = (1 << 64) - 1
"""The last second of what nothing ends."""
_FIELDS = frozenset({"certificate", "evidence", "gpus", "nonce"})


@dataclass(frozen=True)
class KeyEvidence:
    """What says that a key is attested. Nothing of it is checked yet.

    Args:
        certificate: of the key.
        nonce: 32 bytes that the evidence answers.
        evidence: of the processor.
        gpus: of the GPUs that the certificate names.
    """

    certificate: KeyCertificate
    nonce: bytes
    evidence: Evidence
    gpus: tuple[Evidence, ...] = ()

    def to_bytes(self) -> bytes:
        """As an attester answers it."""
        parts = [canonical.decode(write_json(item), max_bytes=MAX_BYTES) for item in (self.evidence, *self.gpus)]
        return canonical.encode(
            {
                "certificate": certificate_json(self.certificate),
                "evidence": parts[0],
                "gpus": parts[1:],
                "nonce": "0x" + self.nonce.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyEvidence:
        """Read an attester's answer.

        Args:
            data: bytes from anyone.

        Raises:
            MalformedProof: something else.
        """
        try:
            item = canonical.decode(data, max_bytes=MAX_BYTES)
            if not isinstance(item, dict) or set(item) != _FIELDS or not isinstance(item["gpus"], list):
                raise ValueError("not an object of certificate, evidence, gpus and nonce")
            if len(item["gpus"]) > MAX_GPUS:
                raise ValueError(f"more than {MAX_GPUS} GPUs")
            first, *gpus = (read_json(canonical.encode(part)) for part in (item["evidence"], *item["gpus"]))
            return cls(read_certificate(item["certificate"]), parse_bytes32(item["nonce"]), first, tuple(gpus))
        except (TypeError, AttributeError, ValueError) as error:
            raise MalformedProof(f"an attested key: {error}") from None

    @classmethod
    def of_proof(cls, proof: Proof) -> KeyEvidence:
        """What a signed run carries.

        Raises:
            MalformedProof: the proof is none.
        """
        if proof.backend != "tee":
            raise MalformedProof(f"a proof of {proof.backend} carries no attested key")
        run = SignedRun.decode(proof.payload, engine_of(proof.scheme).described)
        return cls(run.certificate, run.nonce, read_json(run.evidence), tuple(map(read_json, run.gpus)))

    @classmethod
    def of_attester(cls, address: str, nonce: bytes, timeout_s: float = TIMEOUT_S) -> KeyEvidence:
        """Ask an attester for evidence that answers a nonce of 32 bytes.

        Raises:
            ProvingError: nobody answers, or it refuses.
            MalformedProof: the answer is none.
            ValueError: no such address.
        """
        return cls.from_bytes(ask(address, canonical.encode({"nonce": "0x" + nonce.hex()}), timeout_s, PATH))


@dataclass(frozen=True)
class Finding:
    """What contracts are told of evidence that was accepted; ISignerRegistry.Finding.

    Args:
        evidence: 32 bytes, vml's evidence id.
        collateral_end: the last second at which what it rests on is valid, and the policy accepts it.
        simulated: it is a simulator's.
        deadline: the last second at which signatures of it are of use.
    """

    evidence: bytes
    collateral_end: int
    simulated: bool
    deadline: int

    @property
    def words(self) -> tuple[Any, ...]:
        """As the contract takes them."""
        return self.evidence, self.collateral_end, self.simulated, self.deadline


def judge(
    key: KeyEvidence,
    policy: AppraisalPolicy,
    anchors: TrustAnchors,
    at: int,
    nonce: bytes | None,
    *,
    nonce_sent_at: int | None = None,
) -> tuple[AttestationResult, ...]:
    """Check that a key is attested, and acceptable. Returns the result of the processor and of each GPU, or raises.

    Args:
        key: from anyone.
        policy: the judge's own; key certificates name it.
        anchors: whom the judge trusts.
        at: unix seconds for which to judge.
        nonce: what the judge had the attester repeat; None takes evidence that answers somebody else's.
        nonce_sent_at: when that was; says nothing about somebody else's.

    Raises:
        ProofRejected: the key was made for another policy.
        EvidenceRejected: not genuine, not acceptable, or about another key; with one code of `vml.tee.reasons.Reason`.
        MalformedProof: evidence that cannot be read.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    # step 1: the key was made for the judge's policy.
    certificate = key.certificate
    if certificate.policy_id != policy.policy_id:
        raise ProofRejected("the appraisal policy", "0x" + policy.policy_id.hex(), "0x" + certificate.policy_id.hex())
    # step 2: the processor's evidence is genuine, acceptable, and carries this certificate. Only the judge's own nonce
    # says how old it is.
    asked = key.nonce if nonce is None else nonce
    sent_at = None if nonce is None else nonce_sent_at
    verified = verify_evidence(key.evidence, anchors, at)
    result = appraise(verified, policy, at, asked, nonce_issued_at=sent_at)
    require_bound(certificate, verified)
    # step 3: it answers the nonce that is shown.
    if verified.nonce != key.nonce:
        raise rejected(Reason.NONCE_MISMATCH, "the evidence answers another nonce than the one that is shown")
    # step 4: the key has not ended.
    if at > certificate.not_after:
        raise rejected(Reason.KEY_EXPIRED, f"the key ended at unix time {certificate.not_after}")
    # step 5: what comes besides is genuine, acceptable evidence of GPUs, which answers this key and nonce.
    challenge, gpus, accepted = gpu_nonce(certificate.public_key, key.nonce), [], [result]
    for item in key.gpus:
        gpu = verify_evidence(item, anchors, at)
        if not isinstance(gpu, NvidiaClaims):
            raise rejected(Reason.GPU_BINDING, f"evidence of {gpu.kind} among that of GPUs")
        accepted.append(appraise(gpu, policy, at, challenge, nonce_issued_at=sent_at))
        gpus.append(gpu)
    # step 6: of exactly the GPUs that the certificate names.
    require_gpus_bound(certificate, gpus, key.nonce)
    return tuple(accepted)


def finding_of(results: Sequence[AttestationResult], deadline: int) -> Finding:
    """What a contract is told of a key that `judge` accepted: the evidence is the processor's, which names the rest."""
    ends = [result.not_after for result in results if result.not_after is not None]
    simulated = any(result.simulated for result in results)
    return Finding(results[0].evidence_id, min(ends, default=ENDLESS), simulated, deadline)


def certificate_words(certificate: KeyCertificate) -> tuple[Any, ...]:
    """A certificate as ISignerRegistry.Certificate."""
    return (
        int(certificate.algorithm),
        certificate.public_key[:32],
        certificate.public_key[32:],
        certificate.model,
        certificate.policy_id,
        certificate.epoch,
        certificate.not_after,
        certificate.gpus or bytes(32),
    )


def certificate_json(certificate: KeyCertificate) -> dict[str, canonical.JSON]:
    """A certificate as attesters write it: bytes as 0x and hex digits, numbers of 64 bits as text."""
    return {
        "algorithm": int(certificate.algorithm),
        "public_key": "0x" + certificate.public_key.hex(),
        "model": "0x" + certificate.model.hex(),
        "policy_id": "0x" + certificate.policy_id.hex(),
        "epoch": str(certificate.epoch),
        "not_after": str(certificate.not_after),
        "gpus": None if certificate.gpus is None else "0x" + certificate.gpus.hex(),
    }


def read_certificate(value: Any) -> KeyCertificate:
    """Read what `certificate_json` wrote; nothing else is accepted.

    Raises:
        ValueError: something else.
    """
    if not isinstance(value, Mapping):
        raise ValueError("a certificate is an object")
    try:
        found = KeyCertificate(
            Algorithm(value["algorithm"]),
            bytes.fromhex(value["public_key"][2:]),
            parse_bytes32(value["model"]),
            parse_bytes32(value["policy_id"]),
            int(value["epoch"]),
            int(value["not_after"]),
            None if value["gpus"] is None else parse_bytes32(value["gpus"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a certificate: {error}") from None
    if certificate_json(found) != value:
        raise ValueError("a certificate that is not in its one encoding")
    return found
