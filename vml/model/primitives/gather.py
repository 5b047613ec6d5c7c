"""``gather``: y[i] = x[f(i)] for a static index map f; ``take``: the index of one axis comes from a tensor.

A gather's output is cut along ``axis`` into parts; each part reads one input. Within a part, the offset into the
input's flat storage is the part's offset plus one contribution per axis, and an axis's contribution is piecewise
linear: a list of runs. That one rule covers slice, transpose, expand, tile, pad (constant, reflect, edge),
concatenate, nearest resize and constant indices. A run with a negative start yields ``fill``.

``take`` clamps its index to 0..size-1, so every index is defined.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from vml.model.codec import Attributes, Part, Run
from vml.model.primitives.base import Primitive, Read, StepCost, Walk, check_operands, one_each, place, position
from vml.model.primitives.shared import clamp
from vml.model.relation import ONE, Evaluate, Relation, Step
from vml.model.tensor import MAX_STRIDE, Header, Operand, header_for, offsets, row_major

FIELDS = (("axis", "u8"), ("fill", "i64"), ("parts", "parts"))
TAKE_FIELDS = (("x", "view"), ("index", "view"), ("size", "u64"), ("stride", "i64"))

# SHAPE


def part_shape(out: tuple[int, ...], axis: int, part: Part) -> tuple[int, ...]:
    """Sizes of a part's loops."""
    return tuple(part.length if k == axis else n for k, n in enumerate(out))


def _run_ends(run: Run) -> tuple[int, int]:
    last = run.start + run.step * (run.length - 1)
    return min(run.start, last), max(run.start, last)


def _check_part(part: Part, loops: tuple[int, ...], size: int) -> bool:
    """Refuse a part that leaves its input; tells whether it uses fill."""
    if len(part.maps) != len(loops) or part.length < 1:
        raise ValueError(f"a part has {len(part.maps)} maps of length {part.length} for loops {loops}")
    fills, high = False, part.offset
    for n, runs in zip(loops, part.maps, strict=True):
        if any(run.length < 1 for run in runs) or sum(run.length for run in runs) != n:
            raise ValueError(f"runs cover {sum(run.length for run in runs)} of {n} positions")
        real = [_run_ends(run) for run in runs if run.start >= 0]
        fills |= len(real) < len(runs)
        if any(abs(run.step) >= MAX_STRIDE for run in runs):
            raise ValueError("a run steps 2^48 elements or more")
        if any(low < 0 for low, _ in real):
            raise ValueError("a run steps below 0")
        high += max((top for _, top in real), default=0)
    if high >= size:
        raise ValueError(f"a gather reaches {high} of {size} elements")
    return fills


def shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    axis, parts = attributes["axis"], attributes["parts"]
    if axis >= max(1, len(out)) or len(parts) != len(operands):
        raise ValueError(f"axis {axis} of {len(out)}, {len(parts)} parts for {len(operands)} inputs")
    if sum(part.length for part in parts) != (out[axis] if out else 1):
        raise ValueError("parts do not add up to the joined axis")
    filled = [
        _check_part(part, part_shape(out, axis, part), operand.header.size)
        for part, operand in zip(parts, operands, strict=True)
    ]
    lows, highs = [o.header.lo for o in operands], [o.header.hi for o in operands]
    if any(filled):
        lows, highs = [*lows, attributes["fill"]], [*highs, attributes["fill"]]
    elif attributes["fill"]:
        raise ValueError("fill is set but never used")
    return header_for(out, min(lows), max(highs))


def take_shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    x, index = operands
    if attributes["size"] < 1:
        raise ValueError("take from an axis of size 0")
    # The taken axis is one more loop of x's view.
    view, stride = attributes["x"], attributes["stride"]
    reach = type(view)(view.offset, (*view.strides, stride))
    check_operands({"x": reach}, (*out, attributes["size"]), (x,), ("x",))
    check_operands(attributes, out, (index,), ("index",))
    return header_for(out, x.header.lo, x.header.hi)


# EXACT


def axis_offsets(runs: Sequence[Run]) -> list[int]:
    """The contribution of every position of one axis; -1 where it is fill."""
    return [run.start + run.step * j if run.start >= 0 else -1 for run in runs for j in range(run.length)]


def _axis_positions(attributes: Attributes, out: Header) -> list[tuple[int, int]]:
    """For every position of the joined axis: which part, and the position inside it."""
    return [(p, j) for p, part in enumerate(attributes["parts"]) for j in range(part.length)]


def exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
    axis, parts = attributes["axis"], attributes["parts"]
    tables = [[axis_offsets(runs) for runs in part.maps] for part in parts]
    positions = _axis_positions(attributes, out)
    result = []
    for index in itertools.product(*(range(n) for n in out.shape)):
        part, within = positions[index[axis]] if index else (0, 0)
        inner = [within if k == axis else i for k, i in enumerate(index)]
        steps = [table[i] for table, i in zip(tables[part], inner, strict=True)]
        filled = any(step < 0 for step in steps)
        result.append(attributes["fill"] if filled else inputs[part][parts[part].offset + sum(steps)])
    return result


def take_exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
    x, index = inputs
    places = zip(offsets(attributes["x"], out.shape), offsets(attributes["index"], out.shape), strict=True)
    top, stride = attributes["size"] - 1, attributes["stride"]
    return [x[i + stride * max(0, min(top, index[j]))] for i, j in places]


# RELATION
#
# gather: for each part y = x[f(i)], which reads 0 where an axis is fill, + fill * (1 - product of the axes' masks).
# take: c = clamp(index, 0, size - 1), and (address of row c, y) is a row of the table of x's storage.


def _steps(part: Part) -> tuple[int, tuple[Step, ...]]:
    """A part's position maps, a stride where an axis is one run, and the offset that goes with them."""
    offset, steps = part.offset, list[Step]()
    for runs in part.maps:
        if len(runs) == 1 and runs[0].start >= 0:
            offset += runs[0].start
            steps.append(runs[0].step)
        else:
            steps.append(tuple(axis_offsets(runs)))
    return offset, tuple(steps)


def relation(r: Relation, attributes: Attributes) -> None:
    out, axis, fill = r.header.shape, attributes["axis"], attributes["fill"]
    strides, start = row_major(out), 0
    for index, part in enumerate(attributes["parts"]):
        offset, steps = _steps(part)
        rest = r.result_part(start * strides[axis] if out else 0, strides) - r.mapped(index, offset, steps)
        masks = [tuple(int(s >= 0) for s in step) if isinstance(step, tuple) else None for step in steps]
        if fill and any(mask and 0 in mask for mask in masks):
            masks = [mask if mask and 0 in mask else None for mask in masks]
            rest = rest - fill + r.public(masks) * fill
        r.zero(f"part {index}", part_shape(out, axis, part), rest)
        start += part.length


def take_relation(r: Relation, attributes: Attributes) -> None:
    out, index, top = r.header.shape, r.operand(1, attributes["index"]), attributes["size"] - 1
    ends = (r.headers[1].lo, r.headers[1].hi)
    first, last = (max(0, min(top, end)) for end in ends)
    row = index
    if first == last:
        row = ONE * first
    elif ends != (first, last):

        def unclamped(evaluate: Evaluate) -> Any:
            return evaluate(index, r.loops(out))

        row, _, _ = clamp(r, out, (0, top), ends, 1, unclamped, lambda excess: index - excess)
    address = r.address(0, attributes["x"]) + row * attributes["stride"]
    r.look_up("row of the tensor", out, r.value_table(0, 0), address, r.result())


# STEP


def _contribution(runs: Sequence[Run], index: int) -> int:
    """What one axis adds; negative where it is fill."""
    for run in runs:
        if index < run.length:
            return run.start + run.step * index if run.start >= 0 else -1
        index -= run.length
    raise ValueError("the runs end before this position")


def step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    index, axis = list(position(out.shape, element)), attributes["axis"]
    for number, part in enumerate(attributes["parts"]):
        if not index or index[axis] < part.length:
            steps = [_contribution(runs, i) for runs, i in zip(part.maps, index, strict=True)]
            fill: int = attributes["fill"]
            return fill if any(s < 0 for s in steps) else read(number, part.offset + sum(steps))
        index[axis] -= part.length
    raise ValueError("the parts end before this position")


def cost(_: Attributes, __: Header, operands: Sequence[Header]) -> Sequence[StepCost]:
    """One element of one operand, or none."""
    return [StepCost(1, (Walk(k),)) for k in range(len(operands))]


def take_step(attributes: Attributes, out: Header, _: Sequence[Header], element: int, read: Read) -> int:
    index = position(out.shape, element)
    row = max(0, min(attributes["size"] - 1, read(1, place(attributes["index"], index))))
    return read(0, place(attributes["x"], index) + attributes["stride"] * row)


GATHER = Primitive(21, "gather", (1, 255), FIELDS, shape, exact, relation, step, cost)
TAKE = Primitive(22, "take", (2, 2), TAKE_FIELDS, take_shape, take_exact, take_relation, take_step, one_each)
