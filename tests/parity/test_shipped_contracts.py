"""The contracts in the Python package are those of the sources, compiled now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vml.chain import artifacts as shipped

CONTRACTS = Path(__file__).parents[2] / "verifier_contracts"
DATA = CONTRACTS.parent / "vml" / "chain" / "data"


def _concrete(compiled: dict[str, Any]) -> set[str]:
    files = (CONTRACTS / "src").rglob("*.sol")
    chosen = [file.stem for file in files if not {"interfaces", "libraries"} & set(file.parts)]
    found = {name: compiled.get(f"{name}.sol:{name}", {"bytecode": "0x"}) for name in chosen}
    return {
        name
        for name, contract in found.items()
        if contract["bytecode"] != "0x" and any(entry["type"] == "function" for entry in contract["abi"])
    }


def test_every_contract_ships(artifacts: dict[str, Any]) -> None:
    assert set(shipped.names()) == _concrete(artifacts), "run make contracts"


@pytest.mark.parametrize("name", shipped.names())
def test_what_ships_is_what_the_sources_compile_to(name: str, artifacts: dict[str, Any]) -> None:
    stored = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    fresh = artifacts[f"{name}.sol:{name}"]
    assert stored["abi"] == fresh["abi"], "run make contracts"
    assert stored["bytecode"] == fresh["bytecode"], "run make contracts"
    assert (CONTRACTS / stored["source"]).is_file()
    assert stored["compiler"].startswith("0.8.30+")


def test_errors_of_all_contracts_are_known() -> None:
    names = {entry["name"] for entry in shipped.errors()}
    assert {"RouteIsFrozen", "InvalidProof", "ModelNotFound", "OwnableUnauthorizedAccount"} <= names


def test_no_such_contract() -> None:
    with pytest.raises(KeyError, match="VmlRouter"):
        shipped.load("../../../etc/passwd")
