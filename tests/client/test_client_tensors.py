"""Tensors of the Open Inference Protocol: there and back, and nothing guessed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from vml.client import tensors
from vml.client.tensors import BadTensor

DTYPES = st.sampled_from(sorted(tensors.NAMES)).map(np.dtype)
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, max_side=4))
)
NAMED = st.dictionaries(st.text(max_size=8), ARRAYS, max_size=3)


def same(left: Any, right: Any) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


@given(NAMED)
def test_binary_there_and_back(named: dict[str, Any]) -> None:
    headers, chunk = tensors.encode_binary(named)
    head = json.dumps({"inputs": headers}).encode()
    value, rest = tensors.split_body(head + chunk, str(len(head)))
    assert same(tensors.decode(value["inputs"], rest), named)


@given(NAMED)
def test_json_there_and_back(named: dict[str, Any]) -> None:
    finite = {name: array for name, array in named.items() if array.dtype.kind != "f" or np.isfinite(array).all()}
    items = json.loads(json.dumps(tensors.encode_json(finite)))
    back = tensors.decode(items, b"")
    # JSON has one zero: the sign of a floating-point zero is all that may be lost.
    assert all(np.array_equal(back[name], finite[name]) and back[name].dtype == finite[name].dtype for name in finite)


@given(st.binary(max_size=200), st.none() | st.text(max_size=6))
def test_noise_is_refused_in_one_way(body: bytes, length: str | None) -> None:
    try:
        value, rest = tensors.split_body(body, length)
        tensors.decode(value.get("inputs"), rest)
    except BadTensor:
        pass


def item(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4], **changes}


def test_nested_data_of_the_shape_is_taken() -> None:
    np.testing.assert_array_equal(tensors.decode([item(data=[[1, 2], [3, 4]])], b"")["x"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "bad",
    [
        "x",
        {},
        item(name=3),
        item(shape=None),
        item(shape=[2, -2]),
        item(shape=[2, True]),
        item(shape=[2.0, 2]),
        item(shape=[1] * 17),
        item(shape=[1 << 40]),
        item(shape=[0, 1 << 80], data=[]),
        item(datatype="BYTES"),
        item(datatype=None),
        item(data=None),
        item(data=[1, 2, 3]),
        item(data=[[1, 2], [3]]),
        item(data=[[1, 2, 3, 4]]),
        item(data=["1", "2", "3", "4"]),
        item(data=[True, False, True, False]),
        item(data=[1e300, 0, 0, 0]),
        item(data=[10**400, 0, 0, 0]),
        item(datatype="INT8", data=[1, 2, 3, 128]),
        item(datatype="INT32", data=[1.0, 2, 3, 4]),
        item(datatype="UINT8", data=[-1, 2, 3, 4]),
        item(datatype="UINT64", data=[-1, 2, 3, 4]),
        item(datatype="BOOL", data=[0, 1, 0, 1]),
        item(parameters=3),
        item(parameters={"binary_data_size": -1}),
        item(parameters={"binary_data_size": True}),
        item(parameters={"binary_data_size": 16}),
    ],
)
def test_a_bad_tensor_is_refused(bad: Any) -> None:
    with pytest.raises(BadTensor):
        tensors.decode([bad], bytes(16))


def binary(size: int) -> dict[str, Any]:
    return {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(("size", "given"), [(8, 7), (8, 9), (4, 8), (16, 16), (0, 0)])
def test_other_lengths_are_refused(size: int, given: int) -> None:
    with pytest.raises(BadTensor):
        tensors.decode([binary(size)], bytes(given))


def test_a_tensor_comes_once() -> None:
    with pytest.raises(BadTensor, match="twice"):
        tensors.decode([item(), item()], b"")


def test_a_bool_is_a_byte_0_or_1() -> None:
    header = {"name": "x", "shape": [2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}}
    assert tensors.decode([header], b"\x01\x00")["x"].tolist() == [True, False]
    with pytest.raises(BadTensor):
        tensors.decode([header], b"\x02\x00")


@pytest.mark.parametrize(
    ("body", "length"),
    [(b"{}", "3"), (b"{}", "-1"), (b"{}", "+2"), (b"{}", "2 "), (b"{}", "٢"), (b"{}", ""), (b"{}", "9" * 5000)]
    + [("{}".encode("utf-16"), None), ("{}".encode("utf-32-le"), None), (b"\xef\xbb\xbf{}", None)]
    + [(text, None) for text in (b"", b"[]", b"NaN", b'{"a":NaN}', b'{"a":1,"a":2}', b"[" * 10_000, b"\xff")],
)
def test_what_is_no_body_is_refused(body: bytes, length: str | None) -> None:
    with pytest.raises(BadTensor):
        tensors.split_body(body, length)


def test_numbers_json_cannot_write_are_refused() -> None:
    with pytest.raises(BadTensor, match="binary"):
        tensors.encode_json({"x": np.array([np.inf])})


def test_types_without_a_name_are_refused() -> None:
    with pytest.raises(BadTensor, match="complex64"):
        tensors.encode_binary({"x": np.zeros(1, dtype=np.complex64)})


def test_text_is_read_as_it_was_looked_at() -> None:
    """The parser would take UTF-16, whose brackets nobody counted."""
    deep = ('{"\u0122":' + "[" * 500 + "]" * 500 + "}").encode("utf-16-le")
    with pytest.raises(BadTensor):
        tensors.split_body(deep, None)
