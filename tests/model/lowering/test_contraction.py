"""Gemm, MatMul and Einsum against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from single_node import lower_and_run

from vml.errors import UnsupportedOperator

BOUND = 3e-4
RNG = np.random.default_rng(2)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (1, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)),
        ((4,), (4,)),
    ],
)
@pytest.mark.parametrize("constant", ["left", "right", "neither"])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], constant: str) -> None:
    tensors = {"a": floats(*left), "b": floats(*right)}
    fixed = {"left": "a", "right": "b"}.get(constant)
    constants = {n: t for n, t in tensors.items() if n == fixed}
    inputs = {n: t for n, t in tensors.items() if n != fixed}
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    assert lower_and_run(node, inputs, constants).error() < BOUND


def test_integers_multiply_exactly() -> None:
    x = RNG.integers(-1000, 1000, size=(3, 4)).astype(np.int32)
    w = RNG.integers(-1000, 1000, size=(4, 2)).astype(np.int32)
    result = lower_and_run(helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": x}, {"w": w})
    np.testing.assert_array_equal(result.got["y"], x @ w)


@pytest.mark.parametrize("attributes", [{}, {"transA": 1}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}, {"alpha": -1.5}])
@pytest.mark.parametrize("bias", [None, (5,), (3, 1), (3, 5), (1,)])
@pytest.mark.parametrize("constant", [True, False])
def test_gemm(attributes: dict[str, float], bias: tuple[int, ...] | None, constant: bool) -> None:
    x = floats(4, 3) if attributes.get("transA") else floats(3, 4)
    parameters = {"w": floats(5, 4) if attributes.get("transB") else floats(4, 5)}
    if bias is not None:
        parameters["c"] = floats(*bias)
    node = helper.make_node("Gemm", ["x", *parameters], ["y"], **attributes)
    inputs = {"x": x} if constant else {"x": x, **parameters}
    assert lower_and_run(node, inputs, parameters if constant else {}).error() < BOUND


def test_a_transposed_factor_is_only_a_view() -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)
    assert lower_and_run(node, {"x": floats(4, 3), "w": floats(4, 5)}).primitives() == [
        "input",
        "input",
        "dot",
        "rescale",
    ]


def test_a_large_bias_beside_tiny_weights_still_fits() -> None:
    node = helper.make_node("Gemm", ["x", "w", "c"], ["y"])
    constants = {"w": floats(4, 5) * np.float32(1e-9), "c": floats(5)}
    assert lower_and_run(node, {"x": floats(3, 4)}, constants).error() < BOUND


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bhid,bhjd->bhij", [(1, 2, 3, 4), (1, 2, 5, 4)]),
        ("bij, bjk -> bik", [(5, 2, 3), (5, 3, 4)]),
        ("ij->i", [(3, 4)]),
        ("ij->", [(3, 4)]),
        ("ij->ji", [(3, 4)]),
        ("ba", [(3, 4)]),
        ("...ii->...i", [(2, 3, 3)]),
        ("...ij,...jk->...ik", [(4, 1, 2, 3), (4, 2, 3, 2)]),
        ("i,i", [(5,), (5,)]),
        ("i,j->ij", [(5,), (4,)]),
        ("ij,j->", [(3, 4), (4,)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
        ("bn,anm,bm->ba", [(2, 5), (3, 5, 4), (2, 4)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    tensors = {f"x{k}": floats(*shape) for k, shape in enumerate(shapes)}
    node = helper.make_node("Einsum", list(tensors), ["y"], equation=equation)
    assert lower_and_run(node, tensors).error() < BOUND


def test_einsum_with_a_constant() -> None:
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bki")
    assert lower_and_run(node, {"x": floats(2, 3, 4)}, {"w": floats(4, 5)}).error() < BOUND


def test_gemm_without_a_product_is_refused() -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], alpha=0.0)
    with pytest.raises(UnsupportedOperator, match="alpha is 0"):
        lower_and_run(node, {"x": floats(3, 4)}, {"w": floats(4, 5)})


def test_integers_with_fractional_factors_are_refused() -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], alpha=0.5)
    integers = np.ones((2, 2), dtype=np.int32)
    with pytest.raises(UnsupportedOperator, match="put a Mul after the node"):
        lower_and_run(node, {"x": integers}, {"w": integers}, evaluated=False)
