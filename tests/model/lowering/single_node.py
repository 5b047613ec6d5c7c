"""Lower a small ONNX model, run it with interpreter and executor, and compare with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vml.model.executor import Executor
from vml.model.interpreter import run
from vml.model.lowering.driver import InputDeclaration, Lowered, lower_graph
from vml.model.scales import nice_scale, to_codes

INPUT_CODES = 32767


@dataclass(frozen=True)
class Result:
    """Float outputs of both sides by name, and the integer graph."""

    expected: dict[str, np.ndarray]
    got: dict[str, np.ndarray]
    lowered: Lowered

    def error(self) -> float:
        """Largest difference of any output, relative to that output's largest value."""
        return max(
            float(np.abs(self.got[n].astype(np.float64) - e).max()) / (float(np.abs(e).max()) or 1.0)
            for n, e in self.expected.items()
        )

    def primitives(self) -> list[str]:
        return [node.primitive for node in self.lowered.graph.nodes]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray],
    opset: int,
    strict: bool = True,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True)


def evaluate(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor the nodes produce, by onnxruntime without optimisation."""
    wanted = {o.name for o in model.graph.output}
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    names = [o for node in model.graph.node for o in node.output if o]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in wanted)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, ["CPUExecutionProvider"])
    found = session.run(None, dict(inputs))
    return {o.name: value for o, value in zip(session.get_outputs(), found, strict=True)}


def lower_and_run(
    nodes: onnx.NodeProto | Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    evaluated: bool = True,
    **options: Any,
) -> Result:
    """Compare a model made of ``nodes`` on ``inputs`` (which are also its calibration data).

    evaluated: False where onnxruntime itself refuses the model, so that only lowering is of interest.
    """
    many = [nodes] if isinstance(nodes, onnx.NodeProto) else list(nodes)
    model = model_of(many, inputs, outputs, constants or {}, opset, evaluated)
    floats = evaluate(model, inputs) if evaluated else {}
    limits = {
        n: (float(v.min()), float(v.max()))
        for n, v in {**inputs, **floats}.items()
        if np.issubdtype(v.dtype, np.floating)
    }
    declared, codes = [], {}
    for name, array in inputs.items():
        if np.issubdtype(array.dtype, np.floating):
            scale = nice_scale(Fraction(INPUT_CODES) / Fraction(float(np.abs(array).max()) or 1.0))
            lo, hi = -INPUT_CODES, INPUT_CODES
        else:
            scale, (lo, hi) = Fraction(1), (int(array.min()), int(array.max()))
        declared.append(InputDeclaration(name, array.shape, array.dtype.name, lo, hi, scale))
        codes[name] = [int(c) for c in to_codes(array, scale).reshape(-1)]
    lowered = lower_graph(model, limits, declared, **options)
    lowered.graph.validate()
    found = run(lowered.graph, codes)
    shaped = {n: np.array(flat, dtype=np.int64).reshape(inputs[n].shape) for n, flat in codes.items()}
    for name, fast in Executor(lowered.graph).run(shaped).items():
        np.testing.assert_array_equal(fast.reshape(-1), found[name], err_msg="executor and interpreter differ")
    got = {}
    for spec in lowered.graph.outputs:
        values = np.array(found[spec.name], dtype=np.int64).reshape(spec.shape)
        exact = values.astype(np.float64) / float(spec.scale)
        got[spec.name] = values if spec.scale == 1 and "float" not in spec.onnx_dtype else exact
    elem = {o.name: TensorProto.DataType.Name(o.type.tensor_type.elem_type) for o in model.graph.output}
    assert set(elem) == set(got)
    return Result({n: floats[n] for n in outputs}, got, lowered)
