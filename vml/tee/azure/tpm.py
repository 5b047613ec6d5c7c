"""Quotes of a TPM 2.0, read strictly: the nonce and the hash of registers (PCRs) that its key signed.

Integers are big endian. Source: TCG, "Trusted Platform Module Library", part 2, revision 1.59, TPMS_ATTEST.
"""

from __future__ import annotations

from dataclasses import dataclass

from vml.tee.reasons import malformed

GENERATED = 0xFF544347
"""What the TPM puts before everything of its own that it signs, and signs nothing of others that begins with it."""
QUOTE = 0x8018
SHA256_BANK = 0x000B
BANK_BYTES = 3
DIGEST = 32


@dataclass(frozen=True, slots=True)
class TpmQuote:
    """The caller's nonce, the numbers of the registers quoted, SHA-256 of their values."""

    extra_data: bytes
    registers: tuple[int, ...]
    digest: bytes


class _Reader:
    """Takes fields off the front. Beyond the end there is less to take; `at` tells that something was missing."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.uint(2))


def read_tpm_quote(data: bytes) -> TpmQuote:
    """Read what a TPM signed.

    Raises:
        MalformedProof: anything that is not exactly one quote of registers of the SHA-256 bank.
    """
    reader = _Reader(data)
    # step 1: the TPM made it, as a quote.
    if reader.uint(4) != GENERATED or reader.uint(2) != QUOTE:
        raise malformed("TPM quote", "something else than a quote")
    reader.sized()  # the qualified name of the key, a hash over keys that are not here
    extra_data = reader.sized()
    reader.take(8 + 4 + 4)  # clock, resets, restarts
    # step 2: it says whether the clock is safe.
    if reader.uint(1) > 1:
        raise malformed("TPM quote", "a flag that is none")
    reader.take(8)  # firmware version
    # step 3: one selection, of the bank of SHA-256.
    if (reader.uint(4), reader.uint(2), reader.uint(1)) != (1, SHA256_BANK, BANK_BYTES):
        raise malformed("TPM quote", "another selection of registers")
    chosen = int.from_bytes(reader.take(BANK_BYTES), "little")
    digest = reader.sized()
    # step 4: a digest of that bank, at which the bytes end.
    if len(digest) != DIGEST or reader.at != len(data):
        raise malformed("TPM quote", "another digest, cut off, or bytes behind it")
    return TpmQuote(extra_data, tuple(index for index in range(8 * BANK_BYTES) if chosen >> index & 1), digest)
