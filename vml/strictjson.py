"""JSON that somebody else wrote and that need not be canonical: one way to read it, for every file and every wire.

Python's parser takes more than JSON, recurses, and keeps the last of two values of one name. Here the text is UTF-8 and
of bounded depth, looked at before the parser meets it; each name stands once in an object, so that no two readers see
two things; and numbers are finite. `vml.canonical` reads what has one encoding only.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from vml.canonical import MAX_DEPTH, require_shallow


def loads(data: bytes, *, levels: int = MAX_DEPTH, whole: bool = False) -> Any:
    """The value of a text.

    Args:
        data: from anyone; its size is the caller's to bound.
        levels: how deep it may be nested.
        whole: numbers are whole numbers.

    Raises:
        ValueError: anything else; the message says what, without the text.

    Source: RFC 8259.
    """
    require_shallow(data, levels)
    # Decoded here: the parser would guess UTF-16 from the first bytes, and read another text than was looked at.
    return json.loads(
        data.decode("utf-8"),
        object_pairs_hook=_unique,
        parse_constant=_refuse_constant,
        parse_float=_refuse_fraction if whole else None,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name: it stands twice in one object")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")


def _refuse_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a whole number")
