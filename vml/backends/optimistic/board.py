"""The state while one move is made: looked up, replaced, paid from; whose turn it is, and what may be settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vml.backends.optimistic import refusals
from vml.backends.optimistic.records import (
    Address,
    Assertion,
    Call,
    Dispute,
    Event,
    Result,
    Side,
    State,
    Status,
    question_id,
)


@dataclass(frozen=True)
class Turn:
    """Whose turn it is.

    Args:
        side: to move.
        until: last second in which the move is in time.
        expired: whether that second is past.
        asserter_left_s: the asserter's clock after its last move.
        challenger_left_s: the challenger's clock if it moved now.
    """

    side: Side
    until: int
    expired: bool
    asserter_left_s: int
    challenger_left_s: int


def turn(assertion: Assertion, dispute: Dispute, now: int) -> Turn:
    """Whose turn it is at a moment. What was revealed, and when, decides it: not who spoke first about it.

    A side that has to move has its clock, or the extension where that is longer. What is public already, revealed
    for another dispute, costs the asserter no time.
    """
    extension = assertion.terms.extension_s
    shown_at = assertion.roots_at
    if dispute.position is not None:
        reveal = assertion.reveals.get(dispute.position)
        shown_at = None if reveal is None else reveal.at
    left = dispute.asserter_left_s
    if shown_at is None or shown_at > dispute.since:
        until = dispute.since + max(left, extension)
        if shown_at is None or shown_at > until:
            return Turn(Side.ASSERTER, until, now > until, left, dispute.challenger_left_s)
        left = until - shown_at
    until = max(dispute.since, shown_at) + max(dispute.challenger_left_s, extension)
    return Turn(Side.CHALLENGER, until, now > until, left, until - now)


def require_quiet(assertion: Assertion, now: int) -> None:
    """The window has closed and nobody is owed an answer.

    Raises:
        InputPending, WindowOpen, DisputesOpen: it is not so.
    """
    if assertion.request is not None:
        raise refusals.InputPending(assertion.request.at + assertion.terms.asserter_clock_s)
    if now <= assertion.closes_at:
        raise refusals.WindowOpen(assertion.closes_at)
    if assertion.open_disputes:
        raise refusals.DisputesOpen(assertion.open_disputes)


def compare(
    assertions: Mapping[bytes, Assertion], question: tuple[bytes, ...], assertion: Assertion, now: int, limit: int
) -> tuple[bytes | None, bool]:
    """Go through what has been asserted for the same question, newest first, from where it was left.

    Args:
        assertions: all of them, by name.
        question: those for the same question, oldest first.
        assertion: the one to settle.
        now: the time.
        limit: how many to go through, this one and those that do not matter counted.

    Returns:
        The next to compare (None: all have been), and whether another output stands.

    Raises:
        RivalUndecided: another output has to be decided first.
    """
    place = len(question) - 1 if assertion.cursor is None else question.index(assertion.cursor)
    contradicted = assertion.contradicted
    last = max(place - limit, -1)
    for key in reversed(question[last + 1 : place + 1]):
        rival = assertions[key]
        # One made after the window closed came too late to matter.
        late, same = rival.opened_at > assertion.closes_at, rival.claim.output == assertion.claim.output
        if late or same or rival.status is Status.SLASHED:
            continue
        if rival.status is Status.OPEN:
            try:
                require_quiet(rival, now)
            except refusals.MoveRefused as error:
                raise refusals.RivalUndecided(rival.id) from error
        contradicted = True
    return (question[last] if last >= 0 else None), contradicted


@dataclass
class Board:
    """A working copy of the state; `freeze` makes it the next one."""

    state: State
    call: Call
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.call.now < self.state.now:
            raise refusals.TimeRanBackwards(self.state.now, self.call.now)
        self.assertions = dict(self.state.assertions)
        self.disputes = dict(self.state.disputes)
        self.questions = dict(self.state.questions)
        self.published = dict(self.state.published)
        self.credits = dict(self.state.credits)
        self.withdrawn, self.burned = self.state.withdrawn, self.state.burned

    def freeze(self) -> State:
        return State(
            now=self.call.now,
            assertions=self.assertions,
            disputes=self.disputes,
            questions=self.questions,
            published=self.published,
            credits=self.credits,
            received=self.state.received + self.call.value,
            withdrawn=self.withdrawn,
            burned=self.burned,
        )

    def require_value(self, expected: int) -> None:
        if self.call.value != expected:
            raise refusals.WrongValue(expected, self.call.value)

    def assertion(self, key: bytes) -> Assertion:
        """An assertion that is open."""
        if key not in self.assertions:
            raise refusals.AssertionUnknown(key)
        if self.assertions[key].status is not Status.OPEN:
            raise refusals.AssertionDecided(self.assertions[key].status.value)
        return self.assertions[key]

    def asserted_by_caller(self, key: bytes) -> Assertion:
        assertion = self.assertion(key)
        if assertion.asserter != self.call.sender:
            raise refusals.NotTheAsserter(assertion.asserter)
        return assertion

    def dispute(self, key: bytes) -> Dispute:
        """A dispute that is open."""
        if key not in self.disputes:
            raise refusals.DisputeUnknown(key)
        if self.disputes[key].result is not Result.OPEN:
            raise refusals.DisputeDecided(self.disputes[key].result.value)
        return self.disputes[key]

    def challengers_turn(self, key: bytes) -> tuple[Assertion, Dispute, Turn]:
        """A dispute in which the challenger is to move, and in time."""
        dispute = self.dispute(key)
        assertion = self.assertion(dispute.assertion)
        now = turn(assertion, dispute, self.call.now)
        if now.expired:
            raise refusals.ClockExpired(now.side.value, now.until)
        if now.side is Side.ASSERTER:
            raise refusals.NotTheChallengersTurn(now.until)
        return assertion, dispute, now

    def question(self, assertion: Assertion) -> tuple[bytes, ...]:
        """Assertions for the same question, oldest first."""
        return self.questions.get(question_id(assertion.claim, assertion.terms.digest()), ())

    def put(self, record: Assertion | Dispute) -> None:
        if isinstance(record, Assertion):
            self.assertions[record.id] = record
        else:
            self.disputes[record.id] = record

    def pay(self, who: Address, amount: int) -> None:
        """Give credit, to be withdrawn: no money moves to anybody while the game decides."""
        if amount:
            self.credits[who] = self.credits.get(who, 0) + amount

    def tell(self, name: str, about: Assertion | Dispute, amount: int = 0, reason: str = "") -> None:
        assertion, dispute = (about.id, None) if isinstance(about, Assertion) else (about.assertion, about.id)
        self.events.append(Event(name, assertion, dispute, self.call.sender, amount, reason))

    def slash(self, assertion: Assertion, winner: Address, reason: str, dispute: Dispute | None = None) -> None:
        """The assertion is false or undefended: at least half of its bond is burned, the winner gets the rest."""
        reward = assertion.terms.slash_reward
        self.burned += assertion.bond - reward
        self.pay(winner, reward)
        if assertion.request is not None:
            self.pay(assertion.request.requester, assertion.request.bond)
        if dispute is not None:
            self.pay(dispute.challenger, dispute.bond)
            self.put(replace(dispute, result=Result.WON))
        left = assertion.open_disputes - (dispute is not None)
        slashed = replace(assertion, status=Status.SLASHED, request=None, open_disputes=left)
        self.put(slashed)
        self.tell("slashed", slashed if dispute is None else dispute, assertion.bond, reason)
