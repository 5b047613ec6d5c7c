"""A false proof made with the test set-up's published secret: it verifies, so nothing may hide what it rests on.

The last check of a KZG proof is one pairing equation, with W' the proof's last point and mu a challenge that does
not depend on it:

    e(R + mu W', G2) = e(W', tau G2)

R gathers everything else: instances, commitments and evaluations, true or not. Whoever knows tau therefore solves for
the last point, W' = R / (tau - mu), and any statement holds. R is read off the contract that ezkl generates for the
same key, stopped before its pairing; it is made here from the installed ezkl and never kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyrevm
import pytest
from eth_abi import decode, encode

from tests.backends.ezkl.conftest import CONTEXT, LENIENT, Case
from tests.parity.conftest import CALLER, CONTRACTS
from vml import api
from vml.backends.ezkl import srs
from vml.backends.ezkl.bn254 import P, R
from vml.backends.ezkl.commitments import word_of
from vml.backends.ezkl.payload import Payload
from vml.cli.verdict import accepted
from vml.errors import PolicyRejected, VerificationError
from vml.keccak import keccak256
from vml.policy import Policy
from vml.proof import Proof

Point = tuple[int, int]
ADDRESS = "0x" + "22" * 20
PAIRING = "            // Perform pairing"
PROBE = """
            mstore(0x00, success)
            mstore(0x20, mload(PAIRING_LHS_X_MPTR))
            mstore(0x40, mload(PAIRING_LHS_Y_MPTR))
            mstore(0x60, mload(PAIRING_RHS_X_MPTR))
            mstore(0x80, mload(PAIRING_RHS_Y_MPTR))
            mstore(0xa0, mload(MU_MPTR))
            return(0x00, 0xc0)
"""
GENERATE = """
import asyncio, sys, ezkl
vk, settings, sol, srs = sys.argv[1:]
async def main():
    await ezkl.create_evm_verifier(vk, settings, sol, sol + ".abi", srs, False)
asyncio.run(main())
"""
COMPILE = """
const solc = require(process.argv[1]);
const input = {language: "Solidity", sources: {v: {content: require("fs").readFileSync(0, "utf8")}}, settings: {
  optimizer: {enabled: true, runs: 1}, evmVersion: "cancun",
  outputSelection: {"*": {"*": ["evm.deployedBytecode.object"]}}}};
const result = JSON.parse(solc.compile(JSON.stringify(input)));
const codes = Object.values(result.contracts.v).map(c => c.evm.deployedBytecode.object);
process.stdout.write(codes.sort((a, b) => b.length - a.length)[0]);
"""


def added(a: Point, b: Point) -> Point:
    """Sum of two points that are neither opposite nor equal."""
    slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def doubled(a: Point) -> Point:
    slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) % P
    x = (slope * slope - 2 * a[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(scalar: int, point: Point) -> Point:
    """A multiple, 1 <= scalar < R."""
    result: Point | None = None
    while scalar:
        if scalar & 1:
            result = point if result is None else added(result, point)
        point, scalar = doubled(point), scalar >> 1
    assert result is not None
    return result


class Probe:
    """ezkl's own verifier for a key, as a contract that answers with its pairing instead of checking it."""

    def __init__(self, case: Case, folder: Path) -> None:
        sol, key = folder / "verifier.sol", case.circuit.folder
        paths = [str(p) for p in (key / "vk", key / "settings.json", sol, case.circuit.setup.path)]
        # It writes the contract and then wants to download a compiler, which we have.
        offline = {**os.environ, **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")}
        subprocess.run([sys.executable, "-c", GENERATE, *paths], env=offline, capture_output=True, timeout=120)
        text = sol.read_text()
        at = text.rindex(PAIRING)
        node = shutil.which("node")
        assert node, "Node 20 is needed to compile the contract"
        compiled = subprocess.run(
            [node, "-e", COMPILE, str(CONTRACTS / "node_modules" / "solc")],
            input=text[:at] + PROBE + text[at:],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        self._evm = pyrevm.EVM()
        self._evm.insert_account_info(ADDRESS, pyrevm.AccountInfo(code=bytes.fromhex(compiled.stdout)))

    def pairing(self, proof: bytes, instances: tuple[bytes, ...]) -> tuple[Point, Point, int]:
        """R + mu W', W' and mu."""
        words = [int.from_bytes(word, "big") for word in instances]
        call = keccak256(b"verifyProof(bytes,uint256[])")[:4] + encode(["bytes", "uint256[]"], [proof, words])
        answer = self._evm.message_call(CALLER, ADDRESS, calldata=call)
        success, *numbers = decode(["uint256"] * 6, bytes(answer))
        assert success == 1, "the points are on the curve"
        return (numbers[0], numbers[1]), (numbers[2], numbers[3]), numbers[4]


@pytest.fixture(scope="module")
def forged(public: Case, tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """The public proof, claiming an output that no input of the model gives."""
    probe, payload = Probe(public, tmp_path_factory.mktemp("probe")), public.payload
    left, right, _ = probe.pairing(payload.proof, payload.instances)
    assert left == times(srs.TEST_TAU, right), "the published secret is the set-up's"

    start = public.circuit.statement.instance_count - len(public.circuit.statement.output_context(payload.instances))
    instances = list(payload.instances)
    instances[start - 2 : start] = [word_of(-999_999), word_of(123_456)]
    lie = public.relabelled(tuple(instances))
    left, right, mu = probe.pairing(payload.proof, tuple(instances))
    rest = added(left, times(R - mu, right))
    last = times(pow(srs.TEST_TAU - mu, -1, R), rest)
    proof = payload.proof[:-64] + b"".join(c.to_bytes(32, "big") for c in last)
    return replace(lie, payload=replace(Payload.from_bytes(lie.payload), proof=proof).to_bytes())


def test_under_the_test_set_up_anything_can_be_proved_and_the_verdict_says_so(public: Case, forged: Proof) -> None:
    verdict = api.verify(forged.to_bytes(), model=public.circuit.identity, context=CONTEXT, policy=LENIENT)
    assert forged.public["output"][0]["values"] == [-999_999, 123_456]  # type: ignore[index,call-overload]
    assert verdict.unsafe_setup
    assert accepted(verdict)["unsafe_setup"] is True
    assert verdict.trusted[0] == "set-up: nobody: the test set-up's secret is published, anybody can forge this proof"


def test_nobody_gets_it_accepted_without_saying_so(public: Case, forged: Proof) -> None:
    named = Policy(setups=frozenset({srs.TEST_SETUP_ID}), min_security_bits=96)
    for policy in (None, named, Policy(any_of=(LENIENT,)), Policy(backends=frozenset({"ezkl"}))):
        with pytest.raises(PolicyRejected, match="allow_unsafe_setup"):
            api.verify(forged.to_bytes(), model=public.circuit.identity, context=CONTEXT, policy=policy)


def test_the_secret_makes_one_lie_at_a_time(public: Case, forged: Proof) -> None:
    """The forged point fits these instances and no others: the equation is checked, not skipped."""
    payload = Payload.from_bytes(forged.payload)
    instances = (*payload.instances[:-17], word_of(7), *payload.instances[-16:])
    other = public.relabelled(instances)
    lie = replace(other, payload=replace(payload, instances=instances).to_bytes())
    with pytest.raises(VerificationError, match="14"):
        api.verify(lie.to_bytes(), model=public.circuit.identity, context=CONTEXT, policy=LENIENT)
