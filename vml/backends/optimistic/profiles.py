"""Policy profiles: windows, clocks and bonds, from what a chain costs and how long it can keep somebody out.

Timing. A side that always moves `move_s` after it can see that it has to, and that is kept out for at most
`censorship_s` in one dispute, loses no time-out if

    asserter clock    >=  censorship_s + asserter moves   * move_s
    challenger clock  >=  censorship_s + challenger moves * move_s
    extension         >=  move_s
    window            >=  censorship_s + reexecution_s + move_s        (whoever watches needs that to open a dispute)
    escalated window  >=  reexecution_s + move_s                       (where a stronger proof shortens the window)

Whoever can be kept out for longer than an escalated window trusts the stronger proof in its place.

Money. What a side earns by winning is at least what its moves cost, at the highest gas price the profile foresees:

    defence_reward  >=  gas of the asserter's moves * price,        challenger bond  >=  2 * defence_reward
    request_fee     >=  gas of publishing the input * price,      challenger bond  >=  request_fee
    slash_reward    >=  gas of the challenger's moves * price + request_fee + bounty,  asserter bond >= 2 * slash_reward
"""

from __future__ import annotations

from dataclasses import dataclass

from vml.backends.optimistic import shapes
from vml.backends.optimistic.records import Terms
from vml.merkle import ITEM_BYTES
from vml.model.graph import Graph

MINUTE, HOUR, DAY = 60, 3600, 86_400
GWEI = 10**9

# Gas of whole transactions, by ``python -m benchmarks.dispute_gas --every``: the dearest move of each kind over all
# shipped models, rounded up. A test holds the recorded result against them.
MOVE_GAS = 120_000
"""Opening a dispute, picking an operator or a child; publishing the input without its bytes."""

LIST_GAS = 100_000
"""Revealing the list, without its roots."""

ROOT_GAS = 2_400
"""One root of the list: 32 bytes of calldata and of an event, hashed and compared; with its share of reading a chunk of
the registry, which may hold as few as 16 operators. On a node that charges for what is cold it takes 2,060 where every
second operator is a constant."""

REVEAL_GAS = 190_000
"""Revealing a node or a leaf: 32 children or 1 KiB."""

PROOF_GAS = 130_000
"""More of a step's proof in the game than of the step alone: the leaf, the operands' roots, the slash."""

DATA_BYTE_GAS = 45
"""A byte of input as calldata at its floor price, hashed."""


@dataclass(frozen=True)
class Profile:
    """What is assumed of a chain and of the players.

    Args:
        name: of the profile.
        censorship_s: how long an adversary keeps one side's transactions out, in one dispute, in all.
        move_s: from seeing a move to the answer's inclusion beyond the reorganisations one reckons with.
        reexecution_s: to run the model again and compute the trace.
        gas_price: wei, the highest that is foreseen while a dispute goes on.
        bounty: wei, what a won dispute brings besides its gas.
        retention_s: how long the chain keeps blobs; None where the input travels as calldata.
    """

    name: str
    censorship_s: int
    move_s: int
    reexecution_s: int
    gas_price: int
    bounty: int
    retention_s: int | None = None


