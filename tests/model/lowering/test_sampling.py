"""Tile, Pad and Resize copy the elements onnxruntime copies."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from onnx import helper

from tests.model.lowering.exact import ints, moved, refused, whole
from tests.model.lowering.single_node import lower_and_run
from vml.model.lowering.sampling import axis_positions, intended

X = whole(2, 3, 4)
IMAGE = whole(1, 2, 5, 7)


def test_tile() -> None:
    moved("Tile", {"x": X}, {"r": ints(2, 1, 3)})


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 1, 2, 0, 1, 1], [0, 0, -1, 0, 2, 0], [0, 0, 2, 0, 0, -1]])
def test_pad(mode: str, pads: list[int]) -> None:
    moved("Pad", {"x": X}, {"p": ints(*pads)}, mode=mode, opset=19)


def test_pad_value_axes_and_attributes() -> None:
    five = np.array(5, dtype=np.float32)
    moved("Pad", {"x": X}, {"p": ints(0, 0, 1, 0, 2, 0), "v": five})
    moved("Pad", {"x": X}, {"p": ints(1, 2), "v": five, "a": ints(-1)}, opset=18)
    moved("Pad", {"x": X}, opset=10, pads=[0, 1, 0, 0, 0, 1], value=-3.0)
    moved("Pad", {"x": X.astype(np.int64)}, {"p": ints(0, 0, 1, 0, 2, 0), "v": np.array(9, dtype=np.int64)})


def test_pad_by_minus_infinity_is_never_the_largest() -> None:
    low = {"p": ints(0, 0, 1, 0, 0, 1), "v": np.array(-np.inf, dtype=np.float32)}
    nodes = [helper.make_node("Pad", ["x", "p", "v"], ["t"]), helper.make_node("ReduceMax", ["t"], ["y"], axes=[2])]
    result = lower_and_run(nodes, {"x": X}, low)
    np.testing.assert_array_equal(result.got["y"], result.expected["y"])


def test_pad_value_beyond_the_data_widens_the_scale() -> None:
    node = helper.make_node("Pad", ["x", "p", "v"], ["y"])
    far = {"p": ints(0, 0, 1, 0, 0, 0), "v": np.array(1000, dtype=np.float32)}
    assert lower_and_run(node, {"x": X}, far).error() < 2**-14


MODES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_resize_by_scales_and_by_sizes(mode: str, rounding: str) -> None:
    how = {"coordinate_transformation_mode": mode, "nearest_mode": rounding, "opset": 19}
    for scales in ([1, 1, 2, 3], [1, 1, 0.7, 0.5], [1, 1, 1.5, 0.3]):
        moved("Resize", {"x": IMAGE}, {"_roi": ints(0), "s": np.array(scales, dtype=np.float32)}, **how)
    for sizes in ([1, 2, 10, 14], [1, 2, 4, 5], [1, 2, 9, 3]):
        moved("Resize", {"x": IMAGE}, {"_roi": ints(0), "_s": ints(0), "sizes": ints(*sizes)}, **how)


def test_resize_crop_reads_a_region_and_fills_outside() -> None:
    roi = np.array([0, 0, 0.25, -0.5, 1, 1, 0.75, 0.5], dtype=np.float32)
    sizes = {"roi": roi, "_s": ints(0), "sizes": ints(1, 2, 4, 5)}
    how = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0}
    moved("Resize", {"x": IMAGE}, sizes, **how)


def test_resize_opset_10_and_upsample() -> None:
    for scales in ([1, 1, 2, 2], [1, 1, 0.6, 0.5]):
        moved("Resize", {"x": IMAGE}, {"s": np.array(scales, dtype=np.float32)}, opset=10)
    moved("Upsample", {"x": IMAGE}, {"s": np.array([1, 1, 2, 3], dtype=np.float32)}, opset=9)


def test_a_scale_is_the_fraction_that_was_meant() -> None:
    for p in range(1, 40):
        for q in range(1, 40):
            assert intended(float(np.float32(p) / np.float32(q))) == Fraction(p, q)


def test_refusals() -> None:
    scales = {"_roi": ints(0), "s": np.array([1, 1, 2, 2], dtype=np.float32)}
    refused("only nearest", "Resize", {"x": IMAGE}, scales, mode="linear")
    refused("must be a constant", "Pad", {"x": X, "p": ints(0, 0, 0, 0, 0, 0)})
    refused("no elements", "Pad", {"x": X}, {"p": ints(0, 0, -2, 0, 0, -2)})


def test_an_exact_coordinate_decides_where_float32_wavers() -> None:
    """Position 1 of 5 to 3 by half_pixel reads coordinate 1.5 * 5 / 3 - 0.5 = 2 exactly; float32 falls below it."""
    assert axis_positions(5, 3, Fraction(3, 5), "half_pixel", "floor", (Fraction(0), Fraction(1))) == [0, 2, 3]
