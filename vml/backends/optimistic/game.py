"""The dispute game as a pure function: (rules, state, who moves when, move) to the next state and what happened.

    assert ── window ── settle: final
       └ challenge ─ list ─ operator ─ node ─ child ─ ... ─ leaf ─ step proved: slashed
         request the input ─ input: the window starts anew, once

Nothing here reads a clock, a chain or a file. A refused move raises `MoveRefused` and changes nothing.
``docs/dispute.md`` states the rules and proves: an honest asserter never loses; one honest challenger defeats every
false output; money is conserved; everything ends in bounded time. ``DisputeGame.sol`` mirrors this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from vml.backends.optimistic import moves, refusals, shapes
from vml.backends.optimistic.board import Board, compare, require_quiet
from vml.backends.optimistic.disputes import Disputes
from vml.backends.optimistic.records import (
    Address,
    Assertion,
    Call,
    Event,
    Request,
    State,
    Status,
    Terms,
    question_id,
)
from vml.backends.optimistic.step import Step
from vml.claim import Claim
from vml.merkle import ITEM_BYTES, tensors_root
from vml.model.graph import Graph


@dataclass(frozen=True)
class Rules:
    """What does not change while games go on.

    Args:
        chain_id, contract: where the game is played; part of every assertion's name.
        models: validated graphs by model commitment.
        terms: the terms on offer, by digest. Assertions keep the terms they were made under.
        step: how an operator computes one element.
        escalations: raises EscalationRefused unless, under the policy of the terms, a proof of the claim is accepted by
            the backend with the selector; the proof itself stays outside. None: nothing is escalated.
    """

    chain_id: int
    contract: Address
    models: Mapping[bytes, Graph]
    terms: Mapping[bytes, Terms]
    step: Step
    escalations: Callable[[Terms, Claim, bytes], None] | None = None


@dataclass(frozen=True)
class Outcome:
    """The state after a move, and what happened in it."""

    state: State
    events: tuple[Event, ...]


def play(rules: Rules, state: State, call: Call, move: moves.Move) -> Outcome:
    """Make one move.

    Args:
        rules: fixed.
        state: before the move; it is not changed.
        call: who moves, when, with how much money.
        move: what.

    Raises:
        MoveRefused: the move is not allowed here; its class says why.
    """
    board = Board(state, call)
    if not isinstance(move, moves.Assert | moves.RequestInput | moves.Challenge):
        board.require_value(0)
    _make(rules, board, move)
    return Outcome(board.freeze(), tuple(board.events))


def _make(rules: Rules, board: Board, move: moves.Move) -> None:
    match move:
        case moves.Assert():
            _assert(rules, board, move)
        case moves.StoreInput():
            _store_input(rules, board, move)
        case moves.RequestInput():
            _request_input(board, move)
        case moves.RevealInput():
            _reveal_input(rules, board, move)
        case moves.ClaimInputTimeout():
            _claim_input_timeout(board, move)
        case moves.Escalate():
            _escalate(rules, board, move)
        case moves.Settle():
            _settle(board, move)
        case moves.Withdraw():
            _withdraw(board)
        case _:
            _dispute(rules, board, move)


def _dispute(rules: Rules, board: Board, move: moves.Move) -> None:
    # Which model the move is about follows from the assertion it names.
    if isinstance(move, moves.Challenge | moves.RevealList | moves.ProveFraud | moves.ProveList):
        assertion = board.assertion(move.assertion)
    else:
        assert isinstance(
            move,
            moves.PickOperator
            | moves.RevealNode
            | moves.PickChild
            | moves.RevealLeaf
            | moves.ProveStep
            | moves.ClaimTimeout
            | moves.CloseMoot,
        )
        assertion = board.assertions[board.dispute(move.dispute).assertion]
    disputes = Disputes(board, rules.models[assertion.claim.model], rules.step)
    match move:
        case moves.Challenge():
            disputes.challenge(move)
        case moves.RevealList():
            disputes.reveal_list(move)
        case moves.PickOperator():
            disputes.pick_operator(move)
        case moves.RevealNode():
            disputes.reveal_node(move)
        case moves.PickChild():
            disputes.pick_child(move)
        case moves.RevealLeaf():
            disputes.reveal_leaf(move)
        case moves.ProveStep():
            disputes.prove_step(move)
        case moves.ProveFraud():
            disputes.prove_fraud(move)
        case moves.ProveList():
            disputes.prove_list(move)
        case moves.ClaimTimeout():
            disputes.claim_timeout(move)
        case moves.CloseMoot():
            disputes.close_moot(move)


def _assert(rules: Rules, board: Board, move: moves.Assert) -> None:
    call = board.call
    model = _model(rules, move.claim.model)
    if move.terms not in rules.terms:
        raise refusals.TermsUnknown(move.terms)
    terms = rules.terms[move.terms]
    board.require_value(terms.asserter_bond)
    key = move.id(rules.chain_id, rules.contract, call.sender)
    if key in board.assertions:
        raise refusals.AssertionExists(key)
    data = board.published.get((move.claim.model, move.claim.input))
    if move.input:
        _check_input(model, move.claim.input, move.input)
        data = move.input
    assertion = Assertion(
        id=key,
        claim=move.claim,
        asserter=call.sender,
        terms=terms,
        opened_at=call.now,
        closes_at=call.now + terms.window_s,
        bond=call.value,
        trace=None if move.trace == bytes(32) else move.trace,
        input=data,
    )
    board.put(assertion)
    board.questions[question_id(move.claim, move.terms)] = (*board.question(assertion), key)
    board.tell("asserted", assertion, call.value)


def _model(rules: Rules, commitment: bytes) -> Graph:
    if commitment not in rules.models:
        raise refusals.GraphUnknown(commitment)
    return rules.models[commitment]


def _input_root(model: Graph, data: tuple[bytes, ...]) -> bytes:
    """The commitment of tensors whose headers are those of the model's inputs."""
    if len(data) != len(model.inputs):
        raise refusals.InputCount(len(model.inputs), len(data))
    roots = []
    for part, spec in zip(data, model.inputs, strict=True):
        root = shapes.root_of_bytes(part, spec.header)
        if root is None:
            raise refusals.TensorSize(spec.header.size * ITEM_BYTES[spec.header.dtype], len(part))
        roots.append(root)
    return tensors_root(roots)