PROFILES = {
    profile.name: profile
    for profile in (
        # A rollup: a day until a transaction is forced in through the chain below; its fees are small.
        Profile("fast-l2", DAY, 10 * MINUTE, HOUR, GWEI // 2, 5 * 10**15),
        # Ethereum itself: the censorship budget others reckon with there, about a week.
        Profile("l1-safe", 7 * DAY, HOUR, 6 * HOUR, 100 * GWEI, 5 * 10**16),
        # A development node: nobody is kept out.
        Profile("local", 0, 5, 20, GWEI, 10**12),
    )
}


@dataclass(frozen=True)
class Worst:
    """The longest and dearest dispute about a model.

    Args:
        asserter_moves, challenger_moves: of one dispute, with its opening.
        asserter_gas, challenger_gas: of those moves.
        input_gas: of publishing the input.
    """

    asserter_moves: int
    challenger_moves: int
    asserter_gas: int
    challenger_gas: int
    input_gas: int


def worst_case(model: Graph, step_gas: int) -> Worst:
    """Moves and gas of the worst dispute.

    Args:
        model: the graph.
        step_gas: of the dearest one-step proof of any of its operators, the whole transaction.
    """
    reveals = max(shapes.reveals(node.header) for node in model.nodes if node.primitive != "constant")
    data = sum(spec.header.size * ITEM_BYTES[spec.header.dtype] for spec in model.inputs)
    return Worst(
        asserter_moves=1 + reveals,
        challenger_moves=2 + reveals,  # open, pick the operator, pick children, prove the step
        asserter_gas=LIST_GAS + ROOT_GAS * len(model.nodes) + reveals * REVEAL_GAS,
        challenger_gas=(1 + reveals) * MOVE_GAS + step_gas + PROOF_GAS,
        input_gas=MOVE_GAS + DATA_BYTE_GAS * data,
    )


def terms_for(profile: Profile, worst: Worst, escalation: bytes = bytes(32)) -> Terms:
    """The terms that a profile gives a model.

    Args:
        profile: what is assumed of the chain.
        worst: the longest and dearest dispute about the model.
        escalation: the router's policy for stronger proofs, 32 bytes; zero for none.

    Raises:
        ValueError: a number is too large for the contract's types, or the input's blobs would be gone before the end.
    """
    defence, fee = worst.asserter_gas * profile.gas_price, worst.input_gas * profile.gas_price
    slash = worst.challenger_gas * profile.gas_price + fee + profile.bounty
    terms = Terms(
        window_s=profile.censorship_s + profile.reexecution_s + profile.move_s,
        asserter_clock_s=profile.censorship_s + worst.asserter_moves * profile.move_s,
        challenger_clock_s=profile.censorship_s + worst.challenger_moves * profile.move_s,
        extension_s=profile.move_s,
        asserter_bond=2 * slash,
        challenger_bond=max(2 * defence, fee),
        slash_reward=slash,
        defence_reward=defence,
        request_fee=fee,
        escalated_window_s=profile.reexecution_s + profile.move_s if any(escalation) else 0,
        escalation=escalation,
    )
    check_terms(terms, profile, worst)
    return terms


def resolution_bound_s(terms: Terms, worst: Worst) -> int:
    """After this many seconds from its assertion nothing of it is open: anyone can settle it or have it slashed."""
    clocks = terms.asserter_clock_s + terms.challenger_clock_s
    extensions = (worst.asserter_moves + worst.challenger_moves) * terms.extension_s
    return terms.window_s + terms.asserter_clock_s + terms.window_s + clocks + extensions


def check_terms(terms: Terms, profile: Profile, worst: Worst) -> None:
    """Check the inequalities above.

    Raises:
        ValueError: naming the first that does not hold.
    """
    price = profile.gas_price
    needed = [
        ("asserter clock", terms.asserter_clock_s, profile.censorship_s + worst.asserter_moves * profile.move_s),
        ("challenger clock", terms.challenger_clock_s, profile.censorship_s + worst.challenger_moves * profile.move_s),
        ("extension", terms.extension_s, profile.move_s),
        ("window", terms.window_s, profile.censorship_s + profile.reexecution_s + profile.move_s),
        ("reward of a defence", terms.defence_reward, worst.asserter_gas * price),
        ("reward of a slash", terms.slash_reward, (worst.challenger_gas + worst.input_gas) * price + profile.bounty),
        ("fee of a request", terms.request_fee, worst.input_gas * price),
    ]
    if any(terms.escalation):
        needed.append(("escalated window", terms.escalated_window_s, profile.reexecution_s + profile.move_s))
    for name, has, needs in needed:
        if has < needs:
            raise ValueError(f"{profile.name}: {name} is {has}, below the {needs} it needs")
    bound = resolution_bound_s(terms, worst)
    if profile.retention_s is not None and bound >= profile.retention_s:
        raise ValueError(f"{profile.name}: blobs are gone after {profile.retention_s} s, disputes may take {bound} s")
