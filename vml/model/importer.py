"""Reading an ONNX file that somebody else made: bounded, checked, static, one float type, simplified.

The result is self-contained (weights that were kept in other files are read in) and has fixed shapes: a
dynamic first axis is the batch and becomes 1, any other dynamic axis must be stated. float16, bfloat16 and
float64 become float32 everywhere, inputs and outputs included. What is not needed to run it is dropped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vml.errors import OperatorProblem, UnsupportedModel, UnsupportedOperator
from vml.model.external import read_external
from vml.model.extras import compile_extra
from vml.model.rewrite import (
    check_weights,
    drop_training,
    first_line,
    fix_shapes,
    infer,
    one_float_type,
    simplify,
)

if TYPE_CHECKING:
    import onnx

MAX_MODEL_BYTES = (1 << 31) - 1
"""Protocol buffers hold no more; bigger weights cannot be stored as one self-contained file."""

OLDEST_OPSET = 7
"""Below, operators broadcast by attribute and batch normalisation has other outputs."""

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
NUMBER_KINDS = frozenset("fiub")


@dataclass(frozen=True)
class Edge:
    """An input or output of the imported model: ONNX name, static shape, numpy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ImportedModel:
    """An ONNX model ready to be calibrated and lowered.

    Attributes:
        proto: simplified, static shapes, shapes inferred, weights inside.
        plain: the same before simplification; its outputs must be the same.
        inputs, outputs: in graph order; an input that has an initializer is a constant.
        files: SHA-256 (hex) of every file that was read, by name; "" is the name of a model given as bytes.
        notes: what was changed on the way, for the certificate.
    """

    proto: onnx.ModelProto
    plain: onnx.ModelProto
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    files: Mapping[str, str]
    notes: tuple[str, ...]


def import_model(
    source: str | os.PathLike[str] | bytes,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    simplified: bool = True,
) -> ImportedModel:
    """Read, check and normalise an ONNX model.

    Args:
        source: path of an .onnx file, or its bytes.
        shapes: static shape by input name, for inputs with dynamic axes.
        simplified: fold constants and fuse with onnxslim.

    Raises:
        UnsupportedModel: not an ONNX model, damaged, too large, external data missing or outside its folder,
            dynamic axes not stated, tensors that are not numbers, NaN weights.
        UnsupportedOperator: nodes that have no lowering, all of them.
        ValueError: ``shapes`` names no input or contradicts the model.
        OSError: the file cannot be read.
        BackendUnavailable: onnx or onnxslim is not installed.
    """
    compile_extra("onnx")
    try:
        return _import(source, shapes or {}, simplified)
    except UnicodeDecodeError as error:  # from inside a library that looked at some other text
        raise UnsupportedModel("not an ONNX model: it holds a name that is no text") from error


def _import(
    source: str | os.PathLike[str] | bytes, shapes: Mapping[str, Sequence[int]], simplified: bool
) -> ImportedModel:
    proto, where, files = _read(source)
    read_external(proto, None if where is None else where.parent, MAX_MODEL_BYTES, files)
    _check_text(proto.graph)
    notes = _inline_functions(proto)
    notes += drop_training(proto)
    opset = _opset(proto)
    check_operators(proto, opset, known_only=True)
    _only_dense_tensors(proto)
    notes += fix_shapes(proto, shapes)
    _check(proto)
    check_weights(proto)
    notes += one_float_type(proto)
    if proto.ByteSize() > MAX_MODEL_BYTES:
        raise UnsupportedModel("with float32 weights the model is larger than 2 GiB; such a model cannot be compiled")
    plain = infer(proto)
    if simplified:
        proto, more = simplify(plain)
        notes += more
        check_operators(proto, opset)
        _check(proto)
        check_weights(proto)
        proto = infer(proto)
    else:
        check_operators(plain, opset)
        proto = plain
    outputs = tuple(_edge(info) for info in proto.graph.output)
    if not outputs:
        raise UnsupportedModel("the model has no output")
    return ImportedModel(proto, plain, free_inputs(proto), outputs, files, tuple(notes))


