"""The wrapped graph computes what the model computes, and refuses what it cannot wrap."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.backends.ezkl.conftest import sample, tiny_mlp
from vml.backends.ezkl.statement import SALT_LANES
from vml.backends.ezkl.wrapper import wrap
from vml.backends.types import Visibility
from vml.errors import UnsupportedModel

CONTEXT = np.arange(16, dtype=np.int64)[None] * 4000


def one_node(op: str, shape: list[int], *more: np.ndarray, **attributes: object) -> bytes:
    """A Relu, the operator, and a Relu."""
    constants = [numpy_helper.from_array(value, f"c{i}") for i, value in enumerate(more)]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node(op, ["r", *(c.name for c in constants)], ["p"], **attributes),
        helper.make_node("Relu", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    return bytes(model.SerializeToString())


def run(source: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return list(onnxruntime.InferenceSession(source).run(None, inputs))


@pytest.mark.parametrize(
    ("op", "shape", "attributes"),
    [
        ("MaxPool", [1, 2, 6, 6], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("MaxPool", [1, 2, 7, 5], {"kernel_shape": [3, 2]}),
        ("MaxPool", [1, 2, 7, 9], {"kernel_shape": [2, 3], "strides": [2, 1], "dilations": [2, 2]}),
        ("MaxPool", [1, 3, 9], {"kernel_shape": [3], "strides": [2]}),
        ("MaxPool", [1, 1, 6, 6], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("MaxPool", [1, 1, 7, 7], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("MaxPool", [1, 1, 7, 7], {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [2, 2]}),
        ("AveragePool", [1, 1, 6, 6], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("AveragePool", [1, 1, 7, 7], {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ],
)
def test_pools_are_the_same_bit_for_bit(op: str, shape: list[int], attributes: dict[str, object]) -> None:
    source = one_node(op, shape, **attributes)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    wrapped = run(wrap(source, Visibility()).onnx, {"x": x, "vml_context": CONTEXT})
    expected = run(source, {"x": x})
    # max(a, b) is written a + relu(b - a), which floats round; integers do not.
    np.testing.assert_allclose(wrapped[0], expected[0], atol=1e-6)
    np.testing.assert_array_equal(wrapped[1], CONTEXT)


def test_plain_maximum_pooling_leaves_no_pool() -> None:
    source = one_node("MaxPool", [1, 2, 6, 6], kernel_shape=[2, 2], strides=[2, 2])
    kinds = [node.op_type for node in onnx.load_from_string(wrap(source, Visibility()).onnx).graph.node]
    assert "MaxPool" not in kinds


@pytest.mark.parametrize("attributes", [{}, {"auto_pad": "SAME_UPPER"}, {"pads": [1, 0, 2, 1], "strides": [2, 1]}])
def test_convolutions_are_spelled_out(attributes: dict[str, object]) -> None:
    weights = np.random.default_rng(1).normal(size=(2, 3, 3, 2)).astype(np.float32)
    source = one_node("Conv", [1, 3, 8, 7], weights, **attributes)
    x = np.random.default_rng(2).normal(size=(1, 3, 8, 7)).astype(np.float32)
    wrapped = wrap(source, Visibility()).onnx
    expected = run(source, {"x": x})
    np.testing.assert_allclose(run(wrapped, {"x": x, "vml_context": CONTEXT})[0], expected[0], atol=1e-5)
    conv = next(node for node in onnx.load_from_string(wrapped).graph.node if node.op_type == "Conv")
    assert {"kernel_shape", "strides", "dilations", "pads", "group"} <= {a.name for a in conv.attribute}


def test_salt_lanes_are_sliced_away() -> None:
    wrapped = wrap(tiny_mlp(), Visibility(input="private"))
    assert wrapped.salt_lanes == SALT_LANES
    lanes = np.arange(SALT_LANES, dtype=np.float32)[None] * 1000
    salted = np.concatenate([sample()["x"], lanes], axis=1)
    got = run(wrapped.onnx, {"vml_input_0": salted, "vml_context": CONTEXT})
    np.testing.assert_array_equal(got[0], run(tiny_mlp(), sample())[0])


def test_a_model_salt_changes_nothing() -> None:
    wrapped = wrap(tiny_mlp(), Visibility(model="private"), tuple(range(SALT_LANES)))
    got = run(wrapped.onnx, {**sample(), "vml_context": CONTEXT})
    np.testing.assert_array_equal(got[0], run(tiny_mlp(), sample())[0])
    np.testing.assert_array_equal(got[1], CONTEXT)


def test_a_salt_belongs_to_a_private_model_only() -> None:
    with pytest.raises(ValueError, match="salt"):
        wrap(tiny_mlp(), Visibility(model="private"))
    with pytest.raises(ValueError, match="salt"):
        wrap(tiny_mlp(), Visibility(), (0,) * SALT_LANES)


def test_old_operator_sets_are_converted() -> None:
    model = onnx.load_from_string(tiny_mlp())
    model.opset_import[0].version = 9
    got = run(wrap(bytes(model.SerializeToString()), Visibility()).onnx, {**sample(), "vml_context": CONTEXT})
    np.testing.assert_allclose(got[0], run(tiny_mlp(), sample())[0], atol=1e-6)


def renamed(old: str, new: str) -> bytes:
    model = onnx.load_from_string(tiny_mlp())
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
    return bytes(model.SerializeToString())


def dynamic() -> bytes:
    model = onnx.load_from_string(tiny_mlp())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (b"", "static shape|valid|no "),
        (b"not a model", "valid"),
        (tiny_mlp()[:50], "valid"),
        (renamed("a", "vml_context"), "reserved"),
        (dynamic(), "static shape"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(source: bytes, what: str) -> None:
    with pytest.raises(UnsupportedModel, match=what):
        wrap(source, Visibility())