def _check_input(model: Graph, commitment: bytes, data: tuple[bytes, ...]) -> None:
    got = _input_root(model, data)
    if got != commitment:
        raise refusals.InputMismatch(commitment, got)


def _store_input(rules: Rules, board: Board, move: moves.StoreInput) -> None:
    commitment = _input_root(_model(rules, move.model), move.data)
    board.published[move.model, commitment] = move.data
    board.events.append(Event("input published", who=board.call.sender))


def _request_input(board: Board, move: moves.RequestInput) -> None:
    call, assertion = board.call, board.assertion(move.assertion)
    board.require_value(assertion.terms.challenger_bond)
    if assertion.input is not None:
        raise refusals.InputKnown
    if assertion.request is not None:
        raise refusals.InputRequestedAlready(assertion.request.at)
    if call.now > assertion.closes_at:
        raise refusals.WindowClosed(assertion.closes_at)
    board.put(replace(assertion, request=Request(call.sender, call.value, call.now)))
    board.tell("input requested", assertion, call.value)


def _reveal_input(rules: Rules, board: Board, move: moves.RevealInput) -> None:
    call, assertion = board.call, board.asserted_by_caller(move.assertion)
    request = assertion.request
    if assertion.input is not None:
        raise refusals.InputKnown
    if request is None:
        raise refusals.InputNotRequested
    until = request.at + assertion.terms.asserter_clock_s
    if call.now > until:
        raise refusals.ClockExpired("asserter", until)
    _check_input(rules.models[assertion.claim.model], assertion.claim.input, move.input)
    fee = assertion.terms.request_fee
    board.pay(assertion.asserter, fee)
    board.pay(request.requester, request.bond - fee)
    # Whoever computes again can begin only now. The input is public from here on, so this happens once.
    terms = assertion.terms
    window_s = terms.escalated_window_s if assertion.escalated else terms.window_s
    closes_at = max(assertion.closes_at, call.now + window_s)
    board.put(replace(assertion, request=None, input=move.input, closes_at=closes_at))
    board.tell("input revealed", assertion, fee)


def _claim_input_timeout(board: Board, move: moves.ClaimInputTimeout) -> None:
    assertion = board.assertion(move.assertion)
    if assertion.request is None:
        raise refusals.InputNotRequested
    until = assertion.request.at + assertion.terms.asserter_clock_s
    if board.call.now <= until:
        raise refusals.ClockRunning(until)
    board.slash(assertion, assertion.request.requester, "the asserter did not publish the input")


def _escalate(rules: Rules, board: Board, move: moves.Escalate) -> None:
    call, assertion = board.call, board.assertion(move.assertion)
    terms = assertion.terms
    if terms.escalation == bytes(32) or assertion.escalated or rules.escalations is None:
        raise refusals.NotEscalating
    if call.now > assertion.closes_at:
        raise refusals.WindowClosed(assertion.closes_at)
    rules.escalations(terms, assertion.claim, move.selector)
    closes_at = min(assertion.closes_at, call.now + terms.escalated_window_s)
    board.put(replace(assertion, escalated=True, closes_at=closes_at))
    board.tell("escalated", assertion)


def _settle(board: Board, move: moves.Settle) -> None:
    call, assertion = board.call, board.assertion(move.assertion)
    require_quiet(assertion, call.now)
    question = board.question(assertion)
    cursor, contradicted = compare(board.assertions, question, assertion, call.now, move.limit)
    assertion = replace(assertion, cursor=cursor, contradicted=contradicted)
    if cursor is not None:
        board.put(assertion)
        board.tell("compared", assertion)
        return
    status = Status.VOID if contradicted else Status.FINAL
    board.put(replace(assertion, status=status))
    board.pay(assertion.asserter, assertion.bond)
    board.tell(status.value, assertion, assertion.bond)


def _withdraw(board: Board) -> None:
    who = board.call.sender
    amount = board.credits.pop(who, 0)
    if not amount:
        raise refusals.NothingToWithdraw
    board.withdrawn += amount
    board.events.append(Event("withdrawn", who=who, amount=amount))
