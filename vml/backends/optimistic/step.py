"""The last move: one element of one operator, computed again from opened inputs.

How an operator computes one element is a parameter of the game, a `Step`. It reads its operands through a function
and must be total: whatever integers it reads, it returns one. The game sees to it that what is read is what the
operator roots commit to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from vml.backends.optimistic import refusals
from vml.backends.optimistic.records import Opening
from vml.backends.optimistic.shapes import check_opening, element
from vml.merkle import ITEM_BYTES, LEAF_BYTES, tensors_root
from vml.model.graph import Graph
from vml.model.tensor import Header

Read: TypeAlias = Callable[[int, int], int]
"""(number of an operand, element of it in row-major order) to that element."""

Step: TypeAlias = Callable[[Graph, int, int, Read], int]
"""(graph, operator, element in row-major order, its operands) to what the element must be."""


class Openings:
    """Operands read from opened leaves. Every leaf has been checked against its tensor's root.

    Args:
        openings: of the operator's inputs.
        headers, roots: of the operator's inputs, in order.

    Raises:
        OpeningRejected: an opening is not of an input, or not of its root, or they are not in strictly rising order.
    """

    def __init__(self, openings: Sequence[Opening], headers: Sequence[Header], roots: Sequence[bytes]) -> None:
        self._headers = headers
        self._leaves: dict[tuple[int, int], bytes] = {}
        last = (0, -1)
        for opening in openings:
            if not 0 <= opening.operand < len(headers):
                raise refusals.OpeningRejected(opening.operand, opening.leaf, "operand")
            if (opening.operand, opening.leaf) <= last:
                raise refusals.OpeningRejected(opening.operand, opening.leaf, "order")
            last = (opening.operand, opening.leaf)
            check_opening(opening, headers[opening.operand], roots[opening.operand])
            self._leaves[opening.operand, opening.leaf] = opening.data

    def read(self, operand: int, position: int) -> int:
        """A `Read`; raises OpeningMissing where the leaf was not opened."""
        header = self._headers[operand]
        leaf = position * ITEM_BYTES[header.dtype] // LEAF_BYTES
        if (operand, leaf) not in self._leaves:
            raise refusals.OpeningMissing(operand, position)
        return element(self._leaves[operand, leaf], leaf, position, header)


def check_list(model: Graph, claim_input: bytes, claim_output: bytes, roots: Sequence[bytes]) -> None:
    """Check that operator roots lead from the claimed input, over the model's constants, to the claimed output.

    Raises:
        ListInconsistent: where they do not.
    """
    # step 1: one root of 32 bytes for each operator.
    if len(roots) != len(model.nodes) or any(len(root) != 32 for root in roots):
        raise refusals.ListInconsistent("length", len(model.nodes), len(roots))
    # step 2: the inputs are the claimed ones.
    if tensors_root([roots[spec.node] for spec in model.inputs]) != claim_input:
        raise refusals.ListInconsistent("input")
    # step 3: the constants are the model's.
    for index, node in enumerate(model.nodes):
        if node.primitive == "constant" and roots[index] != node.attributes["root"]:
            raise refusals.ListInconsistent("constant", index)
    # step 4: the outputs are the claimed ones.
    if tensors_root([roots[spec.node] for spec in model.outputs]) != claim_output:
        raise refusals.ListInconsistent("output")


def require_wrong(
    model: Graph, roots: Sequence[bytes], step: Step, operator: int, index: int, value: int, openings: Sequence[Opening]
) -> None:
    """Check that `value`, committed to as element `index` of an operator, is wrong given the operator's inputs.

    An element of an input tensor is wrong if it lies outside the declared range: nothing is defined for it.

    Raises:
        StepAgrees: it is right.
        OpeningRejected, OpeningMissing: the openings do not show it.
    """
    node = model.nodes[operator]
    if node.primitive == "input":
        if node.header.lo <= value <= node.header.hi:
            raise refusals.StepAgrees(value)
        return
    headers = [model.nodes[ref].header for ref in node.inputs]
    opened = Openings(openings, headers, [_openable(model, ref, roots[ref]) for ref in node.inputs])
    if step(model, operator, index, opened.read) == value:
        raise refusals.StepAgrees(value)


def _openable(model: Graph, node: int, root: bytes) -> bytes:
    """The root under which leaves open: none where a published list gives a constant another root than the model."""
    source = model.nodes[node]
    return b"" if source.primitive == "constant" and source.attributes["root"] != root else root
