"""BatchNormalization, LayerNormalization and InstanceNormalization against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from single_node import lower_and_run

from vml.errors import UnsupportedModel, UnsupportedOperator

BOUND = 3e-4
RNG = np.random.default_rng(5)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def statistics(channels: int, spread: float = 1.0) -> dict[str, np.ndarray]:
    variance = (floats(channels) ** 2 + np.float32(0.1)) * np.float32(spread**2)
    return {"s": floats(channels), "b": floats(channels), "m": floats(channels) * np.float32(spread), "v": variance}


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (1, 3, 4, 5)])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-2, 0.0])
@pytest.mark.parametrize("constant", [True, False])
def test_batch_normalization(shape: tuple[int, ...], epsilon: float, constant: bool) -> None:
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=epsilon)
    inputs, parameters = {"x": floats(*shape)}, statistics(3)
    result = lower_and_run(node, inputs, parameters) if constant else lower_and_run(node, inputs | parameters)
    assert result.error() < BOUND


def test_batch_normalization_of_large_inputs() -> None:
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    assert lower_and_run(node, {"x": floats(4, 3) * 1000}, statistics(3, 1000.0)).error() < BOUND


def test_training_mode_is_refused() -> None:
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "p", "q"], training_mode=1)
    with pytest.raises(UnsupportedOperator, match="evaluation mode"):
        lower_and_run(node, {"x": floats(2, 3)}, statistics(3), outputs=["y", "p", "q"], evaluated=False)


def test_a_variance_that_is_not_a_number_is_refused() -> None:
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    constants = statistics(3) | {"v": np.array([1, np.nan, 1], dtype=np.float32)}
    with pytest.raises(UnsupportedModel, match="finite"):
        lower_and_run(node, {"x": floats(2, 3)}, constants, evaluated=False)


@pytest.mark.parametrize(("shape", "axis"), [((4, 64), -1), ((2, 3, 4, 5), 1), ((2, 3, 4, 5), -2), ((1, 3, 100), 2)])
@pytest.mark.parametrize("epsilon", [1e-5, 0.1, 0.0])
def test_layer_normalization(shape: tuple[int, ...], axis: int, epsilon: float) -> None:
    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y", "m", "i"], axis=axis, epsilon=epsilon)
    inner = shape[axis:]
    constants = {"s": floats(*inner), "b": floats(*inner)}
    x = floats(*shape) * 10 + 3
    assert lower_and_run(node, {"x": x}, constants, outputs=["y", "m", "i"]).error() < BOUND


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_layer_normalization_is_free_of_the_unit(size: float) -> None:
    node = helper.make_node("LayerNormalization", ["x", "s"], ["y"], epsilon=1e-12)
    x = floats(4, 32) * np.float32(size)
    assert lower_and_run(node, {"x": x, "s": floats(32)}).error() < BOUND


def test_a_constant_row_normalises_to_the_bias() -> None:
    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"])
    x = np.concatenate([np.full((1, 8), 2.5, np.float32), floats(1, 8)])
    result = lower_and_run(node, {"x": x}, {"s": floats(8), "b": floats(8)})
    assert result.error() < BOUND


@pytest.mark.parametrize("shape", [(2, 3, 50), (1, 3, 6, 7), (1, 2, 3, 4, 5)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    node = helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"])
    constants = {"s": floats(shape[1]), "b": floats(shape[1])}
    assert lower_and_run(node, {"x": floats(*shape) + 1}, constants).error() < BOUND
