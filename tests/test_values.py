"""Tensors of any number type: their bytes and roots, from vectors, from properties, and beside `vml.merkle`."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vml import merkle
from vml.merkle import BULK_BYTES, DTYPES, VALUE_DTYPES
from vml.values import FORMATS, VALUE_BYTES, is_value, packed_root, value_bytes

VECTORS = json.loads((Path(__file__).parent / "vectors" / "commitments.json").read_text(encoding="utf-8"))
arrays = npst.arrays(
    st.sampled_from(list(VALUE_DTYPES)).map(np.dtype), npst.array_shapes(min_dims=0, max_dims=3, max_side=5)
).filter(lambda array: array.dtype.kind != "f" or not np.isnan(array).any())


def root_of(array: Any) -> bytes:
    return packed_root(array.dtype.name, array.shape, value_bytes(array))


@pytest.mark.parametrize("vector", VECTORS["values"] + VECTORS["tensors"], ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    data, shape = bytes.fromhex(vector["bytes"][2:]), tuple(vector["shape"])
    assert is_value(vector["dtype"], data)
    assert packed_root(vector["dtype"], shape, data).hex() == vector["root"][2:]
    array = np.frombuffer(data, np.dtype(vector["dtype"]).newbyteorder(">")).reshape(shape)
    assert value_bytes(array) == value_bytes(array.astype(vector["dtype"])) == data


def test_every_type_has_a_vector_and_a_code_of_its_own() -> None:
    assert {vector["dtype"] for vector in VECTORS["values"] + VECTORS["tensors"]} == VALUE_DTYPES.keys()
    assert sorted(VALUE_DTYPES.values()) == list(range(1, len(VALUE_DTYPES) + 1))
    assert FORMATS.keys() == VALUE_BYTES.keys() == VALUE_DTYPES.keys()
    assert all(VALUE_BYTES[name] == np.dtype(name).itemsize for name in VALUE_DTYPES)


@given(array=arrays)
def test_bytes_go_there_and_back_in_any_layout(array: Any) -> None:
    data = value_bytes(array)
    assert is_value(array.dtype.name, data)
    back = np.frombuffer(data, array.dtype.newbyteorder(">")).reshape(array.shape)
    assert back.tobytes() == array.astype(back.dtype).tobytes()
    assert value_bytes(array.T) == value_bytes(np.ascontiguousarray(array.T))
    if array.dtype.name in DTYPES:
        assert root_of(array) == merkle.tensor_root(array)
        assert data == merkle.tensor_bytes(array)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_roots_tell_bits_apart(dtype: str) -> None:
    zero = np.zeros(3, dtype)
    assert root_of(zero) != root_of(-zero)
    assert root_of(zero) != root_of(np.nextafter(zero, np.ones(3, dtype)))
    assert root_of(zero) not in {root_of(zero.astype(other)) for other in VALUE_DTYPES if other != dtype}
    assert root_of(np.full(3, np.inf, dtype)) != root_of(np.full(3, -np.inf, dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_is_no_value(dtype: str) -> None:
    size = VALUE_BYTES[dtype]
    exponent = {"float16": 0x7C00, "float32": 0x7F800000, "float64": 0x7FF0000000000000}[dtype]
    for bits in (exponent | 1, exponent | 1 << (8 * size - 1) | 5, (1 << 8 * size) - 1):
        nan = bits.to_bytes(size, "big")
        for place in (0, 70_000):
            data = bytes(place * size) + nan
            assert is_value(dtype, bytes(len(data)))
            assert not is_value(dtype, data)
        with pytest.raises(ValueError, match="NaN"):
            value_bytes(np.frombuffer(nan, np.dtype(dtype).newbyteorder(">")))


def test_truth_values_are_zero_and_one() -> None:
    assert is_value("bool", b"\0\1\1")
    assert not is_value("bool", b"\0\2\1")
    assert is_value("uint8", b"\2")


@pytest.mark.parametrize("value", [np.zeros(1, object), np.zeros(1, complex), [1.0], None, np.zeros(1, "S3")], ids=repr)
def test_only_arrays_of_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match="committed tensor"):
        value_bytes(value)


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one element"):
        value_bytes(np.zeros((2, 0), np.float32))
    for dtype, shape, data in (("float32", (2,), bytes(7)), ("float32", (0,), b""), ("bfloat16", (1,), b"12")):
        with pytest.raises(ValueError, match=r"bytes are no|one leaf"):
            packed_root(dtype, shape, data)


def test_large_tensors_have_the_same_root_by_the_kernels() -> None:
    data = struct.pack(">f", 1.5) * (BULK_BYTES // 4 + 300)
    leaves = [merkle.tensor_leaf(data[at : at + 1024]) for at in range(0, len(data), 1024)]
    wanted = merkle.tensor_digest("float32", (len(data) // 4,), merkle.Tree(leaves, merkle.EMPTY).root)
    assert packed_root("float32", (len(data) // 4,), data) == wanted


WITHOUT = """
import sys
sys.modules["numpy"] = None
from vml.values import is_value, packed_root
print(packed_root("float32", (1,), bytes(4)).hex(), is_value("float32", bytes(4)))
"""


def test_small_tensors_take_no_numpy() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{root_of(np.zeros(1, np.float32)).hex()} True\n", done.stderr
