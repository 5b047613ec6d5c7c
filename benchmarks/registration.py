"""Gas of registering exact models with the contract that disputes rely on, in the embedded EVM.

Run: ``python -m benchmarks.registration``
Each figure is the gas of whole transactions, intrinsic gas and calldata included. The floor for calldata (EIP-7623),
which the embedded EVM does not know, lies far below: most of the gas is for keeping the descriptors. Nothing here
depends on the machine or on chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import vml
from benchmarks.networks import CIRCUITS, dense, mobilenet025
from vml.chain import abi, artifacts
from vml.chain.client import Chain, connect
from vml.chain.graphs import REGISTRY, register_graph
from vml.chain.transactions import Receipt
from vml.model.graph import Graph
from vml.model.semantics import semantics_digest

STEP_GAS_LIMIT = 8_000_000
LAYERS, WIDTH = 75, 32


def graphs() -> Iterator[tuple[str, Graph]]:
    """Shipped models, a network of 28 convolutions, and one of many small layers."""
    for name in ("lenet5", "digits-transformer"):
        with np.load(CIRCUITS / name / "calibration.npz") as rows:
            yield name, vml.compile(CIRCUITS / name / "model.onnx", calibration=dict(rows)).graph
    for network in (mobilenet025(), dense(f"dense, {LAYERS} layers", LAYERS, WIDTH)):
        yield network.name, vml.compile(network.onnx, calibration=network.calibration).graph


class Metered(Chain):
    """Notes the receipt of every transaction."""

    receipts: list[Receipt]

    def transact(self, to: str, contract: abi.Abi, name: str, *arguments: Any, value: int = 0) -> Receipt:
        receipt = super().transact(to, contract, name, *arguments, value=value)
        self.receipts.append(receipt)
        return receipt


def main() -> None:
    plain, artifact = connect(None), artifacts.load(REGISTRY)
    chain = Metered(plain.rpc, plain.rules, account=plain.sender)
    chain.receipts = []
    receipt = chain.send(
        None, artifact.bytecode + abi.encode_constructor(artifact.abi, (semantics_digest(), STEP_GAS_LIMIT))
    )
    print(f"GraphRegistry itself: {receipt.gas_used:,} gas\n")
    print("| model | operators | bytes | `open` | chunks | dearest chunk | all |\n|---|---|---|---|---|---|---|")
    for name, graph in graphs():
        chain.receipts.clear()
        register_graph(chain, str(receipt.contract), graph)
        opening, *chunks = (item.gas_used for item in chain.receipts)
        size = sum(len(node.encode()) for node in graph.nodes)
        row = (name, len(graph.nodes), size, opening, len(chunks), max(chunks), opening + sum(chunks))
        print("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) + " |", flush=True)


if __name__ == "__main__":
    main()
