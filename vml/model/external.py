"""Weights that an ONNX file keeps in files beside it: read in, without leaving the folder."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vml.errors import UnsupportedModel
from vml.files import open_inside

if TYPE_CHECKING:
    import onnx

MAX_NESTING = 32
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
    functions = (tensor for function in proto.functions for tensor in _of_nodes(function.node, 0))
    for tensor in itertools.chain(_tensors(proto.graph, 0), functions):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
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


def _tensors(graph: onnx.GraphProto, depth: int) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph: initializers, and attributes of nodes, also inside their subgraphs."""
    if depth > MAX_NESTING:
        raise UnsupportedModel(f"subgraphs are nested more than {MAX_NESTING} deep")
    yield from graph.initializer
    yield from _of_nodes(graph.node, depth)


def _of_nodes(nodes: Iterable[onnx.NodeProto], depth: int) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _tensors(attribute.g, depth + 1)
            for inner in attribute.graphs:
                yield from _tensors(inner, depth + 1)
