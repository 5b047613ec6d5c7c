"""From numbers to codes and back, exactly; and what is refused on the way."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vml.errors import OutOfRange
from vml.model.calibration import Calibration, gather_rows
from vml.model.graph import TensorSpec
from vml.model.importer import Edge
from vml.model.quantizer import declare_input, dequantize, is_scaled_first, quantize, quantize_inputs
from vml.model.tensor import header_for

HEADROOM = Fraction(3, 2)


def spec(
    lo: int = -1000,
    hi: int = 1000,
    scale: Fraction = Fraction(100),
    *,
    dtype: str = "float32",
    shape: tuple[int, ...] = (2, 2),
    saturate: bool = False,
) -> TensorSpec:
    return TensorSpec("x", dtype, 0, header_for(shape, lo, hi), scale, saturate)


def array(*values: float, dtype: str = "float32") -> Any:
    return np.array(values, dtype=dtype)


scales = st.fractions(min_value=Fraction(1, 1000), max_value=Fraction(10**9), max_denominator=10**6)


@given(value=st.floats(-1e6, 1e6, width=32), scale=scales)
@settings(max_examples=200)
def test_a_code_is_the_exact_floor(value: float, scale: Fraction) -> None:
    reach = 1 << 61
    exact = math.floor(Fraction(value) * scale + Fraction(1, 2))
    assert quantize(spec(-reach, reach, scale, shape=(1,)), array(value))[0] == exact


def test_ties_go_up_on_both_sides_of_zero() -> None:
    halves = array(-1.5, -0.5, 0.5, 1.5)
    assert quantize(spec(scale=Fraction(1), shape=(4,)), halves).tolist() == [-1, 0, 1, 2]


def test_numbers_just_below_a_tie_go_down() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert quantize(spec(scale=Fraction(1), shape=(1,)), array(below)).tolist() == [0]
    for scale in (Fraction(1), Fraction(3), Fraction(1, 3)):
        value = np.nextafter(np.float64(0.5 / float(scale)), 0.0)
        exact = math.floor(Fraction(float(value)) * scale + Fraction(1, 2))
        assert quantize(spec(scale=scale, dtype="float64", shape=(1,)), np.array([value])).tolist() == [exact]


@pytest.mark.parametrize("saturate", [False, True])
def test_nan_is_always_refused(saturate: bool) -> None:
    values = array(0, 0, math.nan, 0).reshape(2, 2)
    with pytest.raises(OutOfRange) as caught:
        quantize(spec(saturate=saturate), values)
    assert (caught.value.node, caught.value.index, caught.value.value) == ("x", (1, 0), "NaN")
    assert caught.value.bound == "-10..10"


@pytest.mark.parametrize("value", [10.01, -10.01, 1e30, -1e30, math.inf, -math.inf])
def test_out_of_range_is_refused_or_clamped(value: float) -> None:
    values = array(0, value, 10, -10).reshape(2, 2)
    with pytest.raises(OutOfRange) as caught:
        quantize(spec(), values)
    assert (caught.value.node, caught.value.index, caught.value.bound) == ("x", (0, 1), "-10..10")
    assert caught.value.value == np.float32(value)
    assert "--saturate-inputs" in str(caught.value)
    clamped = 1000 if value > 0 else -1000
    assert quantize(spec(saturate=True), values).ravel().tolist() == [0, clamped, 1000, -1000]
    assert quantize(spec(), values, saturate=True).ravel().tolist() == [0, clamped, 1000, -1000]


def test_what_rounds_to_the_last_code_is_inside() -> None:
    assert quantize(spec(shape=(1,)), array(10.004)).tolist() == [1000]
    with pytest.raises(OutOfRange):
        quantize(spec(shape=(1,)), array(10.006))


def test_integers_keep_their_value_and_their_range() -> None:
    whole = spec(0, 255, Fraction(1), dtype="int64", shape=(3,))
    assert quantize(whole, np.array([0, 7, 255])).tolist() == [0, 7, 255]
    with pytest.raises(OutOfRange) as caught:
        quantize(whole, np.array([0, 256, -1]))
    assert (caught.value.index, caught.value.value) == ((1,), 256)
    huge = spec(0, 255, Fraction(1), dtype="uint64", shape=(1,))
    with pytest.raises(OutOfRange):
        quantize(huge, np.array([2**64 - 1], dtype=np.uint64))


def test_booleans_are_zero_and_one() -> None:
    codes = quantize(spec(0, 1, Fraction(1), dtype="bool", shape=(2,)), np.array([True, False]))
    assert codes.dtype == np.int8
    assert codes.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "'x' is missing"),
        ({"y": np.zeros((2, 2), np.float32)}, "unknown name 'y'"),
        ({"x": np.zeros((2, 3), np.float32)}, r"shape \(2, 3\), the model takes \(2, 2\)"),
        ({"x": np.zeros(4, np.float32)}, "shape"),
        ({"x": np.zeros((2, 2), np.float64)}, "float64, the model takes float32"),
        ({"x": np.zeros((2, 2), np.int64)}, "int64, the model takes float32"),
        ({"x": [["a", "b"], ["c", "d"]]}, "the model takes float32"),
    ],
)
def test_inputs_of_another_name_shape_or_dtype(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantize_inputs((spec(),), inputs)


@given(code=st.integers(-1000, 1000), scale=st.fractions(1, 1000, max_denominator=1000))
def test_codes_survive_a_round_trip(code: int, scale: Fraction) -> None:
    there = dequantize(spec(scale=scale, dtype="float64", shape=(1,)), np.array([code]))
    assert quantize(spec(scale=scale, dtype="float64", shape=(1,)), there).tolist() == [code]


def test_dequantized_dtypes() -> None:
    assert dequantize(spec(shape=(1,)), np.array([50])).dtype == np.float32
    assert dequantize(spec(dtype="int64", scale=Fraction(1), shape=(1,)), np.array([50], np.int8)).dtype == np.int64
    assert dequantize(spec(0, 1, Fraction(1), dtype="bool", shape=(1,)), np.array([1])).tolist() == [True]
    with pytest.raises(ValueError, match="codes of shape"):
        dequantize(spec(shape=(1,)), np.array([1, 2]))
    with pytest.raises(ValueError, match="codes of shape"):
        dequantize(spec(shape=(1,)), np.array([1.0]))


# Scales.


def calibration(rows: Any, declared: tuple[float, float] | None = None, dtype: str = "float32") -> Calibration:
    edge = Edge("x", (1, rows.shape[1]), dtype)
    return gather_rows([edge], {"x": rows}, declared, holdout={"x": rows})


def test_a_declared_range_is_taken_as_it_is() -> None:
    rows = np.zeros((4, 3), np.float32)
    made = declare_input(Edge("x", (1, 3), "float32"), calibration(rows, (-2.0, 1.0)), 16, HEADROOM, False)
    assert (made.lo / made.scale, made.hi / made.scale) == (-2, 1)
    assert max(abs(made.lo), made.hi) <= 32767


def test_measured_ranges_get_headroom_and_reach_zero() -> None:
    rows = np.array([[1.0, 2.1], [3.3, 4.0]], np.float32)
    made = declare_input(Edge("x", (1, 2), "float32"), calibration(rows), 16, HEADROOM, False)
    assert made.lo == 0
    assert 5.999 <= made.hi / made.scale <= 6.001
    assert 32000 < made.hi <= 32767


def test_dyadic_rows_stay_exact() -> None:
    rows = np.arange(-8, 8, dtype=np.float32).reshape(8, 2) / 4
    made = declare_input(Edge("x", (1, 2), "float32"), calibration(rows), 16, HEADROOM, False)
    codes = quantize(TensorSpec("x", "float32", 0, header_for((8, 2), made.lo, made.hi), made.scale), rows)
    assert all(Fraction(int(c)) / made.scale == Fraction(float(v)) for c, v in zip(codes.flat, rows.flat, strict=True))


def test_rows_of_zeros_still_have_a_range() -> None:
    made = declare_input(
        Edge("x", (1, 2), "float32"), calibration(np.zeros((2, 2), np.float32)), 16, HEADROOM, saturate=True
    )
    assert made.lo < 0 < made.hi
    assert made.saturate


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 200], "uint8", (0, 255)),
        ([0, 256], "int32", (0, 511)),
        ([-3, 9], "int64", (-16, 15)),
        ([-128, 127], "int8", (-128, 127)),
        ([0, 0], "int64", (0, 1)),
    ],
)
def test_integer_ranges_cover_the_next_power_of_two(values: list[int], dtype: str, expected: tuple[int, int]) -> None:
    rows = np.array([values], dtype=dtype)
    made = declare_input(Edge("x", (1, 2), dtype), calibration(rows, dtype=dtype), 16, HEADROOM, False)
    assert (made.lo, made.hi, made.scale) == (*expected, 1)


def test_integers_beyond_the_limit_are_refused() -> None:
    rows = np.array([[2**62, 0]], dtype=np.int64)
    with pytest.raises(ValueError, match="below 2\\^62"):
        declare_input(Edge("x", (1, 2), "int64"), calibration(rows, dtype="int64"), 16, HEADROOM, False)


def test_only_a_scaler_of_several_features_asks_for_fine_codes() -> None:
    from onnx import helper
    from onnx_models import edge, model, weight

    def first(op: str, operand: Any, move: str | None = None) -> bool:
        nodes = [helper.make_node(move, ["x"], ["m"])] if move else []
        nodes.append(helper.make_node(op, ["m" if move else "x", "w"], ["y"]))
        proto = model(nodes, [edge("x", [1, 4])], [edge("y", [1, 4])], [weight("w", np.float32(operand))])
        return is_scaled_first(proto.graph, "x")

    assert first("Sub", [1, 2, 3, 4])
    assert first("Div", [1, 2, 3, 4], move="Identity")
    assert not first("Mul", 2)
    assert not first("MatMul", np.eye(4))
