"""Deploying the registry of attested keys with all that stands around it, and a model whose receipts count.

==========  =====================================================  ==========================================
step        does                                                   done when
==========  =====================================================  ==========================================
registry    creates ModelRegistry                                  its code is at its address
router      creates VmlRouter over it                              likewise
adapter     creates TeeVerifier, the registry of keys              likewise
ledger      creates ReceiptLedger over the router                  likewise
route       VmlRouter.addRoute(adapter)                            the route is active and the adapter's
model       ModelRegistry.registerModel                            the entry exists
backend     ModelRegistry.setBackend: rules, modes, lowest epoch   the entry has this metadata, enabled
==========  =====================================================  ==========================================

Run again with other modes or a higher epoch, the last step is taken again: the entry then has that metadata. Other
rules let in other keys, so they have a deployment file of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vml.chain import abi, artifacts
from vml.chain.client import Chain
from vml.chain.deployment import Deployment
from vml.chain.steps import Steps, Wishes
from vml.chain.tee_rules import VERIFIER, Mode, Rules
from vml.claim import parse_address
from vml.errors import ChainError
from vml.keccak import keccak256

SCHEME = "tee/1"
LEDGER = "ReceiptLedger"
METADATA_TYPES = ("address", "bytes32", "uint256", "uint64")
MAX_CHAIN_ID = (1 << 64) - 1

P256 = "0x" + "00" * 18 + "0100"
"""Where chains have ECDSA over P-256 (RIP-7212, EIP-7951)."""
P256_QUESTION = bytes.fromhex(
    "bb5a52f42f9c9261ed4361f59422a1e30036e7c32b270c8807a419feca605023"
    "0000000000000000000000000000000000000000000000000000000000000005"
    "0000000000000000000000000000000000000000000000000000000000000001"
    "a71af64de5126a4a4e02b7922d66ce9415ce88a4c9d25514d91082c8725ac957"
    "5d47723c8fbe580bb369fec9c2665d8e30a435b9932645482e7c9f11e872296b"
)
"""What Signatures.hasPrecompile asks: hash, r, s, x, y; the answer is one word, 1."""
P256_STAND_IN = bytes.fromhex("5f357f" + P256_QUESTION[:32].hex() + "14602857005b60015f5260205ff3")
"""Code that answers 1 to that hash and nothing to any other: all that the constructor asks."""


@dataclass(frozen=True)
class Acceptance:
    """What a model's owner accepts: the metadata of the entry.

    Args:
        owner: whose admissions count, 20 bytes.
        rules: 32-byte id.
        modes: how keys may have come in.
        minimum_epoch: lowest epoch of a key.

    Raises:
        ValueError: no mode, or an epoch out of range.
    """

    owner: bytes
    rules: bytes
    modes: tuple[Mode, ...]
    minimum_epoch: int = 0

    def __post_init__(self) -> None:
        if not self.modes or not 0 <= self.minimum_epoch < 1 << 64:
            raise ValueError("accept at least one mode, and epochs from 0 to 2^64 - 1")

    def to_bytes(self) -> bytes:
        """As TeeVerifier reads it."""
        mask = sum(1 << mode for mode in self.modes)
        return abi.encode(METADATA_TYPES, ["0x" + self.owner.hex(), self.rules, mask, self.minimum_epoch])

    @classmethod
    def from_bytes(cls, data: bytes) -> Acceptance:
        """Read an entry's metadata.

        Raises:
            ValueError: it is none.
        """
        owner, rules, mask, epoch = abi.decode(METADATA_TYPES, data)
        found = cls(parse_address(owner), rules, tuple(mode for mode in Mode if mask >> mode & 1), epoch)
        if found.to_bytes() != data:
            raise ValueError("the metadata is not of TeeVerifier")
        return found


class TeeDeployer(Steps):
    """Deploys the registry of attested keys, and registers a model whose receipts count under some rules."""

    def run(
        self,
        model: bytes,
        rules: Rules,
        modes: tuple[Mode, ...],
        minimum_epoch: int = 0,
        wishes: Wishes | None = None,
    ) -> Deployment:
        """Take every step that is not taken yet.

        Args:
            model: 32-byte commitment.
            rules: under which keys come in; whoever deploys is the owner whose admissions count.
            modes: that are accepted.
            minimum_epoch: lowest epoch of a key.
            wishes: what is not the default.

        Returns:
            What is deployed now; ``model["rules"]`` is the id of the rules.

        Raises:
            ChainError: a step failed; everything before it is kept, running again goes on from there.
            ValueError: a mode in which these rules let nobody in.
        """
        wishes = wishes or Wishes()
        if wishes.verifier:
            raise ValueError("attested keys have no generated verifier")
        for mode in modes:
            if mode not in rules.modes:
                raise ValueError(f"under these rules no key comes in by {mode.word}")
        if self.chain.chain_id > MAX_CHAIN_ID:
            raise ChainError(f"chain id {self.chain.chain_id} is over 2^64 - 1: not supported")
        acceptance = Acceptance(parse_address(self.sender), rules.id, modes, minimum_epoch)
        selector = self._begin(model, SCHEME)
        self._require_model({"rules": "0x" + rules.id.hex()})
        registry, router = self._router(wishes)
        adapter, known = self._route_of(router, selector)
        if known:
            self._adopt("adapter", adapter, self._verifier_hash(adapter))
        else:
            shipped = artifacts.load(VERIFIER)
            adapter = self._create_code("adapter", shipped.bytecode, self._verifier_hash, shipped.abi)
        self._create("ledger", artifacts.load(LEDGER), [router], {})
        metadata = acceptance.to_bytes()
        return self._admit((registry, router, adapter), model, selector, metadata, keccak256(metadata), wishes.uri)

    def _verifier_hash(self, at: str) -> bytes:
        """The digest of our code at an address: as of a chain with P-256, or as of before it had that."""
        plain, native = (
            keccak256(self._code(artifacts.load(VERIFIER), [], places, at)) for places in ({}, self._builtin())
        )
        return plain if keccak256(self.chain.code(at)) == plain else native

    def _builtin(self) -> dict[str, bytes]:
        return {P256: P256_STAND_IN} if has_p256(self.chain) else {}


def has_p256(chain: Chain) -> bool:
    """Whether a chain has P-256 at `P256`: it accepts a signature, and refuses it for another hash.

    Raises:
        ChainError: the node does not answer.
    """
    other = bytes(byte ^ 0xFF for byte in P256_QUESTION[:32]) + P256_QUESTION[32:]
    said = [
        chain.rpc.data("eth_call", {"to": P256, "data": "0x" + question.hex()}, "latest")
        for question in (P256_QUESTION, other)
    ]
    yes = (1).to_bytes(32, "big")
    return said[0] == yes != said[1]


def require_tee(state: Deployment, what: str) -> Mapping[str, str]:
    """The model part of a finished deployment of this kind.

    Raises:
        ChainError: unfinished, or of another kind.
    """
    if state.model.get("scheme") != SCHEME:
        raise ChainError(f"{what} is a deployment of {state.model.get('scheme')}, not of {SCHEME}")
    if "key" not in state.model or "adapter" not in state.contracts:
        raise ChainError(f"{what} is an unfinished deployment: run `vml contract deploy` again")
    return state.model
