"""Attestation documents of an AWS Nitro enclave, through ``/dev/nsm``.

One ioctl takes a request in CBOR and gives an answer in CBOR::

    {"Attestation": {"user_data": bytes, "nonce": bytes, "public_key": bytes}}
    {"Attestation": {"document": bytes}}   or   {"Error": text}

    python -m attestation.nitro.attester --nonce HEX -o document.evidence.json

Source: Linux, include/uapi/linux/nsm.h and drivers/misc/nsm.c; AWS, aws-nitro-enclaves-nsm-api, src/api/mod.rs.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2

from attestation.attester import AttestationFailed, command, require_answer, require_sizes
from vml.tee.evidence import Evidence, Kind
from vml.tee.nitro.document import read_document

DEVICE = Path("/dev/nsm")
MAX_REQUEST = 0x1000
MAX_RESPONSE = 0x3000


class Message(ctypes.Structure):
    """``struct nsm_raw``: address and length of the request, address and room of the response."""

    _fields_ = (
        ("request", ctypes.c_uint64),
        ("request_size", ctypes.c_uint64),
        ("response", ctypes.c_uint64),
        ("response_size", ctypes.c_uint64),
    )


IOCTL_RAW = 3 << 30 | ctypes.sizeof(Message) << 16 | 0x0A << 8
"""``_IOWR(0x0A, 0, struct nsm_raw)``. The process needs CAP_SYS_ADMIN."""

Ioctl = Callable[[int, int, Any], int]


class NitroAttester:
    """Asks the Nitro security module.

    Args:
        device: its file.
        ioctl: called with file descriptor, request number and `Message`.
    """

    def __init__(self, device: Path = DEVICE, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._device, self._ioctl = device, ioctl

    def attest(self, digest: bytes, nonce: bytes, public_key: bytes) -> Evidence:
        """As `Attester.attest`: user data is the digest, nonce the nonce, and the key stands in the document."""
        require_sizes(digest, nonce, public_key)
        fields = {"user_data": digest, "nonce": nonce, "public_key": public_key}
        answer = self._exchange({"Attestation": fields})
        if not isinstance(answer, dict) or set(answer) != {"Attestation"}:
            raise AttestationFailed(f"the security module answers {str(answer)[:80]}")
        inner = answer["Attestation"]
        if not isinstance(inner, dict) or set(inner) != {"document"} or not isinstance(inner["document"], bytes):
            raise AttestationFailed("the security module answers without a document")
        document = inner["document"]
        require_answer((digest, nonce, public_key), lambda: _said(document))
        return Evidence(Kind.NITRO, document)

    def _exchange(self, asked: object) -> object:
        request = cbor2.dumps(asked)
        if len(request) > MAX_REQUEST:
            raise AttestationFailed("the request is too long")
        sent, room = ctypes.create_string_buffer(request, len(request)), ctypes.create_string_buffer(MAX_RESPONSE)
        message = Message(ctypes.addressof(sent), len(request), ctypes.addressof(room), MAX_RESPONSE)
        try:
            with self._device.open("r+b", buffering=0) as file:
                status = self._ioctl(file.fileno(), IOCTL_RAW, message)
        except OSError as error:
            raise AttestationFailed(f"{self._device}: {error}") from error
        if status != 0 or not 0 < message.response_size <= MAX_RESPONSE:
            raise AttestationFailed(f"the security module gave status {status} and {message.response_size} bytes")
        return _decoded(room.raw[: message.response_size])


def _decoded(data: bytes) -> object:
    """One item of CBOR, and nothing behind it."""
    stream = io.BytesIO(data)
    try:
        item: object = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORError, ValueError, EOFError) as error:
        raise AttestationFailed(f"the security module's answer is no CBOR: {error}") from error
    if stream.tell() != len(data):
        raise AttestationFailed("something follows the security module's answer")
    return item


def _said(document: bytes) -> tuple[bytes | None, bytes | None, bytes | None]:
    found = read_document(document)
    return found.user_data, found.nonce, found.public_key


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m attestation.nitro.attester", description=__doc__.splitlines()[0])
    parser.add_argument("--device", type=Path, default=DEVICE)
    raise SystemExit(command(lambda options: NitroAttester(options.device), parser))
