"""Canonical JSON: one value, one encoding (RFC 8785), integers only.

Everything vml writes as JSON and later trusts (proofs, identities) passes through here. Floating point
numbers are refused altogether: two decoders may disagree about them, and nothing in a claim is a float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import rfc8785

JSON: TypeAlias = bool | int | str | Sequence["JSON"] | Mapping[str, "JSON"] | None

MAX_DEPTH = 32
MAX_VALUES = 1 << 21
MAX_INTEGER = (1 << 53) - 1
_MAX_INTEGER_TEXT = len(str(-MAX_INTEGER))
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A whole string, or one bracket outside strings. Nothing is tried twice: a string without an end reaches to the end of
the text, and possessive quantifiers give nothing back, so that the time is linear for every text."""


class NotCanonical(ValueError):
    """The bytes are not the one canonical encoding of a JSON value, or the value has no such encoding."""


def encode(value: JSON) -> bytes:
    """Encode a value as canonical JSON.

    Args:
        value: None, bool, int within ±(2^53 - 1), str, list or tuple, dict with str keys; at most 32
            levels deep.

    Returns:
        The RFC 8785 encoding, UTF-8, no white space.

    Raises:
        NotCanonical: the value holds something else, or is nested too deeply.

    Source: RFC 8785 (JSON Canonicalization Scheme).
    """
    _check_value(value)
    try:
        return rfc8785.dumps(value)
    except ValueError as error:
        raise NotCanonical(str(error)) from error


def decode(data: bytes, *, max_bytes: int) -> Any:
    """Decode canonical JSON, refusing every other spelling of the same value.

    Args:
        data: the encoding, at most `max_bytes` bytes and 2^21 values.
        max_bytes: bound checked before anything is parsed, in bytes.

    Returns:
        The value, made of None, bool, int, str, list and dict.

    Raises:
        NotCanonical: too large, not JSON, or JSON that is not canonical (order, white space, escapes,
            duplicate keys, floats, integers beyond ±(2^53 - 1), lone surrogates, more than 32 levels).

    Source: RFC 8785 (JSON Canonicalization Scheme).
    """
    # Step 1: bound size and count before any parsing, so that noise costs nothing.
    if len(data) > max_bytes:
        raise NotCanonical(f"{len(data)} bytes, at most {max_bytes} are allowed")
    # Every array or object element but the first follows a comma, so this bounds the number of values.
    if data.count(b",") > MAX_VALUES:
        raise NotCanonical(f"more than {MAX_VALUES} values")

    # Step 2: parse; each hook refuses what the canonical form cannot hold.
    require_shallow(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except NotCanonical:
        raise
    except ValueError as error:
        raise NotCanonical(f"not JSON: {error}") from error

    # Step 3: the encoding of the value must be the bytes that came in.
    if encode(value) != data:
        raise NotCanonical("not the canonical encoding (RFC 8785)")
    return value


def require_shallow(data: bytes, levels: int = MAX_DEPTH) -> None:
    """Refuse JSON that is nested too deep, before Python's parser meets it.

    The parser recurses, and only the interpreter's recursion limit stops it. A library that raises the limit (as some
    of a chain's do when they are imported) turns a hundred thousand brackets into a crash of the process.

    Raises:
        NotCanonical: more than ``levels``.
    """
    depth = 0
    for token in _NESTING.finditer(data):
        first = data[token.start()]
        if first in b"[{":
            depth += 1
            if depth > levels:
                raise NotCanonical(f"nested more than {levels} levels deep")
        elif first in b"]}":
            depth -= 1


def _check_value(value: object) -> None:
    """Refuse what canonical JSON cannot hold; level by level, so depth cannot exhaust the stack."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for item in level:
            if item is None or isinstance(item, bool | str):
                continue
            if isinstance(item, int):
                if not -MAX_INTEGER <= item <= MAX_INTEGER:
                    raise NotCanonical("an integer is beyond ±(2^53 - 1)")
            elif isinstance(item, list | tuple):
                below.extend(item)
            elif isinstance(item, dict):
                if not all(isinstance(key, str) for key in item):
                    raise NotCanonical("an object key is not a string")
                below.extend(item.values())
            else:
                raise NotCanonical(f"a {type(item).__name__} has no place in canonical JSON")
        if not below:
            return
        level = below
    raise NotCanonical(f"nested more than {MAX_DEPTH} levels deep")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotCanonical("duplicate key in an object")
    return result


def _integer(text: str) -> int:
    # Bounded here, because converting a very long integer is slow.
    if len(text) > _MAX_INTEGER_TEXT:
        raise NotCanonical("an integer is beyond ±(2^53 - 1)")
    return int(text)


def _refuse_number(text: str) -> NoReturn:
    raise NotCanonical(f"{text[:20]} is not an integer")
