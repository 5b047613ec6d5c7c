"""Whose word counts: the keys and roots that a verifier pins for an authority.

Written ``ed25519:0x<64 digits>``, ``eip712:0x<40 digits>`` (an account), or as a file: one such line, or the PEM
certificates of the roots under which an authority's own X.509 certificate has to stand.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from vml.claim import checksum_address, parse_address

ED25519, EIP712, X509 = "ed25519", "eip712", "x509"
MAX_FILE_BYTES = 1 << 17
_ED25519_KEY = re.compile(r"0x[0-9a-fA-F]{64}")
_PEM = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Authority:
    """One authority, as a verifier pins it.

    Args:
        kind: "ed25519", "eip712" or "x509".
        keys: the public key (32 bytes), the address (20 bytes), or the roots' DER.
    """

    kind: str
    keys: tuple[bytes, ...]

    def __str__(self) -> str:
        if self.kind == ED25519:
            return f"{ED25519}:0x{self.keys[0].hex()}"
        if self.kind == EIP712:
            return f"{EIP712}:{checksum_address(self.keys[0])}"
        return ", ".join(f"{X509}:{hashlib.sha256(root).hexdigest()}" for root in self.keys)

    @classmethod
    def parse(cls, text: str) -> Authority:
        """Read a key as it is written. ValueError for anything else."""
        kind, _, key = text.partition(":")
        if kind == ED25519 and _ED25519_KEY.fullmatch(key):
            return cls(ED25519, (bytes.fromhex(key[2:]),))
        if kind == EIP712:
            return cls(EIP712, (parse_address(key),))
        raise ValueError(f"{text[:120]!r} is no authority: {ED25519}:0x…, {EIP712}:0x…, or a file of roots in PEM")

    @classmethod
    def load(cls, source: str | os.PathLike[str]) -> Authority:
        """Read a key as it is written, or a file with one or with roots in PEM.

        Raises:
            ValueError: neither.
            MalformedProof: PEM that is none.
            OSError: the file cannot be read.
        """
        if isinstance(source, str) and source.startswith((f"{ED25519}:", f"{EIP712}:")):
            return cls.parse(source)
        with Path(source).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"{os.fspath(source)}: more than {MAX_FILE_BYTES} bytes")
        if data.lstrip().startswith(_PEM):
            from vml.tee.x509 import pem_blocks

            return cls(X509, pem_blocks(data, "the authority's roots"))
        try:
            return cls.parse(data.decode("ascii").strip())
        except ValueError as error:
            raise ValueError(f"{os.fspath(source)}: {error}") from error
