"""The fast executor: the same integers as ``interpreter``, through float64 BLAS, numpy and numba.

A plan is made once: constant operands of products are kept as float64 matrices, a product whose only reader is a
rescale over the same loops is rescaled straight from the accumulator, and tensors are freed after their last reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from vml.errors import OutOfRange
from vml.model import contract
from vml.model.graph import Graph, Node
from vml.model.steps import STEPS, rescale_array
from vml.model.tensor import contiguous

Array = np.ndarray[Any, np.dtype[Any]]


@cache
def self_test() -> None:
    """Once a process: check that float64 BLAS is exact. Raises RuntimeError where it is not."""
    contract.self_test()


class Executor:
    """Runs one graph many times.

    Args:
        graph: a validated graph.
    """

    def __init__(self, graph: Graph) -> None:
        self_test()
        self.graph = graph
        self._plans = {i: contract.plan_dot(n) for i, n in enumerate(graph.nodes) if n.primitive == "dot"}
        self._direct = {i for i, plan in self._plans.items() if contract.is_direct(graph.nodes[i], plan)}
        self._fused = self._find_fused()
        self._last = self._last_readers()
        self._matrices: dict[int, Array] = {}

    def run(self, inputs: Mapping[str, Array], keep: Iterable[int] = ()) -> dict[str, Array]:
        """Evaluate the graph.

        Args:
            inputs: integer codes by input name, each of the input's shape.
            keep: accepted for symmetry with ``run_all``; nodes named here are not freed early.

        Returns:
            Output codes by name, in header shape and dtype.

        Raises:
            OutOfRange: an input code lies outside its declared range.
            ValueError: an input is missing, unknown, or has another shape or a non-integer dtype.
        """
        values = self._evaluate(inputs, set(keep), fuse=True)
        # Copies: an output may be a constant or the caller's input, and changing it must change neither.
        return {spec.name: np.array(values[spec.node]) for spec in self.graph.outputs}

    def run_all(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Every node's tensor, in header shape and dtype. Arguments and errors as ``run``."""
        values = self._evaluate(inputs, set(range(len(self.graph.nodes))), fuse=False)
        return [values[i] for i in range(len(self.graph.nodes))]

    def visit(self, inputs: Mapping[str, Array], see: Callable[[int, Array], None]) -> None:
        """Show every node's tensor once, in order, freeing each after its last reader. Errors as ``run``.

        Args:
            inputs: as ``run``.
            see: called with (node, its tensor in header shape and dtype); the tensor must not be changed.
        """
        self._evaluate(inputs, set(), fuse=False, see=see)

    def _evaluate(
        self,
        inputs: Mapping[str, Array],
        keep: set[int],
        fuse: bool,
        see: Callable[[int, Array], None] | None = None,
    ) -> dict[int, Array]:
        values: dict[int, Array] = self._checked(inputs)
        fused = {i: r for i, r in self._fused.items() if fuse and i not in keep}
        done = set(fused.values())
        kept = keep | {spec.node for spec in self.graph.outputs}
        for index, node in enumerate(self.graph.nodes):
            if node.primitive == "constant":
                values[index] = self.graph.constants[index]
            elif index in fused:
                values[fused[index]] = self._dot(index, node, values, self.graph.nodes[fused[index]])
            elif node.primitive == "dot":
                values[index] = self._dot(index, node, values, None)
            elif node.primitive != "input" and index not in done:
                values[index] = STEPS[node.primitive](node, [values[ref] for ref in node.inputs])
            if see is not None:
                see(index, values[index])
            for ref in node.inputs:
                if self._last[ref] == index and ref not in kept and ref in values:
                    del values[ref]
        return values

    def _checked(self, inputs: Mapping[str, Array]) -> dict[int, Array]:
        names = {spec.name for spec in self.graph.inputs}
        if set(inputs) != names:
            raise ValueError(f"inputs are {sorted(inputs)}, the model has {sorted(names)}")
        values = {}
        for spec in self.graph.inputs:
            codes = np.asarray(inputs[spec.name])
            if codes.shape != spec.shape or not np.issubdtype(codes.dtype, np.integer):
                raise ValueError(
                    f"input {spec.name!r} is {codes.dtype}{codes.shape}, the model has integers {spec.shape}"
                )
            outside = (codes < spec.header.lo) | (codes > spec.header.hi)
            if outside.any():
                place = tuple(int(i) for i in np.argwhere(outside)[0])
                raise OutOfRange(spec.name, place, int(codes[place]), f"{spec.header.lo}..{spec.header.hi}")
            values[spec.node] = np.ascontiguousarray(codes, dtype=spec.header.dtype).reshape(spec.shape)
        return values

    def _dot(self, index: int, node: Node, values: dict[int, Array], rescale: Node | None) -> Array:
        """A product, in header dtype; or, with ``rescale``, the rescaled product."""
        a, b = values[node.inputs[0]], values[node.inputs[1]]
        plan = self._plans[index]
        if index in self._direct:
            sums = contract.direct(node, a, b)
        else:
            sums = contract.contract(node, plan, a, b, self._matrix(index, node))
        bias = self._bias(node, values)
        if rescale is None:
            wide = sums.astype(np.int64)
            return (wide if bias is None else wide + bias).astype(node.header.dtype)
        if bias is not None and (bias.ndim == 0 or bias.size != bias.shape[-1]):
            sums, bias = sums.astype(np.int64) + bias, None  # the kernel adds a bias along the last axis only
        flat = None if bias is None else np.broadcast_to(bias.reshape(-1), sums.shape[-1:])
        return rescale_array(rescale, sums, flat, rescale.attributes["multiplier"])

    def _bias(self, node: Node, values: dict[int, Array]) -> Array | None:
        """The bias as int64, size 1 along axes it does not depend on."""
        from vml.model.views import read

        if len(node.inputs) < 3:
            return None
        view = node.attributes["bias"]
        shape = [n if s else 1 for n, s in zip(node.header.shape, view.strides, strict=True)]
        return read(values[node.inputs[2]], view, shape).astype(np.int64)

    def _matrix(self, index: int, node: Node) -> Array | None:
        """The constant right operand as float64, made on first use and kept."""
        if node.inputs[1] not in self.graph.constants:
            return None
        if index not in self._matrices:
            plan, values = self._plans[index], self.graph.constants[node.inputs[1]]
            self._matrices[index] = contract.matrix(values, node.attributes["b"], node, plan.batch, plan.columns)
        return self._matrices[index]

    def _find_fused(self) -> dict[int, int]:
        """Products whose only reader is a single-multiplier rescale over the same loops: product to rescale."""
        readers: dict[int, list[int]] = {}
        for index, node in enumerate(self.graph.nodes):
            for ref in node.inputs:
                readers.setdefault(ref, []).append(index)
        outputs = {spec.node for spec in self.graph.outputs}
        fused = {}
        for index in self._plans:
            reading = readers.get(index, [])
            if len(reading) != 1 or index in outputs:
                continue
            reader, shape = self.graph.nodes[reading[0]], self.graph.nodes[index].header.shape
            if reader.primitive == "rescale" and len(reader.inputs) == 1 and reader.header.shape == shape:
                # A contiguous view up to axes of size 1, whose strides do not matter.
                same = zip(reader.attributes["x"].strides, contiguous(shape).strides, shape, strict=True)
                if reader.attributes["x"].offset == 0 and all(s == t or n == 1 for s, t, n in same):
                    fused[index] = reading[0]
        return fused

    def _last_readers(self) -> list[int]:
        last = [-1] * len(self.graph.nodes)
        for index, node in enumerate(self.graph.nodes):
            for ref in node.inputs:
                last[ref] = index
        return last
