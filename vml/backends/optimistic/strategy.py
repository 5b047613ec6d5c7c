"""What an honest player does next: pure functions of the state, for who watches a chain and sends the moves.

They are the players in the proofs of ``docs/dispute.md``: whoever makes these moves in time loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from vml.backends.optimistic import moves, refusals, shapes
from vml.backends.optimistic.board import compare, require_quiet, turn
from vml.backends.optimistic.records import (
    Assertion,
    Dispute,
    Opening,
    Position,
    Result,
    Side,
    State,
    Status,
    question_id,
)
from vml.backends.optimistic.step import Step
from vml.backends.optimistic.trace import Trace, first_difference
from vml.merkle import ITEM_BYTES, LEAF_BYTES, tensor_digest
from vml.model.graph import Graph

Array = np.ndarray[Any, np.dtype[Any]]


def asserter_moves(state: State, key: bytes, trace: Trace, now: int) -> Iterator[moves.Move]:
    """Everything an asserter can do for one of its assertions at this moment, and the game takes.

    Args:
        state: of the game.
        key: the assertion.
        trace: its own.
        now: the time at which the moves would be made.
    """
    assertion = state.assertions[key]
    if assertion.status is not Status.OPEN:
        return
    if assertion.request is not None and now <= assertion.request.at + assertion.terms.asserter_clock_s:
        yield moves.RevealInput(key, trace.input_bytes())
    asked: dict[Position | None, Dispute] = {}
    for dispute in state.disputes.values():
        if dispute.assertion != key or dispute.result is not Result.OPEN:
            continue
        whose = turn(assertion, dispute, now)
        if whose.side is Side.CHALLENGER and whose.expired:
            yield moves.ClaimTimeout(dispute.id)
        elif whose.side is Side.ASSERTER and not whose.expired:
            asked.setdefault(dispute.position, dispute)  # what is shown for one counts for all
    for dispute in asked.values():
        yield _reveal(dispute, trace)
    if settles(state, assertion, now):
        yield moves.Settle(key)


def settles(state: State, assertion: Assertion, now: int, limit: int = moves.SETTLE_LIMIT) -> bool:
    """Whether the game takes the move that settles an open assertion, or the part of it that `limit` allows."""
    try:
        require_quiet(assertion, now)
        question = question_id(assertion.claim, assertion.terms.digest())
        compare(state.assertions, state.questions[question], assertion, now, limit)
    except refusals.MoveRefused:
        return False
    return True


def _reveal(dispute: Dispute, trace: Trace) -> moves.Move:
    position = dispute.position
    if position is None:
        return moves.RevealList(dispute.assertion, trace.roots)
    if position.height:
        return moves.RevealNode(dispute.id, position, trace.children(position))
    return moves.RevealLeaf(dispute.id, position, trace.leaf(position.operator, position.index))


class Complaint(Protocol):
    """What a challenger knows to be wrong."""

    def operator(self, roots: tuple[bytes, ...]) -> int | None:
        """Which operator to pick, given the asserter's list."""

    def child(self, position: Position, children: tuple[bytes, ...]) -> int | None:
        """Which child to pick, given the asserter's."""

    def element(self, position: Position, data: bytes) -> int | None:
        """Which element of the tensor is wrong, given the asserter's leaf."""

    def openings(self, operator: int, element: int) -> tuple[Opening, ...]:
        """What the step of that element reads."""


class Difference:
    """The asserter's trace is not mine, and mine is right.

    Args:
        trace: mine.
        step: how one element is computed.
    """

    def __init__(self, trace: Trace, step: Step) -> None:
        self._trace, self._step = trace, step

    def operator(self, roots: tuple[bytes, ...]) -> int | None:
        return first_difference(self._trace.roots, roots)

    def child(self, position: Position, children: tuple[bytes, ...]) -> int | None:
        return first_difference(self._trace.children(position), children)

    def element(self, position: Position, data: bytes) -> int | None:
        mine = self._trace.leaf(position.operator, position.index)
        item = ITEM_BYTES[self._trace.graph.nodes[position.operator].header.dtype]
        place = next((at for at, (a, b) in enumerate(zip(mine, data, strict=True)) if a != b), None)
        return None if place is None else (position.index * LEAF_BYTES + place) // item

    def openings(self, operator: int, element: int) -> tuple[Opening, ...]:
        return self._trace.openings(self._step, operator, element)


