"""Weights that an ONNX file keeps in files beside it: read in, without leaving the folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vml.errors import UnsupportedModel
from vml.files import open_inside
from vml.model.extras import compile_extra

if TYPE_CHECKING:
    import onnx

_CHUNK = 1 << 20


def read_external(proto: onnx.ModelProto, folder: Path | None, limit: int, files: dict[str, str]) -> None:
    """Put every external tensor's bytes into the model, in place.

    Args:
        proto: a parsed model.
        folder: where the .onnx file lies; None for a model given as bytes.
        limit: most bytes of weights in all.
        files: takes the SHA-256 (hex) of each file read, by its name.

    Raises:
        UnsupportedModel: data missing, too short, too much, outside the folder or behind a symbolic link.
    """
    import onnx

    budget = limit - proto.ByteSize()
    for tensor in _tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            if tensor.external_data:
                raise UnsupportedModel(f"tensor {tensor.name!r} names another file, and says that it lies in this one")
            continue
        if folder is None:
            raise UnsupportedModel(
                f"tensor {tensor.name!r} lies in another file; give the model's path instead of its bytes"
            )
        data = _read_tensor(tensor, folder, budget)
        budget -= len(data)
        location = _entries(tensor)["location"]
        if location not in files:
            files[location] = _digest(folder, location)
        tensor.raw_data = data
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _read_tensor(tensor: onnx.TensorProto, folder: Path, budget: int) -> bytes:
    from onnx import helper

    entries = _entries(tensor)
    location = entries.get("location", "")
    what = f"external data {location!r} of tensor {tensor.name!r}"
    try:
        itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
    except (KeyError, ValueError):
        raise UnsupportedModel(f"{what}: unknown element type, or offset and length are no numbers") from None
    size = math.prod(tensor.dims) * itemsize
    if any(n < 0 for n in tensor.dims) or offset < 0 or length not in (-1, size):
        raise UnsupportedModel(f"{what}: {length} bytes at {offset} do not fit shape {list(tensor.dims)}")
    if size > budget:
        raise UnsupportedModel(f"{what}: more than 2 GiB of weights in all; such a model cannot be compiled")
    try:
        with open_inside(folder, location) as file:
            file.seek(offset)
            data = file.read(size)
    except FileNotFoundError:
        raise UnsupportedModel(f"{what} is missing: keep the file in {folder}, beside the model") from None
    except NotADirectoryError as error:
        raise UnsupportedModel(f"{what} is missing: {error.strerror}") from None
    except ValueError as error:
        raise UnsupportedModel(f"{what} is refused: {error}") from None
    if len(data) != size:
        raise UnsupportedModel(f"{what}: the file ends after {len(data)} of {size} bytes")
    return data


def _digest(folder: Path, location: str) -> str:
    digest = hashlib.sha256()
    with open_inside(folder, location) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def parts(message: Any) -> Iterator[Any]:
    """A protocol buffer's message and all messages in it, in order, whichever field holds them; tensors are not opened.

    Going by the fields that are there, not by a list of places, it also finds what a later version of ONNX adds.
    """
    onnx, message_type = compile_extra("onnx"), compile_extra("google.protobuf.message").Message
    waiting = [message]
    while waiting:
        found = waiting.pop()
        if not isinstance(found, onnx.TensorProto):
            inner: list[Any] = []
            for field, value in found.ListFields():
                if field.message_type is not None:
                    inner += [value] if isinstance(value, message_type) else value
            waiting += reversed(inner)
        yield found


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, also of sparse ones, subgraphs, functions and their defaults."""
    import onnx

    return (part for part in parts(proto) if isinstance(part, onnx.TensorProto))
