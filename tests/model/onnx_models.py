"""Small ONNX models for the tests of the model package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
FLOAT = TensorProto.FLOAT


def edge(name: str, shape: Sequence[int | str | None] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name: str, array: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = OPSET,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(weights))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def mlp(batch: int | str | None = 1, seed: int = 0, dtype: Any = np.float32) -> onnx.ModelProto:
    """Four features, a hidden layer of five, three scores."""
    rng = np.random.default_rng(seed)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = [
        weight("w1", rng.normal(size=(4, 5)).astype(dtype)),
        weight("b1", rng.normal(size=5).astype(dtype)),
        weight("w2", rng.normal(size=(5, 3)).astype(dtype)),
        weight("b2", rng.normal(size=3).astype(dtype)),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name="second"),
    ]
    return model(nodes, [edge("x", [batch, 4], kind)], [edge("y", [batch, 3], kind)], weights)


def rows(count: int = 16, seed: int = 1) -> dict[str, Any]:
    """Rows for ``mlp``."""
    return {"x": np.random.default_rng(seed).uniform(-1, 1, (count, 4)).astype(np.float32)}
