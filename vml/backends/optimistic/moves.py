"""The moves of the dispute game. Every move names by hash, not by place in a queue, what it is about.

A move in a dispute brings what it answers, or what hashes to it: should the chain reorganise and something else stand
there, the move is refused and cannot be turned against whoever made it. A contract keeps digests of lists and nodes, so
its moves bring Merkle paths besides; whoever sends a move makes them from the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vml.backends.optimistic.records import TAG_ASSERTION, VERSION, Address, Opening, Position, word
from vml.claim import Claim
from vml.keccak import keccak256

SETTLE_LIMIT = 64
"""Assertions of one question that a settlement goes through, unless it says otherwise."""


@dataclass(frozen=True)
class Assert:
    """Claim an output, with the asserter's bond.

    Args:
        claim: input and output commitments must be those of tensors in the clear.
        terms: digest of the terms.
        nonce: tells apart the assertions that one asserter makes of one claim.
        trace: ``trace_root`` of all operator roots, where the trace is published.
        input: tensor bytes, one for each input; none leaves them to be requested, unless they are published.
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
class StoreInput:
    """Anyone: publish an input, tensor bytes one for each input, before anybody claims anything about it."""

    model: bytes
    data: tuple[bytes, ...]


@dataclass(frozen=True)
class RequestInput:
    """Anyone, with a challenger's bond: make the asserter publish the input."""

    assertion: bytes


@dataclass(frozen=True)
class RevealInput:
    """Asserter: the input's tensor bytes. The window starts anew from here."""

    assertion: bytes
    input: tuple[bytes, ...]


@dataclass(frozen=True)
class ClaimInputTimeout:
    """Anyone: the asserter did not publish the input in time."""

    assertion: bytes


@dataclass(frozen=True)
class Escalate:
    """Anyone: show a stronger proof of the same claim, under the selector of its backend. The window shortens."""

    assertion: bytes
    selector: bytes


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
    """Challenger: the first operator whose root is wrong, and that root."""

    dispute: bytes
    operator: int
    root: bytes


@dataclass(frozen=True)
class RevealNode:
    """Asserter: the 32 descendants of the node that the dispute asks for. They count for every dispute."""

    dispute: bytes
    position: Position
    children: tuple[bytes, ...]


@dataclass(frozen=True)
class PickChild:
    """Challenger: the first wrong child of the revealed node `position`, and the child's digest."""

    dispute: bytes
    position: Position
    child: int
    digest: bytes


@dataclass(frozen=True)
class RevealLeaf:
    """Asserter: the bytes of the leaf that the dispute asks for. They count for every dispute."""

    dispute: bytes
    position: Position
    data: bytes


@dataclass(frozen=True)
class ProveStep:
    """Anyone, for the challenger: an element of the leaf revealed as `data` is not what the operator computes."""

    dispute: bytes
    position: Position
    data: bytes
    element: int
    openings: tuple[Opening, ...]


@dataclass(frozen=True)
class ProveFraud:
    """Anyone: the same in one move, without a dispute, where the list of roots is revealed or its commitment published.

    Args:
        operator, root: which operator, and its root in the list.
        output: the leaf with the wrong element, in the operator's own tensor; its `operand` and `root` say nothing.
        openings: what the step of `element` reads.
        roots: the list; a contract sees of it only this operator's root and those of its inputs, with their paths.
    """

    assertion: bytes
    operator: int
    root: bytes
    output: Opening
    element: int
    openings: tuple[Opening, ...]
    roots: tuple[bytes, ...]


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
    """Anyone: the window has closed and nothing is open. Goes through at most `limit` assertions of the question."""

    assertion: bytes
    limit: int = SETTLE_LIMIT


@dataclass(frozen=True)
class Withdraw:
    """Anyone: take out one's credit."""


Move: TypeAlias = (
    Assert
    | StoreInput
    | RequestInput
    | RevealInput
    | ClaimInputTimeout
    | Escalate
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
