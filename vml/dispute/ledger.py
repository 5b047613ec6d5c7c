"""What the contract's events say, as the game's state: one pure function, applied event by event.

The contract keeps digests and times; contents (inputs, lists, nodes, leaves) are in its events. With them the state is
that of `vml.backends.optimistic.game`, and the same strategy plays on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vml.backends.optimistic.board import turn
from vml.backends.optimistic.moves import Assert
from vml.backends.optimistic.records import (
    Address,
    Assertion,
    Dispute,
    Position,
    Request,
    Result,
    Reveal,
    State,
    Status,
    Terms,
    dispute_id,
    question_id,
)
from vml.claim import Claim
from vml.errors import ChainError
from vml.merkle import EMPTY, merkle_root, tensor_leaf

ZERO = bytes(32)
STATUSES = {2: Status.FINAL, 4: Status.VOID}
"""What `Settled` can say, by the contract's numbers."""


@dataclass(frozen=True)
class Event:
    """One event of the contract.

    Args:
        name, values: as the ABI names them, decoded.
        at: time of its block.
        block, index: which block, which log of it.
        transaction: hash of the transaction, 0x hex.
    """

    name: str
    values: Mapping[str, Any]
    at: int
    block: int
    index: int
    transaction: str


@dataclass(frozen=True)
class Ledger:
    """The state of the game, and what moves need besides.

    Args:
        chain_id, contract: where; part of every assertion's name.
        state: as the game in Python has it.
        terms: everything on offer, by digest.
        nonces: of assertions, by their names.
        contents: every input whose bytes were seen, by model and commitment, whether or not the rules call it public.
        withdrawals: how often somebody took out credit.
        brought: transaction, log, key and novelty of the input that the last event published; the next may claim it.
    """

    chain_id: int
    contract: Address
    state: State = field(default_factory=State)
    terms: Mapping[bytes, Terms] = field(default_factory=dict)
    nonces: Mapping[bytes, int] = field(default_factory=dict)
    contents: Mapping[tuple[bytes, bytes], tuple[bytes, ...]] = field(default_factory=dict)
    withdrawals: Mapping[Address, int] = field(default_factory=dict)
    brought: tuple[str, int, tuple[bytes, bytes], bool] | None = None


def apply(ledger: Ledger, event: Event) -> Ledger:
    """The ledger after an event; an unknown event changes nothing but the time.

    Raises:
        ChainError: the event contradicts what came before: events are missing, or the node lies.
    """
    after = replace(ledger, state=replace(ledger.state, now=event.at), brought=None)
    handler = _HANDLERS.get(event.name)
    if handler is None:
        return after
    try:
        return handler(after if event.name not in _CLAIMING else replace(after, brought=ledger.brought), event)
    except (KeyError, ValueError) as error:
        raise ChainError(
            f"event {event.name} in block {event.block} does not follow from those before it ({error!r}): events are "
            "missing, or the node lies; begin at an earlier block, or ask another node"
        ) from None


def read_terms(value: tuple[Any, ...]) -> Terms:
    """The contract's terms, in its order."""
    return Terms(*value)


def read_position(value: tuple[int, int, int]) -> Position:
    return Position(*value)


def address(text: str) -> Address:
    """An address as the decoder gives it."""
    return bytes.fromhex(text[2:])


# ---- one function an event -------------------------------------------------------------------------------------------


def _terms_offered(ledger: Ledger, event: Event) -> Ledger:
    terms = read_terms(event.values["terms"])
    return replace(ledger, terms={**ledger.terms, event.values["digest"]: terms})


def _input_published(ledger: Ledger, event: Event) -> Ledger:
    key, data = (event.values["model"], event.values["input"]), tuple(event.values["data"])
    fresh = key not in ledger.state.published
    return replace(
        ledger,
        state=replace(ledger.state, published={**ledger.state.published, key: data}),
        contents={**ledger.contents, key: data},
        brought=(event.transaction, event.index, key, fresh),
    )


def _claim_input(ledger: Ledger, event: Event, claim: Claim) -> tuple[Ledger, tuple[bytes, ...] | None]:
    """The input that this event's own move brought, which is not published for others."""
    key = (claim.model, claim.input)
    own = (event.transaction, event.index - 1, key)
    if ledger.brought is None or ledger.brought[:3] != own:
        return replace(ledger, brought=None), None
    published = {k: v for k, v in ledger.state.published.items() if not (k == key and ledger.brought[3])}
    return replace(ledger, state=replace(ledger.state, published=published), brought=None), ledger.contents[key]


