"""What a player decides: the moves to make now, a function of the ledger, its models and its file. Sends nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vml.backends.optimistic import moves
from vml.backends.optimistic.board import turn
from vml.backends.optimistic.records import Address, Assertion, Dispute, Result, Status, Terms, question_id, word
from vml.backends.optimistic.strategy import Complaint, asserter_moves, challenger_move, settles
from vml.chain.client import Chain
from vml.dispute.caution import Caution
from vml.dispute.checking import RIGHT, RUNNING, WRONG, Checker, Recalled
from vml.dispute.follower import Follower
from vml.dispute.inputs import Inputs
from vml.dispute.journal import Journal
from vml.dispute.library import Library
from vml.dispute.recall import SAID, Pauses, Recent
from vml.dispute.store import Own, Store

SAFE_PROFILES = ("fast-l2", "l1-safe")


@dataclass(frozen=True)
class Habits:
    """What a player does besides defending what it asserted.

    Args:
        watch: run others' assertions again and dispute false ones.
        request: ask for inputs that nobody published, at the risk of the fee.
        withdraw: take out credit as soon as there is some.
        only: the one assertion to play, of others; None plays all.
        dry: say what would be done, send nothing.
        traces: folder of published traces, each in a folder named by its assertion: such a false assertion falls in one
            move.
        profiles: names of profiles; own money is put at stake only under terms that satisfy one of them
            (`vml.dispute.caution`).
        terms: digests of terms that are good as well.
        max_fees: wei that requests for inputs may cost in all, as long as the player's file exists; None is no limit.
    """

    watch: bool = True
    request: bool = True
    withdraw: bool = False
    only: bytes | None = None
    dry: bool = False
    traces: Path | None = None
    profiles: tuple[str, ...] = SAFE_PROFILES
    terms: frozenset[bytes] = frozenset()
    max_fees: int | None = None


@dataclass(frozen=True)
class Wish:
    """A move to make now.

    Args:
        move: it.
        assertion: about which, or None.
        epoch: as `vml.dispute.calls.move_id`.
    """

    move: moves.Move
    assertion: bytes | None
    epoch: bytes = b""

    @property
    def kind(self) -> str:
        return type(self.move).__name__


class Decisions:
    """Decides for one account.

    Args:
        me: the account; empty for nobody.
        chain, follower, store, library: the chain, what is read of it, the memory, the models.
        habits: what is up to the user.
        journal: told.
        clock: seconds, for pauses only.

    Raises:
        ValueError: the habits name a profile that does not exist.
    """

    def __init__(
        self,
        me: Address,
        chain: Chain,
        follower: Follower,
        store: Store,
        library: Library,
        habits: Habits,
        journal: Journal,
        clock: Callable[[], float],
    ) -> None:
        self.me, self.follower, self.store, self.library = me, follower, store, library
        self.habits, self.journal = habits, journal
        self.caution = Caution(chain, follower.game, library, habits.profiles, habits.terms)
        self.inputs = Inputs(chain, follower, library, journal, clock=clock)
        self.checker = Checker(library, store, journal)
        self._broken: Pauses[bytes] = Pauses(clock)
        self._skipped: Recent[tuple[Terms, bytes], None] = Recent(SAID)
        self._long: set[bytes] = set()  # assertions whose refutation in one move could not be sent
        self._unseen = 0  # assertions that this round found not to be run yet

    def wishes(self, now: int) -> Iterator[Wish]:
        """The moves to make at a time, those that defend own bonds first."""
        state, own = self.follower.ledger.state, self.store.own()
        self._unseen = 0
        self.inputs.note(own, state)
        defended = [a for a in state.assertions.values() if a.asserter == self.me]
        pursued = [d for d in state.disputes.values() if d.challenger == self.me and d.result is Result.OPEN]
        self.library.make_room(len(pursued) + sum(a.status is Status.OPEN and a.open_disputes > 0 for a in defended))
        for assertion in defended:
            yield from self._guarded(assertion, self._defend(assertion, own.get(assertion.id), now))
        for dispute in pursued:
            about = state.assertions[dispute.assertion]
            yield from self._guarded(about, self._pursue(dispute, now))
        if self.habits.watch:
            # One that is new is run in each round, the one with most at stake first: who asserts much without bonds, or
            # what is over, holds up nobody.
            for assertion in sorted(state.assertions.values(), key=lambda one: (-one.bond, one.closes_at)):
                if assertion.asserter == self.me or self.habits.only not in (None, assertion.id):
                    continue
                if assertion.status is not Status.OPEN:
                    self._forget(assertion.id)
                elif not self._broken.resting(assertion.id):
                    yield from self._guarded(assertion, self._watch(assertion, now))
        if self.habits.withdraw and state.credits.get(self.me):
            yield Wish(moves.Withdraw(), None, word(self.follower.ledger.withdrawals.get(self.me, 0)))

    def _guarded(self, assertion: Assertion, wishes: Iterator[Wish]) -> Iterator[Wish]:
        """One assertion whose model cannot be run must not keep the player from the others.

        Where own bonds are at stake it is tried again in every round, elsewhere after growing pauses.
        """
        try:
            yield from wishes
        except RUNNING as error:
            self._broken.failed(assertion.id)
            self.journal.count("failures", "run")
            text = str(error) or type(error).__name__
            self.journal.once(
                ("run", assertion.id, text), "the model could not be run, trying again", level=logging.ERROR,
                assertion=assertion.id, error=text,
            )  # fmt: skip

    def _forget(self, key: bytes) -> None:
        """Nothing is left to do about an assertion."""
        self.checker.forget(key)
        self._broken.over(key)
        self._long.discard(key)

    def _defend(self, assertion: Assertion, own: Own | None, now: int) -> Iterator[Wish]:
        """The asserter's moves."""
        if assertion.status is not Status.OPEN:
            self._forget(assertion.id)
            return
        key, model, state = assertion.id, assertion.claim.model, self.follower.ledger.state
        if own is not None:
            self.library.learn(own.model, own.folder)
        data = own.input if own is not None else self._contents(assertion)
        if data is None or model not in self.library:
            what = "the input of" if data is None else "the model of"
            self.journal.once(
                ("own", key), f"{what} an own assertion is missing: it cannot be defended", level=logging.ERROR,
                assertion=key, model=model,
            )  # fmt: skip
        if assertion.request is None and not assertion.open_disputes:
            if settles(state, assertion, now):
                yield Wish(moves.Settle(key), key, assertion.cursor or b"")
            elif now > assertion.closes_at:
                yield from self._unblock(assertion, now)
            return
        if data is None or model not in self.library:
            return
        for move in asserter_moves(state, key, self.library.trace(key, model, data), now):
            yield Wish(move, key)

    def _unblock(self, assertion: Assertion, now: int) -> Iterator[Wish]:
        """Time-outs that nobody else claims, and without which a rival is never decided, nor this assertion."""
        state = self.follower.ledger.state
        for key in state.questions[question_id(assertion.claim, assertion.terms.digest())]:
            rival = state.assertions[key]
            late, same = rival.opened_at > assertion.closes_at, rival.claim.output == assertion.claim.output
            if rival.status is not Status.OPEN or late or same:
                continue
            if _overdue(rival, now):
                yield Wish(moves.ClaimInputTimeout(key), key)
            for dispute in state.disputes.values() if rival.open_disputes else ():
                open_ = dispute.assertion == key and dispute.result is Result.OPEN
                if open_ and turn(rival, dispute, now).expired:
                    yield Wish(moves.ClaimTimeout(dispute.id), key)

    def _pursue(self, dispute: Dispute, now: int) -> Iterator[Wish]:
        """The challenger's moves in a dispute of its own."""
        state = self.follower.ledger.state
        assertion = state.assertions[dispute.assertion]

        def recall() -> Complaint | None:
            complaint = self._complaint(assertion)
            if complaint is None:
                self.journal.once(
                    ("pursue", dispute.id),
                    "nothing is known against an assertion that is disputed: the bond will be lost",
                    level=logging.ERROR, assertion=assertion.id, dispute=dispute.id,
                )  # fmt: skip
            return complaint

        move = challenger_move(state, dispute.id, Recalled(recall), now)
        if move is not None:
            yield Wish(move, assertion.id)

    def _watch(self, assertion: Assertion, now: int) -> Iterator[Wish]:
        """Look at somebody else's open assertion."""
        key, model, request = assertion.id, assertion.claim.model, assertion.request
        mine = request is not None and request.requester == self.me
        if mine:
            if _overdue(assertion, now):
                yield Wish(moves.ClaimInputTimeout(key), key)
            return
        if model not in self.library:
            self.journal.once(("model", model), "skipped: no folder holds this model", model=model, assertion=key)
            return
        objection = self.caution.against(assertion)
        if objection is not None:
            self._say_skipped(assertion, objection)
            return
        if _overdue(assertion, now):
            yield Wish(moves.ClaimInputTimeout(key), key)
            return
        folder = self._published(assertion)
        late = now > assertion.closes_at
        if late and folder is None:
            if self.checker.known(key) == WRONG and not self._has_dispute(key):
                self._say_late(key)
            return
        data = self._contents(assertion)
        if data is None:
            if request is None and assertion.input is None and not late and self.habits.request:
                yield from self._request(assertion)
            return
        if self.checker.known(key) is None:
            self._unseen += 1
            if self._unseen > 1:
                return
        if self.checker.verdict(assertion, data) == RIGHT:
            return
        short = None if folder is None or key in self._long else self.checker.refutation(assertion, data, folder)
        if short is not None:
            yield Wish(short, key)
            if key not in self._long:
                return
        if self._has_dispute(key):
            return
        if late:
            self._say_late(key)
            return
        yield Wish(moves.Challenge(key, word(0)), key)

    def _request(self, assertion: Assertion) -> Iterator[Wish]:
        """Ask for an input, unless fees have cost too much by now."""
        asked = {bytes.fromhex(sent.about) for sent in self.store.sent() if sent.kind == "RequestInput"}
        known = self.follower.ledger.state.assertions
        spent = sum(known[key].terms.request_fee for key in asked - {assertion.id} if key in known)
        fee, most = assertion.terms.request_fee, self.habits.max_fees
        if most is not None and spent + fee > most:
            self.journal.count("failures", "budget")
            self.journal.once(
                ("fees", assertion.id), "NOT REQUESTED, fees of requests would exceed what is allowed",
                level=logging.ERROR, assertion=assertion.id, fee=fee, spent=spent, allowed=most,
            )  # fmt: skip
            return
        yield Wish(moves.RequestInput(assertion.id), assertion.id)

    def _say_skipped(self, assertion: Assertion, objection: str) -> None:
        about = assertion.terms, assertion.claim.model
        if about not in self._skipped:
            self._skipped[about] = None
            self.journal.say(
                "skipped: these terms are not acceptable", level=logging.WARNING, terms=about[0].digest(),
                assertion=assertion.id, reason=objection,
            )  # fmt: skip

    def _has_dispute(self, key: bytes) -> bool:
        """Whether this account has disputed an assertion."""
        return any(d.assertion == key and d.challenger == self.me for d in self.follower.ledger.state.disputes.values())

    def _say_late(self, key: bytes) -> None:
        self.journal.once(
            ("late", key), "a false assertion can no longer be disputed: its window closed", level=logging.ERROR,
            assertion=key,
        )  # fmt: skip

    def _published(self, assertion: Assertion) -> Path | None:
        """The folder of an assertion's published trace, if there is one."""
        if self.habits.traces is None or assertion.trace is None:
            return None
        folder = self.habits.traces / f"0x{assertion.id.hex()}"
        return folder if folder.is_dir() else None

    def _contents(self, assertion: Assertion) -> tuple[bytes, ...] | None:
        """An assertion's input, wherever it was shown."""
        return self.inputs.of(assertion)

    def _complaint(self, assertion: Assertion) -> Complaint | None:
        """What is wrong with an assertion, where that can be told."""
        data = self._contents(assertion)
        if data is None or assertion.claim.model not in self.library:
            return None
        return self.checker.complaint(assertion, data)


def _overdue(assertion: Assertion, now: int) -> bool:
    """Whether the asserter owes its input and has no time left."""
    request = assertion.request
    return request is not None and now > request.at + assertion.terms.asserter_clock_s
