"""Keys that come in because nobody objects: proposing, objecting, deciding, and what a watcher sees.

The contract stores little: a proposal is named by the hash of all that it says, and every move about it brings that
again. It stands in the event, so an id is all that is needed here. docs/contracts-tee.md, section Optimistic, says who
wins what; `judge_proposal` answers the question that it asks about a bundle.

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
from vml.chain.tee_evidence import KeyEvidence, certificate_words, finding_of, judge
from vml.chain.tee_keys import LOG_BLOCKS, Key, key_of, record_of
from vml.chain.tee_rules import VERIFIER, Mode, ascending
from vml.errors import ChainError, VerificationError
from vml.keccak import keccak256
from vml.tee.anchors import TrustAnchors
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.binding import Algorithm, KeyCertificate
from vml.tee.files import read_json, write_json

PROPOSALS = "TeeProposals"
EVENT = "KeyProposed"


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
            ChainError: another chain, simulated evidence on one that is no test node's, or the contract refused.
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
        evidence = key.evidence.data if is_quote else write_json(key.evidence)
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
            return bool(made)

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
    """The contract of proposals that a registry of keys made.

    Raises:
        ChainError: the address is no registry's.
    """
    return abi_address(chain.call(registry, artifacts.load(VERIFIER).abi, "proposals"))


def proposals(
    chain: Chain, place: Place, model: bytes, rules: bytes, *, only: bytes | None = None, from_block: int = 0
) -> Iterator[Proposed]:
    """Proposals of keys for an owner's model under rules that the owner named, oldest first.

    Args:
        rules: 32-byte id. Proposals under other rules let nobody in who counts.
        only: the id of one.
        from_block: where to begin to look.

    Raises:
        ChainError: the node does not answer, or its events are none.
    """
    contract, known = contract_of(chain, place.contract), artifacts.load(PROPOSALS).abi
    (event,) = [item for item in known if item["type"] == "event" and item["name"] == EVENT]
    (parameter,) = [item for item in event["inputs"] if item["name"] == "proposal"]
    names = [item["name"] for item in parameter["components"]]
    entry = keccak256(abi.encode(["address", "bytes32"], [place.owner, model]))
    one = None if only is None else "0x" + only.hex()
    topics = ["0x" + abi.topic(event).hex(), one, "0x" + entry.hex(), "0x" + rules.hex()]
    last = chain.rpc.number("eth_blockNumber")
    for first in range(from_block, last + 1, LOG_BLOCKS):
        span = {"fromBlock": hex(first), "toBlock": hex(min(first + LOG_BLOCKS - 1, last))}
        logs = chain.rpc.ask("eth_getLogs", {"address": contract, "topics": topics, **span})
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
            if (found.rules_id, said["owner"], found.certificate.model) == (rules, place.owner, model):
                yield found


def judge_proposal(found: Proposed, policy: AppraisalPolicy, anchors: TrustAnchors) -> str | None:
    """Whether a bundle shows what its proposal says, as of the time of the proposal.

    Args:
        found: with a bundle, not a quote: of that the attestation contract is asked.
        policy: that the rules name.
        anchors: whom the judge trusts.

    Returns:
        None where it does, otherwise why not.

    Raises:
        ValueError: a quote, another policy than the rules', or one with a field about the evidence's age, which a
            proposal does not say.
        BackendUnavailable: the extra ``tee`` is not installed.
    """
    if found.said["isQuote"]:
        raise ValueError("a quote is for the attestation contract to decide on")
    if found.rules[0] != policy.policy_id:
        raise ValueError(f"the rules are of the policy 0x{found.rules[0].hex()}, not 0x{policy.policy_id.hex()}")
    if policy.max_age_s is not None:
        raise ValueError("a policy with max_age_s cannot be applied: a proposal does not say when its nonce was known")
    nonce, at = found.said["nonce"], found.said["proposedAt"]
    try:
        key = KeyEvidence(found.certificate, nonce, read_json(found.evidence))
        finding = finding_of(judge(key, policy, anchors, at, nonce), 0)
    except VerificationError as error:
        return str(error)
    if found.said["collateralEnd"] > finding.collateral_end:
        return (
            f"it says that the evidence lasts until {found.said['collateralEnd']}, it ends at {finding.collateral_end}"
        )
    if found.said["simulated"] != finding.simulated:
        return "it says of simulated evidence that it is not, or the reverse"
    return None


def _certificate(words: tuple[Any, ...]) -> KeyCertificate:
    algorithm, x, y, model, policy, epoch, not_after, gpus = words
    try:
        return KeyCertificate(Algorithm(algorithm), x + y, model, policy, epoch, not_after, gpus if any(gpus) else None)
    except ValueError as error:
        raise ChainError(f"the node shows a certificate that no contract takes: {error}") from None
