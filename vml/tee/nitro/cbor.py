"""The CBOR that attestation documents are written in, and no other.

Unsigned integers, byte strings, texts, arrays, maps with integers or texts as names, and null; every length in its
shortest form; no tags, floats, negative numbers or names that stand twice. Lengths are given up front, except that of
the outermost map, which AWS has left open since 2025. A general decoder runs code for tags before anybody could
refuse them; this one has nothing to run.

Source: RFC 8949, sections 3 and 4.2.1.
"""

from __future__ import annotations

from collections.abc import Mapping

from vml.tee.reasons import malformed

Item = int | bytes | str | list["Item"] | Mapping[int | str, "Item"] | None

MAX_DEPTH = 3
_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP = 0, 2, 3, 4, 5
_OPEN_MAP, _BREAK, _NULL = 0xBF, 0xFF, 0xF6


class Reader:
    """Takes items off the front of some bytes. Every method raises `MalformedProof` for other ones."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.at, self.what = data, 0, what

    def item(self, depth: int = MAX_DEPTH) -> Item:
        """The next item, of at most `depth` levels of arrays and maps."""
        if self.data[self.at : self.at + 1] == bytes([_NULL]):
            self.at += 1
            return None
        major, number = self._head()
        if major == _UNSIGNED:
            return number
        if major == _BYTES:
            return self._take(number)
        if major == _TEXT:
            return self._text(number)
        if major not in (_ARRAY, _MAP) or not depth:
            raise malformed(self.what, f"an item of type {major} at {self.at}")
        if major == _ARRAY:
            return [self.item(depth - 1) for _ in range(self._count(number))]
        found: dict[int | str, Item] = {}
        for _ in range(self._count(number)):
            self._entry(found, depth - 1)
        return found

    def outermost_map(self) -> Mapping[int | str, Item]:
        """The one map that may leave its length open."""
        found: dict[int | str, Item] = {}
        if self.data[self.at : self.at + 1] != bytes([_OPEN_MAP]):
            major, count = self._head()
            if major != _MAP:
                raise malformed(self.what, "not a map")
            for _ in range(self._count(count)):
                self._entry(found, MAX_DEPTH - 1)
            return found
        self.at += 1
        while self.data[self.at : self.at + 1] != bytes([_BREAK]):
            self._entry(found, MAX_DEPTH - 1)
        self.at += 1
        return found

    def end(self) -> None:
        """Nothing follows."""
        if self.at != len(self.data):
            raise malformed(self.what, f"{len(self.data) - self.at} bytes too many")

    def _entry(self, found: dict[int | str, Item], depth: int) -> None:
        name = self.item(0)
        if not isinstance(name, int | str) or name in found:
            raise malformed(self.what, f"a name that is none, or stands twice, before {self.at}")
        found[name] = self.item(depth)

    def _head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, short = first >> 5, first & 0x1F
        if short < 24:
            return major, short
        if short > 27:
            raise malformed(self.what, f"a length of another form at {self.at}")
        width = 1 << (short - 24)
        number = int.from_bytes(self._take(width), "big")
        if number < (24 if width == 1 else 1 << (4 * width)):
            raise malformed(self.what, f"a length that is not in its shortest form at {self.at}")
        return major, number

    def _count(self, number: int) -> int:
        """How many items follow: no more than bytes are left."""
        if number > len(self.data) - self.at:
            raise malformed(self.what, "cut off")
        return number

    def _take(self, size: int) -> bytes:
        self.at += self._count(size)
        return self.data[self.at - size : self.at]

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise malformed(self.what, "a text that is not UTF-8") from error
