"""Models to register, right ones and wrong ones, and a registry in an embedded EVM."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vml.chain import artifacts
from vml.chain.client import Chain
from vml.chain.embedded import RULES, EmbeddedChain
from vml.chain.graphs import registered
from vml.chain.rpc import Rpc
from vml.claim import checksum_address
from vml.errors import ChainError
from vml.merkle import graph_digest, graph_tree, model_digest, tensor_bytes, tensor_root, tensors_root, tree_depth
from vml.model import compile_model
from vml.model.builder import Builder, Value
from vml.model.codec import View
from vml.model.graph import Graph, Node, TensorSpec, encode_specs
from vml.model.onestep import step_bound
from vml.model.semantics import semantics_digest
from vml.model.tensor import Header

CIRCUITS = Path(__file__).parents[2] / "circuits"
NAMES = sorted(path.parent.name for path in CIRCUITS.glob("*/info.json"))
LIMIT = 5_000_000
REGISTRY = artifacts.load("GraphRegistry")
FLAT = View(0, (1,))


@cache
def shipped(name: str) -> Graph:
    """A shipped model, calibrated with few rows."""
    rows = dict(np.load(CIRCUITS / name / "calibration.npz"))
    few = {key: x[:32] for key, x in rows.items()}
    return compile_model(str(CIRCUITS / name / "model.onnx"), calibration=few).graph


def chain_of(node: EmbeddedChain, number: int = 0) -> Chain:
    """One of many accounts on the same chain."""
    return Chain(Rpc(node, "the embedded EVM"), RULES, account=checksum_address((0xACC0 + number).to_bytes(20, "big")))


def new_registry(chain: Chain, limit: int = LIMIT, semantics: bytes | None = None) -> str:
    return chain.deploy(REGISTRY.bytecode, REGISTRY.abi, (semantics or semantics_digest(), limit))


@dataclass(frozen=True)
class Raw:
    """A model as the contract gets it, right or not."""

    descriptors: tuple[bytes, ...]
    inputs: bytes
    outputs: bytes

    @staticmethod
    def of(graph: Graph) -> Raw:
        specs = encode_specs(graph.inputs), encode_specs(graph.outputs)
        return Raw(tuple(node.encode() for node in graph.nodes), *specs)

    def altered(self, node: int, descriptor: bytes) -> Raw:
        """With another descriptor, in another graph."""
        return replace(self, descriptors=(*self.descriptors[:node], descriptor, *self.descriptors[node + 1 :]))

    @property
    def root(self) -> bytes:
        return graph_digest(len(self.descriptors), graph_tree(self.descriptors).root)

    @property
    def model(self) -> bytes:
        return model_digest(semantics_digest(), self.root, self.inputs, self.outputs)

    def path(self, bits: int, chunk: int) -> list[bytes]:
        tree = graph_tree(self.descriptors)
        return [tree.node(height, ((chunk << bits) >> height) ^ 1) for height in range(bits, tree.depth)]

    def chunk(self, bits: int, chunk: int) -> list[bytes]:
        return list(self.descriptors[chunk << bits : (chunk + 1) << bits])


def transact(chain: Chain, registry: str, name: str, *arguments: Any) -> Any:
    return chain.transact(registry, REGISTRY.abi, name, *arguments)


def call(chain: Chain, registry: str, name: str, *arguments: Any) -> Any:
    return chain.call(registry, REGISTRY.abi, name, *arguments)


def open_(chain: Chain, registry: str, raw: Raw, bits: int, count: int | None = None) -> None:
    whole = len(raw.descriptors) if count is None else count
    transact(chain, registry, "open", raw.root, whole, bits, raw.inputs, raw.outputs)


def append(chain: Chain, registry: str, raw: Raw, bits: int, chunk: int) -> None:
    transact(chain, registry, "append", raw.model, raw.chunk(bits, chunk), raw.path(bits, chunk))


def send(chain: Chain, registry: str, raw: Raw, bits: int | None = None) -> bytes:
    """Register it, by default in one chunk, with nothing checked on the way."""
    bits = tree_depth(len(raw.descriptors)) if bits is None else bits
    open_(chain, registry, raw, bits)
    for chunk in range(-(-len(raw.descriptors) >> bits)):
        append(chain, registry, raw, bits, chunk)
    return raw.model


def refusal(chain: Chain, registry: str, raw: Raw, bits: int | None = None) -> ChainError | None:
    """Why the contract refuses a model; None where it takes it."""
    try:
        send(chain, registry, raw, bits)
    except ChainError as error:
        return error
    return None


def spec(*nodes: int, name: str = "x") -> bytes:
    """Outside tensors at these nodes."""
    header = Header("int16", (4,), -5, 5)
    return encode_specs(tuple(TensorSpec(f"{name}{k}", "float32", node, header, 1) for k, node in enumerate(nodes)))  # type: ignore[arg-type]


def specless(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> Raw:
    """Of nodes that come without specifications."""
    return Raw(tuple(node.encode() for node in graph.nodes), spec(*inputs), spec(*outputs))


def source(index: int, shape: tuple[int, ...] = (4,)) -> Node:
    return Node("input", Header("int16", shape, -5, 5), (), {"index": index})


def chained(nodes: int) -> Graph:
    """So many operators after one another, constants among them."""
    rng, b = np.random.default_rng(nodes), Builder(name="chained")
    value = b.input(0, (4, 8), -100, 100, 1, "float")  # type: ignore[arg-type]
    specs = [TensorSpec("x", "float32", value.ref, b.header(value), 1)]  # type: ignore[arg-type]
    while len(b.nodes) < nodes:
        ref = value.ref
        if nodes - len(b.nodes) >= 3:
            weights = b.constant(rng.integers(-9, 10, (8, 8)))
            a, w = View(0, (8, 0, 1)), View(0, (0, 1, 8))
            ref = b.emit("dot", (4, 8), [ref, weights.ref], contract=(8,), a=a, b=w, bias=View(0, ()))
        common = {"multiplier": 1 << 10, "shift": 16, "multipliers": View(0, ()), "lo": -100, "hi": 100}
        ref = b.emit("rescale", (4, 8), [ref], x=View(0, (8, 1)), **common)
        value = Value(ref, (4, 8), View(0, (8, 1)))
    return b.finish(specs, [TensorSpec("y", "float32", value.ref, b.header(value), 1)])[0]  # type: ignore[arg-type]


def descriptor(
    kind: int,
    attributes: bytes = b"",
    inputs: Sequence[int] = (),
    *,
    dtype: int = 2,
    shape: Sequence[int] = (4,),
) -> bytes:
    """A descriptor by its parts, well formed or not."""
    head = struct.pack(f">BBB{len(shape)}Qqq", kind, dtype, len(shape), *shape, -5, 5)
    return head + struct.pack(f">B{len(inputs)}I", len(inputs), *inputs) + attributes


def view(offset: int, *strides: int) -> bytes:
    return struct.pack(f">QB{len(strides)}q", offset, len(strides), *strides)


def dims(*sizes: int) -> bytes:
    return struct.pack(f">B{len(sizes)}Q", len(sizes), *sizes)


def worst_gas(graph: Graph) -> int:
    computed = [i for i, node in enumerate(graph.nodes) if node.primitive not in ("input", "constant")]
    return max(step_bound(graph, i).transaction_gas for i in computed)


def check_answers(chain: Chain, registry: str, graph: Graph, inputs: Sequence[np.ndarray]) -> None:
    """Everything that the contract says about a registered model."""
    model, count = graph.commitment, len(graph.nodes)
    assert registered(chain, registry, model)
    assert call(chain, registry, "graphOf", model) == (graph.root, count, worst_gas(graph))
    for index, node in enumerate(graph.nodes):
        assert call(chain, registry, "descriptorOf", model, index) == node.encode()
    want = tensors_root([tensor_root(x) for x in inputs])
    assert call(chain, registry, "inputRoot", model, [tensor_bytes(x) for x in inputs]) == want


ONE, NONE, I64 = view(0, 1), view(0), bytes(8)
"""A view of one loop, the view of an operand that is not there, and a number."""


def run(length: int, start: int = 0, step: int = 0) -> bytes:
    return struct.pack(">Qqq", length, start, step)


def part(length: int, *axes: Sequence[bytes], offset: int = 0) -> bytes:
    head = struct.pack(">QQB", length, offset, len(axes))
    return head + b"".join(struct.pack(">I", len(runs)) + b"".join(runs) for runs in axes)


def refused(name: str, chain: Chain, registry: str, act: str, *arguments: Any) -> ChainError:
    with pytest.raises(ChainError) as caught:
        transact(chain, registry, act, *arguments)
    assert caught.value.error == name, caught.value
    return caught.value
