"""Signed notes: a short text with signatures below, as checksum databases and logs publish it.

    TEXT, ends with a newline
    (an empty line)
    — NAME base64(key id || signature)

A key's id is the first four bytes of SHA-256(name || 0x0A || 0x01 || public key); 0x01 stands for Ed25519 over the text
with its last newline. Keys are written ``NAME+id in hex+base64(0x01 || public key)``, what signs
``PRIVATE+KEY+NAME+id+base64(0x01 || 32-byte seed)``. Signatures by keys that the reader does not know are ignored; at
least one by a key that it knows is required, and every one of those has to be right.

Source: C2SP, signed-note; RFC 8032 (Ed25519); golang.org/x/mod/sumdb/note for how keys are written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vml.errors import LogRejected, MalformedProof

MAX_NOTE_BYTES = 1 << 16
MAX_SIGNATURES = 100
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_ED25519 = b"\x01"
_DASH = "— "
_PRIVATE = "PRIVATE+KEY+"


@dataclass(frozen=True)
class VerifierKey:
    """Who may sign: a name and an Ed25519 key of 32 bytes.

    Raises:
        ValueError: a name that is empty or holds spaces, controls or a plus; a key of another length.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        _require_name(self.name)
        if len(self.public_key) != KEY_BYTES:
            raise ValueError(f"an Ed25519 key has {KEY_BYTES} bytes")

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key beside its name."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public_key).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read what `str` writes.

        Raises:
            ValueError: anything else, or an id that is another key's.
        """
        name, key = _parse_key(text)
        found = cls(name, key)
        if str(found) != text:
            raise ValueError(f"{text[:120]!r}: the id is another key's")
        return found

    def verifies(self, signature: bytes, text: bytes) -> bool:
        """Whether this key made a signature of 64 bytes."""
        return ed25519_verifies(self.public_key, signature, text)


@dataclass(frozen=True)
class NoteSigner:
    """A name and the 32-byte seed of an Ed25519 key.

    Raises:
        ValueError: as `VerifierKey`.
    """

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _require_name(self.name)
        if len(self.seed) != KEY_BYTES:
            raise ValueError(f"the seed of an Ed25519 key has {KEY_BYTES} bytes")

    @classmethod
    def generate(cls, name: str) -> NoteSigner:
        """A new key, from the system's randomness."""
        return cls(name, secrets.token_bytes(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> NoteSigner:
        """Read what `private_text` writes. ValueError for anything else; the message shows nothing of it."""
        if not text.startswith(_PRIVATE):
            raise ValueError(f"a signing key begins with {_PRIVATE}")
        try:
            name, seed = _parse_key(text.removeprefix(_PRIVATE))
        except ValueError:
            raise ValueError("not the text of a signing key") from None
        found = cls(name, seed)
        if found.private_text() != text:
            raise ValueError("the signing key's id is another key's")
        return found

    def private_text(self) -> str:
        """The secret, as it is kept in a file."""
        key_id = self.verifier.key_id.hex()
        return f"{_PRIVATE}{self.name}+{key_id}+{base64.b64encode(_ED25519 + self.seed).decode()}"

    @cached_property
    def _key(self) -> Any:
        from Crypto.Signature import eddsa

        return eddsa.import_private_key(self.seed)

    @cached_property
    def verifier(self) -> VerifierKey:
        """The key that checks what this one signs."""
        return VerifierKey(self.name, self._key.public_key().export_key(format="raw"))

    def sign(self, text: str) -> bytes:
        """The note of a text, with this signature.

        Raises:
            ValueError: the text is empty, does not end with a newline, or holds other control characters.
        """
        from Crypto.Signature import eddsa

        _require_text(text)
        signature = eddsa.new(self._key, "rfc8032").sign(text.encode())
        line = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"{text}\n{_DASH}{self.name} {line}\n".encode()


def open_note(data: bytes, keys: Collection[VerifierKey]) -> str:
    """The text of a note that one of these keys signed.

    Args:
        data: the note, at most 64 KiB with at most 100 signatures.
        keys: whose word counts.

    Returns:
        The text with its last newline.

    Raises:
        MalformedProof: no signed note.
        LogRejected: SIGNATURE: none of these keys signed it, or a signature of one is wrong.
    """
    # step 1: text of bounded size, and signatures below the last empty line
    try:
        whole = data.decode() if len(data) <= MAX_NOTE_BYTES else ""
    except UnicodeDecodeError:
        whole = ""
    head, separator, tail = whole.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise MalformedProof(f"not a signed note of at most {MAX_NOTE_BYTES} bytes")
    text, lines = head + "\n", tail[:-1].split("\n")
    try:
        _require_text(text)
    except ValueError as error:
        raise MalformedProof(f"a note's text: {error}") from error
    if len(lines) > MAX_SIGNATURES:
        raise MalformedProof(f"more than {MAX_SIGNATURES} signatures")

    # step 2: every line is a signature; unknown keys are ignored, each of a known key is right, and there is one
    known = {(key.name, key.key_id): key for key in keys}
    found = [_signature(line) for line in lines]
    ours = [(known[name, key_id], signature) for name, key_id, signature in found if (name, key_id) in known]
    for key, signature in ours:
        if not key.verifies(signature, text.encode()):
            raise LogRejected("signature", f"not that of {key.name}")
    if not ours:
        names = ", ".join(sorted({name for name, _, _ in found}))
        raise LogRejected("signature", f"no key that is trusted here signed it; it is signed as {names[:200]}")
    return text


def ed25519_verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 key of 32 bytes made a signature of 64 bytes. Source: RFC 8032."""
    from Crypto.Signature import eddsa

    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        eddsa.new(eddsa.import_public_key(public_key), "rfc8032").verify(message, signature)
    except ValueError:
        return False
    return True


def unbase64(text: str) -> bytes:
    """Standard base64 in its one spelling. ValueError for anything else."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{text[:80]!r} is not base64") from error
    if base64.b64encode(found).decode() != text:
        raise ValueError(f"{text[:80]!r} is not the one spelling in base64")
    return found


def _signature(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature of a line."""
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2:
        raise MalformedProof(f"not a line of a signature: {line[:80]!r}")
    try:
        _require_name(parts[0])
        data = unbase64(parts[1])
    except ValueError as error:
        raise MalformedProof(f"not a line of a signature: {error}") from error
    if len(data) <= 4:
        raise MalformedProof("a signature without bytes")
    return parts[0], data[:4], data[4:]


def _parse_key(text: str) -> tuple[str, bytes]:
    """Name and 32 bytes of a key, from its text; the id is not checked."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise ValueError(f"{text[:120]!r} is not a key: NAME+id+base64")
    data = unbase64(parts[2])
    if data[:1] != _ED25519 or len(data) != 1 + KEY_BYTES:
        raise ValueError(f"{text[:120]!r} is not an Ed25519 key")
    return parts[0], data[1:]


def _require_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        raise ValueError(f"{name[:80]!r} is no name of a key: no spaces, no plus")


def _require_text(text: str) -> None:
    if not text.endswith("\n"):
        raise ValueError("it does not end with a newline")
    if any(c < " " and c != "\n" for c in text):
        raise ValueError("it holds control characters")
