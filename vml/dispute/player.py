"""One player: reads the chain, runs models again, and makes the moves of `vml.backends.optimistic.strategy`.

The same loop plays both sides: it defends its own assertions and disputes false ones of others. What it decides is a
function of the ledger, its models and its file; killed at any point and started again, it goes on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vml.backends.optimistic import moves
from vml.backends.optimistic.records import Assertion, Dispute, Result, Status, word
from vml.backends.optimistic.strategy import Complaint, Difference, asserter_moves, challenger_move
from vml.chain.rpc import Unanswered
from vml.claim import parse_address
from vml.dispute import calls
from vml.dispute.follower import Follower, Head, Moved
from vml.dispute.journal import Journal
from vml.dispute.library import Library
from vml.dispute.published import refutation
from vml.dispute.sender import OverBudget, Sender, Unwanted
from vml.dispute.store import CANCEL, FAILED, MINED, OUT, REPLACED, Own, Store
from vml.errors import ChainError, OutOfRange, UnsupportedModel

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0
RIGHT, WRONG = "right", "wrong"
_RUNNING = (OSError, UnsupportedModel, OutOfRange, ValueError, MemoryError)
"""What loading and running a model can raise."""


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
    """

    watch: bool = True
    request: bool = True
    withdraw: bool = False
    only: bytes | None = None
    dry: bool = False
    traces: Path | None = None


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


