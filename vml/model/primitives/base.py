"""What a primitive is: a kind byte, attribute fields, and its sections.

Each primitive is one file with four sections, each done once:

* SHAPE: what is well formed, and the static range of the result (``shape``);
* EXACT: the result in plain Python integers (``exact``), which is the specification;
* RELATION: what the sumcheck backend proves, equations that only the right result satisfies (``relation``);
* STEP: how a dispute over one element ends (arrives with that backend).

Loops: a primitive visits its output in row-major order; operands are read through views over the output's loops,
followed, where something is contracted, by the contracted loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vml.model.codec import Attributes, Fields
from vml.model.relation import Relation
from vml.model.tensor import Header, Operand, check_view

Shape = Callable[[Attributes, tuple[int, ...], Sequence[Operand]], Header]
Relate = Callable[[Relation, Attributes], None]
Exact = Callable[[Attributes, Header, Sequence[Sequence[int]], Sequence[Header]], list[int]]


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
    """

    kind: int
    name: str
    arity: tuple[int, int]
    fields: Fields
    shape: Shape
    exact: Exact
    relation: Relate


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
