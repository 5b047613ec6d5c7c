"""Bytes of an ezkl claim: field elements, context limbs, commitments and the model's identity.

    H = keccak-256; integers big-endian; lp(x) = u32 length || x

    public field  = H(0x08 || u32 n || n times (u32 rank || u64 each dimension) || every word, 32 bytes)
    hidden field  = H(0x09 || one 32-byte Poseidon digest a tensor)
    model         = H(0x07 || lp(engine version) || vk digest || settings digest || set-up id
                      || lp(visibility) || wrapper digest || lp(parameter digests))

A word is an instance of the proof: an integer v with |v| < 2^127 stands as v mod r, r the order of BN254's
scalar field. A context of 32 bytes is sixteen 16-bit limbs, the most significant first.

Source: docs/claim-ezkl.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from vml.backends.ezkl.bn254 import R
from vml.errors import MalformedProof
from vml.keccak import keccak256

MODEL_TAG, PUBLIC_TAG, HIDDEN_TAG = b"\x07", b"\x08", b"\x09"
CONTEXT_LIMBS = 16
_LIMB_BITS = 16
WORD = 32
VALUE_BITS = 127
"""ezkl computes witnesses in 128-bit integers; a larger value cannot come from it."""


def context_limbs(context: bytes) -> list[int]:
    """Sixteen 16-bit integers, the most significant first.

    Args:
        context: 32 bytes.
    """
    if len(context) != WORD:
        raise ValueError(f"a context has 32 bytes, not {len(context)}")
    return [int.from_bytes(context[i : i + 2], "big") for i in range(0, WORD, _LIMB_BITS // 8)]


def word_of(value: int) -> bytes:
    """A signed integer as an instance word.

    Args:
        value: |value| < 2^127.
    """
    if abs(value) >> VALUE_BITS:
        raise ValueError(f"{value} does not fit a signed {VALUE_BITS + 1}-bit integer")
    return (value % R).to_bytes(WORD, "big")


def value_of(word: bytes) -> int:
    """The signed integer that an instance word stands for.

    Raises:
        MalformedProof: not canonical, or no 128-bit integer.
    """
    field = element_of(word)
    value = field if field <= R // 2 else field - R
    if abs(value) >> VALUE_BITS:
        raise MalformedProof("an instance is no 128-bit integer")
    return value


def element_of(word: bytes) -> int:
    """The field element in a word.

    Raises:
        MalformedProof: not 32 bytes, or not below r.
    """
    if len(word) != WORD:
        raise MalformedProof(f"an instance takes 32 bytes, not {len(word)}")
    field = int.from_bytes(word, "big")
    if field >= R:
        raise MalformedProof("an instance is not a canonical element of BN254's scalar field")
    return field


def lp(data: bytes) -> bytes:
    """Length-prefix: u32 big-endian, then the bytes."""
    return len(data).to_bytes(4, "big") + data


def public_field(shapes: Sequence[Sequence[int]], words: Sequence[bytes]) -> bytes:
    """Commit to tensors whose values are instances.

    Args:
        shapes: of each tensor, in graph order.
        words: 32 bytes each, all tensors in row-major order one after the other.

    Returns:
        32 bytes.
    """
    return keccak256(public_header(shapes) + b"".join(words))


def public_header(shapes: Sequence[Sequence[int]]) -> bytes:
    """What stands before the words of tensors whose values are instances.

    Args:
        shapes: of each tensor, in graph order.
    """
    header = PUBLIC_TAG + len(shapes).to_bytes(4, "big")
    for shape in shapes:
        header += len(shape).to_bytes(4, "big") + b"".join(d.to_bytes(8, "big") for d in shape)
    return header


def hidden_field(digests: Sequence[bytes]) -> bytes:
    """Commit to tensors behind Poseidon digests, 32 bytes big-endian each, in graph order."""
    return keccak256(HIDDEN_TAG + b"".join(digests))


def model_identity(
    engine: str,
    vk_digest: bytes,
    settings_digest: bytes,
    setup_id: bytes,
    visibility: str,
    wrapper_digest: bytes,
    parameter_digests: Sequence[bytes] = (),
) -> bytes:
    """The 32 bytes that stand for a model in an ezkl claim.

    Args:
        engine: version of ezkl.
        vk_digest, settings_digest, setup_id, wrapper_digest: 32 bytes each.
        visibility: as `Visibility` writes itself.
        parameter_digests: Poseidon digests of hidden weights, 32 bytes each; empty when they are public.
    """
    fixed = (vk_digest, settings_digest, setup_id, wrapper_digest, *parameter_digests)
    if any(len(word) != WORD for word in fixed):
        raise ValueError("digests and ids are 32 bytes each")
    return keccak256(
        MODEL_TAG
        + lp(engine.encode())
        + vk_digest
        + settings_digest
        + setup_id
        + lp(visibility.encode())
        + wrapper_digest
        + lp(b"".join(parameter_digests))
    )
