"""Bytes within JSON: hexadecimal, base64url, lists of numbers, PEM. All raise `MalformedProof` for anything else."""

from __future__ import annotations

import base64
import re
from typing import Any

from vml import strictjson
from vml.tee.reasons import malformed
from vml.tee.x509 import pem_blocks

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*", re.ASCII)


def read_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object in UTF-8 without names that stand twice."""

    try:
        found = strictjson.loads(data)
    except ValueError as error:
        raise malformed(what, str(error)) from error
    if not isinstance(found, dict):
        raise malformed(what, "not a JSON object")
    return found


def from_hex(value: object, what: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise malformed(what, "not hexadecimal")
    return bytes.fromhex(value)


def from_base64url(value: object, what: str) -> bytes:
    """Base64url in its one canonical form, padding included."""
    try:
        data = base64.b64decode(value if isinstance(value, str) else "=", altchars=b"-_", validate=True)
    except ValueError as error:
        raise malformed(what, "not base64url") from error
    if base64.urlsafe_b64encode(data).decode() != value:
        raise malformed(what, "base64url in another form")
    return data


def from_numbers(value: object, what: str) -> bytes:
    """A list of numbers from 0 to 255."""
    if not isinstance(value, list) or not all(type(number) is int and 0 <= number <= 0xFF for number in value):
        raise malformed(what, "not a list of bytes")
    return bytes(value)


def from_pem(value: object, what: str) -> bytes:
    """The DER of one certificate."""
    blocks = pem_blocks(value.encode() if isinstance(value, str) and value.isascii() else b"", what)
    if len(blocks) != 1:
        raise malformed(what, f"{len(blocks)} certificates")
    return blocks[0]
