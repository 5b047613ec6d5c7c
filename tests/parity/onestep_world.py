"""One-step proofs for the Solidity library in an embedded EVM, and nodes to prove steps of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from eth_abi import encode

from tests.laws.random_graphs import Rng, random_shape, random_view
from vml.merkle import ITEM_BYTES, graph_digest, graph_tree
from vml.model.codec import Part, Run, View
from vml.model.graph import Graph, Node
from vml.model.onestep import Statement, StepProof
from vml.model.tensor import MAX_STRIDE, Header

NONE = View(0, ())
FLAT = View(0, (1,))
DTYPES = sorted(ITEM_BYTES)
TYPES = (
    "(bytes32,uint32,uint32,uint64,bytes32[])",
    "(bytes,bytes32[],(bytes,bytes32[],bytes32,(uint64,bytes,bytes32[])[])[])",
)
"""The statement's and the proof's."""


def arguments(statement: Statement, proof: StepProof) -> tuple[object, object]:
    """As the ABI takes them."""
    operands = [
        (o.descriptor, list(o.path), o.merkle_root, [(leaf.index, leaf.data, list(leaf.path)) for leaf in o.leaves])
        for o in proof.operands
    ]
    return (
        (statement.graph, statement.count, statement.node, statement.element, list(statement.operands)),
        (proof.descriptor, list(proof.path), operands),
    )


class Refused(Exception):
    """The contract reverted with this custom error."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class Steps:
    """The deployed library: ``value`` also notes what the call cost."""

    def __init__(self, contract: Any) -> None:
        self._contract = contract
        self.calldata_bytes, self.gas, self.transaction_gas = 0, 0, 0

    def value(self, statement: Statement, proof: StepProof) -> int:
        """What the contract computes.

        Raises:
            Refused: with a custom error's name.
            RuntimeError: any other revert.
        """
        given = arguments(statement, proof)
        try:
            value = int(self._contract.call("value", *given))
        except Exception as error:
            if hasattr(error, "name"):
                raise Refused(error.name) from None
            raise
        calldata = encode(TYPES, given)
        self.calldata_bytes = 4 + len(calldata)
        self.transaction_gas = int(self._contract._evm.result.gas_used)
        zeros = calldata.count(0)
        self.gas = self.transaction_gas - 21_000 - 16 * (self.calldata_bytes - zeros) - 4 * zeros
        return value


def reader(arrays: Sequence[np.ndarray]) -> Callable[[int, int], int]:
    """Refuses what lies outside, also below 0."""

    def read(operand: int, place: int) -> int:
        if not 0 <= place < arrays[operand].size:
            raise IndexError(place)
        return int(arrays[operand].reshape(-1)[place])

    return read