class Player:
    """Plays for one account.

    Args:
        follower, sender, store, library: the chain read, the chain written, the memory, the models.
        habits: what is up to the user.
        journal: told everything.
        clock: seconds since the epoch, for the age of the chain's last block only.
        sleep: waits.
    """

    def __init__(
        self,
        follower: Follower,
        sender: Sender,
        store: Store,
        library: Library,
        habits: Habits,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.follower, self.sender, self.store, self.library = follower, sender, store, library
        self.habits, self.journal = habits, journal
        self._clock, self._sleep = clock, sleep
        right = (key for key, verdict in store.verdicts().items() if verdict == RIGHT)
        self._complaints: dict[bytes, Complaint | None] = dict.fromkeys(right)
        self._broken: set[bytes] = set()
        self._unseen = 0
        self.head: Head | None = None
        address = sender.chain.sender
        self.me = b"" if address is None else parse_address(address)

    # ---- the loop --------------------------------------------------------------------------------------------------

    def run(self, poll_s: float, until: Callable[[Player], bool] | None = None) -> None:
        """Play until `until` says so, or for ever. Whatever the node does, this goes on.

        Args:
            poll_s: pause between looks at the chain.
        """
        pause = FIRST_PAUSE_S
        while True:
            try:
                busy = self.round()
            except ChainError as error:
                self.journal.count("failures", "chain")
                self.journal.say("the node failed, trying again", level=logging.WARNING, wait_s=pause, error=str(error))
                self._sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_S)
                continue
            pause = FIRST_PAUSE_S
            if until is not None and until(self):
                return
            if not busy:
                self._sleep(poll_s)

    def round(self) -> bool:
        """Look once and make every move that is to be made now.

        Returns:
            Whether anything was sent, so that the chain is worth another look at once.

        Raises:
            ChainError: the node does not answer, or contradicts itself.
        """
        with self.store.held():
            return self._round()

    def _round(self) -> bool:
        self.head = head = self.follower.sync()
        self._report(head)
        if self.sender.chain.signer is not None and not self.habits.dry:
            self._look_after()
        sent, self._unseen = 0, 0
        for wish in self.wishes(head.at):
            # At once: what defends own bonds does not wait until others' assertions are run again.
            sent += self._make(wish)
        self._measure(head)
        return bool(sent or self._unseen)

    # ---- what to do ------------------------------------------------------------------------------------------------

    def wishes(self, now: int) -> Iterator[Wish]:
        """The moves to make at a time, those that defend own bonds first."""
        state = self.follower.ledger.state
        own = self.store.own()
        for assertion in state.assertions.values():
            if assertion.asserter == self.me:
                yield from self._guarded(assertion, self._defend(assertion, own.get(assertion.id), now))
        for dispute in state.disputes.values():
            if dispute.challenger == self.me and dispute.result is Result.OPEN:
                about = state.assertions[dispute.assertion]
                yield from self._guarded(about, self._pursue(dispute, now))
        if self.habits.watch:
            # One that is new is run in each round, the most urgent first: nobody holds up a player by asserting much.
            for assertion in sorted(state.assertions.values(), key=lambda one: one.closes_at):
                if assertion.asserter != self.me and self.habits.only in (None, assertion.id):
                    yield from self._guarded(assertion, self._watch(assertion, now))
        if self.habits.withdraw and state.credits.get(self.me):
            yield Wish(moves.Withdraw(), None, word(self.follower.ledger.withdrawals.get(self.me, 0)))

    def _guarded(self, assertion: Assertion, wishes: Iterator[Wish]) -> Iterator[Wish]:
        """One assertion whose model cannot be run must not keep the player from the others."""
        if assertion.id in self._broken:
            return
        try:
            yield from wishes
        except _RUNNING as error:
            self._broken.add(assertion.id)
            self.journal.count("failures", "run")
            self.journal.say(
                "the model could not be run", level=logging.ERROR, assertion=assertion.id, error=str(error)
            )

    def _defend(self, assertion: Assertion, own: Own | None, now: int) -> Iterator[Wish]:
        """The asserter's moves."""
        if assertion.status is not Status.OPEN:
            self.library.forget(assertion.id)
            return
        key, model = assertion.id, assertion.claim.model
        if own is not None:
            self.library.learn(own.model, own.folder)
        data = own.input if own is not None else self._contents(assertion)
        if data is None or model not in self.library:
            what = "the input of" if data is None else "the model of"
            self.journal.once(
                ("own", key), f"{what} an own assertion is missing: it cannot be defended", level=logging.ERROR,
                assertion=key, model=model,
            )  # fmt: skip
            return
        trace = self.library.trace(key, model, data)
        for move in asserter_moves(self.follower.ledger.state, key, trace, now):
            yield Wish(move, key, assertion.cursor or b"" if isinstance(move, moves.Settle) else b"")

    def _pursue(self, dispute: Dispute, now: int) -> Iterator[Wish]:
        """The challenger's moves in a dispute of its own."""
        state = self.follower.ledger.state
        assertion = state.assertions[dispute.assertion]
        if assertion.status is Status.SLASHED:
            yield Wish(moves.CloseMoot(dispute.id), assertion.id)
            return
        complaint = self._complaint(assertion)
        if complaint is None:
            self.journal.once(
                ("pursue", dispute.id), "nothing is known against an assertion that is disputed: the bond will be lost",
                level=logging.ERROR, assertion=assertion.id, dispute=dispute.id,
            )  # fmt: skip
            return
        move = challenger_move(state, dispute.id, complaint, now)
        if move is not None:
            yield Wish(move, assertion.id)

    def _watch(self, assertion: Assertion, now: int) -> Iterator[Wish]:
        """Look at somebody else's assertion."""
        key, model = assertion.id, assertion.claim.model
        if assertion.status is not Status.OPEN:
            self._complaints.pop(key, None)
            self.library.forget(key)
            return
        if model not in self.library:
            self.journal.once(("model", model), "skipped: no folder holds this model", model=model, assertion=key)
            return
        request = assertion.request
        if request is not None and request.requester == self.me:
            if now > request.at + assertion.terms.asserter_clock_s:
                yield Wish(moves.ClaimInputTimeout(key), key)
            return
        if self._contents(assertion) is None:
            if request is None and assertion.input is None and now <= assertion.closes_at and self.habits.request:
                yield Wish(moves.RequestInput(key), key)
            return
        if key not in self._complaints:
            self._unseen += 1
            if self._unseen > 1:
                return
        complaint = self._complaint(assertion)
        if complaint is None:
            return
        short = self._refutation(assertion, complaint)
        if short is not None:
            yield Wish(short, key)
            return
        mine = [
            d for d in self.follower.ledger.state.disputes.values() if d.assertion == key and d.challenger == self.me
        ]
        if mine:
            return
        if now > assertion.closes_at:
            self.journal.once(
                ("late", key), "a false assertion can no longer be disputed: its window closed", level=logging.ERROR,
                assertion=key,
            )  # fmt: skip
            return
        yield Wish(moves.Challenge(key, word(0)), key)

    def _refutation(self, assertion: Assertion, complaint: Complaint) -> moves.Move | None:
        """The one move against a published trace. It ends disputes, too; and it may be copied, and pays the copier."""
        key, data = assertion.id, self._contents(assertion)
        if self.habits.traces is None or data is None or not isinstance(complaint, Difference):
            return None
        folder = self.habits.traces / f"0x{key.hex()}"
        if not folder.is_dir():
            return None
        mine = self.library.trace(key, assertion.claim.model, data)
        return refutation(assertion, self.library.published(assertion.claim.model, folder), mine)

    def _contents(self, assertion: Assertion) -> tuple[bytes, ...] | None:
        """An assertion's input, wherever it was shown."""
        if assertion.input is not None:
            return assertion.input
        return self.follower.ledger.contents.get((assertion.claim.model, assertion.claim.input))

    def _complaint(self, assertion: Assertion) -> Complaint | None:
        """What running the model again says against an assertion. What was found right is not run again."""
        key = assertion.id
        if key in self._complaints:
            return self._complaints[key]
        data = self._contents(assertion)
        if data is None or assertion.claim.model not in self.library:
            return None
        checked = self.library.check(assertion, data)
        verdict = RIGHT if checked.complaint is None else WRONG
        level = logging.INFO if checked.complaint is None else logging.WARNING
        self.journal.say("checked", level=level, assertion=key, verdict=verdict, reason=checked.reason)
        self.journal.count("checked", verdict)
        self.store.judge(key, verdict)
        self._complaints[key] = checked.complaint
        return checked.complaint

    # ---- doing it --------------------------------------------------------------------------------------------------

    def _make(self, wish: Wish) -> bool:
        """Send a move unless it is sent; returns whether it was."""
        ledger, state = self.follower.ledger, self.follower.ledger.state
        about = wish.assertion
        model = None if about is None else state.assertions[about].claim.model
        graph = (
            self.library.graph(model) if isinstance(wish.move, moves.ProveStep | moves.ProveFraud) and model else None
        )
        made = calls.call(ledger, wish.move, graph, self.me)
        key = calls.move_id(made, wish.epoch)
        facts: dict[str, Any] = {"move": wish.kind} | ({} if about is None else {"assertion": about})
        try:
            if self.habits.dry or self.sender.chain.signer is None:
                self.journal.once(("dry", key), "would send", **facts, value=made.value, gas=self.sender.gas(made))
                return False
            if self.sender.under_way(key):
                self._say_hopeless(key, facts)
                return False
            assert self.head is not None
            stake = self.stake() + self.sender.stake_under_way(self.head.read)
            sent = self.sender.send(
                made, wish.kind, "" if about is None else about.hex(), stake=stake, epoch=wish.epoch
            )
        except Unwanted as refused:
            # Somebody was faster, or the chain is a block further than this node's state: looked at again next time.
            self.journal.once(("unwanted", key), "not sent, the chain would refuse it", **facts, error=str(refused))
            return False
        except OverBudget as error:
            self.journal.count("failures", "budget")
            self.journal.once(("budget", key), "NOT SENT, over budget", level=logging.ERROR, **facts, error=str(error))
            return False
        except (Moved, Unanswered):
            raise
        except ChainError as error:
            # This move's own trouble, such as an empty account: the others are made all the same.
            self.journal.count("failures", "move")
            self.journal.once(("move", key, str(error)), "not sent", level=logging.ERROR, **facts, error=str(error))
            return False
        self.journal.count("moves", wish.kind)
        if isinstance(wish.move, moves.Challenge):
            self.journal.count("disputed")
        self.journal.say("sent", **facts, value=made.value, nonce=sent.nonce, transaction=sent.hash)
        return True

    def _say_hopeless(self, key: bytes, facts: dict[str, Any]) -> None:
        states = [sent.state for sent in self.store.sent(move=key)]
        if OUT not in states and MINED not in states:
            self.journal.count("failures", "hopeless")
            self.journal.once(
                ("hopeless", key),
                "failed too often, given up",
                level=logging.ERROR,
                **facts,
                times=states.count(FAILED),
            )

    def _look_after(self) -> None:
        try:
            news = self.sender.look_after()
        except OverBudget as error:
            self.journal.count("failures", "budget")
            self.journal.once(("stuck", str(error)), "stuck, over budget", level=logging.ERROR, error=str(error))
            return
        except (Moved, Unanswered):
            raise
        except ChainError as error:
            self.journal.count("failures", "move")
            self.journal.once(("stuck", str(error)), "not sent again", level=logging.ERROR, error=str(error))
            return
        for each in news:
            level = logging.WARNING if each.state in (FAILED, REPLACED) or each.sent.kind == CANCEL else logging.INFO
            if each.state == FAILED:
                self.journal.count("failures", "move")
            what = {OUT: "sent again", MINED: "done", FAILED: "failed on the chain", REPLACED: "replaced"}[each.state]
            facts: dict[str, Any] = {"move": each.sent.kind}
            facts |= {"assertion": "0x" + each.sent.about} if each.sent.about else {}
            facts["transaction"] = each.sent.hash
            self.journal.say(what, level=level, **facts)

    # ---- figures ---------------------------------------------------------------------------------------------------

    def stake(self) -> int:
        """Own bonds in what is open, in wei."""
        state, total = self.follower.ledger.state, 0
        for a in state.assertions.values():
            if a.status is Status.OPEN:
                total += a.bond if a.asserter == self.me else 0
                total += a.request.bond if a.request is not None and a.request.requester == self.me else 0
        return total + sum(
            d.bond for d in state.disputes.values() if d.challenger == self.me and d.result is Result.OPEN
        )

    def score(self) -> tuple[int, int]:
        """Disputes that ended well for this player, on either side; disputes lost and own assertions slashed."""
        state, won, lost = self.follower.ledger.state, 0, 0
        for d in state.disputes.values():
            if d.challenger == self.me:
                won += d.result is Result.WON
                lost += d.result is Result.LOST
            elif state.assertions[d.assertion].asserter == self.me:
                won += d.result is Result.LOST
        fallen = (a for a in state.assertions.values() if a.asserter == self.me and a.status is Status.SLASHED)
        return won, lost + sum(1 for _ in fallen)

    def _report(self, head: Head) -> None:
        if head.dropped:
            self.journal.count("reorganisations")
            self.journal.say("the chain was reorganised", level=logging.WARNING, block=head.read, dropped=head.dropped)
        for event in head.fresh:
            facts = {name: event.values[name] for name in ("id", "dispute", "model", "asserter", "challenger")
                     if name in event.values}  # fmt: skip
            self.journal.say(f"event {event.name}", block=event.block, **facts)

    def _measure(self, head: Head) -> None:
        journal, state = self.journal, self.follower.ledger.state
        for status in Status:
            count = sum(a.status is status for a in state.assertions.values())
            journal.gauge("assertions", count, status.value)
        won, lost = self.score()
        figures = {
            "block": head.read,
            "lag": max(0.0, self._clock() - head.at),
            "stake": self.stake(),
            "credit": state.credits.get(self.me, 0),
            "gas": self.store.gas_used(),
            "won": won,
            "lost": lost,
        }
        for name, value in figures.items():
            journal.gauge(name, value)
