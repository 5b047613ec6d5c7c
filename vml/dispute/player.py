"""One player: reads the chain, runs models again, and makes the moves of `vml.backends.optimistic.strategy`.

The same loop plays both sides: it defends its own assertions and disputes false ones of others. What it decides is a
function of the ledger, its models and its file; killed at any point and started again, it goes on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from vml.backends.optimistic import moves
from vml.chain.rpc import Unanswered
from vml.claim import parse_address
from vml.dispute import calls, figures
from vml.dispute.checking import RUNNING
from vml.dispute.decisions import Decisions
from vml.dispute.decisions import Habits as Habits
from vml.dispute.decisions import Wish as Wish
from vml.dispute.follower import Follower, Head, Moved
from vml.dispute.journal import Journal
from vml.dispute.library import Library
from vml.dispute.sender import OverBudget, Sender, Unwanted
from vml.dispute.store import CANCEL, FAILED, MINED, OUT, REPLACED, Store
from vml.errors import ChainError

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0


class Player(Decisions):
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
        address = sender.chain.sender
        me = b"" if address is None else parse_address(address)
        super().__init__(me, sender.chain, follower, store, library, habits, journal, clock)
        self.sender, self._clock, self._sleep = sender, clock, sleep
        self.head: Head | None = None

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
        figures.report(self.journal, head)
        if self.sender.chain.signer is not None and not self.habits.dry:
            self._look_after()
        sent = 0
        for wish in self.wishes(head.at):
            # At once: what defends own bonds does not wait until others' assertions are run again.
            sent += self._make(wish)
        state, gas = self.follower.ledger.state, self.store.gas_used()
        figures.measure(self.journal, state, self.me, head, lag_s=self._clock() - head.at, gas=gas)
        return bool(sent or self._unseen)

    def stake(self) -> int:
        """Own bonds in what is open, in wei."""
        return figures.stake(self.follower.ledger.state, self.me)

    def score(self) -> tuple[int, int]:
        """Disputes that ended well for this player, on either side; disputes lost and own assertions slashed."""
        return figures.score(self.follower.ledger.state, self.me)

    # ---- doing it --------------------------------------------------------------------------------------------------

    def _make(self, wish: Wish) -> bool:
        """Send a move unless it is sent; returns whether it was."""
        about = wish.assertion
        facts: dict[str, Any] = {"move": wish.kind} | ({} if about is None else {"assertion": about})
        try:
            made = self._call(wish)
        except RUNNING as error:
            self.journal.count("failures", "run")
            self.journal.once(("call", wish.kind, about), "not sent", level=logging.ERROR, **facts, error=str(error))
            self._give_up(wish)
            return False
        key = calls.move_id(made, wish.epoch)
        try:
            if self.habits.dry or self.sender.chain.signer is None:
                self.journal.once(("dry", key), "would send", **facts, value=made.value, gas=self.sender.gas(made))
                return False
            if self.sender.under_way(key):
                if self._is_hopeless(key, facts):
                    self._give_up(wish)
                return False
            assert self.head is not None
            stake = self.stake() + self.sender.stake_under_way(self.head.read)
            sent = self.sender.send(
                made, wish.kind, "" if about is None else about.hex(), stake=stake, epoch=wish.epoch
            )
        except Unwanted as refused:
            # Somebody was faster, or the chain is a block further than this node's state: looked at again next time.
            self.journal.once(("unwanted", key), "not sent, the chain would refuse it", **facts, error=str(refused))
            if refused.error == "InputKnown" and about is not None:
                self.inputs.missed(self.follower.ledger.state.assertions[about])
            self._give_up(wish)
            return False
        except OverBudget as error:
            self.journal.count("failures", "budget")
            self.journal.once(("budget", key), "NOT SENT, over budget", level=logging.ERROR, **facts, error=str(error))
            self._give_up(wish)
            return False
        except (Moved, Unanswered):
            raise
        except ChainError as error:
            # This move's own trouble, such as an empty account: the others are made all the same.
            self.journal.count("failures", "move")
            self.journal.once(("move", key, str(error)), "not sent", level=logging.ERROR, **facts, error=str(error))
            self._give_up(wish)
            return False
        self.journal.count("moves", wish.kind)
        if isinstance(wish.move, moves.Challenge):
            self.journal.count("disputed")
        self.journal.say("sent", **facts, value=made.value, nonce=sent.nonce, transaction=sent.hash)
        return True

    def _call(self, wish: Wish) -> calls.Call:
        """A move as a call; proofs of a wrong element take the model's graph."""
        ledger, graph = self.follower.ledger, None
        if isinstance(wish.move, moves.ProveStep | moves.ProveFraud) and wish.assertion is not None:
            graph = self.library.graph(ledger.state.assertions[wish.assertion].claim.model)
        return calls.call(ledger, wish.move, graph, self.me)

    def _give_up(self, wish: Wish) -> None:
        """Where a refutation in one move cannot be sent, a dispute takes its place."""
        if isinstance(wish.move, moves.ProveFraud | moves.ProveList):
            self._long.add(wish.move.assertion)

    def _is_hopeless(self, key: bytes, facts: dict[str, Any]) -> bool:
        """Whether a move failed so often that it is not sent again, which is said."""
        states = [sent.state for sent in self.store.sent(move=key)]
        if OUT in states or MINED in states:
            return False
        self.journal.count("failures", "hopeless")
        times = states.count(FAILED)
        self.journal.once(("hopeless", key), "failed too often, given up", level=logging.ERROR, **facts, times=times)
        return True

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