def as_arrays(graph: Graph, values: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """An evaluation in the storage types and shapes of the headers."""
    return [
        np.array(flat, dtype=node.header.dtype).reshape(node.header.shape)
        for node, flat in zip(graph.nodes, values, strict=True)
    ]


def extremes(rng: Rng, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Anything that fits the type, often its ends and what lies near 0."""
    ends = np.iinfo(dtype)
    drawn = rng.integers(ends.min, ends.max, shape, dtype=dtype, endpoint=True)
    special = np.array([ends.min, ends.min + 1, -1, 0, 1, ends.max], dtype=dtype)[rng.integers(0, 6, shape)]
    return np.where(rng.random(shape) < rng.random(), special, drawn).astype(dtype)


def single(primitive: str, attributes: dict[str, Any], out: tuple[int, ...], operands: Sequence[np.ndarray]) -> Graph:
    """One node over inputs that hold anything: no static analysis has seen it, and a step is defined all the same."""
    nodes = [
        Node("input", Header(x.dtype.name, x.shape, int(x.min()), int(x.max())), (), {"index": k})
        for k, x in enumerate(operands)
    ]
    nodes.append(Node(primitive, Header("int64", out, -1, 1), tuple(range(len(operands))), attributes))
    return Graph(tuple(nodes), {}, (), (), tuple(node.primitive for node in nodes))


def draw(rng: Rng, primitive: str) -> tuple[Graph, list[np.ndarray]]:
    """A random node of this primitive, and its operands: several leaves, any type, any elements."""

    def tensor(least: int = 1) -> np.ndarray:
        size = max(least, int(rng.choice([1, 5, 300, 3000])))
        return extremes(rng, str(rng.choice(DTYPES)), (size,))

    def i64() -> int:
        return int(extremes(rng, str(rng.choice(DTYPES)), ()))

    out, inner = random_shape(rng), random_shape(rng, int(rng.integers(0, 3)), 6)
    operands: list[np.ndarray] = [tensor()]
    attributes: dict[str, Any] = {}

    def view(name: str, operand: int, loops: tuple[int, ...] = out) -> None:
        attributes[name] = random_view(rng, loops, operands[operand].size)

    if primitive == "dot":
        operands += [tensor() for _ in range(int(rng.integers(1, 3)))]
        attributes = {"contract": inner, "bias": NONE}
        view("a", 0, (*out, *inner))
        view("b", 1, (*out, *inner))
        if len(operands) == 3:
            view("bias", 2)
    elif primitive == "rescale":
        lo, hi = sorted((i64(), i64()))
        attributes = {"shift": int(rng.choice([16, 32, 48])), "multiplier": i64(), "lo": lo, "hi": hi}
        attributes["multipliers"] = NONE
        if rng.random() < 0.5:
            operands.append(tensor())
            view("multipliers", 1)
        view("x", 0)
    elif primitive == "lookup":
        operands.append(tensor())
        attributes = {"base": i64()}
        view("x", 0)
    elif primitive == "affine":
        attributes = {"alpha": i64(), "beta": i64(), "gamma": i64(), "b": NONE}
        if rng.random() < 0.7:
            operands.append(tensor())
            view("b", 1)
        view("a", 0)
    elif primitive in ("multiply", "less", "equal", "divide"):
        operands.append(operands[0].copy() if rng.random() < 0.3 else tensor())
        view("a", 0)
        view("b", 1)
        if rng.random() < 0.3 and operands[0].size == operands[1].size:
            attributes["b"] = attributes["a"]
    elif primitive == "select":
        operands += [tensor(), tensor()]
        for k, name in enumerate(("condition", "a", "b")):
            view(name, k)
    elif primitive == "gather":
        operands, attributes, out = _gather(rng, out, tensor)
    elif primitive == "take":
        operands.append(tensor())
        view("x", 0, (*out, int(rng.integers(1, 40))))
        whole = attributes["x"]
        size = int(rng.integers(1, 5)) if whole.strides[-1] == 0 else 1 + (operands[0].size - 1) // (1 << 12)
        attributes |= {"x": View(whole.offset, whole.strides[:-1]), "size": size, "stride": whole.strides[-1]}
        view("index", 1)
    elif primitive in ("reduce_sum", "reduce_max"):
        attributes = {"reduced": inner}
        view("x", 0, (*out, *inner))
    elif primitive in ("argmax", "topk"):
        length = int(rng.integers(1, 12))
        attributes = {"length": length}
        view("x", 0, (*out, length))
        if primitive == "topk":
            out = (*out, int(rng.integers(1, length + 1)))
    else:
        view("x", 0)
    return single(primitive, attributes, out, operands), operands


def long_node(primitive: str, terms: int, dtype: str = "int16") -> tuple[Graph, list[np.ndarray]]:
    rng = np.random.default_rng(terms)
    x = extremes(rng, dtype, (terms,))
    if primitive == "dot":
        return single("dot", {"contract": (terms,), "a": FLAT, "b": FLAT, "bias": NONE}, (), [x, x[::-1].copy()]), [
            x,
            x[::-1].copy(),
        ]
    name = "length" if primitive in ("argmax", "topk") else "reduced"
    attributes = {name: terms if name == "length" else (terms,), "x": FLAT}
    return single(primitive, attributes, (1,) if primitive == "topk" else (), [x]), [x]


def _gather(rng: Rng, out: tuple[int, ...], tensor: Any) -> tuple[list[np.ndarray], dict[str, Any], tuple[int, ...]]:
    axis = int(rng.integers(0, len(out))) if out else 0
    operands = [tensor() for _ in range(int(rng.integers(1, 4)) if out else 1)]
    parts, lengths = [], [int(rng.integers(1, 4)) for _ in operands]
    for x, length in zip(operands, lengths, strict=True):
        room, maps = x.size - 1, []
        for k, n in enumerate(out):
            runs, left = [], length if k == axis else n
            reach = room // (2 * len(out))
            while left:
                count = int(rng.integers(1, left + 1))
                start, step = int(rng.integers(-1, reach + 1)), int(rng.integers(0, reach // count + 1))
                runs.append(Run(count, start, step))
                left -= count
            maps.append(tuple(runs))
        parts.append(Part(length, int(rng.integers(0, room // 4 + 1)) if not out else 0, tuple(maps)))
    shape = tuple(sum(lengths) if k == axis else n for k, n in enumerate(out))
    fill = int(rng.choice([0, MAX_STRIDE, -(2**63), 2**63 - 1]))
    return operands, {"axis": axis, "fill": fill, "parts": tuple(parts)}, shape


def recommitted(statement: Statement, proof: StepProof, descriptors: Sequence[bytes]) -> tuple[Statement, StepProof]:
    """The same proof in the graph of these descriptors, one of which is the node's."""
    tree = graph_tree(descriptors)
    operands = tuple(
        replace(o, path=tuple(tree.open(descriptors.index(o.descriptor)))) if o.leaves else o for o in proof.operands
    )
    return (
        replace(statement, graph=graph_digest(len(descriptors), tree.root)),
        replace(
            proof, descriptor=descriptors[statement.node], path=tuple(tree.open(statement.node)), operands=operands
        ),
    )
