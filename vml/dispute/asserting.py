"""Making an assertion: the graph registered, the terms offered, the input kept, and only then the bond at stake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vml.backends.optimistic import moves
from vml.backends.optimistic.profiles import LIST_GAS, PROFILES, ROOT_GAS, terms_for, worst_case
from vml.backends.optimistic.records import Terms
from vml.backends.optimistic.trace import Trace
from vml.chain import artifacts
from vml.chain.client import Chain
from vml.chain.graphs import REGISTRY, Progress, register_graph
from vml.chain.steps import abi_address
from vml.chain.transactions import TRANSACTION_BYTES, TRANSACTION_GAS
from vml.claim import Claim, parse_address, parse_bytes32
from vml.dispute import calls, published
from vml.dispute.ledger import read_terms
from vml.dispute.player import Player
from vml.dispute.store import Own
from vml.errors import ChainError
from vml.model import Model

Array = np.ndarray[Any, np.dtype[Any]]
ROOM = 4096
"""Bytes of a transaction that are not the data it carries, at most."""


@dataclass(frozen=True)
class Asserted:
    """What was asserted.

    Args:
        id: the assertion's name.
        claim: its claim.
        terms: its terms, with `bond` as the asserter's.
        transaction: 0x hex; None where it had been made before.
    """

    id: bytes
    claim: Claim
    terms: Terms
    transaction: str | None


def require_answerable(model: Model) -> None:
    """Refuse a model whose asserter could not answer: what no transaction carries, nobody can reveal.

    The list has 3,968 operators at most by its bytes, and 6,948 by its gas, however the model was cut when somebody
    registered it: `LIST_GAS` + `ROOT_GAS` for each of them, of the 2^24 of a transaction.

    Raises:
        ChainError: its input, or the list of its operators, is too large for a transaction.
    """
    sizes = {
        "the input": sum(spec.header.size * np.dtype(spec.header.dtype).itemsize for spec in model.inputs),
        "the list of operators": 32 * len(model.graph.nodes),
    }
    for what, size in sizes.items():
        if size + ROOM > TRANSACTION_BYTES:
            raise ChainError(
                f"{what} has {size} bytes, a transaction at most {TRANSACTION_BYTES}: nobody could answer who asks "
                "for it, and the bond would be lost"
            )
    gas = LIST_GAS + ROOT_GAS * len(model.graph.nodes)
    if gas > TRANSACTION_GAS:
        raise ChainError(f"revealing the list of operators may take {gas} gas, a transaction has {TRANSACTION_GAS}")


def settle_terms(
    chain: Chain, game: str, model: Model, choice: str, progress: Progress | None = None
) -> tuple[Terms, bytes]:
    """Register the model where that is not done, and see that the terms are on offer.

    Args:
        chain: with an account that sends.
        game: address of the contract.
        choice: name of a profile, or 0x digest of terms that are on offer.
        progress: as `register_graph`.

    Returns:
        The terms and their digest.

    Raises:
        ChainError: the registry refuses the model, or nobody offers these terms.
        ValueError: no such profile, or it has no terms for this model.
    """
    contract = calls.contract_abi()
    if not choice.startswith("0x") and choice not in PROFILES:
        raise ValueError(f"a profile is one of {', '.join(PROFILES)}, or the 0x digest of terms; got {choice!r}")
    registry = abi_address(chain.call(game, contract, "graphs"))
    register_graph(chain, registry, model.graph, progress=progress)
    if choice.startswith("0x"):
        digest = parse_bytes32(choice)
        return read_terms(chain.call(game, contract, "termsOf", digest)), digest
    _, _, step_gas = chain.call(registry, artifacts.load(REGISTRY).abi, "graphOf", model.commitment)
    terms = terms_for(PROFILES[choice], worst_case(model.graph, step_gas))
    digest = terms.digest()
    try:
        chain.call(game, contract, "termsOf", digest)
    except ChainError as error:
        if error.error != "TermsUnknown":
            raise
        chain.transact(game, contract, "offerTerms", astuple(terms))
    return terms, digest


def make(
    player: Player,
    model: Model,
    codes: Mapping[str, Array],
    terms: Terms,
    *,
    context: bytes,
    nonce: int = 0,
    publish: Path | None = None,
    commit: bool = False,
    give_input: bool = True,
    expected: Claim | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Asserted:
    """Assert what a model gives for an input, and remember everything that defending it takes.

    Args:
        player: with an account that sends; it need not watch.
        codes: the input, integer codes by name.
        publish: commit to the trace, and write it to this folder: the roots, and every computed tensor.
        commit: commit to the trace in any case.
        give_input: publish the input with the assertion; else it is published when somebody asks.
        expected: what the claim must be.

    Raises:
        ChainError: it would fail, costs too much, or the node does not answer. If it was signed, it is in the player's
            file, and watching sends it.
        ValueError: the run gives another claim than the expected one.
        OSError: the trace cannot be written.
    """
    require_answerable(model)
    trace = Trace(model.executor, codes)
    claim = trace.claim(context)
    if expected is not None and claim != expected:
        raise ValueError("the model gives another output than the claim's: asserting it would lose the bond")
    committed = trace.commitment() if commit or publish is not None else None
    if publish is not None:
        published.write(trace, publish)
    data = trace.input_bytes()
    move = moves.Assert(claim, terms.digest(), nonce, committed, data if give_input else None)
    key = move.id(player.sender.chain.chain_id, parse_address(player.sender.game), player.me)
    # What defending takes is on disk before the bond is at stake.
    folder = None if model.folder is None else str(model.folder.resolve())
    player.store.add_own(Own(key, model.commitment, folder, data))
    player.library.add(model)
    with player.store.held():
        head = player.follower.sync()
        ledger = player.follower.ledger
        made = calls.call(replace(ledger, terms={**ledger.terms, move.terms: terms}), move, sender=player.me)
        if key in ledger.state.assertions or player.sender.under_way(calls.move_id(made)):
            say("this assertion was made before; another --nonce makes another")
            return Asserted(key, claim, terms, None)
        stake = player.stake() + player.sender.stake_under_way(head.read)
        sent = player.sender.send(made, "Assert", key.hex(), stake=stake)
    return Asserted(key, claim, terms, sent.hash)
