"""Auditing one decision, and the growth of a log: numbered steps; they return what is shown, or raise.

An *entry* is canonical JSON: ``{"claim": {...}, "created_at": unix seconds, "model_name", "receipt": {...}|null,
"semantics"}``. *Evidence* is what an auditor keeps, and verifies later without the server:

    {"certificates": [base64...], "entry": base64, "envelope": base64|null, "format": "vml-log-evidence/1",
     "log_proof": text of C2SP's tlog-proof, "revocations": [base64...]}

Only the entry and its place are verified here. Whether the claim is true is what the envelope's proof shows, and whose
word stands for the model is what certificates show: both are checked by who holds the keys for that.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from vml import canonical
from vml.certificates.reading import binary, items, text
from vml.claim import Claim
from vml.errors import LogRejected, MalformedProof
from vml.keccak import keccak256
from vml.transparency.checkpoint import Checkpoint, LogProof, open_checkpoint
from vml.transparency.note import VerifierKey
from vml.transparency.tree import leaf_hash, verify_consistency, verify_inclusion

FORMAT = "vml-log-evidence/1"
MAX_ENTRY_BYTES = 1 << 16
MAX_EVIDENCE_BYTES = 128 << 20
MAX_FILES = 64
NONCE_TAG = b"vml/serve-nonce/v1"
MAX_TEXT = 255
LAST_SECOND = 253402300799
"""The last one of the year 9999, where calendars end."""
_ENTRY = {"claim", "created_at", "model_name", "receipt", "semantics"}
_EVIDENCE = {"certificates", "entry", "envelope", "format", "log_proof", "revocations"}


def context_of(case: str) -> bytes:
    """The context that a case was asked under: keccak256("vml/serve-nonce/v1" || UTF-8 of the text)."""
    return keccak256(NONCE_TAG + case.encode())


@dataclass(frozen=True)
class Entry:
    """What a log holds of an answer.

    Args:
        claim: that was answered.
        created_at: unix seconds, by the server's clock.
        model_name: under which the model was asked.
        semantics: of the arithmetic.
        receipt: canonical JSON of the server's receipt; empty where it gave none.
    """

    claim: Claim
    created_at: int
    model_name: str
    semantics: str
    receipt: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """Read an entry.

        Raises:
            MalformedProof: anything but an entry in its one encoding.
        """
        try:
            value = canonical.decode(data, max_bytes=MAX_ENTRY_BYTES)
        except canonical.NotCanonical as error:
            raise MalformedProof(f"a log entry: {error}") from error
        if not isinstance(value, dict) or set(value) != _ENTRY:
            raise MalformedProof(f"a log entry has exactly {', '.join(sorted(_ENTRY))}")
        if type(value["created_at"]) is not int or not 0 <= value["created_at"] <= LAST_SECOND:
            raise MalformedProof("a log entry's time is a whole number of seconds from 1970 to 9999")
        name = text("a log entry's model name", value["model_name"], most=MAX_TEXT)
        semantics = text("a log entry's semantics", value["semantics"], most=MAX_TEXT)
        if not isinstance(value["receipt"], dict | None):
            raise MalformedProof("a log entry's receipt is an object or null")
        receipt = b"" if value["receipt"] is None else canonical.encode(value["receipt"])
        return cls(Claim.from_json(value["claim"]), value["created_at"], name, semantics, receipt)


@dataclass(frozen=True)
class Evidence:
    """What shows that an entry stands in a log.

    Args:
        entry: its bytes.
        log_proof: text of a C2SP tlog-proof: index, inclusion, signed checkpoint.
        envelope: the proof of its claim, as a file; None where there is none.
        certificates, revocations: files that came along; whose they are is for the auditor to check.
    """

    entry: bytes
    log_proof: bytes
    envelope: bytes | None = field(default=None, repr=False)
    certificates: tuple[bytes, ...] = ()
    revocations: tuple[bytes, ...] = ()

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return canonical.encode(
            {
                "certificates": [base64.b64encode(each).decode() for each in self.certificates],
                "entry": base64.b64encode(self.entry).decode(),
                "envelope": None if self.envelope is None else base64.b64encode(self.envelope).decode(),
                "format": FORMAT,
                "log_proof": self.log_proof.decode(),
                "revocations": [base64.b64encode(each).decode() for each in self.revocations],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Evidence:
        """Read evidence; nothing of it is verified.

        Raises:
            MalformedProof: not the canonical encoding of evidence.
        """
        try:
            value = canonical.decode(data, max_bytes=MAX_EVIDENCE_BYTES)
        except canonical.NotCanonical as error:
            raise MalformedProof(f"evidence of a log: {error}") from error
        if not isinstance(value, dict) or set(value) != _EVIDENCE or value["format"] != FORMAT:
            raise MalformedProof(f"not evidence of a log in the format {FORMAT}")
        if not isinstance(value["log_proof"], str):
            raise MalformedProof("a log proof is a text")
        envelope = None if value["envelope"] is None else _binary(value["envelope"])
        certificates = items("certificates", value["certificates"], _binary, 0, MAX_FILES)
        revocations = items("revocations", value["revocations"], _binary, 0, MAX_FILES)
        return cls(_binary(value["entry"]), value["log_proof"].encode(), envelope, certificates, revocations)


@dataclass(frozen=True)
class Audited:
    """An entry that stands in a log.

    Args:
        entry: what was answered, when, by which model.
        index: where it stands.
        checkpoint: under which the log was signed.
    """

    entry: Entry
    index: int
    checkpoint: Checkpoint


def audit_entry(
    evidence: Evidence, key: VerifierKey, *, digest: bytes | None = None, context: bytes | None = None
) -> Audited:
    """Check that an answer stands in a log, or raise.

    Args:
        evidence: from anybody.
        key: of the log, pinned.
        digest: 32 bytes, the claim that is asked about; None where only its context is known.
        context: 32 bytes, under which it was asked; None where the digest is given.

    Raises:
        MalformedProof: evidence that is none.
        LogRejected: SIGNATURE, ORIGIN, INCLUSION, ANOTHER_CLAIM.
        ValueError: neither digest nor context.
    """
    if digest is None and context is None:
        raise ValueError("which decision? give its claim's digest or the context it was asked under")

    # step 1: a checkpoint of the pinned log
    proof = LogProof.decode(evidence.log_proof)
    checkpoint = open_checkpoint(proof.note, key)

    # step 2: these bytes are an entry under its root
    verify_inclusion(leaf_hash(evidence.entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root)

    # step 3: the entry is about what was asked
    entry = Entry.from_bytes(evidence.entry)
    if digest is not None and entry.claim.digest() != digest:
        raise LogRejected("another_claim", f"the entry is about the claim 0x{entry.claim.digest().hex()}")
    if context is not None and entry.claim.context != context:
        raise LogRejected("another_claim", f"the entry was asked under the context 0x{entry.claim.context.hex()}")
    return Audited(entry, proof.index, checkpoint)


def audit_growth(
    earlier: bytes, later: bytes, proof: Sequence[bytes], key: VerifierKey
) -> tuple[Checkpoint, Checkpoint]:
    """Check that a log only grew between two of its checkpoints. Returns both or raises.

    Args:
        earlier: the signed note that the auditor kept.
        later: the one that the log shows now.
        proof: 32-byte roots of the consistency proof, lowest first.
        key: of the log, pinned.

    Raises:
        MalformedProof: no checkpoint.
        LogRejected: SIGNATURE, ORIGIN, CONSISTENCY.
    """
    # step 1: both are the pinned log's
    before, after = open_checkpoint(earlier, key), open_checkpoint(later, key)

    # step 2: the first is the beginning of the second
    verify_consistency(before.size, before.root, after.size, after.root, proof)
    return before, after


def _binary(value: object) -> bytes:
    return binary("a file in evidence", value, MAX_EVIDENCE_BYTES)
