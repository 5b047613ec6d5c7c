"""Every field of an envelope, replaced by a value of every other kind: refused, and with the documented error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vml import canonical
from vml.claim import Claim
from vml.errors import MalformedProof
from vml.proof import MAX_CLAIMS, Proof

CLAIM = Claim(*[bytes([i]) * 32 for i in range(4)])
GOOD = json.loads(Proof("a/b", (CLAIM,), {"output": [1]}, b"proof").to_bytes())
KINDS: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "number": 5,
    "text": "text",
    "empty text": "",
    "list": [1, "a"],
    "list of lists": [[]],
    "object": {"a": 1},
    "claim": CLAIM.to_json(),
}
ACCEPTED = {("public", "object"), ("public", "claim"), ("payload", "text"), ("payload", "empty text")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", sorted(GOOD))
def test_another_kind_of_value(field: str, kind: str) -> None:
    data = canonical.encode({**GOOD, field: KINDS[kind]})
    if (field, kind) in ACCEPTED:
        assert Proof.from_bytes(data).to_bytes() == data
    else:
        with pytest.raises(MalformedProof):
            Proof.from_bytes(data)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_a_missing_field(field: str) -> None:
    with pytest.raises(MalformedProof, match=field if field == "format" else f"missing: .*{field}"):
        Proof.from_bytes(canonical.encode({name: GOOD[name] for name in GOOD if name != field}))


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_claim(kind: str) -> None:
    data = canonical.encode({**GOOD, "claims": [KINDS[kind]]})
    if kind == "claim":
        assert Proof.from_bytes(data).claims == (CLAIM,)
    else:
        with pytest.raises(MalformedProof):
            Proof.from_bytes(data)


@pytest.mark.parametrize("count", [0, MAX_CLAIMS + 1])
def test_too_few_and_too_many_claims(count: int) -> None:
    with pytest.raises(MalformedProof, match=str(MAX_CLAIMS)):
        Proof.from_bytes(canonical.encode({**GOOD, "claims": [CLAIM.to_json()] * count}))
