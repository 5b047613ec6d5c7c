"""Has the model run, and the run signed: by an attester, or by a simulator where that was asked for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.tee.attester import ask, write_request
from vml.backends.tee.inside import run
from vml.backends.tee.payload import NONCE, SignedRun
from vml.backends.tee.scheme import SCHEME
from vml.backends.types import Attesting, Progress
from vml.errors import ProvingError, VerificationError
from vml.merkle import tensor_root, tensors_root
from vml.proof import Proof
from vml.tee.binding import verify_receipt

if TYPE_CHECKING:
    from vml.model import Model

Array = np.ndarray[Any, np.dtype[Any]]


def prove(
    model: Model, attesting: Attesting, codes: Mapping[str, Array], context: bytes, progress: Progress | None
) -> Proof:
    """One run and its receipt.

    Args:
        model: the compiled model; an attester holds its own copy.
        attesting: who runs and signs.
        codes: integer codes by input name.
        context: 32 bytes the claim is bound to.
        progress: called with a stage and the fraction of it that is done.

    Raises:
        ProvingError: the attester does not answer, refuses, or answers something else than was asked.
        ValueError: neither attester nor simulator, or both; a nonce of another size.
        BackendUnavailable: the extra ``sim`` is not installed.
    """
    if (attesting.attester is None) == (attesting.simulate is None):
        raise ValueError("say who runs and signs: an attester (--attester URL), or a simulator (--simulate KIND)")
    if attesting.nonce is not None and len(attesting.nonce) != NONCE:
        raise ValueError(f"a nonce is {NONCE} bytes")
    tell = progress or (lambda stage, done: None)
    if attesting.simulate is not None:
        if attesting.at is None:
            raise ValueError("a simulator needs the time of its clock")
        from vml.backends.tee.simulated import simulated_key

        nonce = attesting.nonce or secrets.token_bytes(NONCE)
        tell("simulating a key", 0.0)
        key, attestation = simulated_key(model, attesting, nonce)
        tell("running the model", 0.0)
        proof = run(model, key, attestation, codes, context, attesting.at)
    else:
        assert attesting.attester is not None
        tell("asking the attester", 0.0)
        request = write_request(model.commitment, model.graph.inputs, codes, context, attesting.nonce)
        proof = _answer(ask(attesting.attester, request, attesting.timeout_s), model, codes, context, attesting.nonce)
    tell("signed", 1.0)
    return proof


def _answer(data: bytes, model: Model, codes: Mapping[str, Array], context: bytes, nonce: bytes | None) -> Proof:
    """The attester's proof, if it answers the request. Whether its evidence is worth anything is for `verify`.

    Raises:
        ProvingError: it does not.
    """
    committed = tensors_root([tensor_root(codes[spec.name]) for spec in model.graph.inputs])
    try:
        proof = Proof.from_bytes(data)
        signed = SignedRun.decode(proof.payload)
        claim = proof.claims[0]
        asked = (SCHEME, 1, model.commitment, committed, context, nonce or signed.nonce)
        if (proof.scheme, len(proof.claims), claim.model, claim.input, claim.context, signed.nonce) != asked:
            raise ProvingError("the attester's answer is about something else than was asked")
        verify_receipt(signed.receipt(claim.digest()), signed.signature, signed.certificate)
    except VerificationError as error:
        raise ProvingError(f"the attester's answer is no proof: {error}") from error
    return proof
