"""Factors of products: weights laid out for their contraction, integer weights with steps per channel, biases.

A dot over codes a (scale s) and weight codes w of channel c (step t_c: real weight = t_c * w) has the scale
s / t_c in channel c. ``ChannelCodes`` keeps the integers and steps beside the float values; whoever does not
know it sees an ordinary float array, and any array derived from it forgets, so nothing can be misread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from vml.model import views
from vml.model.builder import Value, broadcast_view
from vml.model.codec import View
from vml.model.numbers import Numbers, Tensor
from vml.model.primitives.rescale import SHIFTS
from vml.model.scales import nice_scale, to_codes
from vml.model.tensor import VALUE_LIMIT

BIAS_BITS = 44
JOINED_BITS = 29


class ChannelCodes(np.ndarray):
    """A float array that is codes * steps along one axis.

    Attributes:
        codes: int64, same shape. steps: exact units per code, one per position of ``axis``.
    """

    codes: np.ndarray | None
    steps: tuple[Fraction, ...]
    axis: int

    def __array_finalize__(self, source: Any) -> None:
        self.codes, self.steps, self.axis = None, (), 0

    @staticmethod
    def of(codes: np.ndarray, steps: Sequence[Fraction], axis: int) -> ChannelCodes:
        shape = [1] * codes.ndim
        shape[axis] = len(steps)
        scales = np.array([float(s) for s in steps], dtype=np.float32).reshape(shape)
        array: ChannelCodes = (codes.astype(np.float32) * scales).view(ChannelCodes)
        array.codes, array.steps, array.axis = codes, tuple(steps), axis
        return array


@dataclass(frozen=True)
class Factor:
    """One side of a product: narrow codes, and for weights with a step per output channel those steps."""

    value: Value
    steps: tuple[Fraction, ...] | None = None


def factor(b: Numbers, tensor: Tensor) -> Value:
    """An operand of a product: floats at activation or weight width, integers with their own codes."""
    if isinstance(tensor, np.ndarray) or tensor.kind != "float":
        return b.lift(tensor)
    return b.narrow(tensor)


def arranged(
    b: Numbers, tensor: Tensor, shape: Sequence[int], order: Sequence[int], flipped: Sequence[int] = ()
) -> Tensor:
    """Reshape, then transpose, then reverse the axes ``flipped`` (of the result)."""
    if isinstance(tensor, np.ndarray):
        moved: np.ndarray = np.flip(tensor.reshape(shape).transpose(order), tuple(flipped))
        return moved
    value = views.transpose(views.reshape(b, tensor, shape), order)
    for axis in flipped:
        value = views.slice_axis(value, axis, value.shape[axis] - 1, value.shape[axis], -1)
    return value


def weight(
    b: Numbers,
    tensor: Tensor,
    shape: Sequence[int],
    order: Sequence[int],
    flipped: Sequence[int] = (),
    *,
    channel_axis: int | None = None,
    finest: Fraction | None = None,
) -> Factor:
    """Weights rearranged as ``arranged`` does; constants are stored in that layout.

    Args:
        channel_axis: axis of ``tensor`` along which a step per output channel can be kept.
        finest: an upper limit for the scale of float constants.
    """
    if isinstance(tensor, ChannelCodes) and tensor.codes is not None and tensor.axis == channel_axis:
        codes = arranged(b, tensor.codes, shape, order, flipped)
        assert isinstance(codes, np.ndarray)
        return Factor(b.constant(codes), tensor.steps)
    if isinstance(tensor, Value):
        tensor = factor(b, tensor)
        if tensor.ref in b.constants:
            stored = views.read(b.constants[tensor.ref], tensor.view, tensor.shape)
            codes = arranged(b, stored, shape, order, flipped)
            assert isinstance(codes, np.ndarray)
            return Factor(b.constant(codes, tensor.scale, tensor.kind))
        moved = arranged(b, tensor, shape, order, flipped)
        assert isinstance(moved, Value)
        return Factor(moved)
    array = arranged(b, np.asarray(tensor), shape, order, flipped)
    assert isinstance(array, np.ndarray)
    if finest is None or not np.issubdtype(array.dtype, np.floating):
        return Factor(b.lift(array))
    scale = b.constant_scale(array, (1 << (b.weight_bits - 1)) - 1)
    return Factor(b.quantize_constant(array, min(scale, nice_scale(finest))))


def finest_scale(activation: Value, bias: np.ndarray | None) -> Fraction | None:
    """The finest weight scale at which the bias, at the product's scale, stays within BIAS_BITS bits."""
    largest = 0.0 if bias is None else float(np.abs(bias).max(initial=0))
    if not 0 < largest < float("inf"):
        return None
    return Fraction(1 << BIAS_BITS) / (Fraction(largest) * activation.scale)


