"""The networks that benchmarks measure: the shapes they claim, alive, and within what the compiler takes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import vml
from benchmarks.networks import NETWORKS, Network, mlp, mobilenet025, resnet8, resnet50
from vml.model.calibration import FloatModel


def _products(network: Network) -> int:
    """Multiplications of all convolutions and dense layers."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(network.onnx)).graph
    values = (*inferred.value_info, *inferred.output)
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in values}
    weights = {tensor.name: tensor.dims for tensor in inferred.initializer}
    total = 0
    for node in inferred.node:
        if node.op_type == "Conv":
            total += int(np.prod(shapes[node.output[0]])) * int(np.prod(weights[node.input[1]][1:]))
        elif node.op_type == "Gemm":
            total += int(np.prod(weights[node.input[1]]))
    return total


@pytest.mark.parametrize(
    ("make", "weights", "products", "convolutions"),
    [
        (resnet8, 77_706, 12_501_632, 9),
        (mobilenet025, 210_850, 7_489_664, 27),
        (resnet50, 25_530_472, 4_089_184_256, 53),
    ],
)
def test_shapes_are_those_of_the_reference_models(make, weights: int, products: int, convolutions: int) -> None:
    network = make()
    assert network.weights == weights
    assert _products(network) == products
    assert sum(node.op_type == "Conv" for node in onnx.load_from_string(network.onnx).graph.node) == convolutions


@pytest.mark.parametrize("make", [resnet8, mobilenet025, lambda: mlp(10_000)])
def test_no_layer_is_dead_and_nothing_saturates(make) -> None:
    network = make()
    graph = onnx.load_from_string(network.onnx)
    values = FloatModel(graph, exposed=True).run({"input": network.sample["input"]})
    for node in graph.graph.node:
        if node.op_type == "Relu":
            share = float(np.mean(np.asarray(values[node.output[0]]) > 0))
            assert 0.2 < share < 0.95, node.name
    model = vml.compile(network.onnx, calibration=network.calibration)
    assert model.certificate.saturation == ()
    assert all(difference.holdout.agreement == 1 for difference in model.certificate.differences)


@pytest.mark.parametrize("weights", [10_000, 100_000])
def test_sizes_are_those_asked_for(weights: int) -> None:
    assert abs(mlp(weights).weights / weights - 1) < 0.02


def test_weights_are_seeded() -> None:
    assert mlp(10_000).onnx == mlp(10_000).onnx != mlp(10_000, seed=1).onnx
    assert {"lenet5", "dense4m"} < set(NETWORKS)
