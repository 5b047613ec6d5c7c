"""The moves inside a dispute: the list, the descent, the leaf, the step, and running out of time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vml.backends.optimistic import moves, refusals, shapes
from vml.backends.optimistic.board import Board, Turn, turn
from vml.backends.optimistic.records import (
    Assertion,
    Dispute,
    Position,
    Result,
    Reveal,
    Side,
    Status,
    dispute_id,
)
from vml.backends.optimistic.step import Step, check_list, require_wrong
from vml.merkle import tensor_digest, tensors_root
from vml.model.graph import Graph
from vml.model.tensor import Header


@dataclass(frozen=True)
class Disputes:
    """The rules of disputes about one board.

    Args:
        board: the state while a move is made.
        model: the graph that the move's assertion is about.
        step: how an operator computes one element.
    """

    board: Board
    model: Graph
    step: Step

    def challenge(self, move: moves.Challenge) -> None:
        board = self.board
        assertion = board.assertion(move.assertion)
        board.require_value(assertion.terms.challenger_bond)
        if board.call.now > assertion.closes_at:
            raise refusals.WindowClosed(assertion.closes_at)
        key = dispute_id(assertion.id, board.call.sender, move.salt)
        if key in board.disputes:
            raise refusals.DisputeExists(key)
        terms = assertion.terms
        dispute = Dispute(
            id=key,
            assertion=assertion.id,
            challenger=board.call.sender,
            bond=board.call.value,
            since=board.call.now,
            asserter_left_s=terms.asserter_clock_s,
            challenger_left_s=terms.challenger_clock_s,
        )
        board.put(dispute)
        board.put(replace(assertion, open_disputes=assertion.open_disputes + 1))
        board.tell("challenged", dispute, dispute.bond)

    def reveal_list(self, move: moves.RevealList) -> None:
        board = self.board
        assertion = board.asserted_by_caller(move.assertion)
        if assertion.roots is not None:
            raise refusals.ListKnown
        self._check_published(assertion, move.roots)
        check_list(self.model, assertion.claim.input, assertion.claim.output, move.roots)
        board.put(replace(assertion, roots=tuple(move.roots), roots_at=board.call.now))
        board.tell("list revealed", assertion)

    def pick_operator(self, move: moves.PickOperator) -> None:
        assertion, dispute, now = self._mine(move.dispute)
        if dispute.position is not None:
            raise refusals.AnswersAnother(dispute.position, "list")
        assert assertion.roots is not None  # it is the challenger's turn
        self._require_answer(tensors_root(assertion.roots), move.answers)
        if not 0 <= move.operator < len(self.model.nodes):
            raise refusals.OperatorOutside(move.operator)
        if self.model.nodes[move.operator].primitive == "constant":
            raise refusals.OperatorGiven(move.operator)
        self._ask(dispute, now, Position(move.operator, shapes.depth(self._header(move.operator)), 0))

    def reveal_node(self, move: moves.RevealNode) -> None:
        assertion, header = self._revealing(move.assertion, move.position)
        digest = shapes.check_children(move.position, header, move.children)
        self._reveal(assertion, move.position, header, move.answers, digest, tuple(move.children))

    def reveal_leaf(self, move: moves.RevealLeaf) -> None:
        assertion, header = self._revealing(move.assertion, move.position)
        if move.position.height:
            raise refusals.NotAtALeaf(move.position)
        digest = shapes.check_leaf(move.position.index, header, move.data)
        self._reveal(assertion, move.position, header, move.answers, digest, (move.data,))

    def pick_child(self, move: moves.PickChild) -> None:
        assertion, dispute, now = self._mine(move.dispute)
        self._require_position(dispute, move.position)
        if move.position.height == 0:
            raise refusals.AtALeaf(move.position)
        reveal = assertion.reveals[move.position]
        self._require_answer(reveal.digest, move.answers)
        if not 0 <= move.child < len(reveal.content):
            raise refusals.ChildOutside(move.child)
        below = shapes.child(move.position, move.child)
        if shapes.is_padding(below, self._header(below.operator)):
            raise refusals.ChildIsPadding(move.child)
        self._ask(dispute, now, below)

    def prove_step(self, move: moves.ProveStep) -> None:
        assertion, dispute, _ = self.board.challengers_turn(move.dispute)
        self._require_position(dispute, move.position)
        if move.position.height:
            raise refusals.NotAtALeaf(move.position)
        reveal = assertion.reveals[move.position]
        self._require_answer(reveal.digest, move.answers)
        operator, number = move.position.operator, move.element
        value = shapes.element(reveal.content[0], move.position.index, number, self._header(operator))
        assert assertion.roots is not None  # leaves are revealed after the list
        require_wrong(self.model, assertion.roots, self.step, operator, number, value, move.openings)
        self.board.slash(assertion, dispute.challenger, "a wrong element was proved", dispute)

    def prove_fraud(self, move: moves.ProveFraud) -> None:
        assertion = self.board.assertion(move.assertion)
        self._check_known(assertion, move.roots)
        if not 0 <= move.operator < len(self.model.nodes):
            raise refusals.OperatorOutside(move.operator)
        if self.model.nodes[move.operator].primitive == "constant":
            raise refusals.OperatorGiven(move.operator)
        header, output = self._header(move.operator), move.output
        if output.operand != -1:
            raise refusals.OpeningRejected(output.operand, output.leaf, "operand")
        shapes.check_opening(output, header, move.roots[move.operator])
        value = shapes.element(output.data, output.leaf, move.element, header)
        require_wrong(self.model, move.roots, self.step, move.operator, move.element, value, move.openings)
        self.board.slash(assertion, self.board.call.sender, "a wrong element was proved")

    def prove_list(self, move: moves.ProveList) -> None:
        assertion = self.board.assertion(move.assertion)
        if assertion.trace is None:
            raise refusals.TraceNotPublished
        self._check_published(assertion, move.roots)
        try:
            check_list(self.model, assertion.claim.input, assertion.claim.output, move.roots)
        except refusals.ListInconsistent:
            self.board.slash(assertion, self.board.call.sender, "the published roots are inconsistent")
        else:
            raise refusals.ListConsistent

    def claim_timeout(self, move: moves.ClaimTimeout) -> None:
        board = self.board
        dispute = board.dispute(move.dispute)
        assertion = board.assertion(dispute.assertion)
        now = turn(assertion, dispute, board.call.now)
        if not now.expired:
            raise refusals.ClockRunning(now.until)
        if now.side is Side.ASSERTER:
            board.slash(assertion, dispute.challenger, "the asserter ran out of time", dispute)
            return
        # Only this dispute is over. The assertion is no truer for it: others go on, and new ones can be opened.
        reward = assertion.terms.defence_reward
        board.pay(assertion.asserter, reward)
        board.burned += dispute.bond - reward
        board.put(replace(dispute, result=Result.LOST))
        board.put(replace(assertion, open_disputes=assertion.open_disputes - 1))
        board.tell("dispute lost", dispute, dispute.bond)

    def close_moot(self, move: moves.CloseMoot) -> None:
        board = self.board
        dispute = board.dispute(move.dispute)
        assertion = board.assertions[dispute.assertion]
        if assertion.status is not Status.SLASHED:
            raise refusals.AssertionStands(assertion.status.value)
        board.pay(dispute.challenger, dispute.bond)
        board.put(replace(dispute, result=Result.MOOT))
        board.put(replace(assertion, open_disputes=assertion.open_disputes - 1))
        board.tell("dispute moot", dispute, dispute.bond)

    def _header(self, operator: int) -> Header:
        return self.model.nodes[operator].header

    def _mine(self, key: bytes) -> tuple[Assertion, Dispute, Turn]:
        """A dispute in which the caller, its challenger, is to move, and in time."""
        assertion, dispute, now = self.board.challengers_turn(key)
        if dispute.challenger != self.board.call.sender:
            raise refusals.NotTheChallenger(dispute.challenger)
        return assertion, dispute, now

    def _ask(self, dispute: Dispute, now: Turn, position: Position) -> None:
        asked = replace(
            dispute,
            position=position,
            since=self.board.call.now,
            asserter_left_s=now.asserter_left_s,
            challenger_left_s=now.challenger_left_s,
        )
        self.board.put(asked)
        self.board.tell("asked", asked)

    def _revealing(self, key: bytes, position: Position) -> tuple[Assertion, Header]:
        assertion = self.board.asserted_by_caller(key)
        if not 0 <= position.operator < len(self.model.nodes):
            raise refusals.OperatorOutside(position.operator)
        if position in assertion.reveals:
            raise refusals.NodeKnown(position)
        header = self._header(position.operator)
        above = shapes.parent(position, header)
        if assertion.roots is None or (above is not None and above not in assertion.reveals):
            raise refusals.NodeUnknown(position)
        return assertion, header

    def _reveal(
        self,
        assertion: Assertion,
        position: Position,
        header: Header,
        answers: bytes,
        digest: bytes,
        content: tuple[bytes, ...],
    ) -> None:
        """Record what hashes to `digest`, if `digest` is what was committed to at this position."""
        above = shapes.parent(position, header)
        assert assertion.roots is not None  # `_revealing` saw to it
        if above is None:
            expected = assertion.roots[position.operator]
            got = tensor_digest(header.dtype, header.shape, digest)
        else:
            siblings = assertion.reveals[above].content
            expected, got = siblings[position.index % len(siblings)], digest
        self._require_answer(expected, answers)
        if got != expected:
            raise refusals.NodeMismatch(expected, got)
        reveal = Reveal(digest, content, self.board.call.now)
        self.board.put(replace(assertion, reveals={**assertion.reveals, position: reveal}))
        self.board.tell("revealed", assertion)

    def _check_published(self, assertion: Assertion, roots: tuple[bytes, ...]) -> None:
        """Where the trace is published, the list must be that one."""
        if assertion.trace is None:
            return
        if len(roots) != len(self.model.nodes) or any(len(root) != 32 for root in roots):
            raise refusals.ListMismatch(assertion.trace, len(roots))
        if tensors_root(roots) != assertion.trace:
            raise refusals.ListMismatch(assertion.trace, tensors_root(roots))

    def _check_known(self, assertion: Assertion, roots: tuple[bytes, ...]) -> None:
        """The list must be the one that was published or revealed."""
        if assertion.roots is None:
            if assertion.trace is None:
                raise refusals.TraceNotPublished
            self._check_published(assertion, roots)
        elif tuple(roots) != assertion.roots:
            raise refusals.ListMismatch(tensors_root(assertion.roots))

    @staticmethod
    def _require_answer(stands: bytes, answers: bytes) -> None:
        if stands != answers:
            raise refusals.AnswersAnother(stands, answers)

    @staticmethod
    def _require_position(dispute: Dispute, position: Position) -> None:
        if dispute.position != position:
            raise refusals.AnswersAnother(dispute.position, position)
