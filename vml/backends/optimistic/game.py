"""The dispute game as a pure function: (rules, state, who moves when, move) to the next state and what happened.

    assert ── window ── settle: final
       └ challenge ─ list ─ operator ─ node ─ child ─ ... ─ leaf ─ step proved: slashed
         request the input ─ input: the window starts anew, once

Nothing here reads a clock, a chain or a file. A refused move raises `MoveRefused` and changes nothing.
``docs/dispute.md`` states the rules and proves: an honest asserter never loses; one honest challenger defeats every
false output; money is conserved; everything ends in bounded time. ``DisputeGame.sol`` mirrors this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vml.backends.optimistic import moves, refusals, shapes
from vml.backends.optimistic.board import Board
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
from vml.merkle import tensors_root
from vml.model.graph import Graph


@dataclass(frozen=True)
class Rules:
    """What does not change while games go on.

    Args:
        chain_id, contract: where the game is played; part of every assertion's name.
        models: validated graphs by model commitment.
        terms: the terms on offer, by digest. Assertions keep the terms they were made under.
        step: how an operator computes one element.
    """

    chain_id: int
    contract: Address
    models: Mapping[bytes, Graph]
    terms: Mapping[bytes, Terms]
    step: Step


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
        case moves.RequestInput():
            _request_input(board, move)
        case moves.RevealInput():
            _reveal_input(rules, board, move)
        case moves.ClaimInputTimeout():
            _claim_input_timeout(board, move)
        case moves.Settle():
            _settle(board, move)
        case moves.Withdraw():
            _withdraw(board)
        case _:
            _dispute(rules, board, move)


def _dispute(rules: Rules, board: Board, move: moves.Move) -> None:
    # Which model the move is about follows from the assertion it names.
    if isinstance(move, moves.PickOperator | moves.PickChild | moves.ProveStep | moves.ClaimTimeout | moves.CloseMoot):
        assertion = board.assertions[board.dispute(move.dispute).assertion]
    else:
        assert isinstance(
            move,
            moves.Challenge
            | moves.RevealList
            | moves.RevealNode
            | moves.RevealLeaf
            | moves.ProveFraud
            | moves.ProveList,
        )
        assertion = board.assertion(move.assertion)
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
    if move.claim.model not in rules.models:
        raise refusals.ModelUnknown(move.claim.model)
    if move.terms not in rules.terms:
        raise refusals.TermsUnknown(move.terms)
    terms = rules.terms[move.terms]
    board.require_value(terms.asserter_bond)
    key = move.id(rules.chain_id, rules.contract, call.sender)
    if key in board.assertions:
        raise refusals.AssertionExists(key)
    if move.input is not None:
        _check_input(rules.models[move.claim.model], move.claim.input, move.input)
    assertion = Assertion(
        id=key,
        claim=move.claim,
        asserter=call.sender,
        terms=terms,
        opened_at=call.now,
        closes_at=call.now + terms.window_s,
        bond=call.value,
        trace=move.trace,
        input=move.input,
    )
    board.put(assertion)
    question = question_id(move.claim)
    board.questions[question] = (*board.questions.get(question, ()), key)
    board.tell("asserted", assertion, call.value)


def _check_input(model: Graph, commitment: bytes, data: tuple[bytes, ...]) -> None:
    if len(data) != len(model.inputs):
        raise refusals.InputMismatch(commitment, f"{len(data)} tensors")
    roots = [shapes.root_of_bytes(part, spec.header) for part, spec in zip(data, model.inputs, strict=True)]
    sized = [root for root in roots if root is not None]
    if len(sized) != len(roots):
        raise refusals.InputMismatch(commitment, "another size")
    if tensors_root(sized) != commitment:
        raise refusals.InputMismatch(commitment, tensors_root(sized))


def _request_input(board: Board, move: moves.RequestInput) -> None:
    call, assertion = board.call, board.assertion(move.assertion)
    board.require_value(assertion.terms.challenger_bond)
    if assertion.input is not None:
        raise refusals.InputKnown
    if assertion.request is not None:
        raise refusals.InputRequested(assertion.request.at)
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
    closes_at = max(assertion.closes_at, call.now + assertion.terms.window_s)
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


def _settle(board: Board, move: moves.Settle) -> None:
    call, assertion = board.call, board.assertion(move.assertion)
    _require_quiet(assertion, call.now)
    question = board.questions[question_id(assertion.claim)]
    cleared, contradicted = assertion.cleared, assertion.contradicted
    while cleared < len(question) and cleared - assertion.cleared < move.limit:
        rival = board.assertions[question[cleared]]
        if rival.opened_at > assertion.closes_at:
            cleared = len(question)  # this one and all after it came too late to matter
            break
        if rival.claim.output != assertion.claim.output and rival.status is not Status.SLASHED:
            if rival.status is Status.OPEN:
                _require_decided(rival, call.now)
            contradicted = True
        cleared += 1
    assertion = replace(assertion, cleared=cleared, contradicted=contradicted)
    if cleared < len(question):
        board.put(assertion)
        board.tell("compared", assertion)
        return
    status = Status.VOID if contradicted else Status.FINAL
    board.put(replace(assertion, status=status))
    board.pay(assertion.asserter, assertion.bond)
    board.tell(status.value, assertion, assertion.bond)


def _require_quiet(assertion: Assertion, now: int) -> None:
    """The window has closed and nobody is owed an answer."""
    if assertion.request is not None:
        raise refusals.InputPending(assertion.request.at + assertion.terms.asserter_clock_s)
    if now <= assertion.closes_at:
        raise refusals.WindowOpen(assertion.closes_at)
    if assertion.open_disputes:
        raise refusals.DisputesOpen(assertion.open_disputes)


def _require_decided(rival: Assertion, now: int) -> None:
    try:
        _require_quiet(rival, now)
    except refusals.MoveRefused as error:
        raise refusals.RivalUndecided(rival.id) from error


def _withdraw(board: Board) -> None:
    who = board.call.sender
    amount = board.credits.pop(who, 0)
    if not amount:
        raise refusals.NothingToWithdraw
    board.withdrawn += amount
    board.events.append(Event("withdrawn", who=who, amount=amount))
