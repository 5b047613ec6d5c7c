"""Gas of checking ezkl proofs through the router on a real node: anvil under Osaka's rules.

Run: ``python -m benchmarks.gas [MODEL...]`` (make contracts first)
Keys are made for the chain (``SetupOptions.on_chain``), with the input public and hashed, and a generated verifier in
both forms. Each figure is the gas of a whole transaction, intrinsic gas and calldata included. *Direct* is the
generated verifier called by itself, which checks no claim; *overhead* is what router and adapter add to that. The
verifier for all circuits takes the circuit as calldata when it is called directly, and from a contract's code through
the adapter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import publish
from vml.backends.ezkl import prover
from vml.backends.ezkl.payload import Payload
from vml.backends.ezkl.setup import setup
from vml.backends.types import SetupOptions, Visibility
from vml.chain import abi, artifacts
from vml.chain.ezkl_adapter import data_contract, encode_proof
from vml.chain.generate import Generated, generate
from vml.keccak import keccak256
from vml.proof import Proof

ROOT = Path(__file__).resolve().parents[1]
ANVIL = ROOT / "verifier_contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
MODELS = ("breast-cancer-mlp", "digits-mlp", "digits-cnn")
HARDFORK = "osaka"
GAS_LIMIT = 16_000_000
START_S = 30
OVERHEAD_TARGET, TOTAL_TARGET, BEST_TARGET = 40_000, 720_000, 650_000
CALLS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"type": "bytes"}, {"type": "uint256[]"}],
    "reusable": [{"type": "bytes"}, {"type": "uint256[]"}, {"type": "bytes32[]"}],
}
REGISTER = [{"type": "function", "name": "registerVka", "inputs": [{"type": "bytes32[]"}], "outputs": []}]


class Node:
    """A node's JSON-RPC, with its first account as the sender.

    Args:
        url: of the node.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.account = self.ask("eth_accounts")[0]

    def ask(self, method: str, *parameters: Any) -> Any:
        """One request; an error of the node's is raised."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def send(self, data: bytes, to: str | None = None, sender: str | None = None, value: int = 0) -> dict[str, Any]:
        """A transaction's receipt; a revert is raised."""
        transaction = {"from": sender or self.account, "data": "0x" + data.hex(), "gas": hex(GAS_LIMIT)}
        transaction["value"] = hex(value)
        digest = self.ask("eth_sendTransaction", transaction | ({"to": to} if to else {}))
        deadline = time.monotonic() + START_S
        while (receipt := self.ask("eth_getTransactionReceipt", digest)) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no receipt of {digest}")
            time.sleep(0.02)
        if receipt["status"] != "0x1":
            raise RuntimeError(f"the transaction to {to} reverted")
        found: dict[str, Any] = receipt
        return found

    def deploy(self, creation: bytes) -> tuple[str, int]:
        """Address and gas."""
        receipt = self.send(creation)
        return receipt["contractAddress"], int(receipt["gasUsed"], 16)

    def create(self, name: str, *arguments: Any) -> str:
        """One of our own contracts."""
        artifact = artifacts.load(name)
        return self.deploy(artifact.bytecode + abi.encode_constructor(artifact.abi, arguments))[0]

    def call(self, name: str, to: str, function: str, *arguments: Any) -> int:
        """Gas of a transaction to one of our own contracts."""
        receipt = self.send(abi.encode_call(artifacts.load(name).abi, function, arguments), to)
        return int(receipt["gasUsed"], 16)


@contextmanager
def anvil() -> Iterator[tuple[Node, str]]:
    """A node on a free loopback port, and its version; stopped by its process id."""
    with tempfile.TemporaryFile("w+") as log:
        command = [str(ANVIL), "--port", "0", "--hardfork", HARDFORK]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline, heard = time.monotonic() + START_S, ""
            while "Listening on " not in heard:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"anvil does not listen: {heard[-500:]}")
                time.sleep(0.05)
                log.seek(0)
                heard = log.read()
            node = Node("http://" + heard.partition("Listening on ")[2].split()[0])
            yield node, node.ask("web3_clientVersion")
        finally:
            process.terminate()
            process.wait(START_S)


