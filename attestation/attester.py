"""What the attesters share: the question, the error, and a command line to try one by hand."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vml import files
from vml.errors import MalformedProof, VmlError
from vml.tee.evidence import Evidence
from vml.tee.files import write_json

HALF = 32
PUBLIC_KEY = 64


class AttestationFailed(VmlError):
    """The interface is not there, refused, or answered another question."""


class Attester(Protocol):
    """Asks the hardware below for evidence."""

    def attest(self, digest: bytes, nonce: bytes, public_key: bytes) -> Evidence:
        """Evidence that carries a key certificate's digest and the verifier's nonce.

        Args:
            digest: 32 bytes.
            nonce: 32 bytes.
            public_key: 64 bytes; only Nitro has a place for it.

        Returns:
            Evidence, with whatever collateral the interface gives. It was read and carries digest and nonce; nothing
            is verified, for the host stands between.

        Raises:
            AttestationFailed: there is none.
            ValueError: an argument of another size.
        """


def require_sizes(digest: bytes, nonce: bytes, public_key: bytes) -> None:
    """Raise ValueError where an argument of `Attester.attest` has another size."""
    if len(digest) != HALF or len(nonce) != HALF or len(public_key) != PUBLIC_KEY:
        raise ValueError("a digest and a nonce have 32 bytes, a public key 64")


def require_answer(asked: object, read: Callable[[], object]) -> None:
    """Compare what was asked for with what fresh evidence says.

    Raises:
        AttestationFailed: it is about something else, or unreadable.
    """
    try:
        found = read()
    except MalformedProof as error:
        raise AttestationFailed(f"the evidence cannot be read: {error}") from error
    if found != asked:
        raise AttestationFailed("the evidence answers another question")


def command(attester: Callable[[argparse.Namespace], Attester], parser: argparse.ArgumentParser) -> int:
    """Get one piece of evidence about 32 + 32 bytes given in hex, and write it to a file. Returns an exit code."""
    parser.add_argument("--digest", type=bytes.fromhex, default=bytes(HALF), help="32 bytes in hex (default: zeros)")
    parser.add_argument("--nonce", type=bytes.fromhex, default=None, help="32 bytes in hex (default: random)")
    parser.add_argument("--public-key", type=bytes.fromhex, default=bytes(PUBLIC_KEY), help="64 bytes in hex")
    parser.add_argument("-o", "--output", type=Path, required=True, help="evidence file to write")
    options = parser.parse_args()
    nonce = secrets.token_bytes(HALF) if options.nonce is None else options.nonce
    try:
        evidence = attester(options).attest(options.digest, nonce, options.public_key)
        files.write_atomic(options.output, write_json(evidence))
    except (VmlError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"nonce 0x{nonce.hex()}")
    return 0
