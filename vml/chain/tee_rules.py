"""The rules under which attested keys come in on a chain, from an appraisal policy as far as a contract can apply one.

A rules file is canonical JSON (RFC 8785), docs/contracts-tee.md::

    {"attestation":"0x…"|null,"attestors":["0x…",…],"body_types":["sgx","tdx10","tdx15"],"format":"vml-tee-rules/1",
     "lifetime_s":2592000,"measurements":["0x…"],"policy":"0x…","tcb_statuses":["UpToDate"],"terms":{…}|null,
     "threshold":3}

Their id is keccak-256 of the contract's encoding: nobody can change rules, only name others.

Source: ISignerRegistry.sol; the TCB statuses of automata-dcap-attestation 1.1 (TCBStatus in FmspcTcbHelper).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vml import canonical, files
from vml.chain import abi, artifacts
from vml.claim import checksum_address, parse_address, parse_bytes32
from vml.keccak import keccak256
from vml.tee.appraisal import AppraisalPolicy, SgxSection, TdxSection
from vml.tee.verified import TcbStatus

if TYPE_CHECKING:
    from pydantic import BaseModel

FORMAT = "vml-tee-rules/1"
MAX_BYTES = 1 << 18
ZERO_ADDRESS = "0x" + "00" * 20
VERIFIER = "TeeVerifier"
MAX_ATTESTORS = 255
DAY_S = 86_400

STATUSES: dict[TcbStatus, int] = {
    TcbStatus.UP_TO_DATE: 0,
    TcbStatus.SW_HARDENING_NEEDED: 1,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: 2,
    TcbStatus.CONFIGURATION_NEEDED: 3,
    TcbStatus.OUT_OF_DATE: 4,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: 5,
}
"""Numbers of the attestation contract; it knows no others that rules could allow."""
BODY_TYPES = {"sgx": 1, "tdx10": 2, "tdx15": 3}
# What of a policy is looked at, or asks for no more than a contract always does. A contract wants a nonce, refuses
# domains without SEPT_VE_DISABLE and, but on test nodes, simulated machines; it lets in SGX and TDX alone. A platform
# that is up to date has no advisories.
_POLICY = frozenset({"version", "require_nonce", "allow_simulated", "sgx", "tdx", "snp", "nitro", "azure", "nvidia"})
_SECTION = frozenset({"measurements", "tcb_statuses", "advisories", "require_sept_ve_disable"})
_IMAGE = frozenset({"name", "values"})
_TD_REGISTERS = ("mr_td", "rtmr0", "rtmr1", "rtmr2", "rtmr3")


class Mode(IntEnum):
    """How a key came in."""

    QUORUM = 1
    ON_CHAIN = 2
    ZK = 3
    OPTIMISTIC = 4

    @property
    def word(self) -> str:
        """As people write it: quorum, on-chain, zk, optimistic."""
        return self.name.lower().replace("_", "-")


def modes_of(words: str) -> tuple[Mode, ...]:
    """Modes that a person listed with commas.

    Raises:
        ValueError: an unknown one, or none.
    """
    known = {mode.word: mode for mode in Mode}
    listed = [word.strip() for word in words.split(",")]
    if not all(word in known for word in listed):
        raise ValueError(f"modes are {', '.join(known)}, with commas between them")
    return tuple(sorted({known[word] for word in listed}))


@dataclass(frozen=True)
class Terms:
    """Under which bonds keys come in because nobody objects; ITeeProposals.Terms.

    Args:
        window_s: in which a proposal can be challenged.
        decision_s: from the challenge to the last second of a decision.
        proposer_bond_wei, challenger_bond_wei: what each side puts up.
        reward_wei: of a lost bond, what the other side gets: at most half of either. The rest is burned.
        lapse_wei: what each side loses where nobody decides.

    Raises:
        ValueError: terms that the contract refuses.
    """

    window_s: int
    decision_s: int
    proposer_bond_wei: int
    challenger_bond_wei: int
    reward_wei: int
    lapse_wei: int

    def __post_init__(self) -> None:
        if not 0 < self.window_s < 1 << 32 or not 0 < self.decision_s < 1 << 32:
            raise ValueError("window and time for a decision are 1 to 2^32 - 1 seconds")
        least = min(self.proposer_bond_wei, self.challenger_bond_wei)
        if not least > 0 or max(self.proposer_bond_wei, self.challenger_bond_wei) >= 1 << 96:
            raise ValueError("bonds are 1 to 2^96 - 1 wei")
        if not 0 <= 2 * self.reward_wei <= least or not 0 <= self.lapse_wei <= least:
            raise ValueError("a reward is at most half of either bond, a lapse costs at most a bond")

    @property
    def words(self) -> tuple[int, ...]:
        """As the contract takes them."""
        return astuple(self)

    @property
    def id(self) -> bytes:
        """32 bytes that name them in rules."""
        return keccak256(abi.encode(["uint256"] * 6, self.words))

    def to_json(self) -> dict[str, Any]:
        """As a rules file holds them: amounts of money are texts."""
        return {name: str(value) if name.endswith("_wei") else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Any) -> Terms:
        """Read what `to_json` wrote.

        Raises:
            ValueError: something else.
        """
        try:
            return cls(**{name: int(item) for name, item in value.items()})
        except (AttributeError, TypeError) as error:
            raise ValueError(f"terms: {error}") from None


@dataclass(frozen=True)
class Rules:
    """What a key has to meet; ISignerRegistry.Rules.

    Args:
        policy: 32-byte id of the appraisal policy that certificates name.
        lifetime_s: a key ends so many seconds after its admission at the latest.
        threshold: how many attestors have to sign; 0: none can.
        attestors: addresses in ascending order.
        attestation: of the contract that checks quotes; None where quotes are not checked on chain.
        tcb_statuses: those that are allowed there.
        body_types: of `BODY_TYPES`.
        measurements: 32 bytes each: MRENCLAVE, or keccak-256 of MRTD and the four registers.
        terms: of bonded proposals; None: no key comes in so.

    Raises:
        ValueError: nobody could ever come in, or a field is out of its range.
    """

    policy: bytes
    lifetime_s: int
    threshold: int = 0
    attestors: tuple[str, ...] = ()
    attestation: str | None = None
    tcb_statuses: tuple[TcbStatus, ...] = ()
    body_types: tuple[str, ...] = ()
    measurements: tuple[bytes, ...] = ()
    terms: Terms | None = None

    def __post_init__(self) -> None:
        if len(self.policy) != 32 or not 0 < self.lifetime_s < 1 << 32:
            raise ValueError("a policy id has 32 bytes, a lifetime 1 to 2^32 - 1 seconds")
        if len(self.attestors) > MAX_ATTESTORS or list(self.attestors) != ascending(self.attestors):
            raise ValueError(f"attestors are at most {MAX_ATTESTORS}, in ascending order, each once")
        if not 0 <= self.threshold <= len(self.attestors) or (self.attestors and not self.threshold):
            raise ValueError(f"a threshold of {self.threshold} of {len(self.attestors)} attestors: give 1 to as many")
        if not self.threshold and self.attestation is None:
            raise ValueError("rules under which no key comes in: name attestors, or a contract that checks quotes")
        on_chain = (self.tcb_statuses, self.body_types, self.measurements)
        if any(on_chain) != all(on_chain) or any(on_chain) != (self.attestation is not None):
            raise ValueError("attestation contract, TCB statuses, body types and measurements belong together")
        if self.terms is not None and self.attestation is None and 2 * self.threshold <= len(self.attestors):
            raise ValueError(
                "two quorums of these attestors could decide a challenge for and against: raise the threshold"
            )
        if any(len(item) != 32 for item in self.measurements):
            raise ValueError("a measurement has 32 bytes")

    @property
    def words(self) -> tuple[Any, ...]:
        """As the contract takes them."""
        named = {
            "policy": self.policy,
            "lifetime": self.lifetime_s,
            "threshold": self.threshold,
            "attestors": list(self.attestors),
            "attestation": self.attestation or ZERO_ADDRESS,
            "tcbStatuses": sum(1 << STATUSES[status] for status in self.tcb_statuses),
            "bodyTypes": sum(1 << BODY_TYPES[name] for name in self.body_types),
            "measurements": list(self.measurements),
            "terms": bytes(32) if self.terms is None else self.terms.id,
        }
        return tuple(named[part["name"]] for part in _parameter()["components"])

    @property
    def id(self) -> bytes:
        """32 bytes that name them."""
        return keccak256(abi.encode([abi.type_of(_parameter())], [self.words]))

    @property
    def modes(self) -> tuple[Mode, ...]:
        """In which modes they let keys in."""
        on_chain = () if self.attestation is None else (Mode.ON_CHAIN, Mode.ZK)
        optimistic = () if self.terms is None else (Mode.OPTIMISTIC,)
        return (*((Mode.QUORUM,) if self.threshold else ()), *on_chain, *optimistic)

    def to_json(self) -> dict[str, Any]:
        """As a file holds them."""
        return {
            "format": FORMAT,
            "policy": "0x" + self.policy.hex(),
            "lifetime_s": self.lifetime_s,
            "threshold": self.threshold,
            "attestors": list(self.attestors),
            "attestation": self.attestation,
            "tcb_statuses": [str(status) for status in self.tcb_statuses],
            "body_types": list(self.body_types),
            "measurements": ["0x" + item.hex() for item in self.measurements],
            "terms": None if self.terms is None else self.terms.to_json(),
        }

    @classmethod
    def from_json(cls, value: Any) -> Rules:
        """Read what `to_json` wrote; nothing else is accepted.

        Raises:
            ValueError: something else.
        """
        try:
            rules = cls(
                policy=parse_bytes32(value["policy"]),
                lifetime_s=int(value["lifetime_s"]),
                threshold=int(value["threshold"]),
                attestors=tuple(checksum_address(parse_address(item)) for item in value["attestors"]),
                attestation=None
                if value["attestation"] is None
                else checksum_address(parse_address(value["attestation"])),
                tcb_statuses=tuple(TcbStatus(item) for item in value["tcb_statuses"]),
                body_types=tuple(value["body_types"]),
                measurements=tuple(parse_bytes32(item) for item in value["measurements"]),
                terms=None if value["terms"] is None else Terms.from_json(value["terms"]),
            )
            if rules.to_json() != value or not rules.id:
                raise ValueError("not in its one encoding")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"these are no rules of {FORMAT}: {error}") from None
        return rules

    def save(self, path: Path) -> None:
        """Write the file, all or nothing.

        Raises:
            OSError: it cannot be written.
        """
        files.write_atomic(path, canonical.encode(self.to_json()))

    @classmethod
    def load(cls, path: Path) -> Rules:
        """Read the file.

        Raises:
            ValueError: it holds something else.
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        try:
            return cls.from_json(canonical.decode(data, max_bytes=MAX_BYTES))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def ascending(addresses: Sequence[str]) -> list[str]:
    """Addresses in the order that contracts want, each once."""
    return sorted(set(addresses), key=lambda text: int(text, 16))


