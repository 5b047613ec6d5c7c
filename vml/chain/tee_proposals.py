"""Keys that come in because nobody objects: proposing, objecting, deciding, and what a watcher sees.

The contract stores little: a proposal is named by the hash of all that it says, and every move about it brings that
again. It stands in the event, so an id is all that is needed here. docs/contracts-tee.md, section Optimistic, says who
wins what; `vml.chain.tee_watch` answers the question that it asks about the evidence.

Source: ITeeProposals.sol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from vml.chain import abi, artifacts
from vml.chain.client import Chain
from vml.chain.deploy_tee import SCHEME
from vml.chain.steps import Steps, abi_address
from vml.chain.tee_decision import Decision
from vml.chain.tee_endorsement import Admission, Place, require_policy
from vml.chain.tee_evidence import KeyEvidence, certificate_words
from vml.chain.tee_keys import LOG_BLOCKS, Key, key_of, record_of
from vml.chain.tee_rules import VERIFIER, Mode, ascending
from vml.chain.tee_watch import PROPOSALS, published, quote_fault
from vml.chain.transactions import created_at
from vml.errors import ChainError
from vml.keccak import keccak256
from vml.tee.binding import Algorithm, KeyCertificate

EVENT = "KeyProposed"
MAX_UNREAD = 64
"""Blocks whose events a node does not give one by one; more are a node that gives none."""


class Status(IntEnum):
    """Where a proposal is; ITeeProposals.Status."""

    NONE = 0
    OPEN = 1
    CHALLENGED = 2
    ACCEPTED = 3
    REFUSED = 4
    LAPSED = 5


@dataclass(frozen=True)
class Proposed:
    """A proposal as its event says it, and where it is now.

    Args:
        id: 32 bytes.
        said: the members of ITeeProposals.Proposal by name.
        rules, terms: as the contract takes them.
        certificate: of the key.
        evidence: the published bytes.
        status, until: now; `until` is the last second of a challenge, or of a decision.
        challenger: address, zero where there is none.
    """

    id: bytes
    said: dict[str, Any]
    rules: tuple[Any, ...]
    terms: tuple[int, ...]
    certificate: KeyCertificate
    evidence: bytes
    status: Status
    until: int
    challenger: str

    @property
    def words(self) -> tuple[Any, ...]:
        """As the contract takes it."""
        return tuple(self.said.values())

    @property
    def pending(self) -> bool:
        """Whether it is not decided yet."""
        return self.status in (Status.OPEN, Status.CHALLENGED)

    def require_consistent(self, contract: str) -> None:
        """Check that the id is that of all this, so that who signs or stakes on the id does so on what is shown.

        Args:
            contract: of proposals.

        Raises:
            ChainError: the node shows something else than was proposed.
        """
        (event,) = [item for item in artifacts.load(PROPOSALS).abi if item.get("name") == EVENT]
        types = {item["name"]: abi.type_of(item) for item in event["inputs"]}
        for what, expected, got in (
            ("id", self.id, keccak256(abi.encode(["address", types["proposal"]], [contract, self.words]))),
            ("rules", self.said["rules"], keccak256(abi.encode([types["rules"]], [self.rules]))),
            ("terms", self.said["terms"], keccak256(abi.encode([types["terms"]], [self.terms]))),
            ("certificate", self.said["certificate"], self.certificate.digest()),
            ("evidence", self.said["evidence"], keccak256(self.evidence)),
        ):
            if expected != got:
                raise ChainError(f"the node shows another {what} than was proposed: do not trust this node")

    @property
    def rules_id(self) -> bytes:
        """32 bytes."""
        found: bytes = self.said["rules"]
        return found


class TeeProposer(Steps):
    """Moves in the contract of proposals. Arguments and errors as of `Steps`."""

    def propose(self, admission: Admission, key: KeyEvidence, block: int, *, is_quote: bool) -> Proposed:
        """Propose a key with the proposer's bond, and publish its evidence.

        Args:
            admission: of its finding the end of the collateral and `simulated` are said.
            key: its evidence repeats the nonce of `block`.
            block: number of one of the last 256 blocks.
            is_quote: the attestation contract decides in a dispute, not the attestors.

        Raises:
            ChainError: another chain, simulated evidence on one that is no test node's, a quote that the attestation
                contract does not accept now, evidence that was proposed before in vain, or the contract refused.
            EvidenceRejected: the rules are of another policy than the key.
            ValueError: the rules take no proposals.
        """
        place, rules, finding = admission.place, admission.rules, admission.finding
        if rules.terms is None:
            raise ValueError("these rules take no proposals: make some with terms (vml tee rules --window …)")
        if self.chain.chain_id != place.chain_id:
            raise ChainError(f"this is for chain {place.chain_id}, the node is on chain {self.chain.chain_id}")
        place.require_simulated_allowed(finding.simulated)
        require_policy(rules, admission.certificate)
        evidence = published(key, is_quote=is_quote)
        self._begin(admission.certificate.model, SCHEME)
        contract = contract_of(self.chain, place.contract)
        application = (place.owner, block, finding.collateral_end, finding.simulated, is_quote)
        made = list[Proposed]()

        def done() -> bool:
            made[:] = [
                found
                for found in proposals(self.chain, place, admission.certificate.model, rules.id, from_block=block)
                if (found.said["proposer"], found.certificate, found.evidence)
                == (self.sender, admission.certificate, evidence)
            ]
            if made and all(found.status in (Status.REFUSED, Status.LAPSED) for found in made):
                raise ChainError(
                    f"this evidence was proposed as 0x{made[-1].id.hex()}, which is {made[-1].status.name.lower()}: "
                    "propose fresh evidence"
                )
            made.sort(key=lambda found: found.status not in (Status.REFUSED, Status.LAPSED))
            return bool(made)

        if is_quote and not done():
            said = (
                *(self.sender, place.owner, rules.id, rules.terms.id, admission.certificate.digest()),
                *(keccak256(evidence), key.nonce, 0, finding.collateral_end, finding.simulated, True),
            )
            fault = quote_fault(self.chain, contract, said, rules.terms.words, rules.words, evidence)
            if fault is not None:
                raise ChainError(f"the bond would be lost, for the contract would not accept this quote: {fault}")
        self._act(
            "propose",
            done,
            *(contract, artifacts.load(PROPOSALS).abi, "propose"),
            *(application, rules.words, rules.terms.words, certificate_words(admission.certificate), evidence),
            value=rules.terms.proposer_bond_wei,
        )
        self._save()
        return made[-1]

    def challenge(self, place: Place, found: Proposed) -> Status:
        """Disagree, with the challenger's bond."""
        bond = found.terms[3]
        return self._move(place, found, Status.CHALLENGED, "challenge", found.words, found.terms, value=bond)

    def prove(self, place: Place, found: Proposed) -> Status:
        """Have a challenged quote checked by the attestation contract now."""
        words = (found.words, found.terms, found.rules, found.evidence)
        return self._move(place, found, Status.ACCEPTED, "prove", *words)

    def decide(self, place: Place, found: Proposed, decisions: Sequence[Decision]) -> Status:
        """Bring the word of attestors on a challenged bundle.

        Raises:
            ValueError: they are of different decisions, or too few.
        """
        if len({(item.proposal, item.genuine) for item in decisions}) != 1 or decisions[0].proposal != found.id:
            raise ValueError("the decisions are not all of this proposal and in one direction")
        for item in decisions:
            item.require_signed(self.chain.chain_id, contract_of(self.chain, place.contract), found.rules[3])
        signed, needed = {item.attestor: item.signature for item in decisions}, found.rules[2]
        if len(signed) < needed:
            raise ValueError(f"{len(signed)} attestors decided, the rules want {needed}")
        signatures = b"".join(signed[address] for address in ascending(list(signed))[:needed])
        genuine = decisions[0].genuine
        words = (found.words, found.terms, found.rules, genuine, signatures)
        return self._move(place, found, Status.ACCEPTED if genuine else Status.REFUSED, "decide", *words)

    def expire(self, place: Place, found: Proposed) -> Status:
        """End a challenged proposal on which nobody decided in time: the key does not come in."""
        after = Status.REFUSED if found.said["isQuote"] else Status.LAPSED
        return self._move(place, found, after, "expire", found.words, found.terms)

    def activate(self, place: Place, found: Proposed) -> tuple[bytes, Key]:
        """Let the key of a proposal in that nobody challenged within its window, or that was shown to be good.

        Returns:
            What names the key in the registry, and what is known of it now.
        """
        certificate = found.certificate
        name = record_of(
            place.owner, certificate.model, found.rules_id, certificate.key_id, certificate.epoch, Mode.OPTIMISTIC
        )
        before = key_of(self.chain, place.contract, name)
        published = found.said["evidence"]

        def done() -> bool:
            now = key_of(self.chain, place.contract, name)
            return now.evidence == published and bool(now.not_after)

        contract = contract_of(self.chain, place.contract)
        words = (found.words, found.terms, found.rules, certificate_words(certificate))
        self._begin(certificate.model, SCHEME)
        if before.revoked:
            raise ChainError(f"the key 0x{name.hex()} was revoked for good", error="KeyIsRevoked")
        self._act("activate", done, contract, artifacts.load(PROPOSALS).abi, "activate", *words)
        return name, key_of(self.chain, place.contract, name)

    def withdraw(self, place: Place) -> int:
        """Fetch what the contract owes this account.

        Returns:
            How much it was, in wei.
        """
        contract, known = contract_of(self.chain, place.contract), artifacts.load(PROPOSALS).abi

        def credit() -> int:
            return int(self.chain.call(contract, known, "creditOf", self.sender))

        owed = credit()
        self._act("withdraw", lambda: not credit(), contract, known, "withdraw")
        return owed

    def _move(self, place: Place, found: Proposed, after: Status, name: str, *words: Any, value: int = 0) -> Status:
        """One move about a proposal; nothing is sent where it is made already.

        Raises:
            ChainError: the contract refused, with its custom error by name.
        """
        contract, known = contract_of(self.chain, place.contract), artifacts.load(PROPOSALS).abi

        def status() -> Status:
            return Status(self.chain.call(contract, known, "stateOf", found.id)[2])

        self._begin(found.certificate.model, SCHEME)
        self._act(name, lambda: status() is after, contract, known, name, *words, value=value)
        return status()


