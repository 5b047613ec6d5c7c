"""A player as a process of its own: ``python -m tests.dispute.dispute_process URL GAME DB SEED``.

Without a seed it holds the tall model and watches honestly. With one it defends a lie: the trace whose second operator
is wrong in the place that the seed names. It prints nothing and never ends by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.backends.optimistic.dispute_world import flipped, tall, with_false_output
from tests.dispute.dispute_chain import TERMS, TRUTH, Liars, Plain, signer
from vml.backends.optimistic.trace import Trace
from vml.chain.client import connect
from vml.dispute.follower import Follower
from vml.dispute.journal import Journal, to_stream
from vml.dispute.player import Habits, Player
from vml.dispute.sender import Budget, Sender
from vml.dispute.store import Store

POLL_S = 0.05


def lie(place: int) -> Trace:
    """What a liar says its trace is."""
    return with_false_output(TRUTH, tall()[1], {1: flipped(TRUTH.tensor(1), place)})


def player(url: str, game: str, db: Path, key: int, place: int | None) -> Player:
    """The player of an account on a node.

    Args:
        key: number of the account.
        place: of the wrong element; None is honest.
    """
    chain = connect(url, signer=signer(key))
    store = Store(db)
    store.bind(chain.chain_id, chain.genesis(), game, chain.sender)
    library = Liars({} if place is None else {own: lie(place) for own in store.own()})
    library.add(Plain(tall()[0]))
    sender = Sender(chain, game, store, Budget(), stuck_s=5.0)
    habits = Habits(watch=place is None, terms=frozenset({TERMS.digest()}))
    return Player(Follower(chain, game, store), sender, store, library, habits, Journal())


def main() -> None:
    url, game, db, key, *rest = sys.argv[1:]
    to_stream(False)
    player(url, game, Path(db), int(key), int(rest[0]) if rest else None).run(POLL_S)


if __name__ == "__main__":
    main()
