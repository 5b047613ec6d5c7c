"""Generated verifiers: what is written, what is refused before anybody pays, and what is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.ezkl.conftest import Case
from tests.chain.ezkl_world import World, on_chain_case
from vml.backends.ezkl.statement import scheme_of
from vml.backends.types import SetupOptions, Visibility
from vml.chain import generate as generating
from vml.chain import solc
from vml.chain.generate import CODE_LIMIT, Generated, TooLarge, deployment_gas, generate, load, verification_gas
from vml.errors import BackendUnavailable, ChainError
from vml.keccak import keccak256

SOURCE = "pragma solidity ^0.8.0; contract A { function f() external pure returns (uint256) { return 7; } }"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    cache = tmp_path_factory.mktemp("vml-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VML_CACHE_DIR", str(cache))
        yield on_chain_case(cache, Visibility())


@pytest.fixture(scope="module")
def reusable(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(case.circuit, tmp_path_factory.mktemp("generated") / "all", name="Tiny", reusable=True)


@pytest.fixture(scope="module")
def plain(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(case.circuit, tmp_path_factory.mktemp("generated") / "one")


def test_the_folder_holds_all_that_deploying_takes(case: Case, reusable: Generated, plain: Generated) -> None:
    assert {path.name for path in plain.folder.iterdir()} == {"Verifier.sol", "abi.json", "bytecode", "manifest.json"}
    assert {path.name for path in reusable.folder.iterdir()} == {
        "Tiny.sol",
        "abi.json",
        "bytecode",
        "manifest.json",
        "vka",
    }
    for one in (plain, reusable):
        manifest = one.manifest
        assert load(one.folder) == one
        assert manifest["model"] == "0x" + case.circuit.identity.hex()
        assert manifest["scheme"] == one.scheme == scheme_of(Visibility())
        assert manifest["selector"] == "0x" + case.proof.selector.hex()
        assert manifest["setup_id"] == case.circuit.setup.setup_id
        assert manifest["unsafe_setup"] is True
        assert manifest["instances"] == len(case.payload.instances)
        assert manifest["code_bytes"] < CODE_LIMIT
        assert one.layout.proof_bytes == len(case.payload.proof)
        functions = {entry["name"] for entry in json.loads((one.folder / "abi.json").read_text()) if "name" in entry}
        assert "verifyProof" in functions
    assert plain.manifest["form"] == "plain"
    assert plain.manifest["vka"] is None
    assert reusable.manifest["form"] == "reusable"
    assert reusable.manifest["vka"]["digest"] == "0x" + keccak256(reusable.vka).hex()


def test_the_code_hash_and_the_estimate_are_those_of_the_deployed_contract(plain: Generated) -> None:
    world = World()
    address = world.deploy(plain.creation)
    spent = world.evm.result.gas_used
    code = bytes(world.evm.get_code(address))
    assert keccak256(code[: plain.manifest["code_bytes"]]) == plain.code_hash
    assert abs(spent - plain.manifest["gas_estimate"]["deploy"]) < spent // 100


def test_metadata_goes_with_the_form(plain: Generated, reusable: Generated) -> None:
    with pytest.raises(ValueError, match="VKA"):
        plain.metadata(bytes(20), bytes(20))
    with pytest.raises(ValueError, match="VKA"):
        reusable.metadata(bytes(20))


def test_a_contract_over_the_limit_is_refused(case: Case, plain: Generated, reusable: Generated) -> None:
    """Before anything is written; the message says what would fit."""
    with pytest.raises(TooLarge, match=r"25000 bytes of code.*reusable"):
        generating.require_size({**plain.manifest, "code_bytes": 25_000})
    with pytest.raises(TooLarge, match="reusable"):
        generating.require_size({**plain.manifest, "creation_bytes": 50_000})
    vka = {**reusable.manifest["vka"], "bytes": 24_576}
    with pytest.raises(TooLarge, match="keys for the chain"):
        generating.require_size({**reusable.manifest, "vka": vka})


def test_nothing_is_left_where_generating_fails(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generating, "CODE_LIMIT", 1000)
    with pytest.raises(TooLarge):
        generate(case.circuit, tmp_path / "out")
    with pytest.raises(ValueError, match="name"):
        generate(case.circuit, tmp_path / "out", name="../Verifier")
    assert not list(tmp_path.iterdir())


def test_a_damaged_folder(plain: Generated, reusable: Generated, tmp_path: Path) -> None:
    damages: list[tuple[Generated, str, Any]] = [
        (plain, "bytecode", lambda data: data.replace(b"6080", b"6081", 1)),
        (plain, "bytecode", lambda data: b"0xzz"),
        (plain, "manifest.json", lambda data: b"{}"),
        (plain, "manifest.json", lambda data: data.replace(b"vml-ezkl-verifier/1", b"vml-ezkl-verifier/2")),
        (plain, "manifest.json", lambda data: data.replace(b'"input_words"', b'"input_word"')),
        (reusable, "vka", lambda data: data[:-32]),
    ]
    for index, (one, name, damage) in enumerate(damages):
        folder = tmp_path / str(index)
        shutil.copytree(one.folder, folder)
        (folder / name).write_bytes(damage((folder / name).read_bytes()))
        with pytest.raises(ChainError, match="no generated verifier"):
            load(folder)
    with pytest.raises(ChainError, match="vml contract generate"):
        load(tmp_path / "absent")


def test_deployment_gas() -> None:
    """By hand: 21000 + 32000, a zero and a non-zero byte, one word of creation code, 200 a byte kept."""
    assert deployment_gas(b"\x00\x01", 3) == 53_000 + 20 + 2 + 600


def test_the_estimate_of_a_check_is_near_what_a_node_measured() -> None:
    rows = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "gas.json").read_text())["rows"]
    assert len(rows) >= 12
    for row in rows:
        estimate = verification_gas(row["form"] == "reusable", row["proof_bytes"], row["instances"])
        assert abs(estimate / row["router_gas"] - 1) < 0.05, row


def test_another_release_of_ezkl_is_noticed() -> None:
    for data in (b"", bytes(8), (2).to_bytes(8, "little") + bytes(32), (1).to_bytes(8, "little") + bytes(33)):
        with pytest.raises(ChainError, match="release"):
            generating.vka_words(data)


def test_keys_for_the_chain_are_tuned(case: Case) -> None:
    from vml.backends.ezkl.setup import setup

    with pytest.raises(ValueError, match="tune"):
        setup(b"", None, SetupOptions(on_chain=True, tune=False))
    cost, run_args = case.circuit.meta["cost"], case.circuit.meta["run_args"]
    assert cost["blocks"] * run_args["num_inner_cols"] == 1


# ---- the compiler --------------------------------------------------------------------------------------------------


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(solc.MODULES, str(tmp_path))
    with pytest.raises(BackendUnavailable, match=r"npm install solc@0\.8\.30"):
        solc.require_compiler()
    (tmp_path / "solc").mkdir()
    (tmp_path / "solc" / "package.json").write_text('{"version": "0.8.29"}')
    with pytest.raises(BackendUnavailable, match=r"0\.8\.29"):
        solc.require_compiler()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendUnavailable, match="Node"):
        solc.require_compiler()


def test_what_does_not_compile() -> None:
    for source in ("contract A {", "pragma solidity ^0.8.0;", SOURCE + SOURCE.replace("contract A", "contract B")):
        with pytest.raises(ChainError, match="does not compile"):
            solc.compile_one(source, "A.sol")
    made = solc.compile_one(SOURCE, "A.sol")
    assert made.contract == "A"
    assert made.creation.endswith(made.runtime) or made.runtime in made.creation


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def answering(outcome: Any) -> Any:
        def run(command: list[str], **_: Any) -> Any:
            if isinstance(outcome, Exception):
                raise outcome
            return subprocess.CompletedProcess(command, 0, stdout=outcome, stderr="")

        return run

    wrong = json.dumps({"version": "0.8.29+commit", "output": {}})
    for outcome, error, words in (
        (subprocess.TimeoutExpired("node", 1), ChainError, "within"),
        (subprocess.CalledProcessError(1, "node", stderr="out of memory"), ChainError, "out of memory"),
        ("", ChainError, "no answer"),
        (wrong, BackendUnavailable, r"0\.8\.29"),
    ):
        monkeypatch.setattr(subprocess, "run", answering(outcome))
        with pytest.raises(error, match=words):
            solc.compile_one(SOURCE + "// another text", "A.sol")


def test_another_writer_of_ezkl_is_noticed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the verifier does not say how long a proof is, nothing is generated."""
    monkeypatch.setattr(generating, "LENGTH", generating.NAME)
    with pytest.raises(ChainError, match="how long"):
        generating.render(replace(case.circuit), False)
