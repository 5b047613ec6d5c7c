"""The verifying key: which model, and the Merkle cap of the matrix of its weights and tables.

A key is made from the weights and nothing else, without secrets and without chance: whoever holds the model makes it
again, and equal models have equal keys. It travels in the proof, because it is short; which one to believe is the
verifier's to say, by digest (`require_pinned`).

One encoding, integers big-endian::

    "vml-key/1 " || scheme || 0x00 || model (32 bytes) || log_cols u8 || fixed_rows u32 || cap

with a cap of the size that a tree over 2^(log_cols + 3) columns has (`opening.columns`). The digest is the keccak-256
of all of it, tag included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vml.backends.sumcheck.opening.columns import cap_bytes
from vml.backends.sumcheck.opening.types import MIN_LOG_COLS
from vml.backends.sumcheck.scheme import LOG_BLOWUPS, SCHEME
from vml.backends.types import PINNED_KEYS, Environment
from vml.claim import Claim
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected
from vml.field.goldilocks import TWO_ADICITY
from vml.keccak import HASH_BYTES, keccak256

TAG = b"vml-key/1 " + SCHEME.encode() + b"\0"
MAX_LOG_COLS = TWO_ADICITY - LOG_BLOWUPS[0]
MAX_FIXED_ROWS = (1 << 32) - 1
_HEAD = len(TAG) + HASH_BYTES + 5


@dataclass(frozen=True)
class VerifyingKey:
    """What a verifier must know of a model's weights.

    Args:
        model: 32-byte commitment of the exact integer model.
        log_cols: columns of the fixed matrix are 2^log_cols, MIN_LOG_COLS <= log_cols <= 29.
        fixed_rows: its rows, 1 <= fixed_rows < 2^32.
        cap: the cap of the Merkle tree over its encoded columns.

    Raises:
        ValueError: one of them is out of its bounds.
    """

    model: bytes
    log_cols: int
    fixed_rows: int
    cap: bytes

    def __post_init__(self) -> None:
        if len(self.model) != HASH_BYTES:
            raise ValueError(f"a model identity is {HASH_BYTES} bytes, got {len(self.model)}")
        if not MIN_LOG_COLS <= self.log_cols <= MAX_LOG_COLS:
            raise ValueError(f"log_cols is {MIN_LOG_COLS} to {MAX_LOG_COLS}, got {self.log_cols}")
        if not 1 <= self.fixed_rows <= MAX_FIXED_ROWS:
            raise ValueError(f"fixed_rows is 1 to {MAX_FIXED_ROWS}, got {self.fixed_rows}")
        expected = cap_bytes(self.log_cols + LOG_BLOWUPS[0])
        if len(self.cap) != expected:
            raise ValueError(f"the cap has {expected} bytes, got {len(self.cap)}")

    def encode(self) -> bytes:
        """The one encoding; its keccak-256 is the digest."""
        shape = self.log_cols.to_bytes(1, "big") + self.fixed_rows.to_bytes(4, "big")
        return TAG + self.model + shape + self.cap

    @classmethod
    def decode(cls, data: bytes) -> VerifyingKey:
        """Read what `encode` wrote; nothing else is accepted.

        Args:
            data: bytes from anyone.

        Raises:
            MalformedProof: another tag or length, or a field out of its bounds.
        """
        if not data.startswith(TAG):
            raise MalformedProof("not a verifying key of this scheme")
        if len(data) < _HEAD:
            raise MalformedProof("the verifying key is too short")
        body = data[len(TAG) :]
        model, body = body[:HASH_BYTES], body[HASH_BYTES:]
        try:
            return cls(model, body[0], int.from_bytes(body[1:5], "big"), body[5:])
        except ValueError as error:
            raise MalformedProof(f"the verifying key: {error}") from None

    @property
    def digest(self) -> bytes:
        """The 32 bytes that verifiers pin."""
        return keccak256(self.encode())


def require_pinned(key: VerifyingKey, claims: Sequence[Claim], environment: Environment) -> None:
    """Check that the key is about the claimed model, and one that this verifier accepts. Returns nothing or raises.

    Args:
        key: as the proof carries it.
        claims: of the proof.
        environment: its pins (`PINNED_KEYS`) hold the accepted digests; without them none is accepted.

    Raises:
        ClaimMismatch: a claim is about another model than the key.
        ProofRejected: the key is not accepted.
    """
    # step 1: the key is that of the claimed model
    for claim in claims:
        if claim.model != key.model:
            raise ClaimMismatch("model", "0x" + key.model.hex(), "0x" + claim.model.hex())

    # step 2: the verifier accepts it; the proof's word is worth nothing
    accepted: Iterable[bytes] = environment.pins.get(PINNED_KEYS, frozenset())
    if key.digest not in accepted:
        names = ", ".join(sorted("0x" + digest.hex() for digest in accepted)) or "none"
        raise ProofRejected("2: the verifying key", names, "0x" + key.digest.hex())