def rules_of(
    policy: AppraisalPolicy,
    *,
    attestors: Sequence[str] = (),
    threshold: int = 0,
    attestation: str | None = None,
    lifetime_s: int = 30 * DAY_S,
    terms: Terms | None = None,
) -> Rules:
    """Rules that let in what a policy accepts.

    Attestors apply the policy itself. A contract applies a part of it, so a policy with a field that no contract can
    look at has no rules with an attestation contract: they would let in what the policy refuses.

    Args:
        policy: that key certificates have to name.
        attestors, threshold: who may sign, how many have to. Given out of order they are put in order.
        attestation: contract that checks Intel's quotes.
        terms: of bonded proposals; who objects, and what is decided, follows the same split.
        lifetime_s: see `Rules`; a contract does not see when collateral ends, Intel's lasts 30 days.

    Raises:
        ValueError: a field that cannot be expressed, by name; proposals under a policy that asks for the evidence's
            age; or rules under which nobody could come in.
    """
    common: dict[str, Any] = {"policy": policy.policy_id, "lifetime_s": lifetime_s, "threshold": threshold}
    common["terms"] = terms
    if len(set(attestors)) != len(attestors):
        raise ValueError("an attestor is named twice")
    common["attestors"] = tuple(ascending(attestors))
    if terms is not None and policy.max_age_s is not None:
        raise ValueError(
            "nobody can judge proposals by a policy with max_age_s: a proposal does not say when its nonce was known"
        )
    if attestation is None:
        return Rules(**common)
    problems = _inexpressible(policy)
    if problems:
        raise ValueError(
            f"no contract can look at {'; '.join(problems)}: leave it out of the policy, or let keys in by quorum alone"
        )
    types, measured = [], list[bytes]()
    if policy.sgx is not None:
        types.append("sgx")
        measured += [image.values["mr_enclave"] for image in policy.sgx.measurements]
    if policy.tdx is not None:
        types += ["tdx10", "tdx15"]
        images = policy.tdx.measurements
        measured += [keccak256(b"".join(image.values[name] for name in _TD_REGISTERS)) for image in images]
    return Rules(
        **common,
        attestation=attestation,
        tcb_statuses=(TcbStatus.UP_TO_DATE,),
        body_types=tuple(types),
        measurements=tuple(sorted(set(measured))),
    )


