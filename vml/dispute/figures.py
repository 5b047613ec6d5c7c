"""What a player's account stands at, and what its journal is told in every round."""

from __future__ import annotations

import logging

from vml.backends.optimistic.records import Address, Result, State, Status
from vml.dispute.follower import Head
from vml.dispute.journal import Journal


def stake(state: State, who: Address) -> int:
    """An account's bonds in what is open, in wei."""
    total = 0
    for a in state.assertions.values():
        if a.status is Status.OPEN:
            total += a.bond if a.asserter == who else 0
            total += a.request.bond if a.request is not None and a.request.requester == who else 0
    return total + sum(d.bond for d in state.disputes.values() if d.challenger == who and d.result is Result.OPEN)


def score(state: State, who: Address) -> tuple[int, int]:
    """Disputes that ended well for an account, on either side; disputes lost and own assertions slashed."""
    won = lost = 0
    for d in state.disputes.values():
        if d.challenger == who:
            won += d.result is Result.WON
            lost += d.result is Result.LOST
        elif state.assertions[d.assertion].asserter == who:
            won += d.result is Result.LOST
    fallen = (a for a in state.assertions.values() if a.asserter == who and a.status is Status.SLASHED)
    return won, lost + sum(1 for _ in fallen)


def report(journal: Journal, head: Head) -> None:
    """Say what is new on the chain."""
    if head.dropped:
        journal.count("reorganisations")
        journal.say("the chain was reorganised", level=logging.WARNING, block=head.read, dropped=head.dropped)
    for event in head.fresh:
        facts = {name: event.values[name] for name in ("id", "dispute", "model", "asserter", "challenger")
                 if name in event.values}  # fmt: skip
        journal.say(f"event {event.name}", block=event.block, **facts)


def measure(journal: Journal, state: State, who: Address, head: Head, *, lag_s: float, gas: int) -> None:
    """Set the gauges.

    Args:
        lag_s: age of the chain's last block.
        gas: of all transactions.
    """
    for status in Status:
        journal.gauge("assertions", sum(a.status is status for a in state.assertions.values()), status.value)
    won, lost = score(state, who)
    figures = {
        "block": head.read,
        "lag": max(0.0, lag_s),
        "stake": stake(state, who),
        "credit": state.credits.get(who, 0),
        "gas": gas,
        "won": won,
        "lost": lost,
    }
    for name, value in figures.items():
        journal.gauge(name, value)
