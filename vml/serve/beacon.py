"""Public beacons: values that nobody knows before their round, and everybody afterwards.

A server asks every other second which round is the latest. A sample made meanwhile is decided by a round some rounds
later: far enough that it is still to come although the latest known round is a little old. When the beacon was not
heard of for a few seconds, or has lately gone on by as many rounds in such a time, nothing is sampled by it.

Sources of rounds: the blocks of a chain (a round is a block's number, its value the block's hash, taken when enough
blocks follow; whoever makes blocks can throw some away, and so has a little say), and a file of lines
``ROUND 0xVALUE``, which somebody else appends to (drand, a lottery, a test).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vml.claim import parse_bytes32
from vml.errors import ChainError, VmlError
from vml.serve.limits import Rejected

if TYPE_CHECKING:
    from vml.serve.store import Store

POLL_S = 2.0
SILENT_S = 8.0
WATCHED_S = 60.0
"""The beacon's pace is the fastest of this time."""

CONFIRMATIONS = 2
"""So many blocks follow one whose hash is taken."""

MAX_FILE_BYTES = 16 << 20
TIMEOUT_S = 10.0
log = logging.getLogger("vml.serve")


class Source(Protocol):
    """Where rounds come from. Calls block."""

    def latest(self) -> int:
        """Number of the latest round whose value somebody may know.

        Raises:
            VmlError, OSError, ValueError: it does not answer.
        """

    def value(self, number: int) -> bytes | None:
        """32 bytes of a round; None while it is to come or not settled."""


class FileSource:
    """Rounds in a file, one a line: its number and its value, numbers rising."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def latest(self) -> int:
        """The last line's number; 0 without lines."""
        return max(self._rounds(), default=0)

    def value(self, number: int) -> bytes | None:
        """What the line of this number says."""
        return self._rounds().get(number)

    def _rounds(self) -> dict[int, bytes]:
        with self._path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode("ascii", "replace")
        found: dict[int, bytes] = {}
        for line in text.splitlines():
            number, _, value = line.partition(" ")
            if not number.isdecimal() or (found and int(number) <= max(found)):
                raise ValueError(f"{self._path}: lines are a rising number and 0x and 64 hex digits")
            found[int(number)] = parse_bytes32(value.strip())
        return found


class ChainSource:
    """Blocks of a chain.

    Args:
        url: of a node's JSON-RPC.
    """

    def __init__(self, url: str) -> None:
        import httpx

        self._http = httpx.Client(timeout=TIMEOUT_S)
        self._url = url
        self._calls = 0

    def latest(self) -> int:
        """The head's number."""
        return int(str(self._call("eth_blockNumber", [])), 16)

    def value(self, number: int) -> bytes | None:
        """The block's hash, when enough blocks follow it."""
        if self.latest() < number + CONFIRMATIONS:
            return None
        block = self._call("eth_getBlockByNumber", [hex(number), False])
        return None if block is None else parse_bytes32(str(block["hash"]))

    def _call(self, method: str, params: list[Any]) -> Any:
        import httpx

        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        try:
            answer = self._http.post(self._url, json=request).json()
            return answer["result"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ChainError(f"the beacon's node does not answer {method}: {type(error).__name__}") from None


class Beacon:
    """What the server knows of its beacon.

    Args:
        source: of rounds.
        ahead: a sample is decided so many rounds after the latest known one.
        clock: seconds that never go back.
    """

    def __init__(self, source: Source, ahead: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._ahead, self._clock = source, ahead, clock
        self.latest: int | None = None
        self._looks: deque[tuple[float, int]] = deque()
        self._passing = math.inf

    def coming(self) -> int:
        """The round that decides a sample made now.

        Raises:
            Rejected: 503, nothing was heard of the beacon lately, or it is too fast for what is known of it.
        """
        if self.latest is None or self._clock() - self._looks[-1][0] > SILENT_S:
            raise Rejected(503, "the beacon is silent: nothing can be sampled by it now", retry_after_s=10)
        if self._passing >= self._ahead:
            raise Rejected(503, "the beacon's pace is too fast for --beacon-rounds, or not known yet", retry_after_s=10)
        return self.latest + self._ahead

    def poll(self, store: Store) -> int:
        """Ask for the latest round, and have jobs decided whose rounds have come. Blocks.

        Returns:
            How many rounds were decided.
        """
        asked_at = self._clock()
        self.latest = self._source.latest()
        if self._looks and asked_at - self._looks[-1][0] > SILENT_S:
            self._looks.clear()
        self._looks.append((asked_at, self.latest))
        while self._looks[0][0] < asked_at - WATCHED_S:
            self._looks.popleft()
        self._passing = _passing(self._looks)
        decided = 0
        for number in store.waiting_rounds():
            value = self._source.value(number) if number <= self.latest else None
            if value is not None:
                store.decide(number, value)
                decided += 1
        return decided

    async def run(self, store: Store, told: Callable[[int], None]) -> None:
        """Poll until cancelled.

        Args:
            store: whose jobs wait.
            told: called with the latest round.
        """
        while True:
            try:
                await asyncio.to_thread(self.poll, store)
                told(self.latest or 0)
            except (VmlError, OSError, ValueError) as error:
                log.warning("beacon", extra={"fields": {"error": type(error).__name__}})
            await asyncio.sleep(POLL_S)


def _passing(looks: Sequence[tuple[float, int]]) -> float:
    """How many rounds may pass in `SILENT_S` that nobody here hears of: the most there were in such a time.

    Args:
        looks: times, rising, and the latest round at each; none is further from the next than `SILENT_S`.
    """
    (began, first), (ended, last) = looks[0], looks[-1]
    if ended <= began:
        return math.inf
    if ended - began < SILENT_S:
        return (max(0, last - first) + 1) * SILENT_S / (ended - began)  # the next one may be due
    most, start = 0, 0
    for at, number in looks:
        while at - looks[start][0] >= SILENT_S:
            most = max(most, number - looks[start][1])
            start += 1
    return most


def open_beacon(where: str, ahead: int) -> Beacon:
    """A beacon by its place: http:// or https:// of a chain's node, else a file."""
    source: Source = ChainSource(where) if where.startswith(("http://", "https://")) else FileSource(Path(where))
    return Beacon(source, ahead)
