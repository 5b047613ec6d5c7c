"""What the dispute game holds and what is said to it: frozen records, no behaviour beyond their own hashes.

Money is in wei, time in seconds since any fixed moment, an address is 20 bytes, a digest 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TypeAlias

from vml.claim import Claim
from vml.keccak import keccak256

VERSION = 1
TAG_TERMS, TAG_ASSERTION, TAG_DISPUTE, TAG_QUESTION = b"\x20", b"\x21", b"\x22", b"\x23"
LEVELS = 5
"""Levels of a tensor's tree that one reveal goes down: 32 children."""

TERMS_BITS = {
    "window_s": 32,
    "asserter_clock_s": 32,
    "challenger_clock_s": 32,
    "extension_s": 32,
    "asserter_bond": 128,
    "challenger_bond": 128,
    "slash_reward": 128,
    "defence_reward": 128,
    "request_fee": 96,
    "escalated_window_s": 32,
}
"""How large the contract's types let each number of the terms be."""

Address: TypeAlias = bytes


def word(number: int) -> bytes:
    """A number as 32 bytes, big-endian."""
    return number.to_bytes(32, "big")


@dataclass(frozen=True)
class Terms:
    """The money and the clocks of an assertion, fixed when it is made.

    Args:
        window_s: how long disputes can be opened.
        asserter_clock_s, challenger_clock_s: each side's time in one dispute, all its moves together.
        extension_s: a side to move has at least this long.
        asserter_bond, challenger_bond: wei.
        slash_reward: of a slashed bond, what the winner gets; at most half, the rest is burned.
        defence_reward: of a lost challenger's bond, what the asserter gets; at most half, the rest is burned.
        request_fee: of the bond of who requests the input, what the asserter gets for answering.
        escalated_window_s: the window that is left once a stronger proof of the same claim was shown; not longer.
        escalation: which such proofs count, 32 bytes: the router's policy; zero for none.

    Raises:
        ValueError: a number is negative or too large for the contract's types, a clock is zero, or a reward exceeds
            its half.
    """

    window_s: int
    asserter_clock_s: int
    challenger_clock_s: int
    extension_s: int
    asserter_bond: int
    challenger_bond: int
    slash_reward: int
    defence_reward: int
    request_fee: int
    escalated_window_s: int = 0
    escalation: bytes = bytes(32)

    def __post_init__(self) -> None:
        for name, bits in TERMS_BITS.items():
            if not 0 <= getattr(self, name) < 1 << bits:
                raise ValueError(f"{name} is not negative and has at most {bits} bits, got {getattr(self, name)}")
        if min(self.window_s, self.asserter_clock_s, self.challenger_clock_s) < 1:
            raise ValueError("a window and clocks are at least a second")
        if 2 * self.slash_reward > self.asserter_bond or 2 * self.defence_reward > self.challenger_bond:
            raise ValueError("at least half of a lost bond is burned")
        if self.request_fee > self.challenger_bond:
            raise ValueError("the fee of a request comes out of the challenger's bond")
        if self.escalated_window_s > self.window_s:
            raise ValueError("a stronger proof does not make the window longer")
        if len(self.escalation) != 32:
            raise ValueError(f"escalation is 32 bytes, got {len(self.escalation)}")

    def digest(self) -> bytes:
        """H(0x20 || every field as one word, in order): what assertions name the terms by."""
        words = (getattr(self, each.name) for each in fields(self))
        return keccak256(TAG_TERMS + b"".join(w if isinstance(w, bytes) else word(w) for w in words))


class Status(Enum):
    """Where an assertion is. All but OPEN are ends."""

    OPEN = "open"
    FINAL = "final"
    SLASHED = "slashed"
    VOID = "void"
    """It stood, and so did another output for the same question: neither counts, nobody loses a bond."""


class Result(Enum):
    """Where a dispute is. All but OPEN are ends."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"
    MOOT = "moot"
    """The assertion fell elsewhere first; the bond went back."""


class Side(Enum):
    ASSERTER = "asserter"
    CHALLENGER = "challenger"


@dataclass(frozen=True, order=True)
class Position:
    """A node of the tree over one operator's output: height 0 is a leaf, `index` counts from the left."""

    operator: int
    height: int
    index: int


@dataclass(frozen=True)
class Reveal:
    """What the asserter showed at a position: a digest and what hashes to it.

    Args:
        digest: of the node or leaf in its tree (at the top: the tree's root, not the tensor's).
        content: 32-byte children from left to right, or the one leaf's bytes without padding.
        at: when.
    """

    digest: bytes
    content: tuple[bytes, ...]
    at: int


