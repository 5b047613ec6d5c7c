"""The moves of the dispute game. Every move names by hash, not by place in a queue, what it is about.

Whatever a move answers, its `answers` is the digest of that: should the chain reorganise and something else stand
there, the move is refused and cannot be turned against whoever made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vml.backends.optimistic.records import TAG_ASSERTION, VERSION, Address, Opening, Position, word
from vml.claim import Claim
from vml.keccak import keccak256


@dataclass(frozen=True)
class Assert:
    """Claim an output, with the asserter's bond.

    Args:
        claim: input and output commitments must be those of tensors in the clear.
        terms: digest of the terms.
        nonce: tells apart the assertions that one asserter makes of one claim.
        trace: ``tensors_root`` of all operator roots, where the trace is published.
        input: tensor bytes, one for each input; None leaves them to be requested.
    """

    claim: Claim
    terms: bytes
    nonce: int = 0
    trace: bytes | None = None
    input: tuple[bytes, ...] | None = None

    def id(self, chain_id: int, contract: Address, asserter: Address) -> bytes:
        """The assertion's name: it is good on one chain, in one contract, for one asserter."""
        return keccak256(
            TAG_ASSERTION
            + word(VERSION)
            + word(chain_id)
            + contract.rjust(32, b"\0")
            + self.claim.digest()
            + asserter.rjust(32, b"\0")
            + self.terms
            + (self.trace or bytes(32))
            + word(self.nonce)
        )


@dataclass(frozen=True)
class RequestInput:
    """Anyone, with a challenger's bond: make the asserter publish the input."""

    assertion: bytes


@dataclass(frozen=True)
class RevealInput:
    """Asserter: the input's tensor bytes. The window is open for its full length from here."""

    assertion: bytes
    input: tuple[bytes, ...]


@dataclass(frozen=True)
class ClaimInputTimeout:
    """Anyone: the asserter did not publish the input in time."""

    assertion: bytes


@dataclass(frozen=True)
class Challenge:
    """Anyone, with a challenger's bond: open a dispute."""

    assertion: bytes
    salt: bytes


@dataclass(frozen=True)
class RevealList:
    """Asserter: the tensor roots of all operators. One answer for all disputes of the assertion."""

    assertion: bytes
    roots: tuple[bytes, ...]


@dataclass(frozen=True)
class PickOperator:
    """Challenger: the first operator whose root is wrong. `answers` is ``tensors_root`` of the list."""

    dispute: bytes
    answers: bytes
    operator: int


@dataclass(frozen=True)
class RevealNode:
    """Asserter: the 32 descendants of a node. `answers` is the node's digest, at the top the tensor's root."""

    assertion: bytes
    position: Position
    answers: bytes
    children: tuple[bytes, ...]


@dataclass(frozen=True)
class PickChild:
    """Challenger: the first wrong child of the revealed node `position`. `answers` is the node's digest."""

    dispute: bytes
    position: Position
    answers: bytes
    child: int


@dataclass(frozen=True)
class RevealLeaf:
    """Asserter: the bytes of a leaf. `answers` is its digest, for a tensor of one leaf the tensor's root."""

    assertion: bytes
    position: Position
    answers: bytes
    data: bytes


@dataclass(frozen=True)
class ProveStep:
    """Anyone, for the challenger: element `element` of the revealed leaf is not what the operator computes."""

    dispute: bytes
    position: Position
    answers: bytes
    element: int
    openings: tuple[Opening, ...]


@dataclass(frozen=True)
class ProveFraud:
    """Anyone: the same in one move, without a dispute, where the list of roots is published or revealed."""

    assertion: bytes
    roots: tuple[bytes, ...]
    operator: int
    element: int
    output: Opening
    openings: tuple[Opening, ...]


@dataclass(frozen=True)
class ProveList:
    """Anyone: the published list does not lead from the claimed input to the claimed output."""

    assertion: bytes
    roots: tuple[bytes, ...]


@dataclass(frozen=True)
class ClaimTimeout:
    """Anyone: the side to move in a dispute has run out of time."""

    dispute: bytes


@dataclass(frozen=True)
class CloseMoot:
    """Anyone: the assertion was slashed elsewhere; the challenger gets its bond back."""

    dispute: bytes


@dataclass(frozen=True)
class Settle:
    """Anyone: the window has closed and nothing is open. Compares at most `limit` assertions of the question."""

    assertion: bytes
    limit: int = 64


@dataclass(frozen=True)
class Withdraw:
    """Anyone: take out one's credit."""


Move: TypeAlias = (
    Assert
    | RequestInput
    | RevealInput
    | ClaimInputTimeout
    | Challenge
    | RevealList
    | PickOperator
    | RevealNode
    | PickChild
    | RevealLeaf
    | ProveStep
    | ProveFraud
    | ProveList
    | ClaimTimeout
    | CloseMoot
    | Settle
    | Withdraw
)