def product(
    b: Numbers,
    shape: Sequence[int],
    contract: Sequence[int],
    first: tuple[Value, View],
    second: tuple[Factor, View],
    bias: np.ndarray | None = None,
) -> Value:
    """``dot`` over views, with a constant bias at exactly the product's scale.

    Args:
        shape: output loops; where the weights have steps, their channels are the last ones.
        contract: contracted loops. first, second: operands with their views over both.
        bias: constant, broadcasts to ``shape``.
    """
    weights, steps = second[0].value, second[0].steps
    scale = first[0].scale * weights.scale
    added = None
    if bias is not None and steps is None:
        constant = b.quantize_constant(bias, scale)
        added = (constant, broadcast_view(constant, shape))
    elif bias is not None:
        rows = np.atleast_1d(bias)
        channels = np.broadcast_to(rows, (*rows.shape[:-1], shape[-1]))
        constant = b.constant(_channel_codes(b, channels, scale, steps or ()), scale)
        added = (constant, broadcast_view(constant, shape))
    result = b.dot(shape, contract, first, (weights, second[1]), added)
    if first[0].kind != "float" and weights.kind != "float" and steps is None:
        return replace(result, kind="int")
    return result if steps is None else joined(b, result, steps)


def _channel_codes(b: Numbers, bias: np.ndarray, scale: Fraction, steps: Sequence[Fraction]) -> np.ndarray:
    """A bias at the scale of each channel; the trailing axes of the bias run over the channels."""
    b.check_finite(bias)
    flat = np.asarray(bias).reshape(-1, len(steps))
    columns = [to_codes(flat[:, c], scale / step) for c, step in enumerate(steps)]
    return np.stack(columns, axis=1).reshape(bias.shape)


def joined(b: Numbers, value: Value, steps: Sequence[Fraction]) -> Value:
    """Bring a tensor with one step per channel (the last axes run over the channels) to one scale.

    The result has about JOINED_BITS bits; channel c is multiplied by an integer proportional to steps[c].
    """
    axes = 1
    while math.prod(value.shape[-axes:]) < len(steps):
        axes += 1
    target = Fraction(1 << JOINED_BITS, max(1, b.header(value).bound)) / max(steps)
    limit = (1 << (JOINED_BITS + 1)) - 1
    result = rescaled_by(b, value, [step * target for step in steps], value.shape[-axes:], -limit, limit)
    return replace(result, scale=value.scale * target)


def rescaled_by(b: Numbers, value: Value, ratios: Sequence[Fraction], shape: Sequence[int], lo: int, hi: int) -> Value:
    """Codes times ratios (row-major in ``shape``, which broadcasts to the value), rounded and clamped to lo..hi.

    Raises:
        UnsupportedModel: the ratios lie so far apart that no shift serves them all.
    """
    bound, largest = b.header(value).bound, max(ratios)
    shift = max((s for s in SHIFTS if bound * (largest * (1 << s) + 1) + (1 << s) < VALUE_LIMIT), default=SHIFTS[0])
    multipliers = [max(1, int(ratio * (1 << shift) + Fraction(1, 2))) for ratio in ratios]
    constant = b.constant(np.array(multipliers, dtype=np.int64).reshape(shape))
    return b.rescale_channels(value, constant, shift, lo, hi)
