"""The bytes, names and digests of bundles are those of the vectors."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from vml.backends.optimistic.payload import Bundle
from vml.backends.optimistic.signature import domain_separator, require_asserters, struct_hash

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "bundles.json").read_text())["bundles"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_vector(case: dict[str, Any]) -> None:
    values = {
        field.name: int(case[field.name]) if field.name in ("chain_id", "nonce") else bytes.fromhex(case[field.name])
        for field in fields(Bundle)
    }
    bundle = Bundle(**values)
    assert bundle.encode().hex() == case["bytes"]
    assert Bundle.decode(bytes.fromhex(case["bytes"])) == bundle
    assert (bundle.id.hex(), domain_separator(bundle).hex()) == (case["id"], case["domain"])
    assert struct_hash(bundle).hex() == case["struct"]
    assert bundle.asserted == (case["chain_id"] != "0")
    if bundle.signature:
        require_asserters(bundle)