# ---- reading -----------------------------------------------------------------------------------------------------


def contract_of(chain: Chain, registry: str) -> str:
    """The contract of proposals that a registry of keys made: the first that it created, whatever a node says.

    Raises:
        ChainError: the address is no registry's, or the node names another contract, which would get the bonds.
    """
    made = created_at(registry, 1)
    named = abi_address(chain.call(registry, artifacts.load(VERIFIER).abi, "proposals"))
    if named != made:
        raise ChainError(
            f"the node says that {named} holds the proposals of {registry}, which made {made}: do not trust this node"
        )
    return made


def proposals(
    chain: Chain,
    place: Place,
    model: bytes,
    rules: bytes,
    *,
    only: bytes | None = None,
    from_block: int = 0,
    unread: list[int] | None = None,
) -> Iterator[Proposed]:
    """Proposals of keys for an owner's model under rules that the owner named, oldest first.

    Args:
        rules: 32-byte id. Proposals under other rules let nobody in who counts.
        only: the id of one.
        from_block: where to begin to look.
        unread: gets the numbers of blocks whose events the node does not give, however few blocks are asked for;
            without it such a block is an error.

    Raises:
        ChainError: the node does not answer, shows another proposal than was asked for, or its events are none.
    """
    contract, known = contract_of(chain, place.contract), artifacts.load(PROPOSALS).abi
    (event,) = [item for item in known if item["type"] == "event" and item["name"] == EVENT]
    (parameter,) = [item for item in event["inputs"] if item["name"] == "proposal"]
    names = [item["name"] for item in parameter["components"]]
    entry = keccak256(abi.encode(["address", "bytes32"], [place.owner, model]))
    one = None if only is None else "0x" + only.hex()
    topics = ["0x" + abi.topic(event).hex(), one, "0x" + entry.hex(), "0x" + rules.hex()]
    last = chain.rpc.number("eth_blockNumber")
    for logs in _logs(chain, {"address": contract, "topics": topics}, from_block, last, unread):
        try:
            events = abi.decode_logs(known, logs)
        except (KeyError, TypeError, ValueError) as error:
            raise ChainError(f"the node's events are none of {EVENT}: {error}") from None
        for _, values in events:
            challenger, until, status = chain.call(contract, known, "stateOf", values["id"])
            said = dict(zip(names, values["proposal"], strict=True))
            said |= {name: abi_address(said[name]) for name in ("proposer", "owner")}
            found = Proposed(
                values["id"],
                said,
                values["rules"],
                values["terms"],
                _certificate(values["certificate"]),
                values["evidence"],
                Status(status),
                until,
                abi_address(challenger),
            )
            found.require_consistent(contract)
            if only is not None and found.id != only:
                raise ChainError(
                    f"the node shows the proposal 0x{found.id.hex()}, asked for 0x{only.hex()}: do not trust this node"
                )
            if (found.rules_id, said["owner"], found.certificate.model) == (rules, place.owner, model):
                yield found


