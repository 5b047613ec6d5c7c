"""A model, a signed run of it by a machine that does not exist, and accounts on a node, for the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
