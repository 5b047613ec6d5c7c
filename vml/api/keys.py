"""Small files around keys: what a verifier needs of them, and what opens a hidden input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vml import canonical, files
from vml.backends.types import Keys
from vml.claim import parse_bytes32
from vml.keccak import keccak256

if TYPE_CHECKING:
    from vml.proof import Proof

KEY, VERIFYING_KEY = "key.json", "verifying_key"
KEY_FORMAT = "vml-key/1"
MAX_RECORD_BYTES = 1 << 16
MAX_KEY_BYTES = 64 << 20
OPENINGS = "openings"


def key_record(keys: Keys) -> dict[str, Any]:
    """What a verifier pins of keys: backend, scheme, model identity, digest of the verifying key, set-up."""
    return {
        "format": KEY_FORMAT,
        "backend": keys.backend,
        "scheme": keys.scheme,
        "model": "0x" + keys.model.hex(),
        "vk_digest": "0x" + keccak256(keys.verifying_key).hex(),
        "setup_id": None if keys.setup_id is None else "0x" + keys.setup_id.hex(),
        "unsafe_setup": keys.unsafe_setup,
    }


def save_verifying_key(keys: Keys, folder: str | os.PathLike[str]) -> None:
    """Write the verifying key and its record into a folder of their own, all or nothing.

    Args:
        keys: of a set-up.
        folder: new, or an earlier one to replace.

    Raises:
        FileExistsError: the folder holds something else.
        OSError: it cannot be written; nothing is left behind.
    """
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()) and not (target / KEY).is_file():
        raise FileExistsError(f"{target} is a folder with other things in it; it is not replaced by a key")
    with files.folder_atomic(target) as out:
        (out / VERIFYING_KEY).write_bytes(keys.verifying_key)
        (out / KEY).write_bytes(canonical.encode(key_record(keys)))


def read_key(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_verifying_key` wrote, and check the key against its digest.

    Raises:
        ValueError: damaged, or of another version.
        OSError: it cannot be read.
    """
    record = canonical.decode(files.read_inside(folder, KEY, max_bytes=MAX_RECORD_BYTES), max_bytes=MAX_RECORD_BYTES)
    key = files.read_inside(folder, VERIFYING_KEY, max_bytes=MAX_KEY_BYTES)
    if not isinstance(record, dict) or record.get("format") != KEY_FORMAT:
        raise ValueError(f"{os.fspath(folder)} is not a key that this version of vml wrote")
    if record.get("vk_digest") != "0x" + keccak256(key).hex():
        raise ValueError(f"the verifying key in {os.fspath(folder)} is not the one its record names")
    return record


def read_opening(path: str | os.PathLike[str]) -> bytes:
    """The 32-byte salt in the file that opens a hidden input.

    Raises:
        ValueError: not such a file.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        value = canonical.decode(file.read(MAX_RECORD_BYTES + 1), max_bytes=MAX_RECORD_BYTES)
    if not isinstance(value, dict) or not isinstance(value.get("salt"), str):
        raise ValueError(f"{os.fspath(path)} is not an opening: it holds no salt")
    return parse_bytes32(value["salt"])


def save_opening(proof: Proof, keys: Keys, beside: str | os.PathLike[str]) -> Path | None:
    """Copy what opens a hidden input from the prover's keys to a file beside the proof, for its owner's eyes.

    Args:
        proof: just made with `keys`.
        keys: in whose folder the backend keeps openings, by claim digest.
        beside: where the proof was written; NAME.proof.json becomes NAME.opening.json.

    Returns:
        The file, readable by its owner only; None where nothing is hidden behind a salt.

    Raises:
        OSError: it cannot be written.
    """
    if keys.directory is None or len(proof.claims) != 1:
        return None
    kept = keys.directory / OPENINGS / f"0x{proof.claims[0].digest().hex()}.json"
    if not kept.is_file():
        return None
    place = Path(beside)
    target = place.with_name(place.name.removesuffix(".json").removesuffix(".proof") + ".opening.json")
    files.write_atomic(target, kept.read_bytes(), mode=0o600)
    return target
