"""Moving data: free views where strides allow it, ``gather`` nodes where not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vml.model.builder import Builder, Value, loop_order, permute_view, stored_in
from vml.model.codec import Part, Run, View
from vml.model.tensor import contiguous, row_major

FILL = -1
"""In a list of axis positions: the fill value instead of an element."""

# Free: only the view changes.


def transpose(value: Value, order: Sequence[int]) -> Value:
    return replace(value, shape=tuple(value.shape[k] for k in order), view=permute_view(value.view, order))


def expand(value: Value, shape: Sequence[int]) -> Value:
    """numpy broadcasting to exactly ``shape``."""
    from vml.model.builder import broadcast_view

    return replace(value, shape=tuple(shape), view=broadcast_view(value, shape))


def slice_axis(value: Value, axis: int, start: int, length: int, step: int = 1) -> Value:
    """Positions start, start + step, ... (length of them, all inside) of one axis."""
    stride = value.view.strides[axis]
    strides = tuple(s * step if k == axis else s for k, s in enumerate(value.view.strides))
    shape = tuple(length if k == axis else n for k, n in enumerate(value.shape))
    return replace(value, shape=shape, view=View(value.view.offset + start * stride, strides))


def squeeze(value: Value, axes: Sequence[int]) -> Value:
    kept = [k for k in range(value.rank) if k not in axes]
    return transpose(value, kept)


def unsqueeze(value: Value, axes: Sequence[int]) -> Value:
    """Insert axes of size 1 at positions ``axes`` of the result."""
    rank = value.rank + len(axes)
    old = iter(range(value.rank))
    source = [None if k in axes else next(old) for k in range(rank)]
    shape = tuple(1 if k is None else value.shape[k] for k in source)
    strides = tuple(0 if k is None else value.view.strides[k] for k in source)
    return replace(value, shape=shape, view=View(value.view.offset, strides))


def windows(value: Value, axis: int, count: int, size: int, stride: int, dilation: int) -> Value:
    """Replace an axis by two, (count windows, size taps): a free view with overlapping strides."""
    step = value.view.strides[axis]
    shape = (*value.shape[:axis], count, size, *value.shape[axis + 1 :])
    strides = value.view.strides
    return replace(
        value,
        shape=shape,
        view=View(value.view.offset, (*strides[:axis], step * stride, step * dilation, *strides[axis + 1 :])),
    )


def _reshaped_view(value: Value, shape: Sequence[int]) -> View | None:
    """The view after a reshape, where strides allow one (numpy's no-copy rule), else None."""
    if value.view == contiguous(value.shape):
        return contiguous(shape)
    old = [(n, s) for n, s in zip(value.shape, value.view.strides, strict=True) if n > 1]
    strides: list[int] = []
    groups: list[tuple[int, int]] = []  # merged runs of old axes: size, innermost stride
    for n, s in old:
        if groups and groups[-1][1] == n * s:
            groups[-1] = (groups[-1][0] * n, s)
        else:
            groups.append((n, s))
    place = 0
    left = groups[0][0] if groups else 1
    for n in shape:
        if n == 1:
            strides.append(0)
            continue
        if left == 1:
            place += 1
            left = groups[place][0]
        if left % n:
            return None
        left //= n
        strides.append(groups[place][1] * left)
    return View(value.view.offset, tuple(strides))


def reshape(b: Builder, value: Value, shape: Sequence[int]) -> Value:
    """Row-major reshape; copies only where the strides do not allow a view."""
    view = _reshaped_view(value, shape)
    if view is None:
        return reshape(b, materialize(b, value), shape)
    return replace(value, shape=tuple(shape), view=view)


# Copies.


def runs_of(positions: Sequence[int], stride: int, size: int) -> tuple[Run, ...]:
    """Axis positions (FILL for fill) as runs of non-negative offset contributions; ``stride`` may be negative."""
    base = -stride * (size - 1) if stride < 0 else 0
    places = [FILL if p == FILL else base + p * stride for p in positions]
    runs: list[Run] = []
    k = 0
    while k < len(places):
        end, step = k + 1, 0
        if places[k] == FILL:
            while end < len(places) and places[end] == FILL:
                end += 1
        elif end < len(places) and places[end] != FILL:
            step = places[end] - places[k]
            while end < len(places) and places[end] != FILL and places[end] - places[end - 1] == step:
                end += 1
        runs.append(Run(end - k, places[k], step))
        k = end
    return tuple(runs)


def part_of(value: Value, positions: Sequence[Sequence[int] | None], order: Sequence[int], length: int) -> Part:
    """A gather part that reads ``value`` at the given positions per logical axis (None: all), loops in ``order``."""
    offset, maps = value.view.offset, []
    for axis, (n, stride) in enumerate(zip(value.shape, value.view.strides, strict=True)):
        chosen = positions[axis]
        if stride < 0:
            offset += stride * (n - 1)
        maps.append(runs_of(range(n) if chosen is None else chosen, stride, n))
    return Part(length, offset, tuple(maps[axis] for axis in order))


def pick(b: Builder, value: Value, positions: Sequence[Sequence[int] | None], fill: int = 0) -> Value:
    """Copy with static positions per axis (None: the whole axis; FILL: ``fill``): pad, tile, resize, constant gather.

    Args:
        positions: for each axis, indices into it. fill: a code; must be 0 where no FILL occurs.
    """
    shape = [n if p is None else len(p) for n, p in zip(value.shape, positions, strict=True)]
    order = loop_order(value.view, shape)
    length = shape[order[0]] if shape else 1
    part = part_of(value, positions, order, length)
    ref = b.emit("gather", [shape[k] for k in order], [value.ref], axis=0, fill=fill, parts=(part,))
    return replace(value, ref=ref, shape=tuple(shape), view=stored_in(order, shape))


def materialize(b: Builder, value: Value) -> Value:
    """A row-major copy in logical order; the value itself where it already is one."""
    header = b.header(value)
    if value.view == contiguous(value.shape) and header.shape == value.shape:
        return value
    order = range(value.rank)
    length = value.shape[0] if value.shape else 1
    part = part_of(value, [None] * value.rank, order, length)
    ref = b.emit("gather", value.shape, [value.ref], axis=0, fill=0, parts=(part,))
    return replace(value, ref=ref, view=contiguous(value.shape))


def concat(b: Builder, values: Sequence[Value], axis: int) -> Value:
    """Join values of one scale and kind along ``axis`` (more than 255 are joined in stages)."""
    if len(values) > 255:
        return concat(b, [concat(b, values[k : k + 255], axis) for k in range(0, len(values), 255)], axis)
    first = values[0]
    if any((v.scale, v.kind) != (first.scale, first.kind) for v in values):
        raise ValueError("concatenated values must share scale and kind")
    shape = list(first.shape)
    shape[axis] = sum(v.shape[axis] for v in values)
    largest = max(values, key=lambda v: math.prod(v.shape))
    order = loop_order(largest.view, shape)
    parts = tuple(part_of(v, [None] * v.rank, order, v.shape[axis]) for v in values)
    stored = [shape[k] for k in order]
    ref = b.emit("gather", stored, [v.ref for v in values], axis=order.index(axis), fill=0, parts=parts)
    limits = [v.limit for v in values]
    known = [limit for limit in limits if limit is not None]
    limit = (min(lo for lo, _ in known), max(hi for _, hi in known)) if len(known) == len(limits) else None
    return replace(first, ref=ref, shape=tuple(shape), view=stored_in(order, shape), limit=limit)


def take_along(b: Builder, value: Value, axis: int, index: Value) -> Value:
    """One element per position of ``index`` (clamped), which has the value's shape but for ``axis``."""
    strides = value.view.strides
    ref = b.emit(
        "take",
        index.shape,
        [value.ref, index.ref],
        x=View(value.view.offset, tuple(0 if k == axis else s for k, s in enumerate(strides))),
        index=index.view,
        size=value.shape[axis],
        stride=strides[axis],
    )
    return replace(value, ref=ref, shape=index.shape, view=contiguous(index.shape))


def read(values: np.ndarray, view: View, shape: Sequence[int]) -> np.ndarray:
    """A read-only numpy window on flat storage: what a view sees. Bounds must have been checked."""
    flat = values.reshape(-1)[view.offset :]
    strides = [s * values.itemsize for s in view.strides]
    return np.lib.stride_tricks.as_strided(flat, tuple(shape), strides, writeable=False)


__all__ = [
    "FILL",
    "concat",
    "expand",
    "materialize",
    "part_of",
    "pick",
    "read",
    "reshape",
    "row_major",
    "runs_of",
    "slice_axis",
    "squeeze",
    "take_along",
    "transpose",
    "unsqueeze",
    "windows",
]
