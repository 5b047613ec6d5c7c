"""The proof envelope: one file format for every way to prove a claim.

::

    {"claims":[{"context":"0x…","input":"0x…","model":"0x…","output":"0x…"}],
     "format":"vml-proof/1","payload":"base64","public":{…},"scheme":"ezkl/…"}

The envelope only says what is claimed and carries the proof; it proves nothing by itself. A claim field is
bound by the payload, and the backend that `scheme` names checks that. The specification is
`docs/proof-format.md`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vml import canonical, files
from vml.canonical import JSON
from vml.claim import Claim
from vml.errors import MalformedProof
from vml.keccak import keccak256

FORMAT = "vml-proof/1"
MAX_BYTES = 64 << 20
MAX_CLAIMS = 4096
MAX_SCHEME = 200

_FIELDS = frozenset({"format", "scheme", "claims", "public", "payload"})
_SCHEME = re.compile(r"[a-z0-9][a-z0-9._+=:-]*(/[a-z0-9][a-z0-9._+=:-]*)+")


@dataclass(frozen=True)
class Proof:
    """What is claimed, and the bytes that prove it.

    Args:
        scheme: backend and every parameter that affects verification, separated by "/", lower case
            ASCII, at most 200 characters.
        claims: 1 to 4096 claims, in the order of the batch.
        public: values the backend's own schema describes, canonical JSON (no floats); the commitments of
            the claims are recomputed from them.
        payload: the raw proof, as the backend defines it.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field is out of its bounds or cannot be encoded.
    """

    scheme: str
    claims: tuple[Claim, ...]
    public: Mapping[str, JSON]
    payload: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, str) or not isinstance(self.payload, bytes):
            raise TypeError("scheme is a str and payload is bytes")
        if not isinstance(self.claims, tuple) or not all(isinstance(claim, Claim) for claim in self.claims):
            raise TypeError("claims is a tuple of Claim")
        if not isinstance(self.public, dict):
            raise TypeError("public is a dict")
        if len(self.scheme) > MAX_SCHEME or not _SCHEME.fullmatch(self.scheme):
            raise ValueError(f"scheme {self.scheme[:40]!r} is not of the form backend/parameter/…")
        if not 1 <= len(self.claims) <= MAX_CLAIMS:
            raise ValueError(f"{len(self.claims)} claims, 1 to {MAX_CLAIMS} are allowed")

    @property
    def backend(self) -> str:
        """Name of the backend that verifies this proof: the scheme's first part."""
        return self.scheme.partition("/")[0]

    @property
    def selector(self) -> bytes:
        """On-chain selector: the first 4 bytes of keccak-256 of the scheme name."""
        return keccak256(self.scheme.encode("ascii"))[:4]

    def to_bytes(self) -> bytes:
        """Encode canonically.

        Returns:
            RFC 8785 JSON, at most 64 MiB.

        Raises:
            ValueError: `public` holds something canonical JSON cannot hold, or the result is too large.
        """
        data = canonical.encode(
            {
                "format": FORMAT,
                "scheme": self.scheme,
                "claims": [claim.to_json() for claim in self.claims],
                "public": dict(self.public),
                "payload": base64.b64encode(self.payload).decode("ascii"),
            }
        )
        if len(data) > MAX_BYTES:
            raise ValueError(f"the proof takes {len(data)} bytes, at most {MAX_BYTES} are allowed")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Proof:
        """Decode strictly: exactly one encoding of each proof is accepted.

        Args:
            data: the envelope, any bytes at all.

        Returns:
            The proof; its `public` and `payload` are still unchecked, the backend verifies them.

        Raises:
            MalformedProof: the bytes are not a canonical `vml-proof/1` envelope.
        """
        # Step 1: size, encoding, canonical form.
        try:
            value = canonical.decode(data, max_bytes=MAX_BYTES)
        except canonical.NotCanonical as error:
            raise MalformedProof(str(error)) from error

        # Step 2: exactly the fields of this version.
        if not isinstance(value, dict):
            raise MalformedProof("not an object")
        if value.get("format") != FORMAT:
            raise MalformedProof(f"format is {_short(value.get('format'))}, this vml reads {FORMAT!r}")
        if value.keys() != _FIELDS:
            names = ", ".join(_short(name) for name in sorted(value.keys() ^ _FIELDS)[:5])
            raise MalformedProof(f"fields unknown or missing: {names}")

        # Step 3: each field.
        if not isinstance(value["claims"], list) or not 1 <= len(value["claims"]) <= MAX_CLAIMS:
            raise MalformedProof(f"claims is not a list of 1 to {MAX_CLAIMS} claims")
        if not isinstance(value["public"], dict):
            raise MalformedProof("public is not an object")
        claims = tuple(Claim.from_json(item) for item in value["claims"])
        payload = _base64(value["payload"])
        try:
            return cls(scheme=value["scheme"], claims=claims, public=value["public"], payload=payload)
        except (TypeError, ValueError) as error:
            raise MalformedProof(str(error)) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Proof:
        """Read a proof file; never reads more than 64 MiB and one byte.

        Raises:
            MalformedProof: the file is not a canonical envelope.
            OSError: the file cannot be read.
        """
        with Path(path).open("rb") as file:
            return cls.from_bytes(file.read(MAX_BYTES + 1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the proof file atomically.

        Raises:
            OSError: it cannot be written; nothing is left behind.
        """
        files.write_atomic(path, self.to_bytes())


def _base64(value: object) -> bytes:
    if not isinstance(value, str):
        raise MalformedProof("payload is not a string")
    try:
        payload = base64.b64decode(value.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise MalformedProof("payload is not base64") from error
    # Refuses unused trailing bits and missing padding: one payload, one spelling.
    if base64.b64encode(payload).decode("ascii") != value:
        raise MalformedProof("payload is not canonical base64")
    return payload


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | None) else type(value).__name__
    return text if len(text) <= 40 else text[:40] + "…"
