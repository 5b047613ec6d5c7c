"""What a server's answer says: tensors, a claim, the outputs that a proof shows. Nothing here is believed yet."""

from __future__ import annotations

import base64
import re
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


def read_job(value: object) -> str:
    """The id of a job; empty where there is none. Raises ServerError for anything else."""
    if value == "" or (isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value)):
        return value
    raise ServerError("the server's answer names a job that is none")


def shown_outputs(proof: Proof) -> dict[str, Array]:
    """The outputs that a verified proof shows in its public section.

    Returns:
        Arrays by name: code / scale in float64, whole codes where the scale is 1; of fixed point code / 2^scale.

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
    if numerator == denominator:
        return codes.astype(np.int64)
    return codes.astype(np.float64) * denominator / numerator


def same_numbers(answered: Mapping[str, Array], shown: Mapping[str, Array]) -> bool:
    """Whether an answer has exactly the numbers of a proof, rounded to the answer's types as the server rounds them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return answered.keys() == shown.keys() and all(
            array.shape == shown[name].shape and np.array_equal(array, shown[name].astype(array.dtype))
            for name, array in answered.items()
        )
