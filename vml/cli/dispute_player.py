"""How `vml dispute` puts a player together, and what it reads and shows."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vml.cli.output import Output, hexed
from vml.errors import ChainError

if TYPE_CHECKING:
    from vml.backends.optimistic.records import Terms
    from vml.claim import Claim
    from vml.dispute.player import Habits, Player
    from vml.model import Model
    from vml.proof import Proof

DEPTH = 3
"""Blocks to wait for, unless the chain is a test node's."""
TEST_CHAINS = (1337, 31337)
STAKE_WEI = 10 * 10**18
"""Most own bonds at stake, unless the user says otherwise: 10 ether."""
FEES_WEI = 10**18
"""Most that requests for inputs may cost in all, unless the user says otherwise: 1 ether."""


@dataclass(frozen=True)
class Place:
    """Which game, and how to play there."""

    rpc: str
    chain: int | None
    game: str
    keystore: Path | None
    db: Path | None
    from_block: int | None = None
    confirmations: int | None = None
    remembered: int = 256
    max_stake: int | None = STAKE_WEI
    max_fee: float = 500.0
    max_gas: int | None = None
    stuck: float = 90.0
    metrics: bool = False
    dry: bool = False


# ---- putting a player together ---------------------------------------------------------------------------------------


@contextmanager
def player_at(
    place: Place,
    habits: Habits,
    out: Output,
    models: list[Path] | None = None,
    *,
    logs: bool = False,
    keep: bool = True,
) -> Iterator[Player]:
    from vml.chain import keys
    from vml.chain.client import GWEI, connect
    from vml.dispute import journal
    from vml.dispute.follower import Follower, first_block
    from vml.dispute.library import Library
    from vml.dispute.player import Player
    from vml.dispute.sender import Budget, Sender
    from vml.dispute.store import Store

    library = Library(models or ())
    needed = keep and not (place.dry and place.keystore is None and not os.environ.get(keys.PRIVATE_KEY))
    signer = keys.find(place.keystore, os.environ, _prompt if sys.stdin.isatty() else None) if needed else None
    if needed and signer is None:
        raise ChainError(
            "nobody can sign: give --keystore FILE, or a key in VML_PRIVATE_KEY (never on the command line)"
        )
    chain = connect(place.rpc, signer=signer, chain_id=place.chain)
    game = _game(place.game)
    chain.require_code(game)
    handler = journal.to_stream(out.as_json, level=logging.ERROR if out.quiet else logging.INFO) if logs else None
    file = None
    if keep:
        file = place.db or _default_db(chain.chain_id, game, chain.sender)
        file.parent.mkdir(parents=True, exist_ok=True)
    store = Store(file)
    try:
        store.bind(chain.chain_id, chain.genesis(), game, chain.sender)
        blocks = place.confirmations or (1 if chain.chain_id in TEST_CHAINS else DEPTH)
        known = store.blocks()
        first = place.from_block if place.from_block is not None else 0 if known else first_block(chain, game)
        follower = Follower(
            chain, game, store, first=first, confirmations=blocks, remembered=max(place.remembered, blocks)
        )
        habits = replace(habits, profiles=habits.profiles or default_profiles(chain.chain_id))
        budget = Budget(place.max_stake, int(place.max_fee * GWEI), place.max_gas)
        sender = Sender(chain, game, store, budget, stuck_s=place.stuck)
        yield Player(follower, sender, store, library, habits, journal.Journal(metrics=place.metrics))
    finally:
        store.close()
        if handler is not None:
            logging.getLogger(journal.LOGGER).removeHandler(handler)


def default_profiles(chain_id: int) -> tuple[str, ...]:
    """The profiles of which terms have to satisfy one where the user names none."""
    from vml.dispute.decisions import SAFE_PROFILES

    return ("local",) if chain_id in TEST_CHAINS else SAFE_PROFILES


def habits_of(profiles: list[str] | None, terms: list[str] | None, max_fees: int, **others: Any) -> Habits:
    """Habits from options; without profiles the default is filled in where the chain is known.

    Raises:
        ValueError: no such profile, or a digest of another form.
    """
    from vml.claim import parse_bytes32
    from vml.dispute.caution import named
    from vml.dispute.player import Habits

    named(profiles or ())
    digests = frozenset(parse_bytes32(digest) for digest in terms or ())
    return Habits(profiles=tuple(profiles or ()), terms=digests, max_fees=max_fees, **others)


