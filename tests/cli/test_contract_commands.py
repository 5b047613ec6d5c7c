"""`vml contract` over a verifier that accepts everything and a router that does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.chain.chain_world import MODEL, SCHEME, encoded, honest, signed, signer, write_generated
from vml.chain import abi, artifacts, client, deployment, store, verify
from vml.chain.embedded import EmbeddedChain
from vml.chain.keys import PRIVATE_KEY
from vml.claim import Claim
from vml.proof import Proof

ROOT = Path(__file__).parents[2]
Vml = Callable[..., Any]
URL = "http://node.example"


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, no key, and envelopes whose payload is what a router takes."""
    monkeypatch.setenv("VML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv(PRIVATE_KEY, raising=False)
    monkeypatch.setitem(verify.ENCODERS, "ezkl", lambda proof: proof.payload)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_generated(tmp_path / "contract").folder


@pytest.fixture
def envelope() -> Proof:
    claim, transcript, words = honest()
    return Proof(SCHEME, (Claim(*claim),), {}, encoded(transcript, words))


@pytest.fixture
def proof(envelope: Proof, tmp_path: Path) -> Path:
    envelope.save(tmp_path / "p.json")
    return tmp_path / "p.json"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> EmbeddedChain:
    """What is behind `URL`."""
    chain = EmbeddedChain()
    monkeypatch.setattr(client, "http", lambda url: chain)
    return chain


@pytest.fixture
def deployed(folder: Path, node: EmbeddedChain, monkeypatch: pytest.MonkeyPatch, vml: Vml) -> dict[str, Any]:
    monkeypatch.setenv(PRIVATE_KEY, "0x" + "4c" * 32)
    done = vml("contract", "deploy", folder, "--rpc", URL, "--json")
    assert done.code == 0, done.err
    value: dict[str, Any] = done.json
    return value


def test_no_option_takes_a_key() -> None:
    group = typer.main.get_command(import_module("vml.cli.contract").app)
    for command in group.commands.values():  # type: ignore[attr-defined]
        names = {name for parameter in command.params for name in parameter.opts}
        assert not names & {"--private-key", "--password", "--mnemonic", "--secret"}, command.name


def test_a_proof_on_the_embedded_evm(folder: Path, proof: Path, vml: Vml) -> None:
    done = vml("contract", "verify", proof, "--contract", folder, "--json")
    assert done.code == 0, done.err
    value = done.json
    assert (value["accepted"], value["rules"], value["router_is_ours"]) == (True, "cancun, embedded", True)
    assert value["selector"] == "0x52e29684"
    assert value["claims"][0]["model"] == "0x" + MODEL.hex()
    assert value["gas"] > 21_000
    shown = vml("contract", "verify", proof, "--contract", folder)
    assert "accepted" in shown.out
    assert "cancun, embedded" in shown.out


def test_the_contract_is_found_in_the_cache(proof: Path, vml: Vml) -> None:
    done = vml("contract", "verify", proof, "--json")
    assert done.code == 6
    assert "vml contract generate MODEL" in done.json["error"]["message"]
    write_generated(store.place(MODEL, False))
    assert vml("contract", "verify", proof).code == 0


@pytest.mark.parametrize("field", ["model", "input", "output", "context"])
def test_another_claim_is_refused(field: str, folder: Path, envelope: Proof, tmp_path: Path, vml: Vml) -> None:
    lie = replace(envelope.claims[0], **{field: bytes(32)})
    replace(envelope, claims=(lie,)).save(tmp_path / "lie.json")
    done = vml("contract", "verify", tmp_path / "lie.json", "--contract", folder, "--json")
    if field == "model":
        assert done.code == 6
        assert "is for model" in done.json["error"]["message"]
        return
    assert done.code == 1
    assert done.json["error"]["type"] == "ProofRejected"
    assert f"the adapter says {field.capitalize()}Mismatch" in done.json["error"]["message"]


def test_what_no_contract_checks(folder: Path, envelope: Proof, tmp_path: Path, vml: Vml) -> None:
    place = tmp_path / "other.json"
    for changed, words in (
        (replace(envelope, scheme="sumcheck/1"), "no contract checks proofs of sumcheck"),
        (replace(envelope, claims=envelope.claims * 2), "one claim at a time"),
        (replace(envelope, scheme=SCHEME.replace("hashed", "public")), "the proof's scheme is"),
    ):
        changed.save(place)
        done = vml("contract", "verify", place, "--contract", folder)
        assert done.code == 6
        assert words in done.err


def test_a_damaged_folder_is_refused(folder: Path, proof: Path, vml: Vml) -> None:
    (folder / "bytecode").write_text("0x00")
    for arguments in (["verify", proof, "--contract", folder], ["deploy", folder]):
        done = vml("contract", *arguments)
        assert done.code == 6
        assert "vml contract generate" in done.err


def test_a_rehearsal_keeps_nothing(folder: Path, vml: Vml) -> None:
    done = vml("contract", "deploy", folder, "--json")
    assert done.code == 0, done.err
    assert (done.json["kept"], done.json["rules"], done.json["file"]) == (False, "cancun, embedded", None)
    assert "a rehearsal" in done.err
    assert not (folder / "deployment.json").exists()
    assert "rehearsed" in vml("contract", "deploy", folder).out


def test_deploying_to_a_node(deployed: dict[str, Any], folder: Path, vml: Vml) -> None:
    assert set(deployed["contracts"]) == {"registry", "router", "adapter", "verifier"}
    assert deployed["deployer"] == signer().address
    assert deployed["chain_id"] == 31337
    assert json.loads((folder / "deployment.json").read_text())["chain_id"] == "31337"
    again = vml("contract", "deploy", folder, "--rpc", URL, "--json")
    assert again.json["contracts"] == deployed["contracts"]


def test_nobody_signs_without_a_key(folder: Path, node: EmbeddedChain, vml: Vml, tmp_path: Path) -> None:
    done = vml("contract", "deploy", folder, "--rpc", URL)
    assert done.code == 6
    assert "--keystore" in done.err
    assert not (folder / "deployment.json").exists()
    assert vml("contract", "deploy", folder, "--rpc", URL, "--keystore", tmp_path / "none").code == 2
    assert vml("contract", "deploy", folder, "--rpc", "ftp://x").code in (2, 6)


@pytest.mark.usefixtures("deployed")
def test_asking_a_deployed_router(deployed: dict[str, Any], proof: Path, folder: Path, vml: Vml) -> None:
    router, key = deployed["contracts"]["router"]["address"], deployed["model"]["key"]
    for named in (["--router", router, "--key", key], ["--contract", folder]):
        done = vml("contract", "verify", proof, "--rpc", URL, *named, "--json")
        assert done.code == 0, done.err
        assert (done.json["router"], done.json["key"], done.json["router_is_ours"]) == (router, key, True)
    other = vml("contract", "verify", proof, "--rpc", URL, "--router", router, "--key", "0x" + "00" * 32, "--json")
    assert other.code == 6
    assert other.json["error"]["error"] == "ModelUnknown"
    assert other.json["error"]["arguments"] == {"key": "0x" + "00" * 32}
    stub = deployed["contracts"]["verifier"]["address"]
    assert vml("contract", "verify", proof, "--rpc", URL, "--router", stub, "--key", key).code == 6
    assert vml("contract", "verify", proof, "--rpc", URL, "--router", "0x12", "--key", key).code == 2
    assert vml("contract", "verify", proof, "--rpc", URL, "--chain", 1, "--router", router, "--key", key).code == 6


def test_options_that_do_not_go_together(proof: Path, vml: Vml) -> None:
    assert "give its --rpc" in vml("contract", "verify", proof, "--router", "0x" + "11" * 20).err
    done = vml("contract", "verify", proof, "--rpc", URL)
    assert done.code == 2
    assert "--router and --key" in done.err


def test_listing(deployed: dict[str, Any], folder: Path, node: EmbeddedChain, vml: Vml) -> None:
    listed = vml("contract", "list", folder, "--json")
    assert listed.code == 0
    assert not listed.json["checked"]
    compared = vml("contract", "list", folder, "--rpc", URL, "--json")
    assert compared.code == 0, compared.err
    assert {item["state"] for item in compared.json["contracts"].values()} == {"there"}
    selector = bytes.fromhex(deployed["model"]["selector"][2:])
    data = abi.encode_call(artifacts.load("VmlRouter").abi, "freezeRoute", [selector, bytes(32)])
    nonce = int(node.make_request("eth_getTransactionCount", [signer().address])["result"], 16)
    raw = signed(nonce, data, deployed["contracts"]["router"]["address"])
    node.make_request("eth_sendRawTransaction", ["0x" + raw.hex()])
    frozen = vml("contract", "list", folder, "--rpc", URL, "--json")
    assert frozen.code == 6
    assert frozen.json["problems"] == ["the route is not active"]


def test_listing_against_a_chain_that_has_other_things(
    deployed: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, vml: Vml
) -> None:
    monkeypatch.setattr(client, "http", lambda url: EmbeddedChain())
    done = vml("contract", "list", folder, "--rpc", URL, "--json")
    assert done.code == 6
    assert {item["state"] for item in done.json["contracts"].values()} == {"missing or changed"}
    monkeypatch.setattr(client, "http", lambda url: EmbeddedChain(timestamp=5))
    assert "its first block differs" in vml("contract", "list", folder, "--rpc", URL).err
    monkeypatch.setattr(client, "http", lambda url: EmbeddedChain(chain_id=7))
    assert "chain 7, not 31337" in vml("contract", "list", folder, "--rpc", URL).err
    assert vml("contract", "list", folder.parent).code == 2


@pytest.mark.usefixtures("deployed")
def test_an_unfinished_deployment_is_named(folder: Path, proof: Path, vml: Vml) -> None:
    state = deployment.load(folder / "deployment.json")
    assert state is not None
    replace(state, model={}).save(folder / "deployment.json")
    done = vml("contract", "verify", proof, "--rpc", URL, "--contract", folder)
    assert done.code == 6
    assert "unfinished" in done.err


def test_the_embedded_evm_loads_no_web3_and_no_other_extra(folder: Path, proof: Path) -> None:
    code = f"""
import sys
for name in ("web3", "eth_account", "ezkl", "numba", "onnx", "onnxruntime", "psutil", "safetensors", "threadpoolctl"):
    sys.modules[name] = None
from pathlib import Path
from vml.chain import verify
from vml.chain.generate import load
from vml.proof import Proof
verify.ENCODERS["ezkl"] = lambda proof: proof.payload
print(verify.verify_embedded(load(Path({str(folder)!r})), Proof.load({str(proof)!r})).rules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "cancun, embedded"


def test_a_written_contract_replaces_only_its_own_kind(folder: Path, tmp_path: Path) -> None:
    made = store.load(folder)
    target = tmp_path / "target"
    assert store.copy(made, target).manifest == made.manifest
    store.copy(made, target)
    (target / "deployment.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"deployment\.json"):
        store.copy(made, target)
