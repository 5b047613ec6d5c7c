"""One-step proofs: what convinces a contract of the one right value of one element of one node.

The contract (``verifier_contracts/src/optimistic/steps/OneStep.sol``) trusts a statement: the graph root, a node, an
element, and the tensor roots of the node's inputs. A proof brings the descriptors of the node and of the inputs that
its step reads, with their siblings in the graph's tree, and the leaves of those inputs. `StepProver` makes both;
`step_bound` tells from descriptors alone what the dearest element of a node can cost. docs/dispute-steps.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING

from vml.merkle import (
    ITEM_BYTES,
    LEAF_BYTES,
    Tree,
    graph_tree,
    tensor_bytes,
    tensor_digest,
    tensor_leaf_count,
    tensor_tree,
    tree_depth,
)
from vml.model.graph import Graph
from vml.model.primitives import PRIMITIVES
from vml.model.primitives.base import MAX_TERMS as MAX_TERMS
from vml.model.primitives.base import Read, StepCost, Walk
from vml.model.primitives.base import walk_leaves as walk_leaves
from vml.model.tensor import Header

if TYPE_CHECKING:
    import numpy as np

WORD = 32
MAX_TRANSACTION_BYTES = 120 << 10
"""Of a transaction with a step's proof, at most: nodes pass on no more than 128 KiB. ``StepBound.sol`` has the same."""

GAME_BYTES = 6 << 10
"""What the game's call brings besides the proof, but for the roots of the operands: names, a leaf, two paths."""

# Execution gas of the contract by what a step consists of: measured, then rounded up by about a fifth. Tests hold every
# step that they make against the sum.
BASE_GAS = 12_000
OPERAND_GAS = 4_000
DESCRIPTOR_BYTE_GAS = 120
LEVEL_GAS = 400
LEAF_GAS = 4_500
SEEK_GAS = 150
ROW_GAS = 800
CARRY_GAS = 1_100
PIECE_GAS = 1_400
PRODUCT_GAS = 80
TERM_GAS = 280


@dataclass(frozen=True)
class Statement:
    """What the contract trusts: ``operands`` are tensor roots in the order of the node's inputs."""

    graph: bytes
    count: int
    node: int
    element: int
    operands: tuple[bytes, ...]


@dataclass(frozen=True)
class LeafOpening:
    """One leaf of a tensor: its number, its bytes (1024, in the last leaf what is left), its siblings."""

    index: int
    data: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class OperandOpening:
    """An input: its descriptor with siblings, the root of its tensor's tree, leaves; all empty where it is not read."""

    descriptor: bytes
    path: tuple[bytes, ...]
    merkle_root: bytes
    leaves: tuple[LeafOpening, ...]


@dataclass(frozen=True)
class StepProof:
    """What is brought to the contract."""

    descriptor: bytes
    path: tuple[bytes, ...]
    operands: tuple[OperandOpening, ...]


@dataclass(frozen=True)
class StepBound:
    """What a one-step proof of any element of a node can cost at most.

    Attributes:
        terms: visits of elements; above `MAX_TERMS` the contract refuses the step, and the rest means nothing.
        leaves: opened leaves of all operands together.
        calldata_bytes: of the statement and the proof, ABI-encoded.
        transaction_bytes: of a transaction of the game with that proof; no registry takes more than
            `MAX_TRANSACTION_BYTES`.
        gas: execution gas of the library call, without calldata and without the 21,000 of a transaction.
    """

    terms: int
    leaves: int
    calldata_bytes: int
    transaction_bytes: int
    gas: int

    @property
    def transaction_gas(self) -> int:
        """All of a transaction that does nothing else; EIP-2028 prices and the floor of EIP-7623, no zero bytes."""
        return 21_000 + max(self.gas + 16 * self.calldata_bytes, 40 * self.calldata_bytes)


def step_value(graph: Graph, node: int, element: int, read: Read) -> int:
    """The right value of one element of a node's result, given its operands.

    Args:
        element: row-major.
        read: from (number of the operand, place) to that element.

    Raises:
        ValueError: no such element, or the node is a source.
    """
    row = graph.nodes[node]
    headers = [graph.nodes[ref].header for ref in row.inputs]
    return PRIMITIVES[row.primitive].step(row.attributes, row.header, headers, element, read)


def step_reads(graph: Graph, node: int, element: int, read: Read) -> list[set[int]]:
    """Which elements of each operand that value takes. Arguments and errors as `step_value`."""
    seen: list[set[int]] = [set() for _ in graph.nodes[node].inputs]

    def noting(operand: int, place: int) -> int:
        seen[operand].add(place)
        return read(operand, place)

    step_value(graph, node, element, noting)
    return seen


