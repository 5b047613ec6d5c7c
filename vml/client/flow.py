"""What a client says to a server and what it does with the answers, without a socket, a clock or a thread.

A flow is a generator: it yields what it wants done, a `Request` or a `Wait`, and is sent the `Reply`. `Client` and
`AsyncClient` only carry these to and fro, so that both do the same.

What makes an answer verified (`infer`):

1. The server named a claim whose digest is that of its four fields, in the context that this client chose.
2. The model is one that this client accepts; where a server key is pinned, the receipt is that key's, for this claim.
3. There is a proof, and `vml.verify` accepts it: this model, this input, this output, this context, this policy.

Until then nothing is more than the server's word: `ask` returns it as `Pending`, whose outputs say so by their name.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from vml.api import accepted_models, verify
from vml.backends import get_backend
from vml.backends.types import Environment
from vml.claim import Claim
from vml.client import receipts, tensors
from vml.client.exchange import FIRST_WAIT_S, Flow, Request, Wait, exchange, printable, read_object
from vml.client.reading import read_answer, read_claim, read_job, same_numbers, shown_outputs
from vml.client.tensors import Array
from vml.errors import ClaimMismatch, PolicyRejected, ProvingError, ServerError
from vml.proof import MAX_BYTES as MAX_PROOF_BYTES
from vml.proof import Proof

if TYPE_CHECKING:
    from vml.api.models import ModelLike
    from vml.backends.types import VerifiedClaim
    from vml.policy import Policy

MAX_ANSWER_BYTES = 256 << 20
LAST_WAIT_S = 1.0


@dataclass(frozen=True)
class Trust:
    """What a client accepts: as for `vml.verify`, and the server's key.

    Args:
        model: identity, compiled folder, or `Model`.
        key: verifying key, where the backend asks for one.
        policy: None takes the strict one.
        environment: chain and pins, where the backend asks for them; its `now`, where it has one, stands still.
        clock: unix seconds, for an environment without a time.
        server_key: 32-byte id of the key whose receipts are expected; None looks at no receipt.
    """

    model: ModelLike | bytes
    key: Any = None
    policy: Policy | None = None
    environment: Environment | None = None
    clock: Callable[[], float] = time.time
    server_key: bytes | None = None

    def surroundings(self) -> Environment:
        """The world as it is now: a client may live for weeks, and keys end meanwhile."""
        given = self.environment or Environment()
        return given if given.now is not None else replace(given, now=int(self.clock()))


@dataclass(frozen=True)
class Pending:
    """An answer that nothing has proved yet: the server's word.

    Args:
        claim: what the server says; its fields are bound by no proof yet.
        digest: the claim's, 32 bytes.
        unverified_outputs: arrays by name.
        inputs: what was asked, arrays by name.
        job: id of the job that proves it; empty where no proof was asked for.
        receipt: the server's, as it came; empty where it gave none.
        log_index: of the claim in the server's log; None where it keeps none.
    """

    claim: Claim
    digest: bytes
    unverified_outputs: Mapping[str, Array] = field(repr=False)
    inputs: Mapping[str, Array] = field(repr=False)
    job: str
    receipt: bytes = field(repr=False)
    log_index: int | None


@dataclass(frozen=True)
class Answer:
    """An answer that was verified here.

    Args:
        outputs: arrays by name; what the proof shows.
        verdict: what was proved, how strongly, and what it rests on.
        claim: that was proved.
        proof: bytes of the envelope: keep them, they convince others.
        receipt: the server's; empty where it gave none.
    """

    outputs: Mapping[str, Array]
    verdict: VerifiedClaim
    claim: Claim
    proof: bytes = field(repr=False)
    receipt: bytes = field(repr=False)


def ask(
    name: str,
    inputs: Mapping[str, Any],
    trust: Trust,
    *,
    parameters: Mapping[str, Any],
    context: bytes | None,
) -> Flow[Pending]:
    """Have a model run, and take its claim.

    Args:
        name: of the model on the server.
        inputs: by name, of the model's shapes and number types.
        trust: what is accepted.
        parameters: of the request, such as ``prove`` and ``backend``.
        context: 32 bytes that the claim is bound to; None takes fresh ones, so that no earlier answer serves.

    Raises:
        ServerError: refused, or what came is not the protocol.
        ClaimMismatch, ProofRejected, EvidenceRejected: the claim or its receipt is not what was asked for.
    """
    arrays = {key: np.asarray(value) for key, value in inputs.items()}
    context = secrets.token_bytes(32) if context is None else context
    headers, chunk = tensors.encode_binary(arrays)
    head = json.dumps(
        {
            "inputs": headers,
            "parameters": {**parameters, "context": "0x" + context.hex(), "binary_data_output": True},
        }
    ).encode()
    request = Request(
        "POST",
        f"/v2/models/{quote(name, safe='')}/infer",
        head + chunk,
        {
            "Content-Type": "application/octet-stream",
            tensors.HEADER_LENGTH: str(len(head)),
            "Idempotency-Key": secrets.token_hex(16),
        },
        MAX_ANSWER_BYTES,
    )
    reply = yield from exchange(request)
    said, outputs = read_answer(reply)
    claim, digest = read_claim(said)
    # step 1: one claim, in the context that was chosen here
    if claim.digest() != digest:
        raise ClaimMismatch("digest", "0x" + claim.digest().hex(), "0x" + digest.hex())
    if claim.context != context:
        raise ClaimMismatch("context", "0x" + context.hex(), "0x" + claim.context.hex())
    # step 2: about a model that is accepted, and signed for where a key is pinned
    _require_model(claim, trust)
    # Half a surrogate pair stays bytes that no reader of receipts takes.
    receipt = str(said.get("vml_receipt", "")).encode("utf-8", "surrogatepass")
    if trust.server_key is not None:
        receipts.verify(receipts.read(receipt), digest, trust.server_key)
    index = said.get("vml_log_index")
    job = read_job(said.get("vml_job", ""))
    return Pending(claim, digest, outputs, arrays, job, receipt, index if type(index) is int else None)


def prove(pending: Pending, trust: Trust, backend: str | None = None) -> Flow[Answer]:
    """Wait for the proof of an answer, and verify it.

    Args:
        pending: of `ask`, with a job.
        trust: what is accepted.
        backend: who has to prove; None takes whom the server chose, within the policy.

    Raises:
        ValueError: no proof was asked for.
        ClaimMismatch: the proof, where its backend proves the exact model, shows another answer than the first one.
        ProvingError: the server could not prove it; with its reason.
        VerificationError: the proof does not show it.
        ServerError: refused, or what came is not the protocol.
    """
    if not pending.job:
        raise ValueError("no proof was asked for: ask with prove='always', or have one made with `demand`")
    data = yield from _proof(pending.digest, pending.job)
    answer = _verified(data, pending.digest, pending.inputs, trust, pending.claim.context, backend)
    # Of a backend with arithmetic of its own a proof shows outputs of its own. Of any other they are the answered ones,
    # number by number: to fall into the same code is not enough, where one code or the next decides.
    if answer.claim == pending.claim and not same_numbers(pending.unverified_outputs, answer.outputs):
        raise ClaimMismatch("output", "what the proof shows", "other numbers in the answer")
    return replace(answer, receipt=pending.receipt)


def _verified(
    data: bytes, digest: bytes, inputs: Mapping[str, Array], trust: Trust, context: bytes, backend: str | None
) -> Answer:
    """Step 3: the proof shows it, all of `vml.verify`, and it is of this claim where the arithmetic is the claim's."""
    proof = Proof.from_bytes(data)
    verdict = verify(
        proof,
        model=trust.model,
        context=context,
        policy=trust.policy,
        input=inputs,
        key=trust.key,
        environment=trust.surroundings(),
    )
    (claim,) = verdict.claims
    if claim.digest() != digest and get_backend(verdict.backend).capabilities().exact:
        raise ClaimMismatch("output", f"that of the claim 0x{digest.hex()}", f"that of 0x{claim.digest().hex()}")
    if backend is not None and verdict.backend != backend:
        raise PolicyRejected("backend", f"{backend} was asked for, {verdict.backend} proved it")
    return Answer(shown_outputs(proof), verdict, claim, data, b"")


