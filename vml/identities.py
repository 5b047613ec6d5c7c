"""What set-ups recorded in a compiled folder: `identities.json`, where ``vml verify --model DIR`` looks.

A list of objects, one a set-up::

    {"backend":"ezkl","model":"0x…","scheme":"ezkl/…","vk_digest":"0x…"}

The record is the word of whoever ran the set-up in this folder: a verifier reads it in a folder of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vml import cache, canonical, files
from vml.claim import parse_bytes32
from vml.keccak import keccak256

if TYPE_CHECKING:
    from vml.backends.types import Keys

IDENTITIES = "identities.json"
MAX_IDENTITIES_BYTES = 1 << 20


@dataclass(frozen=True)
class Identity:
    """One record.

    Args:
        backend, scheme: of the set-up; empty where an older record does not say.
        model: 32-byte identity that proofs under these keys claim.
        vk_digest: 32-byte digest of the verifying key; None where an older record does not say.
    """

    backend: str
    scheme: str
    model: bytes
    vk_digest: bytes | None


def record_identity(folder: str | os.PathLike[str], keys: Keys) -> None:
    """Note what a set-up made in a compiled model's folder.

    Args:
        folder: the compiled folder.
        keys: of the set-up; a record that is there already stays once.

    Raises:
        BackendUnavailable: filelock is not installed.
        ValueError: the record that is there is damaged.
        OSError: it cannot be written.
    """
    entry = {
        "backend": keys.backend,
        "scheme": keys.scheme,
        "model": "0x" + keys.model.hex(),
        "vk_digest": "0x" + keccak256(keys.verifying_key).hex(),
    }
    with cache.lock(folder, "identities"):
        known = _entries(folder)
        if entry not in known:
            files.write_atomic(os.path.join(folder, IDENTITIES), canonical.encode([*known, entry]))


def read_identities(folder: str | os.PathLike[str]) -> tuple[Identity, ...]:
    """Every record of a compiled folder, in order; none where no set-up was made.

    Raises:
        ValueError: the record is damaged, or is a link.
        OSError: the folder cannot be read.
    """
    try:
        return tuple(_identity(entry) for entry in _entries(folder))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{IDENTITIES} in {os.fspath(folder)} is damaged: {error}") from error


def _identity(entry: dict[str, Any]) -> Identity:
    digest = entry.get("vk_digest")
    return Identity(
        str(entry.get("backend", "")),
        str(entry.get("scheme", "")),
        parse_bytes32(entry.get("model", "")),
        None if digest is None else parse_bytes32(digest),
    )


def _entries(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The raw list."""
    try:
        data = files.read_inside(folder, IDENTITIES, max_bytes=MAX_IDENTITIES_BYTES)
    except FileNotFoundError:
        return []
    entries = canonical.decode(data, max_bytes=MAX_IDENTITIES_BYTES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it is no list of records")
    return entries