class StepProver:
    """Makes one-step proofs over one evaluation.

    Args:
        graph: the model.
        values: every node's elements in the storage type and shape of its header, right or not.
    """

    def __init__(self, graph: Graph, values: Sequence[np.ndarray]) -> None:
        self.graph, self.values = graph, values
        self._trees: dict[int, Tree] = {}

    @cached_property
    def descriptors(self) -> list[bytes]:
        return [node.encode() for node in self.graph.nodes]

    @cached_property
    def tree(self) -> Tree:
        """Over the descriptors."""
        return graph_tree(self.descriptors)

    def tensor_tree(self, node: int) -> Tree:
        """Over one node's value; made when first asked for."""
        if node not in self._trees:
            self._trees[node] = tensor_tree(self.values[node])
        return self._trees[node]

    def tensor_root(self, node: int) -> bytes:
        header = self.graph.nodes[node].header
        return tensor_digest(header.dtype, header.shape, self.tensor_tree(node).root)

    def prove(self, node: int, element: int) -> tuple[Statement, StepProof]:
        """Both for one element of a node that is not a source. Raises ValueError where there is none."""
        inputs = self.graph.nodes[node].inputs
        flat = [self.values[ref].reshape(-1) for ref in inputs]
        reads = step_reads(self.graph, node, element, lambda operand, place: int(flat[operand][place]))
        roots = tuple(self.tensor_root(ref) for ref in inputs)
        statement = Statement(self.graph.root, len(self.graph.nodes), node, element, roots)
        operands = tuple(self._open(ref, places) for ref, places in zip(inputs, reads, strict=True))
        return statement, StepProof(self.descriptors[node], tuple(self.tree.open(node)), operands)

    def _open(self, node: int, places: set[int]) -> OperandOpening:
        if not places:
            return OperandOpening(b"", (), bytes(32), ())
        flat, tree = self.values[node].reshape(-1), self.tensor_tree(node)
        items = LEAF_BYTES // ITEM_BYTES[self.graph.nodes[node].header.dtype]
        leaves = tuple(
            LeafOpening(leaf, tensor_bytes(flat[leaf * items : (leaf + 1) * items]), tuple(tree.open(leaf)))
            for leaf in sorted({place // items for place in places})
        )
        return OperandOpening(self.descriptors[node], tuple(self.tree.open(node)), tree.root, leaves)


def walk_pieces(walk: Walk, header: Header) -> tuple[int, int, int]:
    """Rows of a walk (passes of its innermost loop), passes of the loops around it, and pieces of rows in a leaf each.

    The pieces are the most that there can be. Loops of one step are none: the contract drops them (``Terms.sol``).
    """
    loops = [(n, abs(stride)) for n, stride in zip(walk.loops, walk.strides, strict=True) if n != 1]
    if not loops:
        return 1, 0, 1
    *outer, rows = accumulate((n for n, _ in loops[:-1]), mul, initial=1)
    inner, stride = loops[-1]
    size = ITEM_BYTES[header.dtype]
    pieces = min(inner, (stride * (inner - 1) * size + LEAF_BYTES - size) // LEAF_BYTES + 1)
    return rows, sum(outer), rows * max(1, pieces)


def step_bound(graph: Graph, node: int) -> StepBound:
    """The dearest step of a node, from descriptors alone. Raises ValueError for a source."""
    row = graph.nodes[node]
    headers = [graph.nodes[ref].header for ref in row.inputs]
    ways = PRIMITIVES[row.primitive].cost(row.attributes, row.header, headers)
    if not ways:
        raise ValueError(f"{row.primitive} nodes have no step")
    bounds = [_way_bound(graph, node, way) for way in ways]
    return StepBound(
        max(bound.terms for bound in bounds),
        max(bound.leaves for bound in bounds),
        max(bound.calldata_bytes for bound in bounds),
        max(bound.transaction_bytes for bound in bounds),
        max(bound.gas for bound in bounds),
    )


def too_large(bound: StepBound) -> str:
    """Why no registry takes an operator whose proof has more than `MAX_TRANSACTION_BYTES`, and what helps."""
    return (
        f"reads up to {bound.leaves} leaves for one element, {bound.transaction_bytes} bytes in a transaction that may "
        f"have {MAX_TRANSACTION_BYTES}: transpose its operand so that these elements lie together, or reduce in parts"
    )


def _way_bound(graph: Graph, node: int, way: StepCost) -> StepBound:
    row = graph.nodes[node]
    depth, descriptor = tree_depth(len(graph.nodes)), len(row.encode())
    # Selector, statement and proof: fixed words, roots, the descriptor and its siblings, an offset for each operand.
    size = 4 + 20 * WORD + len(row.inputs) * (2 + 8) * WORD + _padded(descriptor) + depth * WORD
    gas = BASE_GAS + OPERAND_GAS * len(row.inputs) + DESCRIPTOR_BYTE_GAS * descriptor + LEVEL_GAS * depth
    products = row.primitive == "dot"  # adds up where others collect their terms in memory first
    gas += (PRODUCT_GAS if products else TERM_GAS) * way.terms
    leaves = 0
    for walk in way.walks:
        operand = graph.nodes[row.inputs[walk.operand]]
        opened, (rows, outer, pieces) = walk_leaves(walk, operand.header), walk_pieces(walk, operand.header)
        levels = tree_depth(tensor_leaf_count(operand.header.dtype, operand.header.shape))
        leaf = min(LEAF_BYTES, operand.header.size * ITEM_BYTES[operand.header.dtype])
        size += _padded(len(operand.encode())) + depth * WORD + opened * (_padded(leaf) + (levels + 6) * WORD)
        gas += DESCRIPTOR_BYTE_GAS * len(operand.encode()) + LEVEL_GAS * depth
        gas += opened * (LEAF_GAS + LEVEL_GAS * levels) + ROW_GAS * rows + CARRY_GAS * outer
        gas += pieces * (PIECE_GAS + SEEK_GAS * opened.bit_length())
        leaves += opened
    words = (size + 1056 * leaves + (0 if products else 40 * way.terms)) // WORD
    whole = size + GAME_BYTES + (4 + depth) * WORD * len(row.inputs)
    return StepBound(way.terms, leaves, size, whole, gas + 3 * words + words * words // 512)


def _padded(size: int) -> int:
    return -(-size // WORD) * WORD
