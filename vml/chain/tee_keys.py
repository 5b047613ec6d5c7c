"""Keys in a registry on a chain: admitting, prolonging, ending them, and asking what is there.

Each act is one transaction, taken as the steps of a deployment are: written down signed before it is sent, and not
sent again where the chain shows it was done. Its file is a deployment file, `vml.chain.deployment`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vml.chain import abi, artifacts
from vml.chain.client import Chain
from vml.chain.deploy_tee import SCHEME, Acceptance
from vml.chain.rpc import quantity, record
from vml.chain.steps import REGISTRY, ROUTE_ACTIVE, ROUTER, Steps, abi_address
from vml.chain.tee_endorsement import Admission, Endorsement, Place, gather, require_policy
from vml.chain.tee_evidence import certificate_words
from vml.chain.tee_rules import VERIFIER, Mode, Rules
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.tee.binding import KeyCertificate

LOG_BLOCKS = 10_000
"""Blocks whose events are asked for at once: public nodes take about so many."""
EVENT = "KeyAdmitted"


@dataclass(frozen=True)
class Key:
    """What a registry knows of a key.

    Args:
        not_after: the last second at which it proves anything; 0 where it never came in.
        mode: how it came in; 0 likewise.
        algorithm: 1 secp256k1, 2 P-256.
        simulated: its evidence is a simulator's.
        revoked: for good.
        evidence: 32 bytes.
    """

    not_after: int
    mode: int
    algorithm: int
    simulated: bool
    revoked: bool
    evidence: bytes

    def state_at(self, time: int) -> str:
        """In one word: unknown, revoked, ended or admitted."""
        if self.revoked:
            return "revoked"
        if not self.not_after:
            return "unknown"
        return "ended" if time > self.not_after else "admitted"


@dataclass(frozen=True)
class Seen:
    """A key that was admitted once, as the event says, and as it is now."""

    record: bytes
    key_id: bytes
    rules: bytes
    epoch: int
    mode: Mode
    key: Key


@dataclass(frozen=True)
class Quote:
    """What a contract checks itself: the quote, or a proof that one was checked.

    Args:
        mode: ON_CHAIN or ZK.
        block: the number of the block whose nonce the quote carries.
        words: the quote; or journal, proof system and proof.
    """

    mode: Mode
    block: int
    words: bytes | tuple[bytes, int, bytes]


class TeeKeys(Steps):
    """Acts on a registry. Arguments and errors as of `Steps`."""

    def admit_by_quorum(self, endorsements: Sequence[Endorsement], *, renewal: bool = False) -> tuple[bytes, Key]:
        """Admit or prolong a key on the word of attestors.

        Args:
            endorsements: of one admission, at least as many as its rules want.
            renewal: the key is in already, and has to end later than it does.

        Returns:
            What names the key there, and what is known of it now.

        Raises:
            ChainError: as of `_admit_key`.
            ValueError: the endorsements do not make an admission.
        """
        admission, signatures = gather(endorsements)
        arguments = (
            admission.place.owner,
            admission.rules.words,
            certificate_words(admission.certificate),
            admission.finding.words,
            signatures,
        )
        evidence = admission.finding.evidence
        return self._admit_key(admission, Mode.QUORUM, evidence, renewal, "admitByQuorum", *arguments)

    def admit_by_quote(self, admission: Admission, quote: Quote, *, renewal: bool = False) -> tuple[bytes, Key]:
        """Admit or prolong a key whose quote a contract checks, or a proof that it did.

        Args:
            admission: of its finding only `simulated` counts; nobody signs it.
            quote: what is checked.
            renewal: as of `admit_by_quorum`.

        Raises:
            ChainError: as of `_admit_key`.
            ValueError: the rules name no contract that checks quotes.
        """
        if admission.rules.attestation is None:
            raise ValueError("these rules name no contract that checks quotes")
        name = "admitOnChain" if quote.mode is Mode.ON_CHAIN else "admitByZk"
        held = keccak256(quote.words) if isinstance(quote.words, bytes) else None
        head = (admission.place.owner, admission.rules.words, certificate_words(admission.certificate))
        return self._admit_key(admission, quote.mode, held, renewal, name, *head, quote.block, quote.words)

    def revoke(self, place: Place, model: bytes, rules: bytes, key_id: bytes, epoch: int, mode: Mode) -> bytes:
        """Never believe a key again, as the model's owner. Also one that never came in.

        Returns:
            What names the key there.

        Raises:
            ChainError: this account is not the owner, or it fails.
        """
        self._require_owner(place)
        self._begin(model, SCHEME)
        found = record_of(place.owner, model, rules, key_id, epoch, mode)
        self._act(
            f"revoke_{mode.name.lower()}",
            lambda: key_of(self.chain, place.contract, found).revoked,
            *(place.contract, artifacts.load(VERIFIER).abi, "revoke", model, rules, key_id, epoch, int(mode)),
        )
        return found

    def raise_epoch(self, place: Place, model: bytes, minimum: int) -> None:
        """End every key of a model of a lower epoch, under all rules, as the model's owner.

        Raises:
            ChainError: this account is not the owner, the epoch is no higher, or it fails.
        """
        self._require_owner(place)
        self._begin(model, SCHEME)
        known, entry = artifacts.load(VERIFIER).abi, entry_of(place.owner, model)
        self._act(
            "raise_epoch",
            lambda: self.chain.call(place.contract, known, "minimumEpochOf", entry) == minimum,
            *(place.contract, known, "raiseEpoch", model, minimum),
        )

    def end_by_recheck(self, place: Place, rules: Rules, certificate: KeyCertificate, quote: bytes) -> bytes:
        """End a key that came in by its quote, if that is not genuine any more. Anybody may.

        Args:
            quote: the very bytes that were admitted.

        Returns:
            What names the key there.

        Raises:
            ChainError: the quote is still good, is another, or the check itself failed; nothing ends then.
        """
        self._require_chain(place.chain_id)
        self._begin(certificate.model, SCHEME)
        epoch, key_id = certificate.epoch, certificate.key_id
        found = record_of(place.owner, certificate.model, rules.id, key_id, epoch, Mode.ON_CHAIN)
        self._act(
            "recheck",
            lambda: key_of(self.chain, place.contract, found).state_at(time_of(self.chain)) == "ended",
            *(place.contract, artifacts.load(VERIFIER).abi, "endByRecheck"),
            *(place.owner, certificate.model, rules.words, key_id, epoch, quote),
        )
        return found

    def _admit_key(
        self, admission: Admission, mode: Mode, evidence: bytes | None, renewal: bool, name: str, *arguments: Any
    ) -> tuple[bytes, Key]:
        """What admissions have in common.

        Raises:
            ChainError: another chain, simulated evidence on one that is no test node's, a deadline that passed, a
                renewal of what is not in; or the contract refused, with its custom error by name.
            EvidenceRejected: the rules are of another policy than the key.
        """
        place, certificate = admission.place, admission.certificate
        self._require_chain(place.chain_id)
        place.require_simulated_allowed(admission.finding.simulated)
        require_policy(admission.rules, certificate)
        found = record_of(
            place.owner, certificate.model, admission.rules.id, certificate.key_id, certificate.epoch, mode
        )
        self._require_model({"record": "0x" + found.hex()})
        self._begin(certificate.model, SCHEME)
        self.chain.require_code(place.contract)
        before = key_of(self.chain, place.contract, found)
        if renewal and not before.not_after:
            raise ChainError(f"there is no key 0x{found.hex()} to renew: admit it", error="KeyUnknown")
        # Remembered, so that a renewal that was interrupted is not done once more.
        since = int(self.state.model.setdefault("since", str(before.not_after))) if renewal else 0

        def done() -> bool:
            now = key_of(self.chain, place.contract, found)
            alive = now.state_at(time_of(self.chain)) == "admitted"
            return alive and now.not_after > since and evidence in (None, now.evidence)

        step = "renew" if renewal else "admit"
        self._act(step, done, place.contract, artifacts.load(VERIFIER).abi, name, *arguments)
        self.state.model.pop("since", None)
        self._save()
        return found, key_of(self.chain, place.contract, found)

    def _require_owner(self, place: Place) -> None:
        if place.owner != self.sender:
            raise ChainError(f"only {place.owner} may do that, this key is {self.sender}'s", error="NotOwner")
        self._require_chain(place.chain_id)

    def _require_chain(self, chain_id: int) -> None:
        if self.chain.chain_id != chain_id:
            raise ChainError(f"this is for chain {chain_id}, the node is on chain {self.chain.chain_id}")


# ---- reading -----------------------------------------------------------------------------------------------------


def entry_of(owner: str, model: bytes) -> bytes:
    """What names an owner's model in the registry of models: 32 bytes."""
    return keccak256(abi.encode(["address", "bytes32"], [owner, model]))


