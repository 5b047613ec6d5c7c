"""The bytes of assertions' inputs, wherever they were shown: in the game's events, or in the player's own file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from vml.backends.optimistic.records import Assertion, State
from vml.chain.client import Chain
from vml.chain.rpc import Unanswered
from vml.dispute.calls import contract_abi
from vml.dispute.follower import Follower
from vml.dispute.journal import Journal
from vml.dispute.library import Library, input_commitment
from vml.dispute.recall import Pauses, Recent
from vml.dispute.store import Own
from vml.errors import ChainError, UnsupportedModel

KEPT_INPUTS = 64
"""Inputs from before the first block that was read, which are kept; others are looked for again."""
Key = tuple[bytes, bytes]


class Inputs:
    """Finds inputs.

    Args:
        chain, follower: with the game.
        library: the models; an input that was looked for is believed only if it hashes to its commitment.
        journal: told what is missing.
        clock: seconds, for the pauses between searches in vain.
    """

    def __init__(
        self,
        chain: Chain,
        follower: Follower,
        library: Library,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain, self._follower, self._library, self._journal = chain, follower, library, journal
        self._own: dict[Key, tuple[bytes, ...]] = {}
        self._found: Recent[Key, tuple[bytes, ...]] = Recent(KEPT_INPUTS)
        self._public: Recent[Key, bool] = Recent()
        self._pauses: Pauses[Key] = Pauses(clock)

    def note(self, own: Mapping[bytes, Own], state: State) -> None:
        """Know the inputs of own assertions, which answer for others' assertions too."""
        known = ((state.assertions[key].claim, mine) for key, mine in own.items() if key in state.assertions)
        self._own = {(claim.model, claim.input): mine.input for claim, mine in known}

    def of(self, assertion: Assertion) -> tuple[bytes, ...] | None:
        """An assertion's input; None where nobody showed it.

        Raises:
            ChainError: the node does not answer.
        """
        key = assertion.claim.model, assertion.claim.input
        for known in (assertion.input, self._follower.ledger.contents.get(key), self._own.get(key)):
            if known is not None:
                return known
        if key in self._found:
            return self._found[key]
        if key not in self._public:
            # Whatever is stored from now on is in an event that will be read.
            self._public[key] = self._is_public(key)
        if not self._public[key] or self._pauses.resting(key):
            return None
        return self._look(key)

    def missed(self, assertion: Assertion) -> None:
        """The contract says that an input is public whose bytes are not known here."""
        self._public[assertion.claim.model, assertion.claim.input] = True

    def _is_public(self, key: Key) -> bool:
        try:
            return bool(self._chain.call(self._follower.game, contract_abi(), "isPublished", *key))
        except Unanswered:
            raise
        except ChainError:
            return False

    def _look(self, key: Key) -> tuple[bytes, ...] | None:
        model, commitment = key
        try:
            data = self._follower.stored_input(model, commitment)
            if data is not None and input_commitment(self._library.graph(model), data) == commitment:
                self._pauses.over(key)
                self._found[key] = data
                return data
            error = "no event has its bytes" if data is None else "the node's bytes are not its"
        except Unanswered:
            raise
        except (ChainError, ValueError, KeyError, OSError, UnsupportedModel) as problem:
            error = str(problem)
        wait = self._pauses.failed(key)
        self._journal.count("failures", "input")
        self._journal.say(
            "an input is public and cannot be read here: begin at an earlier block (--from-block), or ask another node",
            level=logging.ERROR, model=model, input=commitment, error=error, wait_s=wait,
        )  # fmt: skip
        return None
