"""Checkpoints: size and root of a log, signed by its owner, and the proof that an entry stands under one.

    example.com/log                  the log's name, which is that of its key
    20852163                         number of entries
    CsUYapGGPo4dkMgIAUqom/Xajj7h...  root, base64
                                     any further lines are kept and mean nothing here
    — example.com/log Az3grlgtzP...

A *log proof* is a text that verifies without the log: the entry's index, the roots of its proof and the checkpoint.

Source: C2SP, tlog-checkpoint, tlog-proof, signed-note; RFC 6962.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from vml.errors import LogRejected, MalformedProof
from vml.transparency.note import MAX_NOTE_BYTES, NoteSigner, VerifierKey, open_note, unbase64
from vml.transparency.tree import HASH_BYTES, MAX_SIZE, leaf_hash, verify_inclusion

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_HASHES = 64
MAX_PROOF_BYTES = MAX_NOTE_BYTES + (1 << 13)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Checkpoint:
    """What a log was at one moment.

    Args:
        origin: the log's name.
        size: number of entries.
        root: 32 bytes.
        extensions: further lines, none of them empty.

    Raises:
        ValueError: a field out of range, or a line with a newline in it.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise ValueError("a checkpoint has a size below 2^63 and a root of 32 bytes")
        if any(not line or "\n" in line for line in (self.origin, *self.extensions)):
            raise ValueError("a checkpoint's lines are not empty")

    def text(self) -> str:
        """The text that is signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    def sign(self, signer: NoteSigner) -> bytes:
        """The signed note.

        Raises:
            ValueError: the key is named otherwise than the log.
        """
        if signer.name != self.origin:
            raise ValueError(f"a key of {signer.name!r} signs no checkpoint of {self.origin!r}")
        return signer.sign(self.text())

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a checkpoint's text.

        Raises:
            MalformedProof: anything that `text` does not write.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop():
            raise MalformedProof("a checkpoint has a name, a size and a root")
        if not _DECIMAL.fullmatch(lines[1]):
            raise MalformedProof(f"{lines[1][:40]!r} is no size of a log")
        try:
            return cls(lines[0], int(lines[1]), unbase64(lines[2]), tuple(lines[3:]))
        except ValueError as error:
            raise MalformedProof(f"not a checkpoint: {error}") from error


def open_checkpoint(note: bytes, key: VerifierKey) -> Checkpoint:
    """A log's checkpoint, signed by the key that the reader pinned for it.

    Raises:
        MalformedProof: no checkpoint.
        LogRejected: SIGNATURE, ORIGIN.
    """
    # step 1: this key signed it
    found = Checkpoint.parse(open_note(note, (key,)))

    # step 2: it is about the log that the key is for
    if found.origin != key.name:
        raise LogRejected("origin", f"a checkpoint of {found.origin[:80]!r}, the key is for {key.name!r}")
    return found


@dataclass(frozen=True)
class LogProof:
    """That an entry stands in a log, verifiable offline.

    Args:
        index: of the entry.
        hashes: 32-byte roots of its proof of inclusion, lowest first.
        note: the signed checkpoint.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The proof as text."""
        lines = (PROOF_HEADER, f"index {self.index}", *(base64.b64encode(each).decode() for each in self.hashes), "")
        return "".join(f"{line}\n" for line in lines).encode() + self.note

    @classmethod
    def decode(cls, data: bytes) -> LogProof:
        """Read a proof; its optional line of extra data is read over.

        Raises:
            MalformedProof: no proof of the documented form.
        """
        if len(data) > MAX_PROOF_BYTES:
            raise MalformedProof(f"a log proof has at most {MAX_PROOF_BYTES} bytes")
        head, separator, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
            if lines.pop(0) != PROOF_HEADER or not separator:
                raise ValueError(f"it does not begin with {PROOF_HEADER}")
            if lines and lines[0].startswith("extra "):
                unbase64(lines.pop(0).removeprefix("extra "))
            word, _, number = lines.pop(0).partition(" ") if lines else ("", "", "")
            if word != "index" or not _DECIMAL.fullmatch(number):
                raise ValueError("it names no index")
            if len(lines) > MAX_PROOF_HASHES:
                raise ValueError("too many roots")
            hashes = tuple(map(unbase64, lines))
            if any(len(each) != HASH_BYTES for each in hashes):
                raise ValueError("a root of another length")
        except ValueError as error:
            raise MalformedProof(f"not a log proof: {error}") from error
        return cls(int(number), hashes, note)

    def verify(self, data: bytes, key: VerifierKey) -> Checkpoint:
        """Check that these bytes are the entry, in a log that this key signed. Returns its checkpoint or raises.

        Raises:
            MalformedProof, LogRejected: as `open_checkpoint` and `verify_inclusion`.
        """
        found = open_checkpoint(self.note, key)
        # step 1: the entry stands under the signed root
        verify_inclusion(leaf_hash(data), self.index, found.size, self.hashes, found.root)
        return found
