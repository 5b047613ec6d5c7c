"""Gas of one-step proofs, measured: the library of the contracts in an embedded EVM. ``make contracts`` first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vml.chain import abi
from vml.model.graph import Graph
from vml.model.onestep import Statement, StepProof, StepProver

BUILD = Path(__file__).resolve().parents[1] / "verifier_contracts" / "build" / "contracts.json"
CONTRACT = "Steps.sol:Steps"
SENDER = "0x" + "11" * 20
INTRINSIC, ZERO_FLOOR, OTHER_FLOOR = 21_000, 10, 40
"""Of a transaction, and of its calldata at least (EIP-7623)."""


class StepGas:
    """The deployed library.

    Raises:
        FileNotFoundError: the contracts are not compiled.
    """

    def __init__(self) -> None:
        import pyrevm

        artifact = json.loads(BUILD.read_text())[CONTRACT]
        self._abi, self._evm = artifact["abi"], pyrevm.EVM()
        self._address = self._evm.deploy(SENDER, bytes.fromhex(artifact["bytecode"][2:]))

    def measure(
        self, graph: Graph, tensor: Callable[[int], np.ndarray[Any, np.dtype[Any]]], node: int, element: int
    ) -> int:
        """Gas of a transaction that proves one element.

        Args:
            graph: the model.
            tensor: from a node to its right output.
            node, element: of what is proved.

        Raises:
            RuntimeError: the contract computes another value, or reverts.
        """
        values: Any = _Values(tensor)
        statement, proof = StepProver(graph, values).prove(node, element)
        data = abi.encode_call(self._abi, "value", _arguments(statement, proof))
        answer = int.from_bytes(bytes(self._evm.message_call(SENDER, self._address, calldata=data)), signed=True)
        right = int(tensor(node).reshape(-1)[element])
        if answer != right:
            raise RuntimeError(f"the contract computes {answer} for element {element} of node {node}, not {right}")
        zeros = data.count(0)
        floor = INTRINSIC + ZERO_FLOOR * zeros + OTHER_FLOOR * (len(data) - zeros)
        return max(int(self._evm.result.gas_used), floor)


class _Values:
    """Tensors by node, made when asked for."""

    def __init__(self, tensor: Callable[[int], Any]) -> None:
        self._tensor = tensor

    def __getitem__(self, node: int) -> Any:
        return self._tensor(node)


def _arguments(statement: Statement, proof: StepProof) -> tuple[object, object]:
    """As the ABI takes them."""
    operands = [
        (o.descriptor, list(o.path), o.merkle_root, [(leaf.index, leaf.data, list(leaf.path)) for leaf in o.leaves])
        for o in proof.operands
    ]
    return (
        (statement.graph, statement.count, statement.node, statement.element, list(statement.operands)),
        (proof.descriptor, list(proof.path), operands),
    )
