"""The envelope's tamper manifest: every field, how it is altered, and the error that must follow.

A field that is in the format but not in the manifest fails the suite. What is inside `payload` and `public` belongs
to the backends, which have manifests of their own (`tests/backends/`).
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vml import canonical
from vml.claim import Claim
from vml.errors import MalformedProof
from vml.proof import Proof

Envelope = dict[str, Any]
HONEST = Proof(
    "ezkl/23.0.5/kzg-bn254/input-public/model-public",
    (Claim(*[bytes([i]) * 32 for i in range(4)]), Claim(*[bytes([i]) * 32 for i in range(4, 8)])),
    {"output": [{"name": "logits", "values": [1, 2]}], "hidden": []},
    b"payload",
)
CARRIED = "carried to the backend"
"""The envelope itself cannot know better: the altered value must arrive unchanged at whoever checks it."""


def put(*path: Any, value: Any) -> Callable[[Envelope], None]:
    """Set the value at a path."""

    def change(envelope: Envelope) -> None:
        target = envelope
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[Envelope], None]:
    """Remove what is at a path."""

    def change(envelope: Envelope) -> None:
        target = envelope
        for step in path[:-1]:
            target = target[step]
        del target[path[-1]]

    return change


WORD = "0x" + "ab" * 32
Tamper = tuple[str, Callable[[Envelope], None], type[Exception] | str]
MANIFEST: dict[str, tuple[Tamper, ...]] = {
    "format": (
        ("next version", put("format", value="vml-proof/2"), MalformedProof),
        ("other case", put("format", value="VML-proof/1"), MalformedProof),
        ("removed", drop("format"), MalformedProof),
    ),
    "scheme": (
        ("another backend", put("scheme", value="sumcheck/1"), CARRIED),
        ("another engine", put("scheme", value="ezkl/23.0.4/kzg-bn254/input-public/model-public"), CARRIED),
        ("no parameters", put("scheme", value="ezkl"), MalformedProof),
        ("blank", put("scheme", value="ezkl/23.0.5 /x"), MalformedProof),
        ("removed", drop("scheme"), MalformedProof),
    ),
    "claims": (
        ("none", put("claims", value=[]), MalformedProof),
        ("removed", drop("claims"), MalformedProof),
        ("a claim less", drop("claims", 1), CARRIED),
        ("no list", put("claims", value={}), MalformedProof),
    ),
    **{
        f"claims[].{field}": (
            ("another value", put("claims", 0, field, value=WORD), CARRIED),
            ("in the second claim", put("claims", 1, field, value=WORD), CARRIED),
            ("upper case", put("claims", 0, field, value=WORD.upper()), MalformedProof),
            ("a byte short", put("claims", 0, field, value=WORD[:-2]), MalformedProof),
            ("a byte long", put("claims", 0, field, value=WORD + "00"), MalformedProof),
            ("a number", put("claims", 0, field, value=0), MalformedProof),
            ("removed", drop("claims", 0, field), MalformedProof),
        )
        for field in ("model", "input", "output", "context")
    },
    "public": (
        ("a value", put("public", "output", 0, "values", 0, value=7), CARRIED),
        ("a name", put("public", "output", 0, "name", value="other"), CARRIED),
        ("more", put("public", "extra", value=1), CARRIED),
        ("less", drop("public", "hidden"), CARRIED),
        ("no object", put("public", value=[]), MalformedProof),
        ("removed", drop("public"), MalformedProof),
    ),
    "payload": (
        ("another byte", put("payload", value=base64.b64encode(b"paxload").decode()), CARRIED),
        ("a byte less", put("payload", value=base64.b64encode(b"payloa").decode()), CARRIED),
        ("a byte more", put("payload", value=base64.b64encode(b"payload\0").decode()), CARRIED),
        ("no padding", put("payload", value=base64.b64encode(b"payload").decode().rstrip("=")), MalformedProof),
        ("no text", put("payload", value=[1]), MalformedProof),
        ("removed", drop("payload"), MalformedProof),
    ),
    "anything else": (
        ("a field", put("comment", value="x"), MalformedProof),
        ("a field of a claim", put("claims", 0, "comment", value="x"), MalformedProof),
        ("an empty name", put("", value=None), MalformedProof),
    ),
}
CASES = [(field, *tamper) for field, tampers in MANIFEST.items() for tamper in tampers]


def fields(envelope: Envelope) -> Iterator[str]:
    """Every field of the format, claims' fields by `claims[].NAME`."""
    for name, value in envelope.items():
        yield name
        if name == "claims":
            yield from (f"claims[].{field}" for claim in value for field in claim)


def test_the_manifest_has_every_field() -> None:
    assert set(fields(json.loads(HONEST.to_bytes()))) == MANIFEST.keys() - {"anything else"}


@pytest.mark.parametrize(("field", "name", "change", "expected"), CASES, ids=[f"{f}: {n}" for f, n, _, _ in CASES])
def test_tampering(field: str, name: str, change: Callable[[Envelope], None], expected: Any) -> None:
    envelope = copy.deepcopy(json.loads(HONEST.to_bytes()))
    change(envelope)
    data = canonical.encode(envelope)
    assert data != HONEST.to_bytes()
    if expected == CARRIED:
        proof = Proof.from_bytes(data)
        assert proof != HONEST
        assert proof.to_bytes() == data
    else:
        with pytest.raises(expected):
            Proof.from_bytes(data)
