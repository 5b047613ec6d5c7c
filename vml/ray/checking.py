"""What the caller checks of a proof that came from elsewhere: it is the claim that was asked for, and it holds.

A node may lie. What it cannot do is to have another claim accepted: the caller runs the exact model itself, and
verifies every cryptographic proof with the keys that it made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vml.api import verify
from vml.backends import get_backend
from vml.backends.types import Keys, Visibility
from vml.claim import ZERO_CONTEXT, Claim
from vml.errors import ProvingError, VerificationError
from vml.keccak import keccak256
from vml.proof import Proof

if TYPE_CHECKING:
    from vml.model import Model

Inputs = Mapping[str, Any]


def claim_of(model: Model, inputs: Inputs, context: bytes = ZERO_CONTEXT) -> Claim:
    """The exact model's claim about one input, computed here.

    Args:
        model: compiled.
        inputs: arrays by name.
        context: 32 bytes.

    Raises:
        ValueError: the arrays do not fit the model.
        OutOfRange: a value is outside the model's range.
    """
    import numpy as np

    from vml.merkle import tensor_root, tensors_root

    codes = model.quantize(inputs)
    made = model.run(codes)
    sides = [
        tensors_root([tensor_root(np.asarray(codes[spec.name], dtype=spec.header.dtype)) for spec in model.inputs]),
        tensors_root([tensor_root(np.asarray(made[spec.name], dtype=spec.header.dtype)) for spec in model.outputs]),
    ]
    return Claim(model.commitment, sides[0], sides[1], context)


def claims_of(model: Model, keys: Keys, rows: Sequence[Inputs], context: bytes) -> tuple[Claim, ...] | None:
    """The claims that a proof with these keys has to make; None where the keys are about other arithmetic.

    Raises:
        ValueError, OutOfRange: as `claim_of`.
    """
    if keys.model != model.commitment:
        return None
    return tuple(claim_of(model, row, context) for row in rows)


def check(
    data: bytes | Proof,
    keys: Keys,
    context: bytes,
    *,
    claims: tuple[Claim, ...] | None,
    rows: Sequence[Inputs],
    visibility: Visibility,
    salt: bytes | None = None,
) -> Proof:
    """The proof, if it is the one that was asked for.

    Args:
        data: the envelope, from anyone.
        keys: that this machine made.
        context: 32 bytes it must be bound to.
        claims: what it must claim; None where only the backend's own arithmetic can say.
        rows: the inputs it must be about, one a claim.
        visibility: what it hides, by the caller's word and not by its own.
        salt: that opens a private input.

    Raises:
        ProvingError: it is another one, or does not verify.
    """
    try:
        proof = Proof.from_bytes(data) if isinstance(data, bytes) else data
        _require("scheme", keys.scheme, proof.scheme)
        _require("number of claims", len(rows), len(proof.claims))
        if claims is not None:
            for wanted, got in zip(claims, proof.claims, strict=True):
                for field, value in wanted.to_json().items():
                    _require(f"claim's {field}", value, got.to_json()[field])
        for claim in proof.claims:
            _require("claim's model", "0x" + keys.model.hex(), "0x" + claim.model.hex())
            _require("claim's context", "0x" + context.hex(), "0x" + claim.context.hex())
        if visibility.input == "private" and salt is None:
            raise ProvingError("what a node sent hides its input, and nothing opens it")
        if get_backend(keys.backend).capabilities().assurance == "cryptographic":
            _verify(proof, keys, context, rows, salt)
    except VerificationError as error:
        raise ProvingError(f"what a node sent is no proof of this: {error}") from error
    return proof


def _verify(proof: Proof, keys: Keys, context: bytes, rows: Sequence[Inputs], salt: bytes | None) -> None:
    import numpy as np

    from vml.policy import Policy

    # Whoever asked knows whether the set-up was a test one.
    policy = Policy.default().model_copy(update={"allow_unsafe_setup": keys.unsafe_setup})
    joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if len(rows) > 1 else rows[0]
    verify(
        proof,
        model=frozenset({keys.model}),
        context=context,
        policy=policy,
        input=joined,
        salt=salt,
        key=frozenset({keccak256(keys.verifying_key)}),
    )


def _require(what: str, wanted: object, got: object) -> None:
    if wanted != got:
        raise ProvingError(f"what a node sent is another proof: the {what} is {got}, asked for was {wanted}")
