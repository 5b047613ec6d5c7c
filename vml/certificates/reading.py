"""Fields of signed JSON, read strictly: one spelling of each value, nothing missing, nothing more.

Whatever is not as documented is `MalformedProof`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from vml.canonical import MAX_INTEGER
from vml.errors import MalformedProof

MAX_NAME = 200
MAX_TEXT = 4000
MAX_NUMBER = 64
_BYTES32 = re.compile(r"0x[0-9a-f]{64}")
BLANKS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters that look like nothing: names that differ in them look alike."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?|(0|[1-9][0-9]*)/[1-9][0-9]*")

Item = TypeVar("Item")


def record(what: str, value: object, names: Sequence[str]) -> Mapping[str, Any]:
    """An object with exactly these members."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise MalformedProof(f"{what} is an object with exactly {', '.join(sorted(names))}")
    return value


def items(what: str, value: object, read: Callable[[Any], Item], least: int, most: int) -> tuple[Item, ...]:
    """A list of so many elements."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise MalformedProof(f"{what} is a list of {least} to {most} elements")
    return tuple(map(read, value))


def ordered(what: str, keys: Sequence[Any]) -> None:
    """Elements in rising order, none of them twice: a list has one spelling and no padding."""
    if any(one >= other for one, other in pairwise(keys)):
        raise MalformedProof(f"{what} are in rising order, none of them twice")


def text(what: str, value: object, *, most: int = MAX_NAME, least: int = 1, lines: bool = False) -> str:
    """A text of bounded length without control characters; with `lines`, newlines are allowed."""
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise MalformedProof(f"{what} is a text of {least} to {most} characters")
    if any(not c.isprintable() and not (lines and c == "\n") for c in value):
        raise MalformedProof(f"{what} holds characters that cannot be seen")
    return value


def name(what: str, value: object) -> str:
    """A text that names somebody: no blanks at its ends, no letters that look like blanks."""
    found = text(what, value)
    if found != found.strip() or any(c in BLANKS for c in found):
        raise MalformedProof(f"{what} has blanks at its ends, or letters that cannot be seen")
    return found


def integer(what: str, value: object) -> int:
    """An integer from 0 to 2^53 - 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
        raise MalformedProof(f"{what} is an integer of at least 0")
    return value


def bytes32(what: str, value: object) -> bytes:
    """0x and 64 lower-case hex digits."""
    if not isinstance(value, str) or not _BYTES32.fullmatch(value):
        raise MalformedProof(f"{what} is 0x and 64 lower-case hex digits")
    return bytes.fromhex(value[2:])


def number(what: str, value: object) -> str:
    """An exact number as text: a decimal, or a fraction of whole numbers."""
    if not isinstance(value, str) or len(value) > MAX_NUMBER or not _NUMBER.fullmatch(value):
        raise MalformedProof(f"{what} is a decimal number or a fraction, as text")
    return value


def binary(what: str, value: object, most: int) -> bytes:
    """Base64 in its one spelling."""
    try:
        found = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or base64.b64encode(found).decode() != value or len(found) > most:
        raise MalformedProof(f"{what} is base64 of at most {most} bytes")
    return found


def hexed(data: bytes) -> str:
    """0x and lower-case hex digits."""
    return "0x" + data.hex()
