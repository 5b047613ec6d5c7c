"""Reductions, ArgMax/ArgMin and TopK. Sums are exact and wide; a mean only changes the scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from vml.model import views
from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused, normalize_axis, static
from vml.model.lowering.functions import negative
from vml.model.lowering.movement import Inputs, axes_of, first
from vml.model.numbers import Numbers, Tensor
from vml.model.tensor import VALUE_LIMIT


def reduce_sum(b: Numbers, x: Value, axes: list[int], keepdims: bool) -> Value:
    terms = math.prod(x.shape[k] for k in axes)
    if x.kind == "float" and terms * b.header(x).bound >= VALUE_LIMIT:
        x = b.narrow(x)
    return b.reduce("reduce_sum", x, axes, keepdims, limit=None, kind="int" if x.kind == "bool" else x.kind)


def reduce_mean(b: Numbers, x: Value, axes: list[int], keepdims: bool) -> Value:
    """The sum at a scale that many times finer; integers drop the fraction, as ONNX does."""
    terms = math.prod(x.shape[k] for k in axes)
    total = reduce_sum(b, x, axes, keepdims)
    mean = replace(total, scale=total.scale * terms)
    return mean if x.kind == "float" else b.truncate(mean)


def reduce_max(b: Numbers, x: Value, axes: list[int], keepdims: bool) -> Value:
    return b.reduce("reduce_max", x, axes, keepdims)


def reduce_min(b: Numbers, x: Value, axes: list[int], keepdims: bool) -> Value:
    return negative(b, b.reduce("reduce_max", negative(b, x), axes, keepdims))


def _reduction(fold: Callable[[Numbers, Value, list[int], bool], Value]) -> Lowering:
    def lower(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
        x = first(inputs)
        axes = axes_of(node, inputs, 1, x.rank)
        if not axes:
            if node.attributes.get("noop_with_empty_axes", 0):
                return [x]
            axes = list(range(x.rank))
        return [fold(b, x, axes, bool(node.attributes.get("keepdims", 1))) if axes else x]

    return lower


def _arg(largest: bool) -> Lowering:
    """Position of the largest (smallest) element: the first one, or with select_last_index the last."""

    def lower(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
        x = first(inputs)
        axis = normalize_axis(node.attributes.get("axis", 0), x.rank)
        size = x.shape[axis]
        row = x if largest else negative(b, x)
        last = bool(node.attributes.get("select_last_index", 0))
        if last:
            row = views.slice_axis(row, axis, size - 1, size, -1)
        place = b.rows("argmax", row, axis)
        if last:
            place = b.affine(place, -1, gamma=size - 1, scale=Fraction(1), kind="int")
        return [views.unsqueeze(place, [axis]) if node.attributes.get("keepdims", 1) else place]

    return lower


def topk(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """The k largest (smallest) with their positions, in order; ties go to the lower position."""
    x, given = first(inputs), static(node, inputs, 1, "k")
    k = int(node.attributes["k"] if given is None else given.reshape(-1)[0])
    axis = normalize_axis(node.attributes.get("axis", -1), x.rank)
    if not 1 <= k <= x.shape[axis]:
        raise Refused(f"the top {k} of {x.shape[axis]} elements")
    row = x if node.attributes.get("largest", 1) else negative(b, x)
    places = b.rows("topk", row, axis, k)
    return [views.take_along(b, x, axis, places), places]


LOWERINGS: dict[str, Lowering] = {
    "ArgMax": _arg(largest=True),
    "ArgMin": _arg(largest=False),
    "ReduceMax": _reduction(reduce_max),
    "ReduceMean": _reduction(reduce_mean),
    "ReduceMin": _reduction(reduce_min),
    "ReduceSum": _reduction(reduce_sum),
    "TopK": topk,
}
