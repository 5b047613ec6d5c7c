"""A server in this process that can lie in one place: what flows are played against."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from vml import api
from vml.claim import Claim
from vml.client import receipts, tensors
from vml.client.exchange import Reply, Request
from vml.model import Model
from vml.proof import Proof
from vml.tee.binding import Algorithm, Receipt, key_id, public_key_of


@dataclass
class StandIn:
    """Answers as a server of vml does.

    Args:
        model: what it runs and proves.
        said: changes the parameters of an answer before they are sent.
        outputs: changes the outputs before they are sent.
        proof: changes the proof before it is sent.
        job: what a job is said to be, beside its id.
    """

    model: Model
    said: Callable[[dict[str, Any]], None] = lambda said: None
    outputs: Callable[[dict[str, Any]], None] = lambda outputs: None
    proof: Callable[[Proof], Proof | bytes] = lambda proof: proof
    job: dict[str, Any] = field(default_factory=lambda: {"state": "proved", "backend": "sumcheck"})
    refusals: list[Reply] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    key: Any = field(default_factory=lambda: ec.derive_private_key(7, ec.SECP256K1()))
    _proof: Proof | None = None

    @property
    def key_id(self) -> bytes:
        return key_id(Algorithm.SECP256K1, public_key_of(self.key))

    def __call__(self, request: Request) -> Reply:
        self.seen.append(request)
        if self.refusals:
            return self.refusals.pop(0)
        if request.path.startswith("/v2/"):
            return self._infer(request)
        if request.path.startswith("/v1/jobs/"):
            return _json({"id": request.path.rpartition("/")[2], **self.job})
        if request.method == "POST":
            return _json({"id": "2" * 32, "state": "queued"}, status=202)
        assert self._proof is not None
        made = self.proof(self._proof)
        return Reply(200, {}, made if isinstance(made, bytes) else made.to_bytes())

    def _infer(self, request: Request) -> Reply:
        head, rest = tensors.split_body(request.body, request.headers[tensors.HEADER_LENGTH])
        asked = tensors.decode(head["inputs"], rest)
        context = bytes.fromhex(head["parameters"]["context"][2:])
        self._proof = api.prove(self.model, asked, backend="sumcheck", context=context)
        (claim,) = self._proof.claims
        outputs = dict(self.model.dequantize(self.model.run(self.model.quantize(asked))))
        self.outputs(outputs)
        said = {
            **{f"vml_{name}": "0x" + getattr(claim, name).hex() for name in ("model", "input", "output", "context")},
            "vml_claim": "0x" + claim.digest().hex(),
            "vml_job": "1" * 32 if "prove" in head["parameters"] else "",
            "vml_log_index": 3,
            "vml_receipt": self.receipt(claim).decode(),
        }
        self.said(said)
        headers, chunk = tensors.encode_binary(outputs)
        body = json.dumps({"model_name": "tiny", "outputs": headers, "parameters": said}).encode()
        return Reply(200, {tensors.HEADER_LENGTH.lower(): str(len(body))}, body + chunk)

    def receipt(self, claim: Claim) -> bytes:
        public = public_key_of(self.key)
        receipt = Receipt(claim.digest(), self.key_id, 1, 1, 1_700_000_000)
        return receipts.sign(receipt, Algorithm.SECP256K1, public, self.key).encode()


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, {}, json.dumps(value).encode())


def other_input(asked: dict[str, Any]) -> dict[str, Any]:
    """The same names, another number."""
    return {
        name: np.where(np.arange(array.size).reshape(array.shape) == 0, array / 2 + 0.0625, array).astype(array.dtype)
        for name, array in asked.items()
    }
