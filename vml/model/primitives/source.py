"""``input`` and ``constant``: tensors that come from outside the graph.

An input is committed by the claim, a constant (weight or table) by its tensor root inside the descriptor, so the
graph root commits to every weight.
"""

from __future__ import annotations

from collections.abc import Sequence

from vml.model.codec import Attributes
from vml.model.primitives.base import Primitive, no_cost, no_relation, no_step, source_only
from vml.model.tensor import Header, Operand

# SHAPE


def _declared(attributes: Attributes, shape: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    """The range of a source is declared by its header; ``Graph.validate`` compares it with the spec or the data."""
    raise ValueError("a source's header is declared, not derived")


# EXACT: taken from the claim or the constants, see vml.model.interpreter.

INPUT = Primitive(
    1, "input", (0, 0), (("index", "u32"),), _declared, source_only("input"), no_relation, no_step, no_cost
)
CONSTANT = Primitive(
    2, "constant", (0, 0), (("root", "root"),), _declared, source_only("constant"), no_relation, no_step, no_cost
)
