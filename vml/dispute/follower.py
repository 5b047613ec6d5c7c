"""Following a contract's events on a chain that may be reorganised, behind a node that may fail.

Logs are asked for in bounded ranges. Hashes of the last blocks are remembered: where the chain has another block at one
of those heights, everything after the last common one is forgotten and read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vml.chain import abi
from vml.chain.client import Chain
from vml.chain.rpc import Refused, octets, quantity, record
from vml.dispute.calls import contract_abi
from vml.dispute.ledger import Event, Ledger, apply, read_terms
from vml.dispute.store import Seen, Store
from vml.errors import ChainError

SPAN = 2_000
"""Blocks that are asked for at once, at most."""
REMEMBERED = 256


class Moved(ChainError):
    """The chain changed while it was read: read again."""


@dataclass(frozen=True)
class Block:
    number: int
    hash: str
    parent: str
    at: int


@dataclass(frozen=True)
class Head:
    """How far the chain is, and how far the ledger.

    Args:
        number, at: of the chain's last block, and its time.
        read: last block that the ledger knows.
        fresh: events since the last time.
        dropped: blocks that a reorganisation took away, as far as they were remembered.
    """

    number: int
    at: int
    read: int
    fresh: tuple[Event, ...]
    dropped: int


class Follower:
    """Keeps a ledger up to date.

    Args:
        chain: with the contract.
        game: the contract's address.
        store: what was seen before.
        first: block to begin at.
        confirmations: blocks that hold an event before it counts, its own included.
        remembered: how deep a reorganisation is found out cheaply; a deeper one costs reading everything again.
        span: blocks in one request.
    """

    def __init__(
        self,
        chain: Chain,
        game: str,
        store: Store,
        *,
        first: int = 0,
        confirmations: int = 1,
        remembered: int = REMEMBERED,
        span: int = SPAN,
    ) -> None:
        if first < 0 or min(confirmations, remembered, span) < 1:
            raise ValueError("blocks are counted from 0, confirmations and lengths from 1")
        self._chain, self.game, self._store, self._abi = chain, game, store, contract_abi()
        self._first, self._confirmations, self._remembered, self._span = first, confirmations, remembered, span
        self._origin: int | None = None
        self._version = store.version()
        self.ledger = self._replay()

    def sync(self) -> Head:
        """Read what is new. With a file that others may have open, only while it is held.

        Raises:
            ChainError: the node does not answer, contradicts itself, or the chain changes all the time.
        """
        version = self._store.version()
        if version != self._version:
            # Another process has read on.
            self._version, self.ledger = version, self._replay()
        head = self._block("latest")
        dropped = self._back_to_common()
        fresh: list[Event] = []
        known = self._store.blocks()
        last, parent = known[0] if known else (self._first - 1, None)
        target, span = head.number - (self._confirmations - 1), self._span
        while last < target:
            until = min(last + span, target)
            try:
                seen, blocks = self._range(last + 1, until, parent)
            except Refused:
                if until == last + 1:
                    raise
                span = max(1, (until - last) // 2)  # nodes bound ranges and answers, each in its own way
                continue
            events = [event for log in seen for event in self._events(log)]
            ledger = self.ledger
            for event in events:
                ledger = apply(self._with_terms(ledger, event), event)
            self._store.append(seen, blocks, self._remembered)
            self.ledger = ledger
            fresh += events
            last, parent = until, blocks[-1][1]
            span = min(self._span, span * 2)
        return Head(head.number, head.at, last, tuple(fresh), dropped)

    def stored_input(self, model: bytes, commitment: bytes) -> tuple[bytes, ...] | None:
        """Look for an input's bytes in all events of the contract, those before the first block included.

        Args:
            model, commitment: of the input.

        Returns:
            The bytes as the node gives them, to be compared with the commitment. None where it gives none.

        Raises:
            ChainError: the node does not answer, or its logs are none.
        """
        (event,) = [e for e in self._abi if e["type"] == "event" and e["name"] == "InputPublished"]
        topics = ["0x" + word.hex() for word in (abi.topic(event), model, commitment)]
        if self._origin is None:
            self._origin = first_block(self._chain, self.game)
        at, last = self._origin, self._chain.rpc.number("eth_blockNumber")
        span = last + 1
        while at <= last:
            until = min(at + span - 1, last)
            try:
                found = self._chain.rpc.ask(
                    "eth_getLogs",
                    {"address": self.game, "fromBlock": hex(at), "toBlock": hex(until), "topics": topics},
                )
            except Refused:
                if span == 1:
                    return None
                span = max(1, (until - at + 1) // 2)
                continue
            for item in found if isinstance(found, list | tuple) else ():
                try:
                    ((_, values),) = abi.decode_logs([event], [record(item, "a log")])
                except (KeyError, TypeError, ValueError) as error:
                    raise ChainError(f"a log of an input is none of the contract's: {error}") from None
                return tuple(values["data"])
            at = until + 1
        return None

    # ---- within ----------------------------------------------------------------------------------------------------

    def _replay(self) -> Ledger:
        ledger = Ledger(self._chain.chain_id, bytes.fromhex(self.game[2:]))
        for log in self._store.logs():
            for event in self._events(log):
                ledger = apply(self._with_terms(ledger, event), event)
        return ledger

    def _back_to_common(self) -> int:
        """Forget what the chain has no longer; returns how many remembered blocks that were."""
        known = self._store.blocks()
        gone = 0
        for number, digest in known:
            block = self._maybe(hex(number))
            if block is not None and block.hash == digest:
                break
            gone += 1
        if gone:
            # Deeper than anything that is remembered: begin anew.
            self._store.rollback(known[gone][0] if gone < len(known) else self._first - 1)
            self.ledger = self._replay()
        return gone

    def _range(self, first: int, last: int, parent: str | None) -> tuple[list[Seen], list[tuple[int, str]]]:
        """The logs of some blocks, and hashes that stand for the chain they are on."""
        before = self._block(hex(last))
        if parent is not None and (before if first == last else self._block(hex(first))).parent != parent:
            raise Moved("the chain was reorganised while it was read; it is read again")
        found = self._chain.rpc.ask(
            "eth_getLogs", {"address": self.game, "fromBlock": hex(first), "toBlock": hex(last)}
        )
        if not isinstance(found, list | tuple):
            raise ChainError("the node's logs are no list")
        blocks: dict[int, Block] = {}
        seen = []
        for item in found:
            log = record(item, "a log")
            number = quantity(log.get("blockNumber"), "a log's block")
            if not first <= number <= last or str(log.get("address", "")).lower() != self.game.lower():
                raise ChainError("the node's logs are of other blocks, or of another contract; do not trust this node")
            if number not in blocks:
                blocks[number] = self._block(hex(number))
            if "0x" + octets(log.get("blockHash"), "a log's block", 32).hex() != blocks[number].hash:
                raise Moved("the chain was reorganised while it was read; it is read again")
            body = {name: log.get(name) for name in ("address", "topics", "data", "transactionHash")}
            seen.append(Seen(number, quantity(log.get("logIndex"), "a log's index"), blocks[number].at, body))
        if self._block(hex(last)).hash != before.hash:
            raise Moved("the chain was reorganised while it was read; it is read again")
        seen.sort(key=lambda log: (log.block, log.place))
        if len({(log.block, log.place) for log in seen}) < len(seen):
            raise ChainError("the node has two logs at one place of a block; do not trust this node")
        return seen, sorted({(block.number, block.hash) for block in (*blocks.values(), before)})

    def _events(self, log: Seen) -> list[Event]:
        body: Mapping[str, Any] = log.body
        try:
            decoded = abi.decode_logs(self._abi, [body])
        except (KeyError, TypeError, ValueError) as error:
            raise ChainError(f"a log in block {log.block} is none of the contract's: {error}") from None
        hash_ = str(body.get("transactionHash"))
        return [Event(name, values, log.at, log.block, log.place, hash_) for name, values in decoded]

    def _with_terms(self, ledger: Ledger, event: Event) -> Ledger:
        """Terms that were offered before the first block that was read are asked for."""
        if event.name != "Asserted":
            return ledger
        digest = event.values["assertion"][2]
        if digest in ledger.terms:
            return ledger
        terms = read_terms(self._chain.call(self.game, self._abi, "termsOf", digest))
        if terms.digest() != digest:
            raise ChainError("the contract's terms are not those of their digest; do not trust this node")
        return replace(ledger, terms={**ledger.terms, digest: terms})

    def _block(self, number: str) -> Block:
        block = self._maybe(number)
        if block is None:
            raise Moved(f"the node does not know block {number} (any more)")
        return block

    def _maybe(self, number: str) -> Block | None:
        found = self._chain.rpc.ask("eth_getBlockByNumber", number, False)
        if found is None:
            return None
        block = record(found, "a block")
        digests = ["0x" + octets(block.get(name), f"a block's {name}", 32).hex() for name in ("hash", "parentHash")]
        numbers = [quantity(block.get(name), f"a block's {name}") for name in ("number", "timestamp")]
        return Block(numbers[0], digests[0], digests[1], numbers[1])


def first_block(chain: Chain, game: str) -> int:
    """The block that created the contract, by halving; 0 where the node keeps no old states."""
    low, high = 0, chain.rpc.number("eth_blockNumber")
    try:
        while low < high:
            middle = (low + high) // 2
            if chain.rpc.data("eth_getCode", game, hex(middle)):
                high = middle
            else:
                low = middle + 1
    except ChainError:
        return 0
    return low