def free_inputs(proto: onnx.ModelProto) -> tuple[Edge, ...]:
    """The inputs a caller must give: those without an initializer."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    return tuple(_edge(info) for info in proto.graph.input if info.name not in constants)


def edges_of(source: bytes) -> tuple[tuple[Edge, ...], tuple[Edge, ...]]:
    """Inputs and outputs of a model that was imported before; nothing is changed, and not much is checked.

    Args:
        source: the bytes of an imported model.

    Raises:
        UnsupportedModel: not an ONNX model, weights in other files, or shapes that are not fixed.
        BackendUnavailable: onnx is not installed.
    """
    compile_extra("onnx")
    proto, _, files = _read(source)
    read_external(proto, None, MAX_MODEL_BYTES, files)
    _check_text(proto.graph)
    _only_dense_tensors(proto)
    return free_inputs(proto), tuple(_edge(info) for info in proto.graph.output)


def check_operators(proto: onnx.ModelProto, opset: int, known_only: bool = False) -> None:
    """List every node that cannot be lowered, before any work is spent on the others.

    Args:
        proto: the model. opset: of the default domain.
        known_only: leave control flow alone, whose condition simplification may still make constant.

    Raises:
        UnsupportedOperator: with one entry a node.
    """
    from vml.model.lowering import LOWERINGS
    from vml.model.lowering.driver import DEFAULT_DOMAINS, operator_hint

    known = {tensor.name for tensor in proto.graph.initializer}
    problems = []
    for node in proto.graph.node:
        name = node.name or (node.output[0] if node.output else node.op_type)
        ours = node.domain in DEFAULT_DOMAINS
        static = all(i in known for i in node.input if i) or (ours and node.op_type == "Shape")
        if ours and node.op_type in RANDOM:
            hint = "its result is random; draw the numbers outside and pass them as an input"
        elif ours and node.op_type in CONTROL_FLOW:
            hint = "" if known_only else operator_hint(node)
        elif ours and (node.op_type in LOWERINGS or (static and _has_schema(node.op_type, opset))):
            hint = ""
        else:
            hint = operator_hint(node)
        if hint:
            problems.append(OperatorProblem(name, node.op_type, opset, hint))
        if static:
            known.update(node.output)
    if problems:
        raise UnsupportedOperator(problems)


def _has_schema(op: str, opset: int) -> bool:
    import onnx

    return bool(onnx.defs.has(op, max_inclusive_version=opset))


def _read(source: str | os.PathLike[str] | bytes) -> tuple[onnx.ModelProto, Path | None, dict[str, str]]:
    import onnx

    decode_error = compile_extra("google.protobuf.message").DecodeError
    if isinstance(source, bytes):
        where, data, what = None, source, f"{len(source)} bytes"
    else:
        where = Path(source)
        what = str(where)
        if where.is_dir():
            raise IsADirectoryError(f"{where} is a folder; an .onnx file was expected")
        with where.open("rb") as file:
            data = file.read(MAX_MODEL_BYTES + 1)
    if len(data) > MAX_MODEL_BYTES:
        raise UnsupportedModel(f"{what}: larger than 2 GiB; such a model cannot be compiled")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except decode_error:
        raise UnsupportedModel(f"{what}: not an ONNX model, or cut off in the middle") from None
    if not proto.ir_version or not proto.opset_import or not proto.graph.node:
        raise UnsupportedModel(f"{what}: not an ONNX model, or cut off in the middle (it has no nodes)")
    return proto, where, {"" if where is None else where.name: hashlib.sha256(data).hexdigest()}


def _check_text(graph: onnx.GraphProto) -> None:
    """Refuse names that are no UTF-8: protocol buffers of this age hand them out as bytes."""
    for node in graph.node:
        for text in (node.name, node.op_type, node.domain, *node.input, *node.output):
            if not isinstance(text, str):
                raise UnsupportedModel(f"not an ONNX model: {bytes(text)!r} of a node is no text")
    for named in (*graph.initializer, *graph.input, *graph.output):
        if not isinstance(named.name, str):
            raise UnsupportedModel(f"not an ONNX model: the name {bytes(named.name)!r} is no text")


def _inline_functions(proto: onnx.ModelProto) -> list[str]:
    """Replace calls of the model's own functions by their bodies, in place."""
    if not proto.functions:
        return []
    from onnx import inliner

    _check(proto)
    count = len(proto.functions)
    proto.CopyFrom(inliner.inline_local_functions(proto))
    return [f"{count} local functions were inlined"]


def _opset(proto: onnx.ModelProto) -> int:
    import onnx

    from vml.model.lowering.driver import DEFAULT_DOMAINS

    versions = [int(o.version) for o in proto.opset_import if o.domain in DEFAULT_DOMAINS]
    if not versions:
        raise UnsupportedModel("the model imports no standard operator set (domain ai.onnx)")
    opset, newest = versions[0], onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise UnsupportedModel(
            f"opset {opset} is not between {OLDEST_OPSET} and {newest}; export again with opset 17, "
            "or convert with onnx.version_converter"
        )
    return opset


def _check(proto: onnx.ModelProto) -> None:
    import onnx

    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise UnsupportedModel(f"not a valid ONNX model: {first_line(error)}") from error


def _only_dense_tensors(proto: onnx.ModelProto) -> None:
    for info in (*proto.graph.input, *proto.graph.output):
        if not info.type.HasField("tensor_type"):
            raise UnsupportedModel(f"{info.name!r} is not a tensor; sequences and maps have no integer form")
    if proto.graph.sparse_initializer:
        raise UnsupportedModel("sparse initializers are not read; export the weights as dense tensors")


def _edge(info: onnx.ValueInfoProto) -> Edge:
    from onnx import helper

    tensor = info.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError:
        raise UnsupportedModel(f"{info.name!r} has an unknown element type {tensor.elem_type}") from None
    if dtype.kind not in NUMBER_KINDS or dtype.itemsize > 8:
        raise UnsupportedModel(f"{info.name!r} holds {dtype}, only numbers and booleans are computed with")
    shape = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
    if any(n < 1 for n in shape) or not tensor.HasField("shape"):
        raise UnsupportedModel(
            f"the shape of {info.name!r} is not fixed: it depends on data, or on an axis that was left open"
        )
    return Edge(info.name, shape, dtype.name)
