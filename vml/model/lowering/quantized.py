"""QuantizeLinear and DequantizeLinear: a quantised model keeps its own integers.

DequantizeLinear gives exactly the codes minus the zero point, at 1 / x_scale codes per unit (the exact rational of
the float32), so that the product that follows works on those integers; weights with a scale per axis become
``ChannelCodes``. QuantizeLinear rescales to exactly y_scale, clamps to the integer type and adds the zero point.

Rounding: ties go up in QuantizeLinear at run time (``rescale``), where ONNX rounds them to even; constants are
quantised when the model is compiled, as ONNX does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused, normalize_axis, static
from vml.model.lowering.weights import JOINED_BITS, ChannelCodes, rescaled_by
from vml.model.numbers import Numbers, Tensor
from vml.model.tensor import row_major

FACTOR_BITS = 24


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest integer of a type (also ONNX's 4-bit ones). Raises Refused for anything else."""
    found = re.fullmatch(r"(u?)int(\d+)", dtype.name)
    if found is None:
        raise Refused(f"quantisation to {dtype.name} is not supported; use an integer type")
    bits = int(found[2])
    return (0, (1 << bits) - 1) if found[1] else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _laid(node: OnnxNode, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Scales or zero points (one, one per position of the axis, or per block), broadcasting to ``shape``."""
    if array.size == 1:
        return array.reshape(())
    axis = normalize_axis(int(node.attributes.get("axis", 1)), len(shape))
    block = int(node.attributes.get("block_size", 0))
    if block:
        return np.repeat(array, block, axis).take(range(shape[axis]), axis)
    if array.shape != (shape[axis],):
        raise Refused(f"scales of shape {array.shape} for axis {axis} of {tuple(shape)}")
    return array.reshape([-1 if k == axis else 1 for k in range(len(shape))])


def _parameters(
    node: OnnxNode, inputs: Sequence[Tensor | None], shape: Sequence[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Scales (as stored) and zero points, both broadcasting to ``shape``. Raises Refused for a bad or computed one."""
    scale, zero = static(node, inputs, 1, "scale"), static(node, inputs, 2, "zero point")
    if scale is None or not np.isfinite(scale).all() or not (scale > 0).all():
        raise Refused("its scale must be finite and above 0")
    return _laid(node, scale, shape), None if zero is None else _laid(node, zero, shape)


def _fractions(steps: np.ndarray) -> list[Fraction]:
    return [Fraction(float(step)) for step in steps.reshape(-1)]


def _target_type(node: OnnxNode, zero: np.ndarray | None) -> np.dtype[Any]:
    from onnx import helper

    if zero is not None:
        return zero.dtype
    declared = int(node.attributes.get("output_dtype", 0))
    return np.dtype(helper.tensor_dtype_to_np_dtype(declared)) if declared else np.dtype(np.uint8)


def quantize_linear(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = inputs[0]
    if x is None:
        raise Refused("the input is required")
    steps, zeros = _parameters(node, inputs, x.shape)
    lo, hi = integer_range(_target_type(node, zeros))
    zero = np.zeros((), dtype=np.int64) if zeros is None else zeros.astype(np.int64)
    if isinstance(x, np.ndarray):
        b.check_finite(x)
        return [np.asarray(np.clip(np.rint(x / steps) + zero, lo, hi), dtype=np.int64)]
    x = replace(x, kind="float")
    if zero.size == 1:
        codes = _at_steps(b, x, steps, lo - int(zero), hi - int(zero))
        return [codes if not zero else b.affine(codes, 1, gamma=int(zero), kind="int")]
    codes = _at_steps(b, x, steps, lo - int(zero.max()), hi - int(zero.min()))
    moved = b.affine(codes, 1, b.constant(zero), 1, kind="int")
    return [b.clamp(moved, lo, hi)]


def _at_steps(b: Numbers, x: Value, steps: np.ndarray, lo: int, hi: int) -> Value:
    """round(x / step) clamped to lo..hi: integers. One multiplier of at least FACTOR_BITS bits per step."""
    scales = [1 / step for step in _fractions(steps)]
    if len(scales) == 1:
        codes = b.to_scale(x, scales[0], lo, hi, factor_bits=FACTOR_BITS)
    else:
        codes = rescaled_by(b, x, [scale / x.scale for scale in scales], steps.shape, lo, hi)
    return replace(codes, scale=Fraction(1), kind="int", limit=None)


def dequantize_linear(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = inputs[0]
    if x is None:
        raise Refused("the input is required")
    steps, zeros = _parameters(node, inputs, x.shape)
    zero = np.zeros((), dtype=np.int64) if zeros is None else zeros.astype(np.int64)
    if isinstance(x, np.ndarray):
        return [_constant(b, node, x, steps, zero)]
    if not zero.any():
        codes = x
    elif zero.size == 1:
        codes = _before_zero_point(b, x, int(zero)) or b.affine(x, 1, gamma=-int(zero))
    else:
        codes = b.affine(x, 1, b.constant(zero), -1)
    codes = replace(codes, kind="float", limit=None)
    if steps.size == 1:
        return [replace(codes, scale=1 / _fractions(steps)[0])]
    units = _fractions(steps)
    target = Fraction(1 << JOINED_BITS, max(1, b.header(codes).bound)) / max(units)
    limit = 1 << (JOINED_BITS + 1)
    joined = rescaled_by(b, codes, [unit * target for unit in units], steps.shape, -limit, limit)
    return [replace(joined, scale=target)]


def _constant(b: Numbers, node: OnnxNode, x: np.ndarray, steps: np.ndarray, zero: np.ndarray) -> Tensor:
    """Constant codes: weights keep their integers, wide ones (biases) become the floats they stand for."""
    lo, hi = integer_range(x.dtype)
    codes = x.astype(np.int64) - zero
    if hi - lo > 1 << 16 or (steps.size > 1 and "block_size" in node.attributes):
        return np.asarray(codes.astype(np.float32) * steps.astype(np.float32))
    if steps.size == 1:
        return b.constant(codes, 1 / _fractions(steps)[0])
    return ChannelCodes.of(codes, _fractions(steps), int(np.argmax(np.array(steps.shape) > 1)))


def _before_zero_point(b: Numbers, x: Value, zero: int) -> Value | None:
    """The codes to which a QuantizeLinear just added the same zero point, if there is one."""
    node = b.nodes[x.ref]
    if node.primitive != "affine" or len(node.inputs) != 1:
        return None
    adds = (node.attributes["alpha"], node.attributes["gamma"]) == (1, zero)
    source = b.nodes[node.inputs[0]].header
    view, shape = node.attributes["a"], node.header.shape
    # Along an axis of size 1 a stride has no meaning.
    steps = [(s, t) for n, s, t in zip(shape, view.strides, row_major(shape), strict=True) if n > 1]
    whole = view.offset == 0 and all(s == t for s, t in steps) and source.size == node.header.size
    return replace(x, ref=node.inputs[0]) if adds and whole else None


LOWERINGS: dict[str, Lowering] = {"QuantizeLinear": quantize_linear, "DequantizeLinear": dequantize_linear}