class InputOutOfRange:
    """An element of the input lies outside its declared range, so that nothing is defined and there is no trace.

    Args:
        graph: the model's.
        node: the input's node; place: the element in row-major order.
    """

    def __init__(self, graph: Graph, node: int, place: int) -> None:
        header = graph.nodes[node].header
        self._node, self._place = node, place
        self._leaf = place * ITEM_BYTES[header.dtype] // LEAF_BYTES

    def operator(self, roots: tuple[bytes, ...]) -> int | None:
        return self._node

    def child(self, position: Position, children: tuple[bytes, ...]) -> int | None:
        below = position.height - shapes.levels_below(position.height)
        return (self._leaf >> below) % len(children)

    def element(self, position: Position, data: bytes) -> int | None:
        return self._place

    def openings(self, operator: int, element: int) -> tuple[Opening, ...]:
        return ()


def input_complaint(graph: Graph, data: Mapping[int, Array]) -> InputOutOfRange | None:
    """The first element of the input that lies outside its declared range; `data` holds arrays by input node."""
    for node, values in data.items():
        header = graph.nodes[node].header
        outside = np.flatnonzero((values < header.lo) | (values > header.hi))
        if outside.size:
            return InputOutOfRange(graph, node, int(outside[0]))
    return None


def challenger_move(state: State, key: bytes, complaint: Complaint, now: int) -> moves.Move | None:
    """What the challenger of a dispute does at this moment; None: wait, or there is nothing to complain of."""
    dispute = state.disputes[key]
    assertion = state.assertions[dispute.assertion]
    if dispute.result is not Result.OPEN:
        return None
    if assertion.status is Status.SLASHED:
        return moves.CloseMoot(key)
    whose = turn(assertion, dispute, now)
    if whose.side is Side.ASSERTER:
        return moves.ClaimTimeout(key) if whose.expired else None
    if whose.expired:
        return None
    position = dispute.position
    if position is None:
        assert assertion.roots is not None
        operator = complaint.operator(assertion.roots)
        return None if operator is None else moves.PickOperator(key, operator, assertion.roots[operator])
    content = assertion.reveals[position].content
    if position.height:
        child = complaint.child(position, content)
        return None if child is None else moves.PickChild(key, position, child, content[child])
    element = complaint.element(position, content[0])
    if element is None:
        return None
    openings = complaint.openings(position.operator, element)
    return moves.ProveStep(key, position, content[0], element, openings)


def fraud(assertion: Assertion, published: Trace, mine: Trace, step: Step) -> moves.ProveFraud | None:
    """One move against a published or revealed list whose data are at hand, in place of a dispute.

    Args:
        assertion: the false one.
        published: the asserter's trace.
        mine: the right one.
        step: how one element is computed.

    Returns:
        The first element of the first operator that is not mine. None where there is none, or the assertion is decided;
        where the list does not even hold together (`ProveList` shows that); where it is not the one committed to, or
        not that of the data (only a dispute helps).
    """
    roots = published.roots
    listed = assertion.trace == published.commitment() if assertion.roots is None else assertion.roots == roots
    operator = first_difference(mine.roots, roots)
    if assertion.status is not Status.OPEN or not listed or operator is None:
        return None
    if mine.graph.nodes[operator].primitive in ("input", "constant"):
        return None
    header, tree = mine.graph.nodes[operator].header, published.tree(operator)
    wrong = np.flatnonzero(published.tensor(operator) != mine.tensor(operator))
    if not wrong.size or tensor_digest(header.dtype, header.shape, tree.root) != roots[operator]:
        return None
    element = int(wrong[0])
    output = published.opening(operator, -1, element * ITEM_BYTES[header.dtype] // LEAF_BYTES)
    openings = mine.openings(step, operator, element)
    return moves.ProveFraud(assertion.id, operator, roots[operator], output, element, openings, roots)