def words_of(data: bytes) -> list[bytes]:
    return [data[i : i + 32] for i in range(0, len(data), 32)]


def direct(generated: Generated, proof: Proof) -> bytes:
    """Calldata of the generated verifier itself."""
    payload = Payload.from_bytes(proof.payload)
    arguments: list[Any] = [payload.proof, [int.from_bytes(word, "big") for word in payload.instances]]
    form = "reusable" if generated.vka else "plain"
    arguments += [words_of(generated.vka)] if generated.vka else []
    entry = {"type": "function", "name": "verifyProof", "inputs": CALLS[form], "outputs": []}
    return abi.encode_call([entry], "verifyProof", arguments)


def measure(node: Node, generated: Generated, proof: Proof) -> dict[str, Any]:
    """Deploy everything for one proof and send it both ways."""
    registry = node.create("ModelRegistry")
    router = node.create("VmlRouter", node.account, node.account, registry)
    adapter = node.create("EzklAdapter", proof.scheme)
    node.call("VmlRouter", router, "addRoute", adapter)
    verifier, deployment = node.deploy(generated.creation)
    pointer, vka_gas = None, 0
    if generated.vka:
        vka_gas += int(
            node.send(abi.encode_call(REGISTER, "registerVka", [words_of(generated.vka)]), verifier)["gasUsed"], 16
        )
        address, cost = node.deploy(data_contract(generated.vka))
        pointer, vka_gas = bytes.fromhex(address[2:]), vka_gas + cost
    metadata = generated.metadata(bytes.fromhex(verifier[2:]), pointer).to_bytes()
    claim = proof.claims[0]
    node.call("ModelRegistry", registry, "registerModel", (claim.model, bytes(32), bytes(32), bytes(4), ""))
    key = keccak256(abi.encode(["address", "bytes32"], [node.account, claim.model]))
    node.call("ModelRegistry", registry, "setBackend", key, proof.selector, metadata, bytes(32))
    fields = (claim.model, claim.input, claim.output, claim.context)
    data = encode_proof(proof)
    total = node.call("VmlRouter", router, "verifyEntry", key, fields, data)
    alone = int(node.send(direct(generated, proof), verifier)["gasUsed"], 16)
    return {
        "form": "reusable" if generated.vka else "plain",
        "instances": generated.manifest["instances"],
        "proof_bytes": generated.layout.proof_bytes,
        "envelope_bytes": len(data),
        "code_bytes": generated.manifest["code_bytes"],
        "vka_bytes": len(generated.vka),
        "deploy_gas": deployment,
        "deploy_gas_estimate": generated.manifest["gas_estimate"]["deploy"],
        "vka_gas": vka_gas,
        "router_gas": total,
        "direct_gas": alone,
        "overhead_gas": total - alone,
        "router_gas_estimate": generated.manifest["gas_estimate"]["verify"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--cache", type=Path, help="where keys are kept; by default where vml keeps them")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch, anvil() as (node, client):
        for name in arguments.models:
            circuit_folder = ROOT / "circuits" / name
            with np.load(circuit_folder / "calibration.npz") as file:
                samples = dict(file)
            with np.load(circuit_folder / "sample.npz") as file:
                sample = dict(file)
            for shown in ("public", "hashed"):
                options = SetupOptions(visibility=Visibility(input=shown), on_chain=True, cache_dir=arguments.cache)
                circuit = setup((circuit_folder / "model.onnx").read_bytes(), samples, options)
                proof, _ = prover.prove(circuit, sample, bytes(range(32)))
                for reusable in (False, True):
                    generated = generate(circuit, Path(scratch) / f"{name}-{shown}-{reusable}", reusable=reusable)
                    row = measure(node, generated, proof)
                    rows.append({"model": name, "input": shown, "log_rows": circuit.statement.log_rows, **row})
                    print(rows[-1], flush=True)
    publish(
        "gas",
        ["ezkl", "vml"],
        {
            "node": client,
            "hardfork": HARDFORK,
            "targets": {"overhead": OVERHEAD_TARGET, "hashed": TOTAL_TARGET, "best": BEST_TARGET},
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
