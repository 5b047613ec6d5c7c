"""Tensors on the wire of the Open Inference Protocol v2, for both its sides.

A tensor is ``{"name", "shape", "datatype", "data"}`` with its numbers in JSON, row-major, nested or flat; or, with the
binary tensor data extension, ``{"name", "shape", "datatype", "parameters": {"binary_data_size": n}}`` and its n bytes,
little-endian and row-major, behind the JSON, whose own length the header `HEADER_LENGTH` gives. Sources: KServe, "Open
Inference Protocol (V2)"; Triton, "Binary Tensor Data Extension".

Nothing is guessed: a number that the datatype cannot hold is refused, and so are texts, other lengths and what follows
the last tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from vml import strictjson

HEADER_LENGTH = "Inference-Header-Content-Length"
DATATYPES: Mapping[str, str] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
"""Protocol's name to numpy's."""

NAMES: Mapping[str, str] = {dtype: name for name, dtype in DATATYPES.items()}
"""numpy's name to the protocol's."""

MAX_RANK = 16
Array = np.ndarray[Any, np.dtype[Any]]


class BadTensor(ValueError):
    """What came is no tensor of the protocol; the message says which and why."""


def encode_binary(tensors: Mapping[str, Array]) -> tuple[list[dict[str, Any]], bytes]:
    """Tensors with their numbers behind the JSON.

    Args:
        tensors: by name, of the numpy types in `DATATYPES`.

    Returns:
        One header a tensor, and the bytes that follow the JSON.

    Raises:
        BadTensor: a type that the protocol has no name for.
    """
    headers, chunks = [], []
    for name, array in tensors.items():
        chunk = _little(array).tobytes()
        headers.append({**_header(name, array), "parameters": {"binary_data_size": len(chunk)}})
        chunks.append(chunk)
    return headers, b"".join(chunks)


def encode_json(tensors: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Tensors with their numbers in the JSON, flat.

    Raises:
        BadTensor: a type that the protocol has no name for, or a number that JSON has no word for.
    """
    listed = []
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadTensor(f"tensor {name!r} holds a number that JSON cannot write; ask for binary data")
        listed.append({**_header(name, array), "data": array.reshape(-1).tolist()})
    return listed


def split_body(body: bytes, header_length: str | None) -> tuple[dict[str, Any], bytes]:
    """The JSON object of a request or an answer, and the bytes behind it.

    Args:
        body: all of it.
        header_length: of the header `HEADER_LENGTH`; None where there is none, so that all of it is JSON.

    Raises:
        BadTensor: no such object.
    """
    end = len(body)
    if header_length is not None:
        written = header_length.isascii() and header_length.isdigit() and len(header_length) <= 12
        if not written or int(header_length) > len(body):
            raise BadTensor(f"{HEADER_LENGTH} {header_length[:32]!r} is not a length within the body")
        end = int(header_length)
    text = body[:end]
    try:
        value = strictjson.loads(text)
    except ValueError as error:
        raise BadTensor(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadTensor("the body is not a JSON object")
    return value, body[end:]


def decode(items: object, rest: bytes, max_elements: int = 1 << 28) -> dict[str, Array]:
    """Tensors by name, from their headers and the bytes behind the JSON.

    Args:
        items: the list of tensors in the JSON.
        rest: the bytes behind it.
        max_elements: of one tensor.

    Returns:
        Arrays in their own memory, in the machine's byte order.

    Raises:
        BadTensor: anything that is not exactly what the headers say.
    """
    if not isinstance(items, list):
        raise BadTensor("there is no list of tensors")
    tensors: dict[str, Array] = {}
    at = 0
    for item in items:
        name, shape, dtype = _read_header(item, max_elements)
        if name in tensors:
            raise BadTensor(f"tensor {name!r} comes twice")
        size = _binary_size(item, name)
        if size is None:
            tensors[name] = _from_json(name, item.get("data"), shape, dtype)
            continue
        if "data" in item:
            raise BadTensor(f"tensor {name!r} has its numbers twice")
        if size != math.prod(shape) * dtype.itemsize or at + size > len(rest):
            raise BadTensor(f"tensor {name!r} of shape {shape} and {dtype} has another number of bytes")
        tensors[name] = _from_bytes(name, rest[at : at + size], shape, dtype)
        at += size
    if at != len(rest):
        raise BadTensor(f"{len(rest) - at} bytes follow the last tensor")
    return tensors


def datatype(dtype: Any) -> str:
    """The protocol's name of a numpy type.

    Raises:
        BadTensor: it has none.
    """
    name = str(np.dtype(dtype))
    if name not in NAMES:
        raise BadTensor(f"numbers of type {name} have no datatype; there are {', '.join(DATATYPES)}")
    return NAMES[name]


def _header(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype(array.dtype)}


def _little(array: Array) -> Array:
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)


def _read_header(item: Any, max_elements: int) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise BadTensor("a tensor is an object with a name")
    name, shape, kind = item["name"], item.get("shape"), item.get("datatype")
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(type(d) is int and d >= 0 for d in shape):
        raise BadTensor(f"tensor {name!r} has no shape: a list of at most {MAX_RANK} lengths")
    if math.prod(shape) > max_elements or max(shape, default=0) > max_elements:
        raise BadTensor(f"tensor {name!r} has more than {max_elements} elements")
    if not isinstance(kind, str) or kind not in DATATYPES:
        raise BadTensor(f"tensor {name!r}: datatype is one of {', '.join(DATATYPES)}")
    return name, tuple(shape), np.dtype(DATATYPES[kind])


def _binary_size(item: Mapping[str, Any], name: str) -> int | None:
    parameters = item.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadTensor(f"tensor {name!r}: parameters are an object")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise BadTensor(f"tensor {name!r}: binary_data_size is a number of bytes")
    return size


def _from_bytes(name: str, data: bytes, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    array = np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    if dtype.kind == "b" and any(byte > 1 for byte in data):
        raise BadTensor(f"tensor {name!r}: a BOOL is a byte 0 or 1")
    return array


_WRITTEN_AS: Mapping[str, set[type]] = {"b": {bool}, "f": {int, float}}
"""What numbers of a kind may be in JSON: 1.0 is no integer, and true is no number."""


def _from_json(name: str, data: Any, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    flat = _flat(data, shape)
    if flat is None:
        raise BadTensor(f"tensor {name!r}: data are not {math.prod(shape)} numbers of shape {list(shape)}")
    if not set(map(type, flat)) <= _WRITTEN_AS.get(dtype.kind, {int}):
        raise BadTensor(f"tensor {name!r}: data are not numbers of {NAMES[str(dtype)]}")
    too_large = BadTensor(f"tensor {name!r}: a number does not fit {NAMES[str(dtype)]}")
    try:
        with np.errstate(over="ignore"):
            array: Array = np.array(flat, dtype=np.float64 if dtype.kind == "f" else dtype).astype(dtype)
    except OverflowError:
        raise too_large from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise too_large
    return array.reshape(shape)


def _flat(data: Any, shape: Sequence[int]) -> list[Any] | None:
    """The numbers of a list that is flat, or nested as the shape says; None for any other."""
    if not isinstance(data, list):
        return None
    if not data or not isinstance(data[0], list):
        return data if len(data) == math.prod(shape) else None
    level = [data]
    for size in shape:
        if not all(isinstance(part, list) and len(part) == size for part in level):
            return None
        level = list(chain.from_iterable(level))
    return level
