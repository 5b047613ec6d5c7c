"""Gather: static positions are a copy (or a view), positions computed at run time are ``take``."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from vml.model import views
from vml.model.builder import Value
from vml.model.codec import View
from vml.model.lowering.base import Lowering, OnnxNode, Refused, normalize_axis
from vml.model.lowering.movement import Inputs, check_not_empty
from vml.model.numbers import Numbers, Tensor
from vml.model.tensor import row_major


def split_axis(value: Value, axis: int, sizes: tuple[int, ...]) -> Value:
    """One axis as several, row-major: a free view."""
    stride = value.view.strides[axis]
    strides = (*value.view.strides[:axis], *(stride * s for s in row_major(sizes)), *value.view.strides[axis + 1 :])
    return replace(
        value, shape=(*value.shape[:axis], *sizes, *value.shape[axis + 1 :]), view=View(value.view.offset, strides)
    )


def gather_static(b: Numbers, x: Value, axis: int, index: np.ndarray) -> Value:
    """Positions known at compile time."""
    size = x.shape[axis]
    check_not_empty(index.shape)
    outside = index[(index < -size) | (index >= size)]
    if outside.size:
        raise Refused(f"index {int(outside[0])} of an axis of size {size}")
    flat = [int(i) % size for i in index.reshape(-1)]
    steps = {after - before for before, after in itertools.pairwise(flat)}
    if len(steps) <= 1:
        return split_axis(views.slice_axis(x, axis, flat[0], len(flat), steps.pop() if steps else 1), axis, index.shape)
    positions = [flat if k == axis else None for k in range(x.rank)]
    return split_axis(views.pick(b, x, positions), axis, index.shape)


def gather(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """Negative positions count from the end; a position outside at run time is clamped into the axis."""
    data, index = inputs
    assert data is not None
    assert index is not None
    axis = normalize_axis(node.attributes.get("axis", 0), len(data.shape))
    if isinstance(index, np.ndarray):
        assert isinstance(data, Value)  # else the node was folded
        return [gather_static(b, data, axis, index)]
    x = b.lift(data)
    if b.header(index).lo < 0:
        wrapped = b.affine(index, 1, gamma=x.shape[axis], kind="int")
        zero = b.constant(np.zeros((), dtype=np.int8), kind="int")
        index = b.select(b.less(index, zero), wrapped, index, kind="int")
    return [b.take(x, axis, index)]


LOWERINGS: dict[str, Lowering] = {"Gather": gather}