def check(
    digest: bytes,
    inputs: Mapping[str, Any],
    trust: Trust,
    *,
    backend: str,
    context: bytes,
    outputs: Mapping[str, Any] | None,
    max_difference: float,
) -> Flow[Answer]:
    """Have a claim proved that came with an answer of another server (`vml.serve.middleware`), and compare.

    Args:
        digest: 32 bytes, of the header ``Vml-Claim``.
        inputs: what was asked, by name, of the model's shapes and number types.
        trust: what is accepted.
        backend: who proves.
        context: 32 bytes that the claim must be bound to.
        outputs: what was answered, by name; None compares nothing.
        max_difference: how far an output may be from what the proof shows.

    Raises:
        ClaimMismatch: also ``output``, where the answer is further off.
        VerificationError, ProvingError, ServerError: as `infer`.
    """
    job = yield from _demanded(digest, backend)
    data = yield from _proof(digest, job)
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    answer = _verified(data, digest, arrays, trust, context, backend)
    shown = answer.outputs
    for name, array in (outputs or {}).items():
        numbers = np.asarray(array, np.float64)
        if name not in shown or numbers.shape != shown[name].shape:
            raise ClaimMismatch("output", f"{name!r} among {sorted(shown)}, of the proof's shape", f"{numbers.shape}")
        # A number that is none is no nearer than any bound.
        if not (np.abs(numbers - shown[name]) <= max_difference).all():
            off = float(np.abs(numbers - shown[name]).max())
            raise ClaimMismatch("output", f"{name!r} within {max_difference:g} of the proof's", f"{off:g} off")
    return answer


