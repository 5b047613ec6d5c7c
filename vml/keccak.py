"""Keccak-256 of one message: the only hash of vml's bytes (Ethereum's variant, padding 0x01, not SHA3-256).

Source: G. Bertoni et al., "The Keccak reference", version 3.0; Ethereum yellow paper, section 3.
"""

from __future__ import annotations

from Crypto.Hash import keccak

HASH_BYTES = 32


def keccak256(data: bytes | bytearray | memoryview) -> bytes:
    """The Keccak-256 digest of a message.

    Args:
        data: the message, any length in bytes.

    Returns:
        32 bytes.
    """
    digest: bytes = keccak.new(digest_bits=256, data=data).digest()
    return digest