def _parameter() -> Mapping[str, Any]:
    """The contract's struct."""
    found: Mapping[str, Any] = abi.function(artifacts.load(VERIFIER).abi, "rulesId")["inputs"][0]
    return found


def _inexpressible(policy: AppraisalPolicy) -> list[str]:
    """What a contract would pass over, each as the policy names it."""
    problems = _unknown(policy, _POLICY)
    if policy.sgx is None and policy.tdx is None:
        problems.append(f"evidence of {', '.join(policy.kinds) or 'no kind'} (only sgx and tdx)")
    for name, section in (("sgx", policy.sgx), ("tdx", policy.tdx)):
        if section is not None:
            problems += [f"{name}.{field}" for field in _fields(section)]
    return problems


def _fields(section: SgxSection | TdxSection) -> list[str]:
    """Fields of a section that no contract looks at."""
    problems = _unknown(section, _SECTION)
    if section.tcb_statuses != (TcbStatus.UP_TO_DATE,):
        problems.append("tcb_statuses")
    if not section.measurements:
        problems.append("measurements (there are none)")
    looked_at = set(_TD_REGISTERS) if isinstance(section, TdxSection) else {"mr_enclave"}
    for image in section.measurements:
        label = f"measurements[{image.name}]"
        problems += [f"{label}.{name}" for name in sorted(image.values.keys() - looked_at)]
        problems += [f"{label} without {name}" for name in sorted(looked_at - image.values.keys())]
        problems += [f"{label}.{name}" for name in _unknown(image, _IMAGE)]
    return problems


def _unknown(item: BaseModel, known: frozenset[str]) -> list[str]:
    """Fields that are set and not known: whatever a policy may say some day, no contract looks at until it is here."""
    fields = type(item).model_fields.items()
    return [name for name, field in fields if name not in known and getattr(item, name) != field.default]
