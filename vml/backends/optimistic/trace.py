"""The trace: what every operator gave, committed to. Both sides of a dispute compute it for themselves.

Lazy by default: nothing is hashed until somebody asks, so that an undisputed assertion costs the inference and the
two commitments of its claim. What is asked for is computed by running the graph again, tensor by tensor: memory
stays near that of inference, 32 bytes a root above it, and the tensors that one question needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.backends.optimistic import shapes
from vml.backends.optimistic.records import Opening, Position
from vml.backends.optimistic.step import Step
from vml.claim import ZERO_CONTEXT, Claim
from vml.merkle import (
    ITEM_BYTES,
    LEAF_BYTES,
    Tree,
    tensor_bytes,
    tensor_root,
    tensor_tree,
    tensors_root,
    trace_root,
)
from vml.model.graph import Graph

if TYPE_CHECKING:
    from vml.model.executor import Executor

Array = np.ndarray[Any, np.dtype[Any]]


class Trace:
    """Every operator's output for one input.

    Args:
        executor: of the graph.
        inputs: integer codes by input name.

    Raises:
        OutOfRange, ValueError: on first use, as the executor.
    """

    def __init__(self, executor: Executor, inputs: Mapping[str, Array]) -> None:
        self._executor = executor
        self._inputs = dict(inputs)
        self._kept: dict[int, Array] = {}
        self._trees: dict[int, Tree] = {}

    @property
    def graph(self) -> Graph:
        return self._executor.graph

    @cached_property
    def roots(self) -> tuple[bytes, ...]:
        """The tensor root of every operator's output, in order. Constants' are the committed ones."""
        return self.publish(lambda index, data: None, data=False)

    def publish(self, write: Callable[[int, bytes], None], *, data: bool = True) -> tuple[bytes, ...]:
        """Run once; hand every computed tensor's bytes to `write` as it appears, for who publishes the trace.

        Args:
            write: called with (node, tensor bytes) for every node but the constants.
            data: whether `write` is called at all.

        Returns:
            The roots.
        """
        nodes, roots = self.graph.nodes, [b""] * len(self.graph.nodes)

        def see(index: int, values: Array) -> None:
            if nodes[index].primitive == "constant":
                roots[index] = nodes[index].attributes["root"]
                return
            roots[index] = tensor_root(values)
            if data:
                write(index, tensor_bytes(values))

        self._executor.visit(self._inputs, see)
        return tuple(roots)

    def commitment(self) -> bytes:
        """What an eager assertion publishes: ``trace_root`` of all operator roots."""
        return trace_root(self.roots)

    def claim(self, context: bytes = ZERO_CONTEXT) -> Claim:
        """The claim that this model on this input gave this output. Hashes inputs and outputs only."""
        outputs = self._executor.run(self._inputs)
        for spec in self.graph.inputs:
            self._kept[spec.node] = np.asarray(self._inputs[spec.name], dtype=spec.header.dtype)
        for spec in self.graph.outputs:
            self._kept[spec.node] = outputs[spec.name]
        sides = [
            tensors_root([tensor_root(self._kept[spec.node]) for spec in specs])
            for specs in (self.graph.inputs, self.graph.outputs)
        ]
        return Claim(self.graph.commitment, sides[0], sides[1], context)

    def input_bytes(self) -> tuple[bytes, ...]:
        """What `Assert` and `RevealInput` carry."""
        return tuple(tensor_bytes(self.tensor(spec.node)) for spec in self.graph.inputs)

    def keep(self, nodes: Iterable[int]) -> None:
        """Have the tensors of these nodes at hand, and no others: one run, if one of them is missing."""
        wanted = set(nodes)
        missing = wanted - set(self._kept) - set(self.graph.constants)
        self._kept = {i: values for i, values in self._kept.items() if i in wanted}
        self._trees = {i: tree for i, tree in self._trees.items() if i in wanted}
        for index in wanted & set(self.graph.constants):
            self._kept[index] = self.graph.constants[index]
        if missing:

            def see(index: int, values: Array) -> None:
                if index in missing:
                    self._kept[index] = values

            self._executor.visit(self._inputs, see)

    def tensor(self, node: int) -> Array:
        """One node's tensor, in header shape and dtype."""
        if node not in self._kept:
            self.keep({node, *self._kept})
        return self._kept[node]

    def tree(self, node: int) -> Tree:
        """The Merkle tree over one node's tensor."""
        if node not in self._trees:
            self._trees[node] = tensor_tree(self.tensor(node))
        return self._trees[node]

    def children(self, position: Position) -> tuple[bytes, ...]:
        """What the asserter reveals of a node: its descendants five levels down, or at the leaves."""
        return descendants(self.tree(position.operator), position)

    def leaf(self, node: int, leaf: int) -> bytes:
        """The data of one leaf, without padding."""
        return leaf_data(self.tensor(node), leaf)

    def opening(self, node: int, operand: int, leaf: int) -> Opening:
        """One leaf of a node's tensor with its path, as `operand` of whoever reads it (-1: as an output)."""
        tree = self.tree(node)
        return Opening(operand, leaf, self.leaf(node, leaf), tree.root, tuple(tree.open(leaf)))

    def openings(self, step: Step, operator: int, index: int) -> tuple[Opening, ...]:
        """The leaves that the step of one element reads, found by taking the step."""
        node = self.graph.nodes[operator]
        if node.primitive == "input":
            return ()
        self.keep({operator, *node.inputs})
        recorder = _Recorder([self.tensor(ref).reshape(-1) for ref in node.inputs])
        step(self.graph, operator, index, recorder.read)
        return tuple(self.opening(node.inputs[operand], operand, leaf) for operand, leaf in sorted(recorder.leaves))


class _Recorder:
    """Operands in the clear; remembers which leaves were read."""

    def __init__(self, operands: list[Array]) -> None:
        self._operands = operands
        self.leaves: set[tuple[int, int]] = set()

    def read(self, operand: int, position: int) -> int:
        values = self._operands[operand]
        self.leaves.add((operand, position * ITEM_BYTES[values.dtype.name] // LEAF_BYTES))
        return int(values[position])


def descendants(tree: Tree, position: Position) -> tuple[bytes, ...]:
    """The nodes of a tree that the reveal of a position shows."""
    levels = shapes.levels_below(position.height)
    first = position.index << levels
    return tuple(tree.node(position.height - levels, first + number) for number in range(1 << levels))


def leaf_data(values: Array, leaf: int) -> bytes:
    """The bytes of one leaf of a tensor, without padding."""
    items = LEAF_BYTES // values.itemsize
    return tensor_bytes(values.reshape(-1)[leaf * items : (leaf + 1) * items])


def first_difference(mine: tuple[bytes, ...], theirs: tuple[bytes, ...]) -> int | None:
    """The first place where two lists of digests differ: which operator, or which child, a challenger picks."""
    pairs = enumerate(zip(mine, theirs, strict=True))
    return next((place for place, (a, b) in pairs if a != b), None)