def record_of(owner: str, model: bytes, rules: bytes, key_id: bytes, epoch: int, mode: Mode) -> bytes:
    """What names a key in a registry: 32 bytes."""
    entry = entry_of(owner, model)
    types = ["bytes32", "bytes32", "bytes32", "uint64", "uint8"]
    return keccak256(abi.encode(types, [entry, rules, key_id, epoch, int(mode)]))


def key_of(chain: Chain, contract: str, name: bytes) -> Key:
    """What a registry knows of a key.

    Raises:
        ChainError: the address is no registry's.
    """
    known = artifacts.load(VERIFIER).abi
    _, not_after, mode, algorithm, simulated, revoked = chain.call(contract, known, "keyOf", name)
    return Key(not_after, mode, algorithm, simulated, revoked, chain.call(contract, known, "evidenceOf", name))


def time_of(chain: Chain) -> int:
    """The latest block's time, unix seconds."""
    return quantity(_block(chain, "latest").get("timestamp"), "a block's time")


def acceptance_of(chain: Chain, router: str, key: bytes) -> tuple[str, Acceptance]:
    """Who checks receipts under an entry, and what its owner accepts.

    Args:
        router: address.
        key: of the entry.

    Returns:
        The registry of keys, and the acceptance.

    Raises:
        ChainError: no route, or the entry accepts no receipts.
    """
    selector = keccak256(SCHEME.encode())[:4]
    verifier, state = chain.call(router, artifacts.load(ROUTER).abi, "routes", selector)
    if state != ROUTE_ACTIVE:
        raise ChainError(f"the router at {router} has no active route for {SCHEME}", error="RouteUnknown")
    registry = abi_address(chain.call(router, artifacts.load(ROUTER).abi, "registry"))
    metadata, enabled = chain.call(registry, artifacts.load(REGISTRY).abi, "backend", key, selector)
    if not enabled:
        raise ChainError(f"the entry 0x{key.hex()} accepts no receipts of attested keys", error="BackendNotEnabled")
    try:
        return abi_address(verifier), Acceptance.from_bytes(metadata)
    except ValueError as error:
        raise ChainError(f"the entry's metadata: {error}", error="MetadataMalformed") from None


