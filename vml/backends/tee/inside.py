"""What runs inside: the exact model on private copies of its input, and a receipt for what it gave.

An attester keeps a `ReceiptKey` and calls `run` once a request; the simulator does the same. The commitments are of the
very arrays the engine got and gave. Nothing here makes a key or evidence: the hardware's own code does.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.exact.statement import section_of_run
from vml.backends.tee.payload import SignedRun
from vml.backends.tee.scheme import SCHEME
from vml.claim import Claim
from vml.errors import ProvingError
from vml.merkle import tensor_root, tensors_root
from vml.model.graph import encode_specs
from vml.proof import Proof
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.binding import KeyCertificate, Receipt, public_key_of, sign_receipt
from vml.tee.evidence import Evidence
from vml.tee.files import write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from vml.model import Model

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Attestation:
    """What shows that a key is attested: evidence that carries its certificate's digest, and the nonce it answers."""

    nonce: bytes
    evidence: Evidence


class ReceiptKey:
    """A key that signs receipts, counted. It never leaves the process.

    Args:
        key: on the curve of the certificate's algorithm.
        certificate: what it may sign for.
        policy: the appraisal policy that the certificate names.
        sequence: of the first receipt.

    Raises:
        ValueError: the certificate is another key's, or of another policy.
    """

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: KeyCertificate,
        policy: AppraisalPolicy,
        sequence: int = 1,
    ) -> None:
        if public_key_of(key) != certificate.public_key:
            raise ValueError("the certificate is another key's")
        if policy.policy_id != certificate.policy_id:
            raise ValueError("the certificate names another policy")
        self.certificate, self.policy = certificate, policy
        self._key, self._next, self._lock = key, sequence, threading.Lock()

    def sign(self, claim: bytes, issued_at: int) -> tuple[Receipt, bytes]:
        """The next receipt, and 64 bytes of signature.

        Args:
            claim: 32-byte digest.
            issued_at: unix seconds by the clock inside.

        Raises:
            ProvingError: the key's time is over.
        """
        certificate = self.certificate
        if issued_at > certificate.not_after:
            raise ProvingError(f"the key ended at unix time {certificate.not_after}: attest a new one")
        with self._lock:
            sequence = self._next
            self._next += 1
        receipt = Receipt(claim, certificate.key_id, certificate.epoch, sequence, issued_at)
        return receipt, sign_receipt(receipt, certificate.algorithm, self._key)


def run(
    model: Model,
    key: ReceiptKey,
    attestation: Attestation,
    codes: Mapping[str, Array],
    context: bytes,
    issued_at: int,
) -> Proof:
    """One run of the exact model, claimed, signed and bundled.

    Args:
        model: the one that the key's certificate names; its weights were hashed when it was loaded.
        key: signs the receipt.
        attestation: of the key.
        codes: integer codes by input name, of the model's shapes.
        context: 32 bytes the claim is bound to.
        issued_at: unix seconds by the clock inside.

    Raises:
        ProvingError: the key is another model's, or its time is over.
        OutOfRange, ValueError: codes that do not fit the model.
    """
    graph, certificate = model.graph, key.certificate
    if model.commitment != certificate.model:
        raise ProvingError(f"the key signs for the model 0x{certificate.model.hex()}, not 0x{model.commitment.hex()}")
    if codes.keys() != {spec.name for spec in graph.inputs}:
        raise ValueError(f"the model has the inputs {', '.join(spec.name for spec in graph.inputs)}")
    # Nobody else holds these: what is hashed is what was run, whatever happens to the caller's arrays meanwhile.
    taken = {spec.name: np.array(codes[spec.name], order="C") for spec in graph.inputs}
    made = model.executor.run(taken)
    # The executor refused codes out of range, so these casts change no number.
    tensors = {spec.node: taken[spec.name].astype(spec.header.dtype) for spec in graph.inputs}
    tensors |= {spec.node: made[spec.name] for spec in graph.outputs}
    sides = [
        tensors_root([tensor_root(tensors[spec.node]) for spec in specs]) for specs in (graph.inputs, graph.outputs)
    ]
    claim = Claim(model.commitment, sides[0], sides[1], context)
    receipt, signature = key.sign(claim.digest(), issued_at)
    signed = SignedRun(
        certificate=certificate,
        nonce=attestation.nonce,
        sequence=receipt.sequence,
        issued_at=receipt.issued_at,
        signature=signature,
        graph=graph.root,
        inputs=encode_specs(graph.inputs),
        outputs=encode_specs(graph.outputs),
        policy=key.policy.canonical(),
        evidence=write_json(attestation.evidence),
    )
    return Proof(SCHEME, (claim,), section_of_run(graph.inputs, graph.outputs, tensors), signed.encode())
