"""What a server's answer says: tensors, a claim, the outputs that a proof shows. Nothing here is believed yet."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from vml.claim import Claim, parse_bytes32
from vml.client import tensors
from vml.client.exchange import Reply
from vml.client.tensors import Array
from vml.errors import MalformedProof, ServerError
from vml.proof import Proof


def read_answer(reply: Reply) -> tuple[dict[str, Any], dict[str, Array]]:
    """Parameters and outputs of an inference's answer. Raises ServerError where it is no answer of the protocol."""
    try:
        value, rest = tensors.split_body(reply.body, reply.headers.get(tensors.HEADER_LENGTH.lower()))
        outputs = tensors.decode(value.get("outputs"), rest)
    except tensors.BadTensor as error:
        raise ServerError(f"the server's answer is not the protocol's: {error}") from None
    said = value.get("parameters")
    if not isinstance(said, dict):
        raise ServerError("the answer carries no claim: is this a server of vml?")
    return said, outputs


def read_claim(said: Mapping[str, Any]) -> tuple[Claim, bytes]:
    """The claim that an answer names, and the digest that it says. Raises ServerError where it names none."""
    try:
        fields = [parse_bytes32(said[f"vml_{name}"]) for name in ("model", "input", "output", "context", "claim")]
    except (KeyError, ValueError, TypeError) as error:
        raise ServerError(f"the answer carries no claim that can be read: {error}") from None
    return Claim(*fields[:4]), fields[4]


def shown_outputs(proof: Proof) -> dict[str, Array]:
    """The outputs that a verified proof shows in its public section.

    Returns:
        float64 arrays by name: code / scale; of fixed point code / 2^scale.

    Raises:
        MalformedProof: its public section shows them in another way.
    """
    shown: Any = proof.public.get("output")
    try:
        return {item["name"]: _numbers(item).reshape(item["shape"]) for item in shown}
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedProof(f"outputs of {proof.scheme} cannot be read here: {error}") from None


def _numbers(item: Mapping[str, Any]) -> Array:
    if "values" in item:
        fixed: Array = np.array(item["values"], dtype=np.float64) / 2.0 ** item["scale"]
        return fixed
    (text,) = item["codes"]
    codes = np.frombuffer(base64.b64decode(text, validate=True), np.dtype(item["dtype"]).newbyteorder(">"))
    if codes.dtype.kind == "f":
        return codes.astype(np.float64)
    numerator, denominator = map(int, item["scale"])
    return codes.astype(np.float64) * denominator / numerator
