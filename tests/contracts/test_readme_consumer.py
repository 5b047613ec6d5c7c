"""A consumer written only from the documentation compiles, and does what it says.

The sources are the documentation's own code blocks, compiled with the documentation's own remappings, as they would be
in somebody else's project.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from eth_abi import encode
from web3 import Web3
from web3.contract import Contract

from vml.chain.provider import EmbeddedProvider
from vml.keccak import keccak256

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "verifier_contracts"
PAGE = ROOT / "docs" / "contracts-adapters.md"
PAGES = [ROOT / "README.md", PAGE]
LIBRARY = "lib/vml/"
IMPORT = re.compile(r'^import\s+(?:\{[^}]*\}\s+from\s+)?"([^"]+)";', re.MULTILINE)

FIELD = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
SCORES = [-5, 3, 0, 7, -1, 2, 6, 1, -9, 4]
WORDS = [value % FIELD for value in SCORES]
OUTPUT = keccak256(
    b"\x08" + (1).to_bytes(4) + (2).to_bytes(4) + (1).to_bytes(8) + (10).to_bytes(8) + encode(["uint256"] * 10, WORDS)
)
MODEL, INPUT, METADATA = keccak256(b"model"), keccak256(b"input"), b"what the verifier must know"


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def _documented_contracts() -> dict[str, str]:
    """Whole sources only; a page may also show fragments."""
    found = {}
    for page in PAGES:
        for index, block in enumerate(_blocks(page, "solidity")):
            if "pragma solidity" in block:
                found[f"{page.stem}-{index}.sol"] = block
    return found


def _remappings() -> list[str]:
    [block] = [block for block in _blocks(PAGE, "toml") if "remappings" in block]
    remappings: list[str] = tomllib.loads(block)["remappings"]
    return remappings


def _resolve(path: str, importer: str, remappings: list[str]) -> str:
    """As solc does: the longest context, then the longest prefix."""
    if path.startswith("."):
        return posixpath.normpath(posixpath.join(posixpath.dirname(importer), path))
    best = ("", "", "")
    for remapping in remappings:
        scope, prefix, target = re.fullmatch(r"(?:(.*):)?(.*)=(.*)", remapping).groups(default="")  # type: ignore[union-attr]
        if (
            importer.startswith(scope)
            and path.startswith(prefix)
            and (len(scope), len(prefix)) >= tuple(map(len, best[:2]))
        ):
            best = (scope, prefix, target)
    return best[2] + path.removeprefix(best[1])


def _compile(sources: dict[str, str]) -> dict[str, Any]:
    remappings, pending, read = _remappings(), list(sources), dict(sources)
    while pending:
        name = pending.pop()
        if name not in read:
            assert name.startswith(LIBRARY), f"{name} is not something that the page tells anybody to install"
            read[name] = (ROOT / name.removeprefix(LIBRARY)).read_text(encoding="utf-8")
        imported = (_resolve(path, name, remappings) for path in IMPORT.findall(read[name]))
        pending += [path for path in imported if path not in read]
    settings = {
        "remappings": remappings,
        "optimizer": {"enabled": True, "runs": 200},
        "evmVersion": "cancun",
        "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
    }
    query = {"language": "Solidity", "sources": {k: {"content": v} for k, v in read.items()}, "settings": settings}
    node = shutil.which("node")
    assert node, "Node 20 is needed to compile the contracts"
    command = [node, "solc.mjs", "--standard-json"]
    done = subprocess.run(
        command, cwd=CONTRACTS, input=json.dumps(query), capture_output=True, text=True, check=True, timeout=300
    )
    answer = json.loads(done.stdout)
    assert not answer.get("errors"), "\n".join(error["formattedMessage"] for error in answer["errors"])
    return {name: contract for file in answer["contracts"].values() for name, contract in file.items()}


@pytest.fixture(scope="module")
def compiled() -> dict[str, Any]:
    """Every documented contract, and what a test needs to run it: a router, a registry, a proof system for tests."""
    bench = "\n".join(
        f'import "{LIBRARY}verifier_contracts/{path}";'
        for path in ("src/ModelRegistry.sol", "src/VmlRouter.sol", "test/Mocks.sol")
    )
    bench = f"// SPDX-License-Identifier: Apache-2.0\npragma solidity ^0.8.24;\n{bench}\n"
    sources = {f"src/{name}": text for name, text in _documented_contracts().items()}
    return _compile(sources | {"src/Bench.sol": bench})


class Bench:
    """A router with one route, and one model enabled on it, in an EVM of its own."""

    def __init__(self, compiled: dict[str, Any]) -> None:
        self._compiled = compiled
        self.web3 = Web3(EmbeddedProvider())
        self.owner = self.web3.eth.accounts[0]
        self.registry = self.deploy("ModelRegistry")
        self.router = self.deploy("VmlRouter", self.owner, self.owner, self.registry.address)
        self.verifier = self.deploy("MockVerifier", "mock/1")
        self.selector = self.verifier.functions.selector().call()
        self.send(self.router.functions.addRoute(self.verifier.address))
        self.send(self.registry.functions.registerModel((MODEL, bytes(32), bytes(32), self.selector, "")))
        self.key = self.registry.functions.keyOf(self.owner, MODEL).call()
        self.send(self.registry.functions.setBackend(self.key, self.selector, METADATA, bytes(32)))

    def deploy(self, name: str, *arguments: Any) -> Contract:
        artifact = self._compiled[name]
        contract = self.web3.eth.contract(abi=artifact["abi"], bytecode=artifact["evm"]["bytecode"]["object"])
        receipt = self.web3.eth.wait_for_transaction_receipt(
            contract.constructor(*arguments).transact({"from": self.owner})
        )
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])

    def send(self, call: Any) -> None:
        receipt = self.web3.eth.wait_for_transaction_receipt(call.transact({"from": self.owner}))
        assert receipt["status"] == 1

    def proof(self, claim: tuple[bytes, ...]) -> bytes:
        proof: bytes = self.verifier.functions.prove(claim, METADATA).call()
        return proof


@pytest.fixture(scope="module")
def bench(compiled: dict[str, Any]) -> Bench:
    return Bench(compiled)


def _refused(call: Any, error: str) -> None:
    with pytest.raises(Exception, match=keccak256(f"{error}()".encode())[:4].hex()):
        call.call()


def test_consumer_of_the_page_works(bench: Bench) -> None:
    desk = bench.deploy("DigitDesk", bench.router.address, bench.key)
    bench.send(desk.functions.ask(INPUT))
    bench.send(desk.functions.ask(INPUT))
    claim = (MODEL, INPUT, OUTPUT, desk.functions.contextOf(1).call())
    bench.send(desk.functions.answer(1, claim, WORDS, bench.proof(claim)))
    assert desk.functions.answered(1).call()
    assert desk.functions.digitOf(1).call() == SCORES.index(max(SCORES))


def test_consumer_of_the_page_refuses(bench: Bench) -> None:
    desk = bench.deploy("DigitDesk", bench.router.address, bench.key)
    other = bench.deploy("DigitDesk", bench.router.address, bench.key)
    for each in (desk, other):
        bench.send(each.functions.ask(INPUT))
        bench.send(each.functions.ask(INPUT))
    claim = (MODEL, INPUT, OUTPUT, desk.functions.contextOf(1).call())
    proof = bench.proof(claim)

    _refused(desk.functions.answer(2, claim, WORDS, proof), "NotThisQuestion")
    _refused(other.functions.answer(1, claim, WORDS, proof), "NotThisQuestion")
    _refused(desk.functions.answer(1, (MODEL, OUTPUT, *claim[2:]), WORDS, proof), "NotThisQuestion")
    forged = proof[:-1] + bytes([proof[-1] ^ 1])
    with pytest.raises(Exception, match=keccak256(b"InvalidProof(bytes4)")[:4].hex()):
        desk.functions.answer(1, claim, WORDS, forged).call()
    with pytest.raises(Exception, match=keccak256(b"OutputMismatch(bytes32,bytes32)")[:4].hex()):
        desk.functions.answer(1, claim, WORDS[::-1], proof).call()
    bench.send(desk.functions.answer(1, claim, WORDS, proof))
    _refused(desk.functions.answer(1, claim, WORDS, proof), "AlreadyAnswered")
