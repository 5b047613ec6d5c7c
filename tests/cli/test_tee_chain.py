"""Attested keys on a real node by the command line: rules, deployment, endorsements, admission, a proof, its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chain.conftest import anvil as anvil
from vml.chain import keys
from vml.chain.client import connect
from vml.chain.keys import PRIVATE_KEY

Vml = Callable[..., Any]
NONCE = "0x" + "5a" * 32
OWNER = 0
ATTESTORS = range(1, 6)


def private(number: int) -> str:
    return "0x" + (0xA77E5700 + number).to_bytes(32, "big").hex()


def address(number: int) -> str:
    return keys.from_private_key(private(number)).address


class World:
    """A compiled model, a signed run of it by a simulated machine, and accounts with money."""

    def __init__(self, vml: Vml, url: str, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vml, self.url, self.folder, self.model, self._monkeypatch = vml, url, folder, model, monkeypatch
        self.policy, self.proof = folder / "sim.tdx" / "policy.yaml", folder / "run.proof.json"
        self.rules, self.deployment = folder / "rules.json", model.with_name(f"{model.name}.deployment.json")
        for number in (OWNER, *ATTESTORS):
            connect(url).rpc.ask("anvil_setBalance", address(number), hex(10**20))

    def __call__(self, *arguments: object, by: int | None = None) -> Any:
        if by is None:
            self._monkeypatch.delenv(PRIVATE_KEY, raising=False)
        else:
            self._monkeypatch.setenv(PRIVATE_KEY, private(by))
        return self.vml(*arguments, "--json")

    def done(self, *arguments: object, by: int | None = None) -> dict[str, Any]:
        done = self(*arguments, by=by)
        assert done.code == 0, done.err
        value: dict[str, Any] = done.json
        return value

    def prove(self, input_file: Path) -> None:
        self.done("tee", "simulate", "tdx", "-o", self.policy.parent)
        more = ("--backend", "tee", "--simulate", "tdx", "--tee-nonce", NONCE)
        self.done("prove", self.model, input_file, "-o", self.proof, *more)

    def make_rules(self) -> dict[str, Any]:
        named = [item for number in ATTESTORS for item in ("--attestor", address(number))]
        return self.done("tee", "rules", self.policy, "-o", self.rules, "--threshold", 3, *named)

    def deploy(self) -> dict[str, Any]:
        return self.done("contract", "deploy", self.model, "--rules", self.rules, "--rpc", self.url, by=OWNER)

    def endorse(self, by: int, *more: object) -> Any:
        common = ("--rules", self.rules, "--policy", self.policy, "--deployment", self.deployment, "--allow-simulated")
        return self("tee", "endorse", self.proof, "-o", self.signed(by), *common, "--nonce", NONCE, *more, by=by)

    def signed(self, by: int) -> Path:
        return self.folder / f"{by}.endorsement.json"

    def verify(self, *more: object) -> Any:
        deployed = ("--resume", self.deployment)
        return self("contract", "verify", self.proof, "--rpc", self.url, *(more or deployed))


@pytest.fixture
def world(
    vml: Vml, anvil: str, tmp_path: Path, compiled: Path, input_file: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    made = World(vml, anvil, tmp_path, compiled, monkeypatch)
    made.prove(input_file)
    made.make_rules()
    made.deploy()
    return made


def test_a_key_from_its_evidence_to_its_end(world: World) -> None:
    early = world.verify()
    assert (early.code, early.json["error"]["error"]) == (6, "KeyUnknown")
    assert "vml tee admit" in early.err

    for number in (4, 2, 5):
        value = world.endorse(number).json
        assert (value["attestor"], value["simulated"], value["threshold"]) == (address(number), True, 3)
    signed = [world.signed(number) for number in (4, 2, 5)]
    value = world.done("tee", "admit", *signed, "--rpc", world.url, by=1)
    assert (value["admitted"], value["mode"], value["simulated"]) == (True, "quorum", True)
    assert value["physical_adversary"] == "not covered"
    assert world.done("tee", "admit", *signed, "--rpc", world.url, by=1) == value

    proved = world.verify()
    assert proved.code == 0, proved.err
    assert (proved.json["accepted"], proved.json["router_is_ours"]) == (True, True)
    assert (proved.json["scheme"], proved.json["calldata_bytes"]) == ("tee/1", 356)

    listed = world.done("tee", "status", world.deployment, "--rpc", world.url)
    (key,) = listed["keys"]
    assert (key["state"], key["accepted"], key["mode"], key["simulated"]) == ("admitted", True, "quorum", True)
    assert (key["record"], key["not_after"]) == (value["record"], value["not_after"])

    refused = world("tee", "revoke", world.proof, "--deployment", world.deployment, "--rpc", world.url, by=1)
    assert (refused.code, "that account's key" in refused.err) == (6, True)
    gone = world.done("tee", "revoke", world.proof, "--deployment", world.deployment, "--rpc", world.url, by=OWNER)
    assert gone["records"] == {"quorum": value["record"]}
    again = world.done("tee", "revoke", world.proof, "--deployment", world.deployment, "--rpc", world.url, by=OWNER)
    assert again == gone
    late = world.verify()
    assert (late.code, late.json["error"]["error"]) == (6, "KeyIsRevoked")
    (key,) = world.done("tee", "status", world.deployment, "--rpc", world.url)["keys"]
    assert (key["state"], key["accepted"]) == ("revoked", False)
    back = world("tee", "admit", *signed, "--rpc", world.url, by=1)
    assert (back.code, back.json["error"]["error"]) == (6, "KeyIsRevoked")
