"""The Fiat-Shamir transcript: every challenge is a hash of all that was said before it.

H is Keccak-256, ``||`` is concatenation, u8, u16, u32 and u64 are big-endian, and a *text* is its length u8 and
that many ASCII bytes. The transcript has a state of 32 bytes and a list of items.

::

    start      state = H(00 || text protocol), no items
    observe    append the item  01 || text label || bytes u64 || data
    observe_ext               02 || text label || elements u64 || each element as 16 bytes
    sample     state = H(40 || state || all items || request), and no items remain
               request:       03 || text label                                  one extension element
                              04 || text label || count u32                     a point
                              05 || text label || count u32 || log_bound u8     indices
    words      of a sample: the 8-byte pieces of  state || H(41 || state || 00000001) || H(41 || state || 00000002) ...
               read as little-endian integers, in that order

An element takes the next two words below p, constant coefficient first (any word from p on is passed over, each
with a chance of 2^-32), so it is exactly uniform; a point takes an element for each coordinate; an index takes the
low ``log_bound`` bits of one word, and indices may repeat.

Every part of an item has a fixed size or follows its own length, and the first byte tells the kinds apart: items
are read back in one way only, so no two histories hash the same bytes unless H collides. The first byte of every
preimage tells start, sample and words apart. A sample is itself part of the history: what was asked, in which order,
changes every later answer. All of the state is public, which is why a state may serve as the first words.

This is the hash-chain form of Fiat-Shamir, in which the challenge of a round is a random oracle's answer to the
whole history (E. Ben-Sasson, A. Chiesa, N. Spooner, "Interactive Oracle Proofs", 2016/116). The same
class serves prover and verifier.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache

from vml.field.goldilocks import Ext, P
from vml.keccak import keccak256

_START, _SAMPLE, _WORDS = b"\x00", b"\x40", b"\x41"
_OBSERVE, _OBSERVE_EXT, _ASK_EXT, _ASK_POINT, _ASK_INDICES = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"

MAX_LABEL = 255
MAX_COUNT = 2**32 - 1
MAX_LOG_BOUND = 64

_four_words = struct.Struct("<4Q").unpack


@lru_cache(maxsize=4096)
def _text(label: str) -> bytes:
    if not 1 <= len(label) <= MAX_LABEL or not label.isascii():
        raise ValueError(f"a label has 1 to {MAX_LABEL} ASCII characters, not {label!r}")
    return bytes((len(label),)) + label.encode("ascii")


class Transcript:
    """One conversation. Wrong arguments are ValueError and leave the conversation as it was.

    Args:
        protocol: the name and version of what is spoken.
    """

    __slots__ = ("_items", "_state")

    def __init__(self, protocol: str) -> None:
        self._state = keccak256(_START + _text(protocol))
        self._items = bytearray()

    def observe(self, label: str, data: bytes) -> None:
        """Take in any bytes under a label."""
        self._items += _OBSERVE + _text(label) + len(data).to_bytes(8, "big")
        self._items += data

    def observe_ext(self, label: str, values: Sequence[Ext]) -> None:
        """Take in extension elements. An element that is not canonical is refused: it would be a second name."""
        count = len(values)
        flat = [coefficient for low, high in values for coefficient in (low, high)]
        if count and not 0 <= min(flat) <= max(flat) < P:
            raise ValueError(f"not canonical extension elements under {label!r}")
        self._items += _OBSERVE_EXT + _text(label) + count.to_bytes(8, "big")
        self._items += struct.pack(f"<{2 * count}Q", *flat)

    def _sample(self, request: bytes) -> None:
        self._state = keccak256(_SAMPLE + self._state + self._items + request)
        self._items.clear()

    def _words(self) -> Iterator[int]:
        yield from _four_words(self._state)
        counter = 1
        while True:
            yield from _four_words(keccak256(_WORDS + self._state + counter.to_bytes(4, "big")))
            counter += 1

    def sample_ext(self, label: str) -> Ext:
        """A uniform extension element."""
        self._sample(_ASK_EXT + _text(label))
        first, second, _, _ = _four_words(self._state)
        if first < P and second < P:
            return (first, second)
        below = (word for word in self._words() if word < P)
        return (next(below), next(below))

    def sample_point(self, label: str, count: int) -> list[Ext]:
        """``count`` uniform extension elements: one sample."""
        self._sample(_ASK_POINT + _text(label) + _count(count))
        below = (word for word in self._words() if word < P)
        return [(next(below), next(below)) for _ in range(count)]

    def sample_indices(self, label: str, count: int, log_bound: int) -> list[int]:
        """``count`` uniform integers below 2^log_bound, which may repeat: one sample."""
        if not 0 <= log_bound <= MAX_LOG_BOUND:
            raise ValueError(f"indices have 0 to {MAX_LOG_BOUND} bits, not {log_bound}")
        self._sample(_ASK_INDICES + _text(label) + _count(count) + bytes((log_bound,)))
        mask = (1 << log_bound) - 1
        words = self._words()
        return [next(words) & mask for _ in range(count)]


def _count(count: int) -> bytes:
    if not 0 <= count <= MAX_COUNT:
        raise ValueError(f"a sample has 0 to {MAX_COUNT} values, not {count}")
    return count.to_bytes(4, "big")