def _asserted(ledger: Ledger, event: Event) -> Ledger:
    fields, asserter, digest, trace, nonce = event.values["assertion"]
    claim, who, key = Claim(*fields), address(asserter), event.values["id"]
    terms, trace = ledger.terms[digest], None if trace == ZERO else trace
    if Assert(claim, digest, nonce, trace).id(ledger.chain_id, ledger.contract, who) != key:
        raise ValueError("an assertion with another's name")
    ledger, data = _claim_input(ledger, event, claim)
    state = ledger.state
    assertion = Assertion(
        id=key,
        claim=claim,
        asserter=who,
        terms=terms,
        opened_at=event.at,
        closes_at=event.at + terms.window_s,
        bond=terms.asserter_bond,
        trace=trace,
        input=data if data is not None else state.published.get((claim.model, claim.input)),
    )
    question = question_id(claim, terms.digest())
    questions = {**state.questions, question: (*state.questions.get(question, ()), key)}
    state = replace(_put(state, assertion), questions=questions, received=state.received + assertion.bond)
    return replace(ledger, state=state, nonces={**ledger.nonces, key: nonce})


def _input_requested(ledger: Ledger, event: Event) -> Ledger:
    state, assertion = ledger.state, ledger.state.assertions[event.values["id"]]
    bond = assertion.terms.challenger_bond
    request = Request(address(event.values["requester"]), bond, event.at)
    state = replace(_put(state, replace(assertion, request=request)), received=state.received + bond)
    return replace(ledger, state=state)


def _input_revealed(ledger: Ledger, event: Event) -> Ledger:
    assertion = ledger.state.assertions[event.values["id"]]
    if assertion.request is None:
        raise ValueError("nobody requested it")
    ledger, data = _claim_input(ledger, event, assertion.claim)
    if data is None:
        data = ledger.contents[assertion.claim.model, assertion.claim.input]
    fee, request = assertion.terms.request_fee, assertion.request
    state = _pay(_pay(ledger.state, assertion.asserter, fee), request.requester, request.bond - fee)
    shown = replace(assertion, request=None, input=data, closes_at=event.values["closesAt"])
    return replace(ledger, state=_put(state, shown))


def _escalated(ledger: Ledger, event: Event) -> Ledger:
    assertion = ledger.state.assertions[event.values["id"]]
    shorter = replace(assertion, escalated=True, closes_at=event.values["closesAt"])
    return replace(ledger, state=_put(ledger.state, shorter))


def _disputed(ledger: Ledger, event: Event) -> Ledger:
    state, assertion = ledger.state, ledger.state.assertions[event.values["id"]]
    key, who = event.values["dispute"], address(event.values["challenger"])
    if dispute_id(assertion.id, who, event.values["salt"]) != key:
        raise ValueError("a dispute with another's name")
    dispute = Dispute(
        id=key,
        assertion=assertion.id,
        challenger=who,
        bond=assertion.terms.challenger_bond,
        since=event.at,
        asserter_left_s=assertion.terms.asserter_clock_s,
        challenger_left_s=assertion.terms.challenger_clock_s,
    )
    state = _put(_put(state, dispute), replace(assertion, open_disputes=assertion.open_disputes + 1))
    return replace(ledger, state=replace(state, received=state.received + dispute.bond))


def _list_revealed(ledger: Ledger, event: Event) -> Ledger:
    assertion = ledger.state.assertions[event.values["id"]]
    shown = replace(assertion, roots=tuple(event.values["roots"]), roots_at=event.at)
    return replace(ledger, state=_put(ledger.state, shown))


def _asked(ledger: Ledger, event: Event) -> Ledger:
    dispute = ledger.state.disputes[event.values["dispute"]]
    now = turn(ledger.state.assertions[dispute.assertion], dispute, event.at)
    asked = replace(
        dispute,
        position=read_position(event.values["position"]),
        digest=event.values["digest"],
        since=event.at,
        asserter_left_s=now.asserter_left_s,
        challenger_left_s=now.challenger_left_s,
    )
    return replace(ledger, state=_put(ledger.state, asked))


def _node_revealed(ledger: Ledger, event: Event) -> Ledger:
    children = tuple(event.values["children"])
    return _revealed(ledger, event, Reveal(merkle_root(children, EMPTY), children, event.at))


def _leaf_revealed(ledger: Ledger, event: Event) -> Ledger:
    data = event.values["data"]
    return _revealed(ledger, event, Reveal(tensor_leaf(data), (data,), event.at))