def _game(text: str) -> str:
    """The game's address: given, or that of a deployment file."""
    from vml.chain.client import address
    from vml.chain.deployment import load

    if text.startswith("0x"):
        return address(text, "--game")
    state = load(Path(text))
    if state is None:
        raise FileNotFoundError(2, "no deployment file", text)
    if "game" not in state.contracts:
        raise ValueError(f"{text} deploys no dispute game")
    return state.contracts["game"].address


def _default_db(chain_id: int, game: str, sender: str | None) -> Path:
    from platformdirs import user_data_path

    return Path(user_data_path("vml")) / "dispute" / f"{chain_id}-{game}-{sender or 'nobody'}.sqlite"


def _prompt() -> str:
    from getpass import getpass

    return getpass("password of the keystore: ")


# ---- asserting -------------------------------------------------------------------------------------------------------


def subject_of(
    subject: Path, input: Path | None, models: list[Path] | None
) -> tuple[Model, dict[str, Any], Claim | None, Any]:
    """The model, the input's codes, and what a proof says of both."""
    from vml.arrays import load_arrays
    from vml.model import Model
    from vml.proof import Proof

    if subject.is_dir():
        if input is None or models:
            raise ValueError("give MODEL and INPUT; --model goes with a PROOF")
        model = Model.load(subject)
        return model, model.quantize(load_arrays(input, model.inputs)), None, None
    if input is not None or not models:
        raise ValueError("give MODEL and INPUT, or PROOF with its model in --model DIR")
    return _from_proof(Proof.load(subject), models)


def _from_proof(proof: Proof, models: list[Path]) -> tuple[Model, dict[str, Any], Claim, Any]:
    import numpy as np

    from vml.backends.exact.statement import read_public
    from vml.backends.optimistic.payload import Bundle
    from vml.backends.optimistic.scheme import SCHEME
    from vml.dispute.library import compiled_in
    from vml.model import Model

    if proof.scheme != SCHEME or len(proof.claims) != 1:
        raise ValueError(
            f"the proof's scheme is {proof.scheme}; `vml prove --backend optimistic` makes what is asserted"
        )
    claim = proof.claims[0]
    places = [place for folder in models for place in compiled_in(folder)]
    found = [place for place in places if Model.read_commitment(place) == claim.model]
    if not found:
        raise ValueError(f"no folder in --model holds the proof's model {hexed(claim.model)}")
    model = Model.load(found[0])
    (row,) = read_public(proof.public, proof.claims, model.inputs, model.outputs)
    codes = {
        spec.name: np.array(flat, dtype=spec.header.dtype).reshape(spec.header.shape)
        for spec, flat in zip(model.inputs, row.inputs, strict=True)
    }
    return model, codes, claim, Bundle.decode(proof.payload)


def choices(
    profile: str | None, context: bytes, nonce: int, expected: Claim | None, bundle: Any
) -> tuple[str, bytes, int]:
    """Terms, context and nonce: a bundle that names a game has said them already."""
    if expected is not None:
        context = expected.context
    if bundle is not None and bundle.asserted:
        return hexed(bundle.terms), context, bundle.nonce
    if profile is None:
        raise ValueError("give --profile: local, fast-l2, l1-safe, or the digest of terms that are on offer")
    return profile, context, nonce


def require_bundle(player: Player, bundle: Any) -> None:
    if bundle is None or not bundle.asserted:
        return
    here = (player.sender.chain.chain_id, bytes.fromhex(player.sender.game[2:]), player.me)
    if (bundle.chain_id, bundle.game, bundle.asserter) != here:
        raise ValueError("the proof names another chain, game or asserter than --rpc, --game and the key")