@dataclass(frozen=True)
class Request:
    """Somebody asked for the input."""

    requester: Address
    bond: int
    at: int


@dataclass(frozen=True)
class Assertion:
    """One bonded claim.

    Args:
        trace: commitment to the list of operator roots (``trace_root``), if published with the assertion.
        closes_at: last second in which a dispute can be opened.
        input: tensor bytes, one for each input, once they are public.
        roots: operator roots, once revealed; `roots_at` is when.
        reveals: what was shown of the operators' trees: never asked for twice.
        open_disputes: number of them.
        cursor: of the assertions for the same question, newest first, the next to compare; None before the first.
        contradicted: another output for the same question stood as well.
        escalated: a stronger proof of the claim was shown.
    """

    id: bytes
    claim: Claim
    asserter: Address
    terms: Terms
    opened_at: int
    closes_at: int
    bond: int
    trace: bytes | None = None
    status: Status = Status.OPEN
    input: tuple[bytes, ...] | None = None
    request: Request | None = None
    roots: tuple[bytes, ...] | None = None
    roots_at: int | None = None
    reveals: Mapping[Position, Reveal] = field(default_factory=dict)
    open_disputes: int = 0
    cursor: bytes | None = None
    contradicted: bool = False
    escalated: bool = False


@dataclass(frozen=True)
class Dispute:
    """One challenger against one assertion.

    Args:
        position: what the asserter has been asked for; None is the list of operator roots.
        digest: what it has to show the preimage of: of a node or leaf in its tree, at the top the tensor root; None
            with `position`.
        since: when it was asked.
        asserter_left_s, challenger_left_s: clocks at that moment.
    """

    id: bytes
    assertion: bytes
    challenger: Address
    bond: int
    since: int
    asserter_left_s: int
    challenger_left_s: int
    position: Position | None = None
    digest: bytes | None = None
    result: Result = Result.OPEN


@dataclass(frozen=True)
class State:
    """Everything the game remembers, with the contents of which a contract keeps digests. `play` makes a new one of it.

    Args:
        questions: assertions by what they answer, oldest first.
        published: inputs that anyone stored, as tensor bytes, by model and commitment.
        credits: what may be withdrawn.

    At all times ``received == held + credits + withdrawn + burned``, where held is the bonds of what is open.
    """

    now: int = 0
    assertions: Mapping[bytes, Assertion] = field(default_factory=dict)
    disputes: Mapping[bytes, Dispute] = field(default_factory=dict)
    questions: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    published: Mapping[tuple[bytes, bytes], tuple[bytes, ...]] = field(default_factory=dict)
    credits: Mapping[Address, int] = field(default_factory=dict)
    received: int = 0
    withdrawn: int = 0
    burned: int = 0

    def held(self) -> int:
        """Bonds of open assertions, of their unanswered requests, and of open disputes."""
        open_assertions = [a for a in self.assertions.values() if a.status is Status.OPEN]
        requests = sum(a.request.bond for a in open_assertions if a.request is not None)
        disputes = sum(d.bond for d in self.disputes.values() if d.result is Result.OPEN)
        return sum(a.bond for a in open_assertions) + requests + disputes


@dataclass(frozen=True)
class Call:
    """Who moves, with how much money, and when."""

    sender: Address
    now: int
    value: int = 0


@dataclass(frozen=True)
class Opening:
    """One leaf of a tensor that an operator reads or writes.

    Args:
        operand: which input of the operator; -1 is its output.
        leaf: number of the leaf.
        data: its bytes without padding.
        root: the root of the tensor's tree.
        path: siblings, the leaf's own first.
    """

    operand: int
    leaf: int
    data: bytes
    root: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Event:
    """Something happened.

    Args:
        name: what: the past participle of a move or of a decision.
        assertion: about which.
        dispute: in which, if in one.
        who: whose move it was, or who was paid.
        amount: wei, where money moved.
        reason: why an assertion was slashed.
    """

    name: str
    assertion: bytes | None = None
    dispute: bytes | None = None
    who: Address | None = None
    amount: int = 0
    reason: str = ""


def question_id(claim: Claim, terms: bytes) -> bytes:
    """What is asked: model, input and context of a claim without the answer, under terms (their digest).

    Anybody offers any terms, also without a bond and with clocks of a century: an assertion under such terms is in the
    way of no other.
    """
    return keccak256(TAG_QUESTION + claim.model + claim.input + claim.context + terms)


def dispute_id(assertion: bytes, challenger: Address, salt: bytes) -> bytes:
    """H(0x22 || assertion || challenger || salt): what a dispute is called follows from what it is."""
    return keccak256(TAG_DISPUTE + assertion + challenger.rjust(32, b"\0") + salt)
