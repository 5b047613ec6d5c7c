"""The demo's act with bonds: a true claim becomes final, a false one is taken apart by whoever watches.

Everything runs on the EVM in this process, with the players' own software on both sides.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.optimistic import moves
from vml.backends.optimistic.profiles import PROFILES
from vml.backends.optimistic.records import Status
from vml.backends.optimistic.trace import Trace
from vml.chain import abi, artifacts
from vml.chain.client import Chain
from vml.chain.deploy_optimistic import SCHEME, OptimisticDeployer
from vml.chain.embedded import ACCOUNT, RULES, EmbeddedChain
from vml.chain.keys import from_private_key
from vml.chain.rpc import Rpc
from vml.claim import ZERO_CONTEXT, Claim, checksum_address, parse_address
from vml.dispute import asserting, calls
from vml.dispute.follower import Follower
from vml.dispute.journal import Journal
from vml.dispute.library import Library
from vml.dispute.player import Habits, Player
from vml.dispute.sender import Budget, Sender
from vml.dispute.store import MINED, Own, Store
from vml.errors import ChainError, VerificationError
from vml.keccak import keccak256
from vml.merkle import tensor_root, tensors_root

if TYPE_CHECKING:
    from vml.model import Model

ROUNDS = 60
PROFILE = PROFILES["fast-l2"]


class Lie(Trace):
    """A trace whose last tensor, the scores, is turned round: another answer."""

    def tensor(self, node: int) -> Any:
        values = super().tensor(node)
        return np.ascontiguousarray(values[..., ::-1]) if node == self.graph.outputs[0].node else values

    @cached_property
    def roots(self) -> tuple[bytes, ...]:
        last, honest = self.graph.outputs[0].node, self.publish(lambda node, data: None, data=False)
        return tuple(tensor_root(self.tensor(last)) if node == last else root for node, root in enumerate(honest))

    def claim(self, context: bytes = ZERO_CONTEXT) -> Claim:
        inputs, outputs = ([self.roots[spec.node] for spec in side] for side in (self.graph.inputs, self.graph.outputs))
        return Claim(self.graph.commitment, tensors_root(inputs), tensors_root(outputs), context)


class Liars(Library):
    """A library that stands by a lie."""

    def __init__(self, lie: Lie) -> None:
        super().__init__()
        self._lie = lie

    def trace(self, key: bytes, commitment: bytes, data: Sequence[bytes]) -> Trace:
        return self._lie


class Arena:
    """A dispute game on an embedded chain, the model registered in it, and players."""

    def __init__(self, model: Model) -> None:
        self.model, self._node = model, EmbeddedChain()
        self._deployed = OptimisticDeployer(self._chain()).run(model.graph, PROFILE)
        self.game = self._deployed.contracts["game"].address
        terms, _ = asserting.settle_terms(self._chain(), self.game, model, str(self._deployed.model["terms"]))
        self.terms = terms

    def settles(self, codes: Mapping[str, Any]) -> dict[str, Any]:
        """A true claim: asserted, watched by somebody else, final, and then a proof for the router."""
        owner, watcher = self._player(Library()), self._player(Library())
        made = asserting.make(owner, self.model, codes, self.terms, context=ZERO_CONTEXT)
        self._rounds(owner, watcher)
        early = self._refusal(made.claim, owner)
        self._wait(self.terms.window_s + 1)
        self._rounds(owner, watcher)
        late = self._refusal(made.claim, owner)
        if self._status(owner, made.id) is not Status.FINAL or early is None or late is not None:
            raise VerificationError(f"a true assertion did not become a proof when its window closed ({early}, {late})")
        return {"status": "final", "before": early, "gas": owner.store.gas_used(), "sent": self._sent(owner)}

    def slashes(self, codes: Mapping[str, Any]) -> dict[str, Any]:
        """A false claim with a bond, defended as well as can be, and one honest watcher."""
        lie = Lie(self.model.executor, codes)
        liar, watcher = self._player(Liars(lie)), self._player(Library())
        move = moves.Assert(lie.claim(), self.terms.digest(), input=lie.input_bytes())
        key = move.id(liar.sender.chain.chain_id, parse_address(self.game), liar.me)
        liar.store.add_own(Own(key, self.model.commitment, None, lie.input_bytes()))
        liar.library.add(self.model)
        liar.follower.sync()
        call = calls.call(liar.follower.ledger, move, sender=liar.me)
        liar.sender.send(call, "Assert", key.hex(), stake=0)
        self._rounds(liar, watcher)
        if self._status(watcher, key) is not Status.SLASHED:
            raise VerificationError("a false assertion was not slashed")
        state = watcher.follower.ledger.state
        return {
            "status": "slashed",
            "bond": self.terms.asserter_bond,
            "reward": state.credits[watcher.me] - self.terms.challenger_bond,
            "gas": {"asserter": liar.store.gas_used(), "challenger": watcher.store.gas_used()},
            "sent": {"asserter": self._sent(liar), "challenger": self._sent(watcher)},
        }

    # ---- within ----------------------------------------------------------------------------------------------------

    def _chain(self, key: str | None = None) -> Chain:
        rpc = Rpc(self._node, "the embedded EVM")
        return Chain(rpc, RULES, account=ACCOUNT) if key is None else Chain(rpc, RULES, signer=from_private_key(key))

    def _player(self, library: Library) -> Player:
        chain, store = self._chain(secrets.token_hex(32)), Store(None)
        store.bind(chain.chain_id, chain.genesis(), self.game, chain.sender)
        library.add(self.model)
        follower = Follower(chain, self.game, store, confirmations=1, remembered=64)
        return Player(follower, Sender(chain, self.game, store, Budget()), store, library, Habits(), Journal())

    def _rounds(self, *players: Player) -> None:
        """Everybody moves in turn until nobody has anything to do."""
        for _ in range(ROUNDS):
            moved = [player.round() for player in players]
            if not any(moved):
                return
        raise VerificationError("the dispute does not end")

    def _wait(self, seconds: int) -> None:
        for method, parameters in (("evm_increaseTime", [hex(seconds)]), ("evm_mine", [])):
            self._node.make_request(method, parameters)

    def _refusal(self, claim: Claim, owner: Player) -> str | None:
        """Why the router does not take the assertion for a proof; None if it does."""
        words = (checksum_address(owner.me), self.terms.digest(), bytes(32), 0)
        proof = keccak256(SCHEME.encode())[:4] + abi.encode(["address", "bytes32", "bytes32", "uint256"], words)
        said = (claim.model, claim.input, claim.output, claim.context)
        key, router = bytes.fromhex(self._deployed.model["key"][2:]), self._deployed.contracts["router"].address
        try:
            self._chain().call(router, artifacts.load("VmlRouter").abi, "verifyEntry", key, said, proof)
        except ChainError as error:
            return error.error or str(error)
        return None

    @staticmethod
    def _status(player: Player, key: bytes) -> Status:
        player.follower.sync()
        return player.follower.ledger.state.assertions[key].status

    @staticmethod
    def _sent(player: Player) -> list[str]:
        """The kinds of moves that were mined, in order."""
        return [sent.kind for sent in player.store.sent(state=MINED)]
