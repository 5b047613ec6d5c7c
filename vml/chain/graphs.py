"""Registering an exact model with ``GraphRegistry``: what it says about itself is sent, and checked there.

A graph goes in chunks of 2**k descriptors, in order, a transaction each. The contract keeps a chunk as the code of a
contract of its own, so a chunk is no longer than code may be. docs/dispute-registration.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vml.chain import artifacts
from vml.chain.client import Chain
from vml.chain.transactions import CODE_LIMIT
from vml.errors import ChainError
from vml.merkle import graph_tree, tree_depth
from vml.model.graph import Graph, encode_specs
from vml.model.onestep import MAX_TERMS, MAX_TRANSACTION_BYTES, step_bound, too_large
from vml.model.primitives import PRIMITIVES
from vml.model.semantics import semantics_digest

REGISTRY = "GraphRegistry"
Progress = Callable[[int, int], None]
"""Told how many descriptors are registered, and of how many."""

CHUNK_BYTES = CODE_LIMIT - 1
HEAD_BYTES, ENTRY_BYTES, CONSTANT_BYTES = 4, 9, 36
"""Of a kept chunk: in all, for each descriptor, and for each constant besides."""

LEAST_CHUNK_BITS = 4
"""The contract takes no smaller chunks, but a whole graph: reading a list of roots would be dear for everybody."""

APPEND_GAS = 12_000_000
"""More than a transaction that appends a chunk may need."""
BASE_GAS, NODE_GAS, BYTE_GAS = 150_000, 20_000, 340
"""What one takes, rounded up: in any case, for each descriptor, and for each byte that is kept."""


def register_graph(chain: Chain, registry: str, graph: Graph, *, progress: Progress | None = None) -> bytes:
    """Register a model, or go on where a registration stopped; nothing is sent for a registered one.

    Args:
        chain: with an account that sends.
        registry: address of a GraphRegistry.
        graph: the model.
        progress: told after each transaction.

    Returns:
        The model's 32-byte commitment.

    Raises:
        ChainError: the registry refuses the model, with the operator and the reason; or sending failed, and calling
            again goes on.
        ValueError: the graph is none (`Graph.validate_structure`).
    """
    contract, model, count = artifacts.load(REGISTRY).abi, graph.commitment, len(graph.nodes)
    if registered(chain, registry, model):
        return model
    graph.validate_structure()
    _require_kept_inputs(graph)
    _require_disputable(chain, registry, graph)
    descriptors = [node.encode() for node in graph.nodes]
    bits = chunk_bits(graph)
    tree = graph_tree(descriptors)

    def done() -> int | None:
        """How far it is; None where the contract would append to a registration that is cut otherwise."""
        at, whole, cut = chain.call(registry, contract, "progressOf", model)
        return int(at) if (whole, cut) == (count, bits) else None

    at = done()
    if at is None:
        specs = encode_specs(graph.inputs), encode_specs(graph.outputs)
        chain.transact(registry, contract, "open", graph.root, count, bits, *specs)
        # Somebody may have begun it before.
        at = done() or 0
    while at < count:
        path = [tree.node(height, (at >> height) ^ 1) for height in range(bits, tree.depth)]
        try:
            chain.transact(registry, contract, "append", model, descriptors[at : at + (1 << bits)], path)
        except ChainError:
            # Somebody else may have sent the same chunk.
            before, at = at, count if registered(chain, registry, model) else done() or 0
            if at <= before:
                raise
        else:
            at = min(count, at + (1 << bits))
        if progress is not None:
            progress(at, count)
    if not registered(chain, registry, model):
        raise ChainError(f"{registry} took all of 0x{model.hex()} and does not show it: the node lies or lags")
    return model


def registered(chain: Chain, registry: str, model: bytes) -> bool:
    """Whether a registry knows all of a model.

    Raises:
        ChainError: the node does not answer, or the address is no GraphRegistry.
    """
    try:
        chain.call(registry, artifacts.load(REGISTRY).abi, "graphOf", model)
    except ChainError as error:
        if error.error in ("GraphUnknown", "GraphIncomplete"):
            return False
        raise
    return True


def chunk_bits(graph: Graph) -> int:
    """The k of the largest chunks, 2**k descriptors each, that fit code and a transaction's gas.

    Raises:
        ChainError: an operator's descriptor alone, or those of the smallest chunks together, are too long.
    """
    sizes = [len(node.encode()) for node in graph.nodes]
    constants = [node.primitive == "constant" for node in graph.nodes]
    depth = tree_depth(len(sizes))
    least = min(LEAST_CHUNK_BITS, depth)
    for bits in reversed(range(least, depth + 1)):
        starts = range(0, len(sizes), 1 << bits)
        if all(_fits(sizes[at : at + (1 << bits)], sum(constants[at : at + (1 << bits)])) for at in starts):
            return bits
    worst = max(range(len(sizes)), key=sizes.__getitem__)
    first = worst >> least << least
    together = sum(sizes[first : first + (1 << least)])
    raise ChainError(
        f"{_named(graph, worst)} has a descriptor of {sizes[worst]} bytes, with its neighbours {together}: a contract "
        f"keeps 24 KiB at most, and holds {1 << least} operators"
    )


def _fits(sizes: Sequence[int], constants: int) -> bool:
    kept = HEAD_BYTES + ENTRY_BYTES * len(sizes) + CONSTANT_BYTES * constants + sum(sizes)
    return kept <= CHUNK_BYTES and BASE_GAS + NODE_GAS * len(sizes) + BYTE_GAS * kept < APPEND_GAS


def _require_kept_inputs(graph: Graph) -> None:
    """Refuse a model with more inputs than one contract can keep the descriptors of.

    Raises:
        ChainError: as `GraphRegistry.open` does.
    """
    kept = 64 + sum(64 + -(-len(graph.nodes[spec.node].encode()) // 32) * 32 for spec in graph.inputs)
    if kept > CHUNK_BYTES:
        raise ChainError(
            f"{len(graph.inputs)} inputs take {kept} bytes to describe, a contract keeps 24 KiB at most: put several "
            "into one tensor",
            error="DataTooLong",
        )


def _require_disputable(chain: Chain, registry: str, graph: Graph) -> None:
    """Refuse here, in words, what the contract would refuse.

    Raises:
        ChainError: the registry is about another arithmetic, or an operator is too dear.
    """
    contract = artifacts.load(REGISTRY).abi
    semantics, limit = (chain.call(registry, contract, name) for name in ("semantics", "stepGasLimit"))
    if semantics != semantics_digest():
        raise ChainError(f"the registry {registry} is for models of another arithmetic, 0x{semantics.hex()}")
    for index, node in enumerate(graph.nodes):
        if PRIMITIVES[node.primitive].arity == (0, 0):
            continue
        bound = step_bound(graph, index)
        if bound.terms > MAX_TERMS:
            raise ChainError(
                f"{_named(graph, index)} adds up {bound.terms} terms, one step of a dispute takes {MAX_TERMS}: claims "
                "on this model cannot be disputed",
                error="StepTooLong",
            )
        if bound.transaction_gas > limit:
            raise ChainError(
                f"{_named(graph, index)} may take {bound.transaction_gas} gas to dispute, the registry {registry} "
                f"allows {limit}",
                error="StepTooDear",
            )
        if bound.transaction_bytes > MAX_TRANSACTION_BYTES:
            raise ChainError(
                f"{_named(graph, index)} {too_large(bound)}",
                error="StepTooLarge",
            )


def _named(graph: Graph, index: int) -> str:
    return f"operator {index} ({graph.nodes[index].primitive}, from {graph.names[index]!r})"