def _logs(chain: Chain, what: dict[str, Any], first: int, last: int, unread: list[int] | None) -> Iterator[Any]:
    """Events of a range of blocks: what a node does not give at once, because it is too much, is asked for in halves.

    Raises:
        ChainError: the node does not answer, or does not give the events of a block and `unread` is None or full.
    """
    spans = [(low, min(low + LOG_BLOCKS - 1, last)) for low in range(first, last + 1, LOG_BLOCKS)][::-1]
    while spans:
        low, high = spans.pop()
        try:
            logs = chain.rpc.ask("eth_getLogs", {**what, "fromBlock": hex(low), "toBlock": hex(high)})
        except ChainError:
            if low < high:
                middle = (low + high) // 2
                spans += [(middle + 1, high), (low, middle)]
                continue
            chain.rpc.number("eth_blockNumber")  # or the node is gone
            if unread is None or len(unread) == MAX_UNREAD:
                raise
            unread.append(low)
            continue
        yield logs


def _certificate(words: tuple[Any, ...]) -> KeyCertificate:
    algorithm, x, y, model, policy, epoch, not_after, gpus = words
    try:
        return KeyCertificate(Algorithm(algorithm), x + y, model, policy, epoch, not_after, gpus if any(gpus) else None)
    except ValueError as error:
        raise ChainError(f"the node shows a certificate that no contract takes: {error}") from None
