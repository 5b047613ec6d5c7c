"""Tensors of any number type: their bytes, and the same commitment that integers have (`vml.merkle`).

Elements are row-major and big-endian: two's complement, unsigned, IEEE 754 (binary16, 32, 64), or one byte 0 or 1 for a
truth value. So two tensors have one root exactly when they agree bit for bit: 0.0 and -0.0 differ, infinities are
numbers like others. **NaN is refused**: there are 2^23 - 1 of each sign in 32 bits, which of them an operator gives is
the machine's choice, and none equals itself.

Nothing here loads numpy, unless a tensor is an array or has `vml.merkle.BULK_BYTES`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vml.merkle import (
    BULK_BYTES,
    EMPTY,
    LEAF_BYTES,
    VALUE_DTYPES,
    Tree,
    tensor_bytes,
    tensor_digest,
    tensor_leaf,
    tensor_tree,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FORMATS = dict(zip(VALUE_DTYPES, "bhiqefdBHIQB", strict=True))
"""Of each number type of `VALUE_DTYPES`, its letter in the module struct."""
VALUE_BYTES = {name: struct.calcsize(letter) for name, letter in FORMATS.items()}
_STEP = 1 << 16


def is_value(dtype: str, data: bytes) -> bool:
    """Whether every element is a value: no NaN, and truth values are 0 or 1.

    Args:
        dtype: a key of `VALUE_DTYPES`.
        data: a whole number of elements, big-endian.
    """
    if dtype == "bool":
        return not data.strip(b"\0\1")
    if not dtype.startswith("float"):
        return True
    form, step = FORMATS[dtype], _STEP * VALUE_BYTES[dtype]
    for at in range(0, len(data), step):
        chunk = data[at : at + step]
        if any(map(math.isnan, struct.unpack(f">{len(chunk) // VALUE_BYTES[dtype]}{form}", chunk))):
            return False
    return True


def value_bytes(array: Array) -> bytes:
    """The bytes of a tensor.

    Args:
        array: of a number type of `VALUE_DTYPES`, any shape with at least one element, any memory layout.

    Raises:
        TypeError: not an array of one of these.
        ValueError: no elements, or NaN.
    """
    import numpy as np

    name = getattr(getattr(array, "dtype", None), "name", None)
    if name not in VALUE_DTYPES:
        raise TypeError(
            f"a committed tensor is an array of {', '.join(VALUE_DTYPES)}, got {name or type(array).__name__}"
        )
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError("NaN is not a value that can be committed to")
    return tensor_bytes(np.asarray(array).view(f"{array.dtype.str[0]}i{array.dtype.itemsize}"))


def packed_root(dtype: str, shape: Sequence[int], data: bytes) -> bytes:
    """The commitment of a tensor that lies there as its bytes.

    Args:
        dtype: a key of `VALUE_DTYPES`.
        shape: dimensions, each at least 1.
        data: exactly the tensor's bytes, of values (`is_value`).

    Returns:
        32 bytes, as ``vml.merkle.tensor_root`` gives them for signed integers.

    Raises:
        ValueError: unknown dtype, a bad shape, or another number of bytes.
    """
    if dtype not in VALUE_DTYPES or len(data) != math.prod(shape) * VALUE_BYTES[dtype]:
        raise ValueError(f"{len(data)} bytes are no {dtype} tensor of shape {tuple(shape)}")
    if len(data) < BULK_BYTES:
        leaves = [tensor_leaf(data[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)]
        return tensor_digest(dtype, shape, Tree(leaves, EMPTY).root)
    import numpy as np

    return tensor_digest(dtype, shape, tensor_tree(np.frombuffer(data, dtype=np.int8)).root)
