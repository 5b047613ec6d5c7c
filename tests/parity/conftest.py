"""Contracts compiled with the pinned solc and run in an embedded EVM."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrevm
import pytest
from eth_abi import decode, encode

from vml.keccak import keccak256

CONTRACTS = Path(__file__).parents[2] / "verifier_contracts"
CALLER = "0x" + "11" * 20
REVERT = re.compile(r"output: (0x[0-9a-f]*)")


class Reverted(Exception):
    """A call reverted with this custom error."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


def _abi_type(parameter: dict[str, Any]) -> str:
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    members = ",".join(_abi_type(member) for member in parameter["components"])
    return f"({members}){parameter['type'][len('tuple') :]}"


def _selector(entry: dict[str, Any]) -> bytes:
    types = ",".join(_abi_type(parameter) for parameter in entry["inputs"])
    return keccak256(f"{entry['name']}({types})".encode())[:4]


class Deployed:
    """A contract in its own EVM: ``deployed.call("name", ...)``."""

    def __init__(self, artifact: dict[str, Any]) -> None:
        self._evm = pyrevm.EVM()
        self._address = self._evm.deploy(CALLER, bytes.fromhex(artifact["bytecode"][2:]))
        functions = [entry for entry in artifact["abi"] if entry["type"] == "function"]
        errors = [entry for entry in artifact["abi"] if entry["type"] == "error"]
        self._functions = {entry["name"]: entry for entry in functions}
        self._errors = {_selector(entry): entry["name"] for entry in errors}

    def call(self, name: str, *arguments: object) -> Any:
        """The decoded result: one value bare, several as a tuple, none as None.

        Raises:
            Reverted: with the custom error's name.
        """
        entry = self._functions[name]
        data = _selector(entry) + encode([_abi_type(item) for item in entry["inputs"]], arguments)
        try:
            raw = self._evm.message_call(CALLER, self._address, calldata=data)
        except RuntimeError as error:
            match = REVERT.search(str(error))
            if match is None or bytes.fromhex(match[1][2:10]) not in self._errors:
                raise
            raise Reverted(self._errors[bytes.fromhex(match[1][2:10])]) from None
        values = decode([_abi_type(item) for item in entry["outputs"]], bytes(raw))
        return values if len(values) > 1 else values[0] if values else None


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every contract of verifier_contracts, compiled now from the sources as they are."""
    node = shutil.which("node")
    assert node, "Node 20 is needed to compile the contracts"
    assert (CONTRACTS / "node_modules" / "solc").is_dir(), "run make contracts"
    output = tmp_path_factory.mktemp("contracts") / "contracts.json"
    subprocess.run([node, "compile.mjs", str(output)], cwd=CONTRACTS, check=True, timeout=120)
    compiled: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return compiled


@pytest.fixture(scope="session")
def deploy(artifacts: dict[str, Any]) -> Callable[[str], Deployed]:
    """Deploy a contract by its ``File.sol:Name``."""
    return lambda name: Deployed(artifacts[name])


@pytest.fixture(scope="session")
def commitments(deploy: Callable[[str], Deployed]) -> Deployed:
    """The claim and commitment libraries, opened to tests."""
    return deploy("Commitments.sol:Commitments")
