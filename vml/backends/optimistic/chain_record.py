"""What a game on a chain says of one assertion: one call, encoded and decoded here.

    recordOf(bytes32 id) returns (openedAt, closesAt, rootsAt, requestedAt, openDisputes, status, ...)

The answer is nine words (`IDisputeGame.Record`). What does not look like it comes from another contract than the one
that the verifier pinned, or from a node that is out of order: a `ChainError`, no verdict about the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from vml.backends.optimistic.payload import Bundle
from vml.backends.types import ChainView
from vml.claim import checksum_address
from vml.errors import ChainError
from vml.keccak import keccak256

RECORD_OF = keccak256(b"recordOf(bytes32)")[:4]
WORDS = 9


class Standing(IntEnum):
    """Where an assertion is, in the numbers of `IDisputeGame.Status`."""

    NONE = 0
    OPEN = 1
    FINAL = 2
    SLASHED = 3
    VOID = 4


@dataclass(frozen=True)
class ChainRecord:
    """A game's word about an assertion.

    Args:
        standing: where it is.
        closes_at: last second in which a dispute could be opened; unix time.
        open_disputes: number of them.
    """

    standing: Standing
    closes_at: int
    open_disputes: int


def read_record(chain: ChainView, bundle: Bundle) -> ChainRecord:
    """Ask the bundle's game for the bundle's assertion.

    Args:
        chain: the one that the bundle names.
        bundle: its game is one that the verifier accepts.

    Raises:
        ChainError: the contract or the node does not answer as a game does.
    """
    game = checksum_address(bundle.game)
    answer = chain.call(game, RECORD_OF + bundle.id)
    words = [int.from_bytes(answer[at : at + 32], "big") for at in range(0, len(answer), 32)]

    # step 1: it answers as a game does
    if len(answer) != 32 * WORDS or words[5] not in {int(one) for one in Standing} or words[1] >= 1 << 40:
        raise ChainError(f"{game} does not answer recordOf as a dispute game does, on chain {chain.chain_id}")
    return ChainRecord(Standing(words[5]), words[1], words[4])
