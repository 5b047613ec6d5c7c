"""The single-operator tests that the installed onnx package generates, made ready for the compiler.

A case is one node with example inputs. What the integer model takes from constants (shapes, axes, bounds, weights of
a normalisation) is bound as initializers; the other inputs stay run-time inputs. Where a case has several, it is run
twice: all at run time, and with every input but the first bound ("/constant"), as trained weights are.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.parity.onnx_bounds import BOUNDS

Arrays = dict[str, Any]
"""Arrays by name (a list or None where ONNX has a sequence or an optional)."""

PARAMETERS: Mapping[str, Sequence[int]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "ConstantOfShape": (0,),
    "ConvTranspose": (1, 2),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "PRelu": (1,),
    "QuantizeLinear": (1, 2),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}
"""Input positions that are constants of the model, by operator."""

EXCLUDED: Mapping[str, str] = {
    "*FLOAT8*": "8-bit floats: no exact codes",
    "*quantizelinear_e?m*": "8-bit floats: no exact codes",
    "*FLOAT4*": "4-bit floats: no exact codes",
    "*quantizelinear_float4*": "4-bit floats: no exact codes",
    "cast_*INT[24]*": "2- and 4-bit integers: onnxruntime and numpy have no arrays of them",
    "*quantizelinear_*int[24]": "2- and 4-bit integers: onnxruntime and numpy have no arrays of them",
    "cast_FLOAT_to_BFLOAT16": "bfloat16 is computed as float32, with more digits than ONNX keeps",
    "equal_string*": "strings are not numbers",
    "identity_sequence": "sequences are not tensors",
    "identity_opt": "optionals are not tensors",
    "*_empty_set*": "a tensor without elements has no commitment",
    "constantofshape_int_shape_zero": "a tensor without elements has no commitment",
    "reshape_allowzero_reordered": "a tensor without elements has no commitment",
    "shape_start_greater_than_end": "a tensor without elements has no commitment",
    "slice_start_out_of_bounds": "a tensor without elements has no commitment",
    "split_zero_size_splits*": "a tensor without elements has no commitment",
    "sub_uint*": "a difference of unsigned numbers may be negative, where ONNX wraps: refused",
    "*training*": "training mode: random, or it learns",
    "resize_*linear*": "Resize interpolates by nearest only",
    "resize_*cubic*": "Resize interpolates by nearest only",
    "resize_tf_crop_and_resize*": "Resize interpolates by nearest only (these cases are linear)",
    "maxpool_with_argmax*": "the Indices output of MaxPool",
    "m[ai][xn]_int16*": "onnxruntime has no kernel for this type, so nothing could be calibrated",
    "m[ai][xn]_uint16*": "onnxruntime has no kernel for this type, so nothing could be calibrated",
    "mod_float*_mixed_sign_fmod_0": "onnxruntime has no kernel for this type, so nothing could be calibrated",
    "mod_float_edge_cases*": "NaN and infinities have no codes",
    "pow_types_float32_uint*": "onnxruntime has no kernel for this type, so nothing could be calibrated",
    "top_k_uint64": "onnxruntime has no kernel for this type, so nothing could be calibrated",
}
"""Cases that are not run, by pattern of their name, and why. Every one of them must fail, or it leaves the table."""

OPSETS = (7, 26)
"""Oldest opset the importer reads; newest one the installed onnxruntime loads. Cases are declared inside."""

IR_VERSION = 10
FLOAT_TYPES = (TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Case:
    """One generated test.

    Attributes:
        name: as onnx names it, without "test_"; "/constant" where all inputs but the first are bound.
        operator: the ONNX operator. opset: the case's own.
        model: one node. inputs: run-time inputs by name. expected: the case's own outputs by name; floats are float32.
    """

    name: str
    operator: str
    opset: int
    model: onnx.ModelProto
    inputs: Arrays
    expected: Arrays


def _array(value: Any) -> Any:
    """A case's datum as a numpy array; floats of other widths as float32, which the importer makes of them."""
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    if value is None or isinstance(value, list):
        return value
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name in ("float16", "float64", "bfloat16") else array


def _finite(given: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cast's tests hold NaN, infinities and what overflows to them: such elements become 0 on both sides."""
    if given.dtype.kind != "f" or wanted.dtype.kind != "f":
        return given, wanted
    kept = np.isfinite(given) & np.isfinite(wanted)
    return np.where(kept, given, np.float32(0)), np.where(kept, wanted, np.float32(0))


def _initializer(name: str, value: Any) -> TensorProto:
    tensor = TensorProto()
    tensor.CopyFrom(value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value)))
    tensor.name = name
    return tensor


def _bound(case: Any, positions: Sequence[int], suffix: str = "") -> Case:
    """A generated test with the inputs at ``positions`` bound as initializers."""
    node, arrays = case.model.graph.node[0], case.data_sets[0][0]
    given = dict(zip([i.name for i in case.model.graph.input], arrays, strict=True))
    fixed = {node.input[k] for k in positions if k < len(node.input)}
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    kept = [i for i in graph.input if i.name not in fixed]
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.extend(_initializer(n, a) for n, a in given.items() if n in fixed)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", min(max(opset, OPSETS[0]), OPSETS[1])))
    model.ir_version = IR_VERSION
    run_time = {n: _array(a) for n, a in given.items() if n not in fixed}
    outputs = {o.name: _array(a) for o, a in zip(graph.output, case.data_sets[0][1], strict=True)}
    if node.op_type == "Cast":
        x, y = node.input[0], node.output[0]
        run_time[x], outputs[y] = _finite(run_time[x], outputs[y])
    return Case(
        case.name.removeprefix("test_") + suffix,
        node.op_type,
        opset,
        model,
        run_time,
        outputs,
    )


@functools.cache
def collect() -> tuple[Case, ...]:
    """Every case of the operators in BOUNDS. Takes about 12 seconds, nearly all of it inside onnx."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes expected outputs with overflows of its own
        generated = collect_testcases(None)
    cases = []
    for case in generated:
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type not in BOUNDS or nodes[0].domain or "_expanded" in case.name:
            continue
        parameters = PARAMETERS.get(nodes[0].op_type, ())
        cases.append(_bound(case, parameters))
        rest = [k for k, i in enumerate(nodes[0].input) if i and k not in parameters]
        if len(rest) > 1:
            cases.append(_bound(case, [*parameters, *rest[1:]], "/constant"))
    return tuple(cases)


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same node on float32 wherever it had another float type: what onnxruntime is asked."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for info in (*wide.graph.input, *wide.graph.output):
        if info.type.tensor_type.elem_type in FLOAT_TYPES:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    for k, tensor in enumerate(wide.graph.initializer):
        if tensor.data_type in FLOAT_TYPES:
            wide.graph.initializer[k].CopyFrom(_initializer(tensor.name, _array(tensor)))
    return wide
