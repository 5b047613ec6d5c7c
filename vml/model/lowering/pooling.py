"""MaxPool, AveragePool and their global forms, any number of spatial axes: ``reduce`` over window views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.spatial import Window, padded, sliding, windowed
from vml.model.numbers import Numbers, Tensor

COUNT_BITS = 24


def _input(b: Numbers, inputs: Sequence[Tensor | None]) -> Value:
    """The pooled tensor: floats at activation width (pooling a wide tensor would only cost memory)."""
    x = inputs[0]
    if not isinstance(x, Value) or x.rank < 3:
        raise Refused(f"pooling needs [N, C, spatial...], not {x if x is None else x.shape}")
    return b.narrow(x) if x.kind == "float" else x


def _windows(node: OnnxNode, x: Value) -> list[Window]:
    kernel = [int(n) for n in node.attributes["kernel_shape"]]
    ceil = bool(node.attributes.get("ceil_mode", 0))
    dilated = any(int(d) > 1 for d in node.attributes.get("dilations") or ())
    if (ceil or dilated) and str(node.attributes.get("auto_pad", "")).startswith("SAME"):
        raise Refused("runtimes disagree on auto_pad with dilations or ceil_mode; write the pads out")
    return sliding(node, x.shape[2:], kernel, ceil)


def _reduced(b: Numbers, primitive: str, x: Value, windows: Sequence[Window]) -> Value:
    taps = [3 + 2 * axis for axis in range(len(windows))]
    return b.reduce(primitive, windowed(x, windows), taps, keepdims=False, limit=None)


def max_pool(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """Padding holds the smallest code the input can have, so it never wins against an element."""
    if node.outputs > 1:
        raise Refused("the Indices output is not supported; use only the pooled values")
    x = _input(b, inputs)
    windows = _windows(node, x)
    if any(0 in w.taps_inside(with_padding=False) for w in windows):
        raise Refused("a window lies wholly in the padding; use smaller pads")
    return [_reduced(b, "reduce_max", padded(b, x, windows, b.header(x).lo), windows)]


def average_pool(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """Each window's sum over its count: a change of scale where counts agree, else a factor per position."""
    x = _input(b, inputs)
    windows = _windows(node, x)
    total = _reduced(b, "reduce_sum", padded(b, x, windows), windows)
    counts = np.ones((), dtype=np.int64)
    for window in windows:
        inside = window.taps_inside(with_padding=bool(node.attributes.get("count_include_pad", 0)))
        counts = np.multiply.outer(counts, np.array(inside, dtype=np.int64))
    return [_divided(b, total, counts)]


def _divided(b: Numbers, total: Value, counts: np.ndarray) -> Value:
    """total / counts: exact where the least common multiple of the counts fits COUNT_BITS bits."""
    distinct = [int(n) for n in np.unique(counts)]
    if distinct[0] < 1:
        raise Refused("a window lies wholly in the padding; use smaller pads")
    if len(distinct) == 1:
        return b.scaled(total, Fraction(1, distinct[0]))
    common = min(math.lcm(*distinct), 1 << COUNT_BITS)
    factors = b.constant((2 * common + counts) // (2 * counts))
    return b.multiply(total, factors, scale=total.scale * common)


def global_max_pool(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = _input(b, inputs)
    return [b.reduce("reduce_max", x, range(2, x.rank), keepdims=True)]


def global_average_pool(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = _input(b, inputs)
    total = b.reduce("reduce_sum", x, range(2, x.rank), keepdims=True, limit=None)
    return [b.scaled(total, Fraction(1, math.prod(x.shape[2:])))]


LOWERINGS: dict[str, Lowering] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalMaxPool": global_max_pool,
    "GlobalAveragePool": global_average_pool,
}