def require_terms(player: Player, model: Model, terms: Terms, profile: str | None) -> None:
    """Check the terms that a bundle names, before its bond is at stake.

    Args:
        profile: as the user gave it: a name, the digest of these very terms, or None for the chain's default.

    Raises:
        ValueError: the terms do not satisfy the profile, or are others than those named.
    """
    from vml.claim import parse_bytes32
    from vml.dispute.caution import TO_ASSERT, named, objection

    digest = terms.digest()
    if profile is not None and profile.startswith("0x"):
        if parse_bytes32(profile) != digest:
            raise ValueError(f"the proof names the terms {hexed(digest)}, not --profile {profile}")
        return
    names = (profile,) if profile is not None else default_profiles(player.sender.chain.chain_id)
    player.library.add(model)
    against = objection(terms, named(names), player.caution.worst(model.commitment), TO_ASSERT)
    if against is not None:
        raise ValueError(
            f"the terms that the proof names are not acceptable: {against}; give another --profile, or --profile "
            f"{hexed(digest)} to take them as they are"
        )


def wait_for(player: Player, done: Any, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s

    def ready(one: Player) -> bool:
        if done(one):
            return True
        if time.monotonic() > deadline:
            raise ChainError(
                f"not on the chain after {timeout_s:.0f} s; it is in the player's file, `vml dispute watch` goes on"
            )
        return False

    player.run(0.5, ready)


# ---- looking ---------------------------------------------------------------------------------------------------------


def challenged(player: Player, key: bytes) -> bool:
    """Whether nothing is left to do about an assertion."""
    from vml.backends.optimistic.records import Result, Status

    state = player.follower.ledger.state
    found = state.assertions.get(key)
    if found is None:
        raise ChainError(f"the game has no assertion {hexed(key)}")
    if found.claim.model not in player.library:
        raise ValueError(f"no folder in --model holds the assertion's model {hexed(found.claim.model)}")
    mine = [d for d in state.disputes.values() if is_mine(player, d, key)]
    if player.store.verdicts().get(key) == "right" and not mine:
        raise ValueError("the model gives what is claimed: a dispute would lose its bond")
    if found.status is not Status.OPEN and not mine:
        return True
    objection = None if mine else player.caution.against(found)
    if objection is not None:
        raise ValueError(
            f"its terms {hexed(found.terms.digest())} are not acceptable: {objection}; give another --profile, or "
            "--terms with their name to take them as they are"
        )
    if found.status is Status.OPEN and not mine:
        assert player.head is not None
        if player.head.at > found.closes_at:
            raise ChainError(f"its window closed at {found.closes_at}, nothing can be disputed any more")
    return bool(mine) and all(d.result is not Result.OPEN for d in mine)


def is_mine(player: Player, dispute: Any, key: bytes) -> bool:
    return bool(dispute.assertion == key and dispute.challenger == player.me)


def table_of(player: Player, key: bytes | None) -> dict[str, Any]:
    """What `status` prints."""
    from vml.backends.optimistic.board import turn
    from vml.backends.optimistic.records import Result
    from vml.claim import checksum_address

    state, head = player.follower.ledger.state, player.head
    assert head is not None
    if key is not None and key not in state.assertions:
        raise ChainError(f"the game has no assertion {hexed(key)}")
    rows = []
    for a in state.assertions.values():
        if key not in (None, a.id):
            continue
        disputes = []
        for d in state.disputes.values():
            if d.assertion != a.id:
                continue
            whose = turn(a, d, head.at)
            playing = d.result is Result.OPEN
            disputes.append(
                {
                    "dispute": hexed(d.id),
                    "challenger": checksum_address(d.challenger),
                    "result": d.result.value,
                    "turn": whose.side.value if playing else None,
                    "until": whose.until if playing else None,
                    "out_of_time": playing and whose.expired,
                    "asked": None if d.position is None else vars(d.position),
                }
            )
        rows.append(
            {
                "assertion": hexed(a.id),
                "claim": a.claim.to_json(),
                "asserter": checksum_address(a.asserter),
                "status": a.status.value,
                "opened_at": a.opened_at,
                "closes_at": a.closes_at,
                "bond": str(a.bond),
                "terms": hexed(a.terms.digest()),
                "input_public": a.input is not None,
                "input_owed_until": None if a.request is None else a.request.at + a.terms.asserter_clock_s,
                "disputes": disputes,
            }
        )
    return {
        "chain_id": player.sender.chain.chain_id,
        "game": player.sender.game,
        "block": head.read,
        "time": head.at,
        "assertions": rows,
    }
