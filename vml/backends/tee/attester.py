"""Asks an attester to run a model and sign for it: one HTTP request, over TCP or a Unix socket (docs/tee-backend.md).

    POST /v1/run  {"context":"0x…","format":"vml-tee-run/1","inputs":["base64",…],"model":"0x…","nonce":"0x…"|null}

`inputs` are the tensors' bytes, one text a tensor in the model's order, as the public section of a proof has them. The
answer is the proof envelope; or a status other than 200 with ``{"error": "…"}``. The model's identity is that of one
engine, so it says which is to run; ``POST /v1/about {}`` tells what there is::

    {"engine":"exact"|"float","model":"0x…","semantics":{…}|null}
"""

from __future__ import annotations

import base64
import http.client
import math
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vml import canonical
from vml.backends.tee.engines import ENGINES, Program
from vml.claim import parse_bytes32
from vml.errors import MalformedProof, ProvingError
from vml.proof import MAX_BYTES
from vml.values import VALUE_BYTES, value_bytes

if TYPE_CHECKING:
    import numpy as np

FORMAT = "vml-tee-run/1"
PATH = "/v1/run"
ABOUT_PATH = "/v1/about"
MAX_REQUEST_BYTES = 64 << 20
MAX_ERROR_BYTES = 1 << 16
_FIELDS = frozenset({"context", "format", "inputs", "model", "nonce"})


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(address: str, request: bytes, timeout_s: float, path: str = PATH) -> bytes:
    """Send a request, such as `write_request` makes.

    Args:
        address: ``http://host:port`` or ``unix:/path``.
        request: the body.
        timeout_s: how long to wait for each part of the answer.
        path: what is asked for.

    Returns:
        The answer of at most 64 MiB, unchecked.

    Raises:
        ProvingError: nobody answers, or the attester refused; with its words.
        ValueError: no such address.
    """
    connection = _connection(address, timeout_s)
    try:
        connection.request("POST", path, request, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ProvingError(f"the attester refused ({answer.status}): {_words(answer.read(MAX_ERROR_BYTES))}")
        data = answer.read(MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise ProvingError(f"the attester at {address} does not answer: {error}") from error
    finally:
        connection.close()
    if len(data) > MAX_BYTES:
        raise ProvingError(f"the attester's answer is larger than {MAX_BYTES} bytes")
    return data


def write_request(
    program: Program, inputs: Mapping[str, np.ndarray[Any, Any]], context: bytes, nonce: bytes | None
) -> bytes:
    """The body of a request.

    Args:
        program: what is to be run.
        inputs: arrays by name, of the specs' dtypes and shapes: codes, or values.
        context: 32 bytes the claim is bound to.
        nonce: 32 bytes that the evidence has to answer; None takes what there is.
    """
    return canonical.encode(
        {
            "format": FORMAT,
            "model": "0x" + program.identity.hex(),
            "context": "0x" + context.hex(),
            "nonce": None if nonce is None else "0x" + nonce.hex(),
            "inputs": [base64.b64encode(value_bytes(inputs[spec.name])).decode("ascii") for spec in program.inputs],
        }
    )


def read_request(data: bytes, program: Program) -> tuple[dict[str, np.ndarray[Any, Any]], bytes, bytes | None]:
    """What an attester reads out of a request.

    Args:
        data: the body, from anyone.
        program: what the attester holds.

    Returns:
        Codes or values by name, in the specs' shapes and dtypes (ranges are the executor's business); context; nonce.

    Raises:
        MalformedProof: anything but a request about this model.
    """
    import numpy as np

    try:
        item = canonical.decode(data, max_bytes=MAX_REQUEST_BYTES)
        if not isinstance(item, dict) or set(item) != _FIELDS or item["format"] != FORMAT:
            raise ValueError(f"not an object of {FORMAT}")
        context, nonce = parse_bytes32(item["context"]), item["nonce"]
        if parse_bytes32(item["model"]) != program.identity:
            raise ValueError(f"this attester holds the model 0x{program.identity.hex()}")
        texts = item["inputs"]
        if not isinstance(texts, list) or len(texts) != len(program.inputs):
            raise ValueError(f"inputs is not a list of the model's {len(program.inputs)} tensors")
        inputs = {}
        for spec, text in zip(program.inputs, texts, strict=True):
            head = program.engine.form.header(spec)
            dtype, shape = np.dtype(head["dtype"]), head["shape"]
            raw = base64.b64decode(text.encode("ascii"), validate=True) if isinstance(text, str) else b""
            if len(raw) != math.prod(shape) * VALUE_BYTES[dtype.name]:
                raise ValueError(f"the tensor {spec.name!r} is another number of bytes")
            inputs[spec.name] = np.frombuffer(raw, dtype=dtype.newbyteorder(">")).astype(dtype).reshape(shape)
        nonce = None if nonce is None else parse_bytes32(nonce)
        if write_request(program, inputs, context, nonce) != data:
            raise ValueError("not in its one encoding")
        return inputs, context, nonce
    except (ValueError, TypeError) as error:
        raise MalformedProof(f"the request: {error}") from None


def write_about(program: Program) -> bytes:
    """What an attester says of what it holds."""
    semantics = canonical.decode(program.description, max_bytes=MAX_ERROR_BYTES) if program.description else None
    return canonical.encode(
        {"engine": program.engine.name, "model": "0x" + program.identity.hex(), "semantics": semantics}
    )


def read_about(data: bytes) -> tuple[str, bytes, bytes]:
    """Engine, 32-byte identity and description (empty where there is none) out of an attester's words.

    Raises:
        ProvingError: anything else.
    """
    try:
        item = canonical.decode(data, max_bytes=2 * MAX_ERROR_BYTES)
        if not isinstance(item, dict) or set(item) != {"engine", "model", "semantics"}:
            raise ValueError("not an object of engine, model and semantics")
        if item["engine"] not in ENGINES:
            raise ValueError("no engine that is known here")
        described = item["semantics"] is not None
        description = canonical.encode(item["semantics"]) if described else b""
        if described != ENGINES[item["engine"]].described:
            raise ValueError("floats have a description, and the exact model has none")
        ENGINES[item["engine"]].lines(description)
        return item["engine"], parse_bytes32(item["model"]), description
    except (ValueError, TypeError, MalformedProof) as error:
        raise ProvingError(f"the attester does not say what it holds: {error}") from None


def _connection(address: str, timeout_s: float) -> http.client.HTTPConnection:
    if address.startswith("unix:") and len(address) > len("unix:"):
        return _UnixConnection(address.removeprefix("unix:"), timeout_s)
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{address!r} is no attester's address: http://host:port, or unix:/path")
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)


def _words(data: bytes) -> str:
    """What an error answer says, for people."""
    try:
        item = canonical.decode(data, max_bytes=MAX_ERROR_BYTES)
    except canonical.NotCanonical:
        item = None
    text = item.get("error") if isinstance(item, dict) else None
    shown = text if isinstance(text, str) else "without a reason"
    return "".join(letter if letter.isprintable() else "?" for letter in shown[:500])
