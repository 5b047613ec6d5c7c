"""Has the model run, and the run signed: by an attester, or by a simulator where that was asked for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.exact.statement import commit_packed
from vml.backends.tee.attester import ask, write_request
from vml.backends.tee.engines import Program, exact_program
from vml.backends.tee.inside import run
from vml.backends.tee.payload import NONCE, SignedRun
from vml.backends.tee.session import FloatModel, float_program
from vml.backends.types import Attesting, Progress
from vml.errors import ProvingError, VerificationError
from vml.proof import Proof
from vml.tee.binding import verify_receipt
from vml.values import value_bytes

if TYPE_CHECKING:
    from vml.model import Model

Array = np.ndarray[Any, np.dtype[Any]]


def prove(
    model: Model,
    attesting: Attesting,
    inputs: Mapping[str, Array],
    context: bytes,
    progress: Progress | None,
    description: bytes = b"",
) -> Proof:
    """One run and its receipt.

    Args:
        model: the compiled model; an attester holds its own copy.
        attesting: who runs and signs, and in which engine.
        inputs: arrays by input name: integer codes, or values of a float run.
        context: 32 bytes the claim is bound to.
        progress: called with a stage and the fraction of it that is done.
        description: of the runtime, as set-up found it, for a float run.

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
    program = exact_program(model) if attesting.engine == "exact" else float_program(model.source, description)
    if attesting.simulate is not None:
        if attesting.at is None:
            raise ValueError("a simulator needs the time of its clock")
        from vml.backends.tee.simulated import simulated_key

        nonce = attesting.nonce or secrets.token_bytes(NONCE)
        tell("simulating a key", 0.0)
        key, attestation = simulated_key(program.identity, attesting, nonce)
        tell("running the model", 0.0)
        held = model if attesting.engine == "exact" else FloatModel(model.source)
        proof = run(held, key, attestation, inputs, context, attesting.at)
    else:
        assert attesting.attester is not None
        tell("asking the attester", 0.0)
        request = write_request(program, inputs, context, attesting.nonce)
        answer = ask(attesting.attester, request, attesting.timeout_s)
        proof = _answer(answer, program, inputs, context, attesting.nonce)
    tell("signed", 1.0)
    return proof


def _answer(data: bytes, program: Program, inputs: Mapping[str, Array], context: bytes, nonce: bytes | None) -> Proof:
    """The attester's proof, if it answers the request. Whether its evidence is worth anything is for `verify`.

    Raises:
        ProvingError: it does not.
    """
    engine, packed = program.engine, [value_bytes(inputs[spec.name]) for spec in program.inputs]
    committed = commit_packed(program.inputs, packed, engine.form)
    try:
        proof = Proof.from_bytes(data)
        if proof.scheme != engine.scheme:
            raise ProvingError(f"the attester's answer is a proof of {proof.scheme[:80]!r}, not {engine.scheme!r}")
        signed = SignedRun.decode(proof.payload, engine.described)
        claim = proof.claims[0]
        asked = (1, program.identity, committed, context, nonce or signed.nonce)
        if (len(proof.claims), claim.model, claim.input, claim.context, signed.nonce) != asked:
            raise ProvingError("the attester's answer is about something else than was asked")
        verify_receipt(signed.receipt(claim.digest()), signed.signature, signed.certificate)
    except VerificationError as error:
        raise ProvingError(f"the attester's answer is no proof: {error}") from error
    return proof
