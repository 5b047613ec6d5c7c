"""Whole-model rewrites of the importer: fixed shapes, one float type, nothing of training, simplification."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vml.errors import UnsupportedModel
from vml.model.extras import compile_extra

if TYPE_CHECKING:
    import onnx

MAX_ELEMENTS = 1 << 31
"""Largest tensor; nothing bigger is ever allocated for a constant that some shape asks for."""

INFINITE_BOUNDS = frozenset({"Clip", "Max", "Min", "Pad", "Where"})
"""Operators in which an infinite constant means "no bound" or "never chosen"; elsewhere it is a broken weight."""

BATCH = 1

INITIALIZERS_ALONE = 4
"""First IR version in which an initializer need not be an input as well."""


def drop_training(proto: onnx.ModelProto) -> list[str]:
    """Remove what running does not need: training info, texts and metadata (they hold paths of somebody's machine)."""
    notes = []
    if proto.training_info:
        notes.append("training information was dropped")
    for name in ("training_info", "metadata_props", "doc_string"):
        proto.ClearField(name)
    graph = proto.graph
    for name in ("doc_string", "metadata_props", "quantization_annotation"):
        graph.ClearField(name)
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    constants = {tensor.name for tensor in graph.initializer}
    kept = [info for info in graph.input if info.name not in constants]
    if len(kept) < len(graph.input):
        del graph.input[:]
        graph.input.extend(kept)
        proto.ir_version = max(proto.ir_version, INITIALIZERS_ALONE)
        notes.append("inputs with an initializer are constants")
    return notes


def fix_shapes(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Give every input a static shape, in place.

    Args:
        proto: the model.
        shapes: static shape by input name; a first axis left open is the batch and becomes 1.

    Raises:
        UnsupportedModel: an axis is open and no shape was given.
        ValueError: ``shapes`` names no input or contradicts the model.
    """
    graph = proto.graph
    unknown = sorted(set(shapes) - {info.name for info in graph.input})
    if unknown:
        names = ", ".join(repr(info.name) for info in graph.input)
        raise ValueError(f"--shape {unknown[0]}: the model has no such input; it has {names}")
    symbols: dict[str, int] = {}
    for info in graph.input:
        if info.name in shapes:
            _apply_given(info, tuple(int(n) for n in shapes[info.name]), symbols)
    problems, fixed = [], []
    for info in graph.input:
        if not info.type.tensor_type.HasField("shape"):
            problems.append(f"input {info.name!r} has no shape: give one, such as --shape {info.name}=1,3,224,224")
            continue
        dims = info.type.tensor_type.shape.dim
        for axis, dim in enumerate(dims):
            if dim.dim_value > 0:
                continue
            label = dim.dim_param or "?"
            size = symbols.get(dim.dim_param) or (BATCH if axis == 0 else None)
            if size is None:
                problems.append(_open_axis(info.name, axis, label, dims))
                continue
            if dim.dim_param:
                symbols[dim.dim_param] = size
            dim.Clear()
            dim.dim_value = size
            fixed.append(f"axis {axis} ({label}) of input {info.name!r} is fixed to {size}")
    if problems:
        raise UnsupportedModel("the model has dynamic shapes:\n  " + "\n  ".join(problems))
    if fixed or shapes:
        _forget_shapes(graph, symbols)
    return fixed


def _open_axis(name: str, axis: int, label: str, dims: Sequence[onnx.TensorShapeProto.Dimension]) -> str:
    sizes = [str(d.dim_value) if d.dim_value > 0 else "N" for d in dims]
    example = ",".join(["1" if sizes[0] == "N" else sizes[0], *sizes[1:]])
    return f"input {name!r}: axis {axis} ({label}) is open; state its size with --shape {name}={example}"


def _apply_given(info: onnx.ValueInfoProto, given: tuple[int, ...], symbols: dict[str, int]) -> None:
    if any(n < 1 for n in given):
        raise ValueError(f"--shape {info.name}: sizes must be at least 1, not {given}")
    shape = info.type.tensor_type.shape
    if info.type.tensor_type.HasField("shape"):
        declared = [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in shape.dim]
        if len(given) != len(shape.dim):
            raise ValueError(f"--shape {info.name}: {len(given)} axes given, the model has {declared}")
        for size, dim in zip(given, shape.dim, strict=True):
            known = dim.dim_value
            if known <= 0:
                known = symbols.setdefault(dim.dim_param, size) if dim.dim_param else size
            if known != size:
                raise ValueError(f"--shape {info.name}: {given} contradicts the model's {declared}")
    shape.ClearField("dim")
    for size in given:
        shape.dim.add().dim_value = size


def _forget_shapes(graph: onnx.GraphProto, symbols: Mapping[str, int]) -> None:
    """Shapes downstream of a dynamic axis are inferred anew."""
    graph.ClearField("value_info")
    for info in graph.output:
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_value <= 0:
                size = symbols.get(dim.dim_param)
                dim.Clear()
                if size:
                    dim.dim_value = size


def check_weights(proto: onnx.ModelProto) -> None:
    """Refuse damaged weights.

    Raises:
        UnsupportedModel: bytes that do not fit the shape, NaN, or infinity where it is no bound.
    """
    from onnx import numpy_helper

    readers: dict[str, list[str]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    for tensor in proto.graph.initializer:
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise UnsupportedModel(f"weight {tensor.name!r} cannot be read: {first_line(error)}") from error
        if array.dtype.kind not in "fV" or not array.size:
            continue
        values = array.astype(np.float64) if array.dtype.kind == "V" else array
        bound = INFINITE_BOUNDS.issuperset(readers.get(tensor.name, []))
        bad = np.isnan(values) if bound else ~np.isfinite(values)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise UnsupportedModel(
                f"weight {tensor.name!r}{list(place)} is {values[place]}; weights must be finite, "
                "train or export the model again"
            )


def one_float_type(proto: onnx.ModelProto) -> list[str]:
    """Make every float16, bfloat16 and float64 a float32, in place: weights, attributes, inputs, outputs.

    Widening is exact. float64 weights are rounded to the nearest float32 (half a unit in 2^24), far below the
    16 bits of the integer model. The float model the integer model is compared with is the float32 one.

    Raises:
        UnsupportedModel: a float64 weight beyond float32.
    """
    import onnx

    single = onnx.TensorProto.FLOAT
    other = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    seen = set()
    for tensor in proto.graph.initializer:
        if tensor.data_type in other:
            seen.add(tensor.data_type)
            _to_single(tensor)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type in other:
                seen.add(attribute.t.data_type)
                _to_single(attribute.t)
            elif attribute.name in ("to", "dtype", "output_dtype", "stash_type") and attribute.i in other:
                seen.add(attribute.i)
                attribute.i = single
    for info in (*proto.graph.input, *proto.graph.output):
        if info.type.tensor_type.elem_type in other:
            seen.add(info.type.tensor_type.elem_type)
            info.type.tensor_type.elem_type = single
    if not seen:
        return []
    proto.graph.ClearField("value_info")
    names = sorted(onnx.TensorProto.DataType.Name(kind).lower() for kind in seen)
    return [f"{', '.join(names)} became float32, inputs and outputs included"]


def _to_single(tensor: onnx.TensorProto) -> None:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if (np.isinf(single) & np.isfinite(array.astype(np.float64))).any():
        raise UnsupportedModel(f"weight {tensor.name!r} holds {np.abs(array).max():.3g}, beyond float32")
    tensor.CopyFrom(numpy_helper.from_array(single, tensor.name))


def infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with inferred shapes.

    Raises:
        UnsupportedModel: shapes contradict each other, or a tensor is absurdly large.
    """
    import onnx

    try:
        proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise UnsupportedModel(f"the model's shapes do not fit together: {first_line(error)}") from error
    for info in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        size = math.prod(max(1, dim.dim_value) for dim in info.type.tensor_type.shape.dim)
        if size > MAX_ELEMENTS:
            raise UnsupportedModel(f"tensor {info.name!r} has {size} elements, the limit is {MAX_ELEMENTS}")
    return proto


def simplify(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Fold constants and fuse with onnxslim.

    Returns:
        The simplified model and notes; where onnxslim fails, the model as it was and a note saying so.
    """
    import onnx

    onnxslim = compile_extra("onnxslim")
    before = len(proto.graph.node)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    try:
        slim = onnxslim.slim(copy)
    except Exception as error:  # a third party's optional pass: whatever it raises, the model itself is fine
        return proto, [f"not simplified: onnxslim failed with {type(error).__name__}: {first_line(error)}"]
    if _signature(slim) != _signature(proto):
        return proto, ["not simplified: onnxslim changed the model's inputs or outputs"]
    # onnxslim's own shapes are wrong in places (Split into uneven parts, reductions over an empty list of axes).
    for info, known in zip(slim.graph.output, proto.graph.output, strict=True):
        info.CopyFrom(known)
    slim.graph.ClearField("value_info")
    drop_training(slim)
    return slim, [f"onnxslim: {before} nodes became {len(slim.graph.node)}"]


def _signature(proto: onnx.ModelProto) -> list[tuple[str, int]]:
    edges = (*proto.graph.input, *proto.graph.output)
    return [(info.name, info.type.tensor_type.elem_type) for info in edges]


def first_line(error: BaseException) -> str:
    """What a library complained about, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