def infer(
    name: str,
    inputs: Mapping[str, Any],
    trust: Trust,
    *,
    parameters: Mapping[str, Any],
    context: bytes | None,
) -> Flow[Answer]:
    """Have a model run and its run proved, and return what the proof shows; see `ask` and `prove`."""
    pending = yield from ask(name, inputs, trust, parameters={"prove": "always", **parameters}, context=context)
    answer = yield from prove(pending, trust, parameters.get("backend"))
    return answer


def demand(pending: Pending, backend: str) -> Flow[Pending]:
    """Have an answer proved after all.

    Args:
        pending: of `ask`.
        backend: name of the backend.

    Returns:
        The same answer, with its job.

    Raises:
        ServerError: refused: the server no longer keeps the input, say.
    """
    job = yield from _demanded(pending.digest, backend)
    return replace(pending, job=job)


def _demanded(digest: bytes, backend: str) -> Flow[str]:
    body = json.dumps({"backend": backend}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
    reply = yield from exchange(Request("POST", f"/v1/proofs/0x{digest.hex()}", body, headers))
    job = read_job(read_object(reply.body).get("id"))
    if not job:
        raise ServerError("the server's answer names no job")
    return job


def _proof(digest: bytes, job: str) -> Flow[bytes]:
    """The bytes of a proof when its job has ended."""
    ended = yield from _ended(job)
    if ended["state"] != "proved":
        reason = ended.get("error") or "without a reason"
        raise ProvingError(f"the server did not prove it: {ended['state']}: {printable(str(reason))}")
    path = f"/v1/proofs/0x{digest.hex()}?backend={quote(str(ended.get('backend', '')), safe='')}"
    reply = yield from exchange(Request("GET", path, limit=MAX_PROOF_BYTES))
    return reply.body


def _ended(job: str) -> Flow[dict[str, Any]]:
    wait = FIRST_WAIT_S
    while True:
        reply = yield from exchange(Request("GET", f"/v1/jobs/{quote(job, safe='')}"))
        value = read_object(reply.body)
        if value.get("state") in ("proved", "failed", "cancelled"):
            return value
        yield Wait(wait)
        wait = min(LAST_WAIT_S, wait * 1.5)


def _require_model(claim: Claim, trust: Trust) -> None:
    """The exact identity, where the client holds one; a backend with another identity is judged by its proof."""
    accepted = accepted_models(trust.model)
    if claim.model not in accepted:
        names = " or ".join(sorted("0x" + one.hex() for one in accepted))
        raise ClaimMismatch("model", names, "0x" + claim.model.hex())
