"""`vml contract` over a compiled model: a dispute game instead of a generated verifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vml.backends.optimistic.payload import Bundle
from vml.chain import client
from vml.chain.abi import encode
from vml.chain.embedded import EmbeddedChain
from vml.chain.keys import PRIVATE_KEY
from vml.chain.verify import encode_bundle
from vml.claim import Claim
from vml.errors import ChainError
from vml.proof import Proof

Vml = Callable[..., Any]
URL = "http://node.example"
CONTRACTS = {"registry", "router", "graphs", "steps", "escalation", "game", "adapter"}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> EmbeddedChain:
    """What is behind `URL`, and a key that sends there."""
    chain = EmbeddedChain()
    monkeypatch.setattr(client, "http", lambda url: chain)
    monkeypatch.setenv(PRIVATE_KEY, "0x" + "4c" * 32)
    return chain


def test_a_rehearsal_needs_neither_key_nor_profile(compiled: Path, vml: Vml) -> None:
    done = vml("contract", "deploy", compiled, "--json")
    assert done.code == 0, done.err
    assert set(done.json["contracts"]) == CONTRACTS
    assert done.json["kept"] is False
    assert not list(compiled.parent.glob("*.deployment.json"))


def test_a_deployment_is_kept_beside_the_model_and_goes_on(compiled: Path, node: EmbeddedChain, vml: Vml) -> None:
    first = vml("contract", "deploy", compiled, "--rpc", URL, "--profile", "fast-l2", "--json")
    assert first.code == 0, first.err
    file = compiled.with_name(f"{compiled.name}.deployment.json")
    assert first.json["file"] == str(file)
    assert first.json["model"]["scheme"] == "optimistic/1"
    again = vml("contract", "deploy", compiled, "--rpc", URL, "--profile", "fast-l2", "--json")
    assert again.json["contracts"] == first.json["contracts"]
    listed = vml("contract", "list", compiled, "--rpc", URL, "--json")
    assert listed.code == 0, listed.err
    assert listed.json["problems"] == []
    shown = vml("contract", "list", compiled)
    assert first.json["model"]["terms"] in shown.out.replace("\n", "")


def test_terms_are_chosen_by_name_and_for_models_only(
    compiled: Path, node: EmbeddedChain, vml: Vml, tmp_path: Path
) -> None:
    done = vml("contract", "deploy", compiled, "--rpc", URL)
    assert done.code == 2
    assert "give --profile" in done.err
    assert vml("contract", "deploy", compiled, "--profile", "slow").code == 2
    done = vml("contract", "deploy", tmp_path / "x", "--profile", "local")
    assert done.code == 2
    assert "has no terms" in done.err


def bundle_of(claim: Claim, asserter: bytes, terms: bytes) -> Bundle:
    asserted = (1, b"\x22" * 20) if any(asserter) else (0, bytes(20))
    return Bundle(claim.digest(), *asserted, asserter, terms, bytes(32), 0, bytes(32), b"", b"")


def test_a_bundle_reaches_a_router_as_four_words() -> None:
    claim = Claim(*(bytes([k]) * 32 for k in range(4)))
    bundle = bundle_of(claim, b"\x11" * 20, b"\x33" * 32)
    proof = Proof("optimistic/1", (claim,), {}, bundle.encode())
    words = ("0x" + "11" * 20, b"\x33" * 32, bytes(32), 0)
    assert encode_bundle(proof) == proof.selector + encode(["address", "bytes32", "bytes32", "uint256"], words)
    nowhere = Proof("optimistic/1", (claim,), {}, bundle_of(claim, bytes(20), bytes(32)).encode())
    with pytest.raises(ChainError, match="asserted in no game"):
        encode_bundle(nowhere)


def test_only_a_chain_knows_what_is_final(compiled: Path, node: EmbeddedChain, vml: Vml, tmp_path: Path) -> None:
    done = vml("contract", "deploy", compiled, "--rpc", URL, "--profile", "local", "--json")
    model = bytes.fromhex(done.json["model"]["model"][2:])
    claim = Claim(model, bytes(32), bytes(32), bytes(32))
    bundle = bundle_of(claim, b"\x11" * 20, bytes.fromhex(done.json["model"]["terms"][2:]))
    Proof("optimistic/1", (claim,), {}, bundle.encode()).save(tmp_path / "p.json")
    here = vml("contract", "verify", tmp_path / "p.json")
    assert here.code == 2
    assert "give --rpc" in here.err
    there = vml("contract", "verify", tmp_path / "p.json", "--rpc", URL, "--contract", compiled)
    assert there.code == 1, there.err
    assert "InvalidProof" in there.err