def _revealed(ledger: Ledger, event: Event, reveal: Reveal) -> Ledger:
    assertion = ledger.state.assertions[event.values["id"]]
    reveals = {**assertion.reveals, read_position(event.values["position"]): reveal}
    return replace(ledger, state=_put(ledger.state, replace(assertion, reveals=reveals)))


def _slashed(ledger: Ledger, event: Event) -> Ledger:
    state, assertion = ledger.state, ledger.state.assertions[event.values["id"]]
    reward, left = assertion.terms.slash_reward, assertion.open_disputes
    state = _pay(state, address(event.values["winner"]), reward)
    if assertion.request is not None:
        state = _pay(state, assertion.request.requester, assertion.request.bond)
    if event.values["dispute"] != ZERO:
        dispute = state.disputes[event.values["dispute"]]
        state = _put(_pay(state, dispute.challenger, dispute.bond), replace(dispute, result=Result.WON))
        left -= 1
    fallen = replace(assertion, status=Status.SLASHED, request=None, open_disputes=left)
    state = replace(_put(state, fallen), burned=state.burned + assertion.bond - reward)
    return replace(ledger, state=state)


def _dispute_lost(ledger: Ledger, event: Event) -> Ledger:
    dispute = ledger.state.disputes[event.values["dispute"]]
    assertion = ledger.state.assertions[dispute.assertion]
    reward = assertion.terms.defence_reward
    state = _pay(_closed(ledger.state, dispute, assertion, Result.LOST), assertion.asserter, reward)
    return replace(ledger, state=replace(state, burned=state.burned + dispute.bond - reward))


def _dispute_moot(ledger: Ledger, event: Event) -> Ledger:
    dispute = ledger.state.disputes[event.values["dispute"]]
    assertion = ledger.state.assertions[dispute.assertion]
    state = _closed(ledger.state, dispute, assertion, Result.MOOT)
    return replace(ledger, state=_pay(state, dispute.challenger, dispute.bond))


def _compared(ledger: Ledger, event: Event) -> Ledger:
    assertion = ledger.state.assertions[event.values["id"]]
    further = replace(assertion, cursor=event.values["next"], contradicted=event.values["contradicted"])
    return replace(ledger, state=_put(ledger.state, further))


def _settled(ledger: Ledger, event: Event) -> Ledger:
    assertion = ledger.state.assertions[event.values["id"]]
    status = STATUSES[event.values["status"]]
    ended = replace(assertion, status=status, cursor=None, contradicted=status is Status.VOID)
    return replace(ledger, state=_pay(_put(ledger.state, ended), assertion.asserter, assertion.bond))


def _withdrawn(ledger: Ledger, event: Event) -> Ledger:
    who, amount, state = address(event.values["who"]), event.values["amount"], ledger.state
    credits = {key: value for key, value in state.credits.items() if key != who}
    count = ledger.withdrawals.get(who, 0) + 1
    state = replace(state, credits=credits, withdrawn=state.withdrawn + amount)
    return replace(ledger, state=state, withdrawals={**ledger.withdrawals, who: count})


_CLAIMING = {"Asserted", "InputRevealed"}
_HANDLERS: Mapping[str, Callable[[Ledger, Event], Ledger]] = {
    "TermsOffered": _terms_offered,
    "InputPublished": _input_published,
    "Asserted": _asserted,
    "InputRequested": _input_requested,
    "InputRevealed": _input_revealed,
    "Escalated": _escalated,
    "Disputed": _disputed,
    "ListRevealed": _list_revealed,
    "Asked": _asked,
    "NodeRevealed": _node_revealed,
    "LeafRevealed": _leaf_revealed,
    "Slashed": _slashed,
    "DisputeLost": _dispute_lost,
    "DisputeMoot": _dispute_moot,
    "Compared": _compared,
    "Settled": _settled,
    "Withdrawn": _withdrawn,
}


def _put(state: State, what: Assertion | Dispute) -> State:
    if isinstance(what, Assertion):
        return replace(state, assertions={**state.assertions, what.id: what})
    return replace(state, disputes={**state.disputes, what.id: what})


def _pay(state: State, who: Address, amount: int) -> State:
    if not amount:
        return state
    return replace(state, credits={**state.credits, who: state.credits.get(who, 0) + amount})


def _closed(state: State, dispute: Dispute, assertion: Assertion, result: Result) -> State:
    fewer = replace(assertion, open_disputes=assertion.open_disputes - 1)
    return _put(_put(state, replace(dispute, result=result)), fewer)
