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
from vml.keccak import HASH_BYTES
from vml.merkle import tensor_digest, trace_root
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
        check_list(self.model, assertion.claim.input, assertion.claim.output, move.roots)
        if assertion.trace is not None:
            self._require_list(assertion.trace, move.roots)
        board.put(replace(assertion, roots=tuple(move.roots), roots_at=board.call.now))
        board.tell("list revealed", assertion)

    def pick_operator(self, move: moves.PickOperator) -> None:
        assertion, dispute, now = self._mine(move.dispute)
        if dispute.position is not None:
            raise refusals.AnotherPosition("list", dispute.position)
        header = self._computed(move.operator)
        assert assertion.roots is not None  # it is the challenger's turn
        root = assertion.roots[move.operator]
        if move.root != root:
            raise refusals.ListMismatch(root, move.root)
        self._ask(dispute, now, Position(move.operator, shapes.depth(header), 0), root)

    def reveal_node(self, move: moves.RevealNode) -> None:
        assertion, dispute, header = self._revealing(move.dispute, move.position)
        digest = shapes.check_children(move.position, header, move.children)
        self._reveal(assertion, dispute, header, digest, tuple(move.children))

    def reveal_leaf(self, move: moves.RevealLeaf) -> None:
        if move.position.height:
            raise refusals.NotAtALeaf(move.position)
        assertion, dispute, header = self._revealing(move.dispute, move.position)
        digest = shapes.check_leaf(move.position.index, header, move.data)
        self._reveal(assertion, dispute, header, digest, (move.data,))

    def pick_child(self, move: moves.PickChild) -> None:
        assertion, dispute, now = self._mine(move.dispute)
        self._require_position(dispute, move.position)
        if move.position.height == 0:
            raise refusals.AtALeaf(move.position)
        children = assertion.reveals[move.position].content
        if not 0 <= move.child < len(children):
            raise refusals.ChildOutside(move.child)
        digest = children[move.child]
        if move.digest != digest:
            raise refusals.NodeMismatch(digest, move.digest)
        below = shapes.child(move.position, move.child)
        if shapes.is_padding(below, self._header(below.operator)):
            raise refusals.ChildIsPadding(move.child)
        self._ask(dispute, now, below, digest)

    def prove_step(self, move: moves.ProveStep) -> None:
        assertion, dispute, _ = self.board.challengers_turn(move.dispute)
        self._require_position(dispute, move.position)
        if move.position.height:
            raise refusals.NotAtALeaf(move.position)
        operator, leaf, number = move.position.operator, move.position.index, move.element
        header, reveal = self._header(operator), assertion.reveals[move.position]
        digest = shapes.check_leaf(leaf, header, move.data)
        if digest != reveal.digest:
            raise refusals.NodeMismatch(reveal.digest, digest)
        value = shapes.element(move.data, leaf, number, header)
        assert assertion.roots is not None  # leaves are revealed after the list
        require_wrong(self.model, assertion.roots, self.step, operator, number, value, move.openings)
        self.board.slash(assertion, dispute.challenger, "a wrong element was proved", dispute)

    def prove_fraud(self, move: moves.ProveFraud) -> None:
        assertion = self.board.assertion(move.assertion)
        stands = assertion.trace if assertion.roots is None else trace_root(assertion.roots)
        if stands is None:
            raise refusals.TraceNotPublished
        operator, output = move.operator, move.output
        header = self._computed(operator)
        if len(move.roots) != len(self.model.nodes):
            raise refusals.ListMismatch(len(self.model.nodes), len(move.roots))
        self._require_list(stands, move.roots)
        if move.root != move.roots[operator]:
            raise refusals.ListMismatch(move.roots[operator], move.root)
        got = tensor_digest(header.dtype, header.shape, shapes.opened_root(output, header))
        if got != move.root:
            raise refusals.NodeMismatch(move.root, got)
        value = shapes.element(output.data, output.leaf, move.element, header)
        require_wrong(self.model, move.roots, self.step, operator, move.element, value, move.openings)
        self.board.slash(assertion, self.board.call.sender, "a wrong element was proved")

    def prove_list(self, move: moves.ProveList) -> None:
        assertion = self.board.assertion(move.assertion)
        if assertion.trace is None:
            raise refusals.TraceNotPublished
        self._require_list(assertion.trace, move.roots)
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

    def _computed(self, operator: int) -> Header:
        """The header of an operator that is no constant: those are fixed by the model."""
        if not 0 <= operator < len(self.model.nodes):
            raise refusals.NodeOutside(operator)
        if self.model.nodes[operator].primitive == "constant":
            raise refusals.OperatorGiven(operator)
        return self._header(operator)

    def _mine(self, key: bytes) -> tuple[Assertion, Dispute, Turn]:
        """A dispute in which the caller, its challenger, is to move, and in time."""
        assertion, dispute, now = self.board.challengers_turn(key)
        if dispute.challenger != self.board.call.sender:
            raise refusals.NotTheChallenger(dispute.challenger)
        return assertion, dispute, now

    def _ask(self, dispute: Dispute, now: Turn, position: Position, digest: bytes) -> None:
        asked = replace(
            dispute,
            position=position,
            digest=digest,
            since=self.board.call.now,
            asserter_left_s=now.asserter_left_s,
            challenger_left_s=now.challenger_left_s,
        )
        self.board.put(asked)
        self.board.tell("asked", asked)

    def _revealing(self, key: bytes, position: Position) -> tuple[Assertion, Dispute, Header]:
        """A dispute that asks the caller, its assertion's asserter, for what stands at a position."""
        dispute = self.board.dispute(key)
        assertion = self.board.asserted_by_caller(dispute.assertion)
        self._require_position(dispute, position)
        if position in assertion.reveals:
            raise refusals.NodeKnown(position)
        return assertion, dispute, self._header(position.operator)

    def _reveal(
        self, assertion: Assertion, dispute: Dispute, header: Header, digest: bytes, content: tuple[bytes, ...]
    ) -> None:
        """Record what hashes to `digest`, if that is what the dispute asks for."""
        assert dispute.position is not None  # `_revealing` saw to it
        assert dispute.digest is not None
        got = shapes.committed(dispute.position, header, digest)
        if got != dispute.digest:
            raise refusals.NodeMismatch(dispute.digest, got)
        reveal = Reveal(digest, content, self.board.call.now)
        self.board.put(replace(assertion, reveals={**assertion.reveals, dispute.position: reveal}))
        self.board.tell("revealed", assertion)

    @staticmethod
    def _require_list(commitment: bytes, roots: tuple[bytes, ...]) -> None:
        """The list must be the one committed to, of whatever length that is."""
        well_formed = roots and all(len(root) == HASH_BYTES for root in roots)
        if not well_formed or trace_root(roots) != commitment:
            raise refusals.ListMismatch(commitment, len(roots))

    @staticmethod
    def _require_position(dispute: Dispute, position: Position) -> None:
        if dispute.position != position:
            raise refusals.AnotherPosition(dispute.position, position)
