"""What runs inside: an engine on private copies of its input, and a receipt for what it gave.

An attester keeps a `ReceiptKey` and calls `run` once a request; the simulator does the same. The commitments are of the
very arrays the engine got and gave. Nothing here makes a key or evidence: the hardware's own code does.

Two engines: a compiled `Model` is run by its exact executor, a `vml.backends.tee.session.FloatModel` by onnxruntime.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vml.backends.exact.statement import commit_packed, packed_section
from vml.backends.tee.engines import Program, exact_program
from vml.backends.tee.payload import SignedRun
from vml.claim import Claim
from vml.errors import ProvingError
from vml.model.compiled import Model
from vml.proof import Proof
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.binding import KeyCertificate, Receipt, public_key_of, sign_receipt
from vml.tee.evidence import Evidence
from vml.tee.files import write_json
from vml.tee.gpus import gpus_digest
from vml.tee.nvidia.report import read_report
from vml.values import value_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

Array = np.ndarray[Any, np.dtype[Any]]


class Loaded(Protocol):
    """A model that was hashed and is ready to run."""

    @property
    def program(self) -> Program:
        """What is run."""

    def evaluate(self, taken: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, of the specs' types and shapes, from inputs by name. Nothing is written over.

        Raises:
            OutOfRange, ValueError: inputs that do not fit the model.
            ProvingError: it cannot be run on them.
        """


class ExactModel:
    """A compiled model and its exact executor."""

    def __init__(self, model: Model) -> None:
        self.program, self._executor = exact_program(model), model.executor

    def evaluate(self, taken: Mapping[str, Array]) -> dict[str, Array]:
        """As `Loaded.evaluate`."""
        return self._executor.run(taken)


def loaded(model: Model | Loaded) -> Loaded:
    """A model as `run` takes it."""
    return ExactModel(model) if isinstance(model, Model) else model


@dataclass(frozen=True)
class Attestation:
    """What shows that a key is attested: evidence that carries its certificate's digest, and the nonce it answers.

    Args:
        nonce: 32 bytes.
        evidence: of the processor.
        gpus: evidence of the GPUs that the certificate names, in any order.
    """

    nonce: bytes
    evidence: Evidence
    gpus: tuple[Evidence, ...] = ()


def naming_gpus(certificate: KeyCertificate, gpus: Sequence[Evidence]) -> KeyCertificate:
    """The certificate that names the GPUs of this evidence; unchanged where there is none.

    Raises:
        MalformedProof: evidence that cannot be read.
        ValueError: one GPU's answer twice.
    """
    if not gpus:
        return certificate
    return replace(certificate, gpus=gpus_digest(read_report(gpu.data).evidence_id for gpu in gpus))


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
    model: Model | Loaded,
    key: ReceiptKey,
    attestation: Attestation,
    inputs: Mapping[str, Array],
    context: bytes,
    issued_at: int,
) -> Proof:
    """One run of a model, claimed, signed and bundled.

    Args:
        model: the one that the key's certificate names; its weights were hashed when it was loaded.
        key: signs the receipt.
        attestation: of the key.
        inputs: arrays by input name, of the model's shapes: codes of an exact model, values of a float model.
        context: 32 bytes the claim is bound to.
        issued_at: unix seconds by the clock inside.

    Raises:
        ProvingError: the key is another model's, or its time is over; the result holds NaN.
        OutOfRange, ValueError: inputs that do not fit the model.
    """
    held, certificate = loaded(model), naming_gpus(key.certificate, attestation.gpus)
    program = held.program
    engine, identity = program.engine, program.identity
    if identity != certificate.model:
        raise ProvingError(f"the key signs for the model 0x{certificate.model.hex()}, not 0x{identity.hex()}")
    if inputs.keys() != {spec.name for spec in program.inputs}:
        raise ValueError(f"the model has the inputs {', '.join(spec.name for spec in program.inputs)}")
    # Nobody else holds these: what is hashed is what was run, whatever happens to the caller's arrays meanwhile.
    taken = {spec.name: np.array(inputs[spec.name], order="C") for spec in program.inputs}
    made = held.evaluate(taken)
    given = _packed(program, program.inputs, taken)
    try:
        results = _packed(program, program.outputs, made)
    except ValueError as error:
        raise ProvingError(f"the model gave what no claim can be about: {error}") from error
    sides = [commit_packed(program.inputs, given, engine.form), commit_packed(program.outputs, results, engine.form)]
    claim = Claim(identity, sides[0], sides[1], context)
    receipt, signature = key.sign(claim.digest(), issued_at)
    signed = SignedRun(
        certificate=certificate,
        nonce=attestation.nonce,
        sequence=receipt.sequence,
        issued_at=receipt.issued_at,
        signature=signature,
        source=program.source,
        inputs=engine.encode_specs(program.inputs),
        outputs=engine.encode_specs(program.outputs),
        policy=key.policy.canonical(),
        evidence=write_json(attestation.evidence),
        description=program.description,
        gpus=tuple(map(write_json, sorted(attestation.gpus, key=lambda gpu: read_report(gpu.data).evidence_id))),
    )
    section = packed_section(program.inputs, program.outputs, given, results, engine.form)
    return Proof(engine.scheme, (claim,), section, signed.encode())


def _packed(program: Program, specs: Sequence[Any], arrays: Mapping[str, Array]) -> list[bytes]:
    """The bytes of one side's tensors. An engine refused what does not fit, so a cast changes no number."""
    dtypes = [program.engine.form.header(spec)["dtype"] for spec in specs]
    return [value_bytes(arrays[spec.name].astype(dtype)) for spec, dtype in zip(specs, dtypes, strict=True)]
