"""What a primitive is: a kind byte, attribute fields, and its sections.

Each primitive is one file with four sections, each done once:

* SHAPE: what is well formed, and the static range of the result (``shape``);
* EXACT: the result in plain Python integers (``exact``), which is the specification;
* RELATION: what the sumcheck backend proves, equations that only the right result satisfies (``relation``);
* STEP: one element on its own, as a contract computes it (``step``), and what that can cost (``cost``).

Loops: a primitive visits its output in row-major order; operands are read through views over the output's loops,
followed, where something is contracted, by the contracted loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vml.merkle import ITEM_BYTES, LEAF_BYTES, tensor_leaf_count
from vml.model.codec import Attributes, Fields, View
from vml.model.relation import Relation
from vml.model.tensor import Header, Operand, check_view, offsets

Shape = Callable[[Attributes, tuple[int, ...], Sequence[Operand]], Header]
Relate = Callable[[Relation, Attributes], None]
Exact = Callable[[Attributes, Header, Sequence[Sequence[int]], Sequence[Header]], list[int]]
Read = Callable[[int, int], int]
"""Fetches one element: number of the operand, place in its flat storage."""
Step = Callable[[Attributes, Header, Sequence[Header], int, Read], int]

MAX_TERMS = 8192
"""Terms of one step at most (``Terms.sol`` has the same); the builder cuts longer reductions into several nodes."""

MAX_LEAVES = 64
"""Leaves of a step beyond which the builder cuts a reduction though its terms are few.

A leaf is 1,216 bytes of a proof and 32 more for each level of its tensor's tree: in tensors of up to 2^17 leaves, 128
MiB, so many fit the 120 KiB of a transaction (`vml.model.onestep.MAX_TRANSACTION_BYTES`)."""


@dataclass(frozen=True)
class Walk:
    """What one output element needs of one operand: ``loops`` and ``strides`` from a place that the element decides."""

    operand: int
    loops: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()


@dataclass(frozen=True)
class StepCost:
    """What one step can take: visits of elements in its loops, and the walks over the operands that it reads."""

    terms: int
    walks: tuple[Walk, ...]


Cost = Callable[[Attributes, Header, Sequence[Header]], Sequence[StepCost]]


@dataclass(frozen=True)
class Primitive:
    """One row of the table of primitives.

    Attributes:
        kind: the descriptor's first byte.
        name: one word.
        arity: smallest and largest number of inputs.
        fields: attribute names and their codec types, in descriptor order.
        shape: SHAPE: (attributes, output shape, operands) to the output header; raises ValueError.
        exact: EXACT: (attributes, output header, flat inputs, input headers) to the flat output.
        relation: RELATION: states what the output is, with operands that are already known to be right.
        step: STEP: (attributes, output header, input headers, element, read) to that element of the output. Defined
            for any elements of the operands, also beyond their ranges, so that a contract never gets stuck.
        cost: STEP: (attributes, output header, input headers) to the ways a step may go, the dearest of which counts.
    """

    kind: int
    name: str
    arity: tuple[int, int]
    fields: Fields
    shape: Shape
    exact: Exact
    relation: Relate
    step: Step
    cost: Cost


def check_operands(
    attributes: Attributes, loops: Sequence[int], operands: Sequence[Operand], views: Sequence[str]
) -> None:
    """Check that each operand's view (by attribute name) stays inside it over ``loops``. Raises ValueError."""
    for name, operand in zip(views, operands, strict=True):
        check_view(attributes[name], loops, operand.header.size, name)


def source_only(name: str) -> Exact:
    """EXACT of nodes whose value comes from outside the graph: the interpreter never calls it."""

    def exact(*_: Any) -> list[int]:
        raise ValueError(f"{name} nodes carry no computation")

    return exact


def no_relation(_: Relation, __: Attributes) -> None:
    """RELATION of nodes whose value comes from outside the graph: the claim and the verifying key bind it."""


# STEP


def position(shape: Sequence[int], element: int) -> tuple[int, ...]:
    """The loop indices of an element, row-major. Raises ValueError where there is no such element."""
    index, left = [], element
    for n in reversed(shape):
        left, i = divmod(left, n)
        index.append(i)
    if left:
        raise ValueError(f"element {element} of shape {tuple(shape)}")
    return tuple(reversed(index))


def place(view: View, index: Sequence[int]) -> int:
    """Where a view leads at these indices."""
    return view.offset + sum(s * i for s, i in zip(view.strides, index, strict=True))


def places(view: View, index: Sequence[int], loops: Sequence[int]) -> list[int]:
    """Where a view leads at these indices of its outer loops, over its remaining loops."""
    outer, inner = view.strides[: len(index)], view.strides[len(index) :]
    return list(offsets(View(place(View(view.offset, outer), index), inner), loops))


def one_each(_: Attributes, __: Header, operands: Sequence[Header]) -> Sequence[StepCost]:
    """COST of a primitive that reads one element of each operand."""
    return (StepCost(1, tuple(Walk(k) for k in range(len(operands)))),)


def no_step(*_: Any) -> int:
    """STEP of nodes whose value comes from outside the graph: it is compared, not computed."""
    raise ValueError("sources carry no computation")


def no_cost(_: Attributes, __: Header, ___: Sequence[Header]) -> Sequence[StepCost]:
    """COST of nodes that have no step."""
    return ()


def walk_leaves(walk: Walk, header: Header) -> int:
    """Leaves that a walk can touch at most, wherever it begins."""
    size = ITEM_BYTES[header.dtype]
    steps = sorted((abs(s), n) for s, n in zip(walk.strides, walk.loops, strict=True) if s and n > 1)
    repeats = [math.prod(n for _, n in steps[k:]) for k in range(len(steps) + 1)]
    best, reach = repeats[0], 0
    for k, (stride, n) in enumerate(steps, 1):
        # All of the shorter strides together stay within `reach` elements; each longer one moves that window.
        reach += stride * (n - 1)
        best = min(best, repeats[k] * ((reach * size + LEAF_BYTES - size) // LEAF_BYTES + 1))
    return min(best, tensor_leaf_count(header.dtype, header.shape))
