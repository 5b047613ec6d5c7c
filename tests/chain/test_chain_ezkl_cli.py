"""From an ONNX file to a contract that checks its proofs, through the command line, with the real ezkl."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.ezkl.conftest import calibration, sample, tiny_mlp
from tests.chain.chain_world import signer
from vml.chain.client import connect
from vml.chain.keys import PRIVATE_KEY, from_private_key
from vml.cli import main
from vml.proof import Proof

FUNDED = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
QUICK_S = 2.0

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        ended = main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert ended == code, captured.err
        value: dict[str, Any] = json.loads(captured.out)
        return value

    return call


@pytest.mark.parametrize("form", ["plain", pytest.param("reusable", marks=pytest.mark.slow)])
def test_the_whole_path(form: str, anvil: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VML_CACHE_DIR", str(tmp_path / "cache"))
    source, rows, model = tmp_path / "m.onnx", tmp_path / "rows.npz", tmp_path / "m.vml"
    source.write_bytes(tiny_mlp(0))
    found = calibration()
    np.savez(rows, **found)
    (tmp_path / "in.json").write_text(json.dumps({name: array.tolist() for name, array in sample().items()}))
    run("compile", source, "-o", model, "--calibrate", rows)

    made = run("contract", "generate", model, "-o", tmp_path / "c", "--hash-input", *flags(form))
    assert (made["form"], made["contract"] != "") == (form, True)
    assert made["code_bytes"] <= made["code_limit"]
    proof = tmp_path / "p.json"
    assert run("prove", model, tmp_path / "in.json", "-o", proof, "--hash-input", "--on-chain")["backend"] == "ezkl"
    run("verify", proof, "--model", model, "--allow-unsafe-setup")

    # The contract that generate left in the cache is found by the proof's model.
    accepted = min((run("contract", "verify", proof) for _ in range(2)), key=lambda value: float(value["seconds"]))
    assert accepted["rules"] == "cancun, embedded"
    assert accepted["seconds"] < QUICK_S

    connect(anvil, signer=from_private_key(FUNDED)).send(signer().address, b"", value=10**18)
    monkeypatch.setenv(PRIVATE_KEY, "0x" + "4c" * 32)
    run("contract", "deploy", tmp_path / "c", "--rpc", anvil)
    assert run("contract", "list", tmp_path / "c", "--rpc", anvil)["problems"] == []
    there = run("contract", "verify", proof, "--rpc", anvil, "--contract", tmp_path / "c")
    assert there["selector"] == accepted["selector"]

    honest = Proof.load(proof)
    (claim,) = honest.claims
    for field in ("input", "output", "context"):
        lie = replace(honest, claims=(replace(claim, **{field: b"\x11" * 32}),))
        lie.save(tmp_path / "lie.json")
        here = run("contract", "verify", tmp_path / "lie.json", code=1)
        node = run("contract", "verify", tmp_path / "lie.json", "--rpc", anvil, "--contract", tmp_path / "c", code=1)
        assert here["error"] == node["error"]


def flags(form: str) -> list[str]:
    return ["--reusable"] if form == "reusable" else []
