"""Attestation documents of AWS Nitro Enclaves, read strictly.

A document is a COSE_Sign1 message without its tag: four items, namely the protected header (algorithm ES384 and
nothing else), an empty unprotected one, the payload and the signature (r and s, 48 bytes each). The payload is a map::

    module_id    text           certificate  DER, of the key that signed
    digest       "SHA384"       cabundle     DER, from the root down to the certificate's issuer
    timestamp    milliseconds   public_key, user_data, nonce: the enclave's own, or null
    pcrs         index -> 48 bytes

All but the payload and the signature are the same bytes in every document, and nothing may follow. The payload is
signed; the signature has a twin (n - s), so a document is recognised by `Document.evidence_id`, which leaves it out.

Source: AWS, "Nitro Enclaves Attestation Process", section 2.2, and RFC 9052, section 4.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from vml.tee.nitro.cbor import Item, Reader
from vml.tee.reasons import malformed

MAX_DOCUMENT = 1 << 15
MAX_BYTES = 1024
PCRS = 32
PCR_SIZE = 48
SIGNATURE_SIZE = 96
HEAD = bytes.fromhex("8444a1013822a0")
"""An array of four items; the protected header {1: -35}, as bytes; the empty unprotected header."""
SIGNED_HEAD = bytes.fromhex("846a") + b"Signature1" + HEAD[1:6] + b"\x40"
"""What is signed before the payload: an array of four, its name, the protected header, no further data."""
ID_TAG = b"vml/evidence/nitro/v1"
FIELDS = frozenset({"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"})
OPTIONAL = frozenset({"public_key", "user_data", "nonce"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """A document in its parts; nothing is verified. `signed` is what the signature covers."""

    payload: bytes
    signed: bytes
    signature: tuple[int, int]
    module_id: str
    timestamp_ms: int
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None

    @property
    def evidence_id(self) -> bytes:
        """SHA-256 of what the document says, free of its signature."""
        return hashlib.sha256(ID_TAG + self.payload).digest()


def read_document(data: bytes) -> Document:
    """Read a document.

    Raises:
        MalformedProof: anything that is not exactly one document in the one form it can have.
    """
    # step 1: headers, payload and signature are all there is.
    if len(data) > MAX_DOCUMENT:
        raise malformed("document", f"{len(data)} bytes, at most {MAX_DOCUMENT}")
    if not data.startswith(HEAD):
        raise malformed("document", "not an untagged COSE_Sign1 message with ES384")
    outer = Reader(data[len(HEAD) :], "document")
    payload = _typed(outer.item(), bytes, "payload")
    signed = SIGNED_HEAD + outer.data[: outer.at]
    signature = _typed(outer.item(), bytes, "signature")
    if len(signature) != SIGNATURE_SIZE:
        raise malformed("document", f"a signature of {len(signature)} bytes")
    outer.end()
    # step 2: the payload is one map with the fields of a document.
    reader = Reader(payload, "document")
    fields = reader.outermost_map()
    reader.end()
    if not FIELDS <= fields.keys() <= FIELDS | OPTIONAL:
        raise malformed("document", f"fields {sorted(map(str, fields))}")
    # step 3: registers are SHA-384 digests.
    if fields["digest"] != "SHA384":
        raise malformed("document", "another digest than SHA384")
    pcrs = _pcrs(fields["pcrs"])
    bundle = _typed(fields["cabundle"], list, "cabundle")
    return Document(
        payload=payload,
        signed=signed,
        signature=(int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")),
        module_id=_typed(fields["module_id"], str, "module_id"),
        timestamp_ms=_typed(fields["timestamp"], int, "timestamp"),
        pcrs=pcrs,
        certificate=_bytes(fields["certificate"], "certificate"),
        cabundle=tuple(_bytes(item, "cabundle") for item in bundle),
        public_key=_optional(fields, "public_key"),
        user_data=_optional(fields, "user_data"),
        nonce=_optional(fields, "nonce"),
    )


def _pcrs(item: Item) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    for index, value in _typed(item, dict, "pcrs").items():
        register = _bytes(value, "pcrs")
        if not isinstance(index, int) or index >= PCRS or len(register) != PCR_SIZE:
            raise malformed("document", f"register {index}")
        found[index] = register
    return found


def _typed(item: Item, kind: type[T], name: str) -> T:
    if not isinstance(item, kind):
        raise malformed("document", f"{name} of another type")
    return item


def _bytes(item: Item, name: str) -> bytes:
    value = _typed(item, bytes, name)
    if len(value) > MAX_BYTES:
        raise malformed("document", f"{name} of {len(value)} bytes, at most {MAX_BYTES}")
    return value


def _optional(fields: Mapping[int | str, Item], name: str) -> bytes | None:
    return None if fields.get(name) is None else _bytes(fields[name], name)
