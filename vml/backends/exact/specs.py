"""Reads the specifications of a model's outside tensors out of a proof: one encoding, every length known before use.

The bytes are those that the model commitment hashes (`vml.model.graph.encode_specs`).
"""

from __future__ import annotations

import struct
from fractions import Fraction

from vml.errors import MalformedProof
from vml.merkle import DTYPES
from vml.model.codec import Reader, decode_dims
from vml.model.graph import TensorSpec, encode_specs
from vml.model.tensor import Header

MAX_SPECS = 1 << 12
MAX_SCALE_BYTES = 1 << 10
"""Of a scale's numerator and denominator: reducing a fraction takes the square of its length, whoever sent it."""
_DTYPE_NAMES = {code: name for name, code in DTYPES.items()}


def decode_specs(data: bytes) -> tuple[TensorSpec, ...]:
    """Strict inverse of `encode_specs`.

    Args:
        data: bytes from anyone.

    Raises:
        MalformedProof: anything that does not encode back to `data`.
    """
    try:
        reader = Reader(data)
        count = reader.number(">I")
        if count > MAX_SPECS:
            raise MalformedProof(f"{count} outside tensors")
        specs = tuple(_spec(reader) for _ in range(count))
        again = encode_specs(specs)
    except (ValueError, OverflowError, struct.error) as error:
        raise MalformedProof(f"the specifications: {error}") from None
    if again != data:
        raise MalformedProof("the specifications are not in their one encoding")
    return specs


def _spec(reader: Reader) -> TensorSpec:
    name, onnx_dtype = reader.take(reader.number(">H")).decode(), reader.take(reader.number(">B")).decode()
    node, dtype = reader.number(">I"), reader.number(">B")
    shape = decode_dims(reader)
    lo, hi, saturate = reader.number(">q"), reader.number(">q"), reader.number(">B")
    parts = [_scale_part(reader) for _ in range(2)]
    if dtype not in _DTYPE_NAMES or min(parts) < 1:
        raise MalformedProof("a specification is out of range")
    header = Header(_DTYPE_NAMES[dtype], shape, lo, hi)
    return TensorSpec(name, onnx_dtype, node, header, Fraction(*parts), saturate=bool(saturate))


def _scale_part(reader: Reader) -> int:
    size = reader.number(">H")
    if size > MAX_SCALE_BYTES:
        raise MalformedProof(f"a scale of {size} bytes")
    return int.from_bytes(reader.take(size), "big")