def block_nonce(chain: Chain, contract: str, number: int) -> tuple[bytes, int]:
    """What a quote has to carry to be admitted by a contract, and since when anybody could know it (unix seconds).

    Raises:
        ChainError: there is no such block.
    """
    block = _block(chain, hex(number))
    digest = bytes.fromhex(str(block.get("hash"))[2:])
    nonce = keccak256(abi.encode(["uint256", "address", "bytes32"], [chain.chain_id, contract, digest]))
    return nonce, quantity(block.get("timestamp"), "a block's time")


def admitted(chain: Chain, contract: str, owner: str, model: bytes, from_block: int = 0) -> Iterator[Seen]:
    """Every key that ever came in for an owner's model, oldest first, and how it stands now.

    Args:
        from_block: where to begin to look: not after the registry was made.

    Raises:
        ChainError: the node does not answer, or its events are none.
    """
    known = artifacts.load(VERIFIER).abi
    (event,) = [item for item in known if item["type"] == "event" and item["name"] == EVENT]
    entry = entry_of(owner, model)
    topics = ["0x" + abi.topic(event).hex(), None, None, "0x" + entry.hex()]
    last, seen = chain.rpc.number("eth_blockNumber"), set[bytes]()
    for first in range(from_block, last + 1, LOG_BLOCKS):
        span = {"fromBlock": hex(first), "toBlock": hex(min(first + LOG_BLOCKS - 1, last))}
        logs = chain.rpc.ask("eth_getLogs", {"address": contract, "topics": topics, **span})
        try:
            found = abi.decode_logs(known, logs)
        except (KeyError, TypeError, ValueError) as error:
            raise ChainError(f"the node's events are none of {EVENT}: {error}") from None
        for _, values in found:
            if values["record"] in seen:
                continue
            seen.add(values["record"])
            epoch, mode = values["certificate"][5], Mode(values["mode"])
            now = key_of(chain, contract, values["record"])
            yield Seen(values["record"], values["keyId"], values["rules"], epoch, mode, now)


def mode_of(chain: Chain, contract: str, acceptance: Acceptance, model: bytes, certificate: KeyCertificate) -> Mode:
    """How a key came in, as far as an owner accepts it: one that is admitted now before one that ended."""
    owner, now = "0x" + acceptance.owner.hex(), time_of(chain)
    order = ("admitted", "revoked", "ended", "unknown")

    def rank(mode: Mode) -> int:
        name = record_of(owner, model, acceptance.rules, certificate.key_id, certificate.epoch, mode)
        return order.index(key_of(chain, contract, name).state_at(now))

    return min(acceptance.modes, key=rank)


def _block(chain: Chain, number: str) -> Any:
    found = chain.rpc.ask("eth_getBlockByNumber", number, False)
    if found is None:
        raise ChainError(f"the chain has no block {number}")
    return record(found, "a block")
