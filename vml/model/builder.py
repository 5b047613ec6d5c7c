"""Building the integer graph: values as strided views, one method a primitive, headers derived on the way.

A ``Value`` is a lowered ONNX tensor: real value = code / scale, read through a view, so that transposes, slices,
broadcasts and most reshapes cost nothing. Results are stored in the loop order of their largest operand, so a
channels-last layout propagates by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from vml.errors import UnsupportedModel
from vml.merkle import tensor_root
from vml.model.codec import View
from vml.model.graph import Graph, Node, TensorSpec
from vml.model.partial import CUTS, cut_long
from vml.model.primitives import PRIMITIVES
from vml.model.tables import TABLES, load_table
from vml.model.tensor import Header, Operand, contiguous, header_for, row_major


@dataclass(frozen=True)
class Value:
    """A lowered ONNX tensor.

    Attributes:
        ref: node that stores it. shape: logical (ONNX) shape. view: logical index to storage offset.
        scale: codes per unit, exact. kind: "float", "int" or "bool" (0/1); scale is 1 for the latter two.
        limit: calibrated range (lo, hi) in units, where known; codes beyond it may be saturated when narrowed.
    """

    ref: int
    shape: tuple[int, ...]
    view: View
    scale: Fraction = Fraction(1)
    kind: str = "float"
    limit: tuple[float, float] | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)


def broadcast_view(value: Value, shape: Sequence[int]) -> View:
    """The value's view over ``shape`` (numpy broadcasting, right aligned). Raises ValueError where it does not fit."""
    missing = len(shape) - value.rank
    if missing < 0:
        raise ValueError(f"{value.shape} does not broadcast to {tuple(shape)}")
    strides = [0] * missing
    for n, stride, m in zip(value.shape, value.view.strides, shape[missing:], strict=True):
        if n not in (m, 1):
            raise ValueError(f"{value.shape} does not broadcast to {tuple(shape)}")
        strides.append(stride if n == m and n != 1 else 0)
    return View(value.view.offset, tuple(strides))


def loop_order(view: View, shape: Sequence[int]) -> tuple[int, ...]:
    """Axes from outermost to innermost in storage; broadcast axes and those of size 1 go outside."""

    def step(axis: int) -> int:
        return abs(view.strides[axis]) if shape[axis] > 1 and view.strides[axis] else 1 << 62

    return tuple(sorted(range(len(shape)), key=step, reverse=True))


def permute_view(view: View, order: Sequence[int]) -> View:
    return View(view.offset, tuple(view.strides[k] for k in order))


def stored_in(order: Sequence[int], shape: Sequence[int]) -> View:
    """The logical view of a fresh row-major tensor whose storage axes are ``order``."""
    strides = row_major([shape[k] for k in order])
    place = {axis: strides[j] for j, axis in enumerate(order)}
    return View(0, tuple(place[k] for k in range(len(shape))))


@dataclass
class Builder:
    """Collects nodes; ``name`` is the ONNX node being lowered, for messages."""

    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    _known: dict[Any, int] = field(default_factory=dict)

    def emit(self, primitive: str, shape: Sequence[int], inputs: Sequence[int], **attributes: Any) -> int:
        """Append a node, or find an equal one; returns its index. Raises UnsupportedModel where SHAPE refuses.

        A reduction too long for one step becomes several nodes (``vml.model.partial``); the index is the last one's.
        """
        operands = [Operand(self.nodes[ref].header, self.constants.get(ref)) for ref in inputs]
        try:
            header = PRIMITIVES[primitive].shape(attributes, tuple(shape), operands)
            if primitive in CUTS and (last := cut_long(self, primitive, header, inputs, attributes)) is not None:
                return last
            return self._append(Node(primitive, header, tuple(inputs), attributes))
        except ValueError as error:
            raise UnsupportedModel(f"node {self.name!r} ({primitive}): {error}") from error

    def _append(self, node: Node) -> int:
        key = node.encode()
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
            self.names.append(self.name)
        return self._known[key]

    def header(self, value: Value) -> Header:
        """Header of the node that stores the value (its range holds for every view)."""
        return self.nodes[value.ref].header

    def constant(self, codes: np.ndarray, scale: Fraction = Fraction(1), kind: str = "float") -> Value:
        """A constant tensor from integer codes (any integer dtype; stored in the smallest that holds it)."""
        lo, hi = int(codes.min()), int(codes.max())
        header = header_for(codes.shape, lo, hi)
        stored = np.ascontiguousarray(codes, dtype=header.dtype).reshape(codes.shape)
        ref = self._append(Node("constant", header, (), {"root": tensor_root(stored)}))
        self.constants[ref] = stored
        return Value(ref, codes.shape, contiguous(codes.shape), scale, kind)

    def input(self, index: int, shape: Sequence[int], lo: int, hi: int, scale: Fraction, kind: str) -> Value:
        """Declare graph input ``index`` with codes lo..hi."""
        ref = self._append(Node("input", header_for(shape, lo, hi), (), {"index": index}))
        return Value(ref, tuple(shape), contiguous(shape), scale, kind)

    def table(self, name: str) -> tuple[int, int]:
        """A canonical table as a constant: (node, base)."""
        return self.constant(load_table(name)).ref, TABLES[name].base

    # Elementwise, with broadcasting. Scale and kind of the result are the caller's business: pass them.

    def elementwise(
        self,
        primitive: str,
        values: Sequence[Value],
        views: Sequence[str],
        *,
        extra: Sequence[int] = (),
        scale: Fraction = Fraction(1),
        kind: str = "float",
        **attributes: Any,
    ) -> Value:
        """One primitive over the broadcast shape of ``values``; ``views`` names their view attributes."""
        shape = np.broadcast_shapes(*(value.shape for value in values))
        over = [broadcast_view(value, shape) for value in values]
        largest = max(range(len(values)), key=lambda k: sum(1 for s in over[k].strides if s))
        order = loop_order(over[largest], shape)
        attributes |= {name: permute_view(view, order) for name, view in zip(views, over, strict=True)}
        ref = self.emit(primitive, [shape[k] for k in order], [*(v.ref for v in values), *extra], **attributes)
        return Value(ref, tuple(shape), stored_in(order, shape), scale, kind)

    def affine(
        self, a: Value, alpha: int, b: Value | None = None, beta: int = 0, gamma: int = 0, **result: Any
    ) -> Value:
        """alpha * a + beta * b + gamma on codes."""
        if b is None:
            return self.elementwise("affine", [a], ["a"], b=View(0, ()), alpha=alpha, beta=0, gamma=gamma, **result)
        return self.elementwise("affine", [a, b], ["a", "b"], alpha=alpha, beta=beta, gamma=gamma, **result)

    def multiply(self, a: Value, b: Value, **result: Any) -> Value:
        """a * b on codes."""
        return self.elementwise("multiply", [a, b], ["a", "b"], **result)

    def less(self, a: Value, b: Value) -> Value:
        """a < b on codes (bring both to one scale first): bool."""
        return self.elementwise("less", [a, b], ["a", "b"], kind="bool")

    def equal(self, a: Value, b: Value) -> Value:
        """a = b on codes (bring both to one scale first): bool."""
        return self.elementwise("equal", [a, b], ["a", "b"], kind="bool")

    def select(self, condition: Value, a: Value, b: Value, **result: Any) -> Value:
        """condition != 0 ? a : b on codes (one scale)."""
        return self.elementwise("select", [condition, a, b], ["condition", "a", "b"], **result)

    def divide(self, a: Value, b: Value, **result: Any) -> Value:
        """Rounded quotient floor((2a + b) / 2b) on codes, 0 where b <= 0."""
        return self.elementwise("divide", [a, b], ["a", "b"], **result)

    def isqrt(self, x: Value, **result: Any) -> Value:
        """Floor square root on codes, 0 below 1."""
        return self.elementwise("isqrt", [x], ["x"], **result)

    def rescale_codes(self, x: Value, multiplier: int, shift: int, lo: int, hi: int, **result: Any) -> Value:
        """clamp((x * multiplier + 2^(shift-1)) >> shift, lo, hi) on codes."""
        return self.elementwise(
            "rescale", [x], ["x"], multiplier=multiplier, shift=shift, multipliers=View(0, ()), lo=lo, hi=hi, **result
        )

    def rescale_channels(self, x: Value, multipliers: Value, shift: int, lo: int, hi: int, **result: Any) -> Value:
        """As ``rescale_codes`` with one multiplier per element of a constant that broadcasts to x."""
        return self.elementwise(
            "rescale", [x, multipliers], ["x", "multipliers"], multiplier=0, shift=shift, lo=lo, hi=hi, **result
        )

    def lookup(self, x: Value, name: str, **result: Any) -> Value:
        """The canonical table ``name`` at codes x (whose range must lie in the table's domain)."""
        table, base = self.table(name)
        return self.elementwise("lookup", [x], ["x"], extra=[table], base=base, **result)

    # Along axes.

    def reduce(self, primitive: str, x: Value, axes: Sequence[int], keepdims: bool, **result: Any) -> Value:
        """``reduce_sum`` or ``reduce_max`` over ``axes`` (non-negative, distinct)."""
        kept = [k for k in range(x.rank) if k not in axes]
        order = [kept[j] for j in loop_order(permute_view(x.view, kept), [x.shape[k] for k in kept])]
        inner = [list(axes)[j] for j in loop_order(permute_view(x.view, axes), [x.shape[k] for k in axes])]
        ref = self.emit(
            primitive,
            [x.shape[k] for k in order],
            [x.ref],
            reduced=tuple(x.shape[k] for k in inner),
            x=permute_view(x.view, [*order, *inner]),
        )
        shape = [x.shape[k] for k in kept]
        view = stored_in([kept.index(k) for k in order], shape)
        value = Value(ref, tuple(shape), view, **{"scale": x.scale, "kind": x.kind, "limit": x.limit, **result})
        if not keepdims:
            return value
        strides = iter(view.strides)
        full = tuple(0 if k in axes else next(strides) for k in range(x.rank))
        return replace(value, shape=tuple(1 if k in axes else n for k, n in enumerate(x.shape)), view=View(0, full))

    def rows(self, primitive: str, x: Value, axis: int, k: int | None = None) -> Value:
        """``argmax`` (k None; the axis disappears) or ``topk`` indices (k; the axis becomes k long): int."""
        outer = [j for j in range(x.rank) if j != axis]
        loops = [x.shape[j] for j in outer]
        shape = loops if k is None else [*loops, k]
        ref = self.emit(primitive, shape, [x.ref], length=x.shape[axis], x=permute_view(x.view, [*outer, axis]))
        value = Value(ref, tuple(shape), contiguous(shape), Fraction(1), "int")
        if k is None:
            return value
        order = list(range(x.rank - 1))
        order.insert(axis, x.rank - 1)
        return replace(value, shape=tuple(shape[j] for j in order), view=permute_view(value.view, order))

    def dot(
        self,
        shape: Sequence[int],
        contract: Sequence[int],
        a: tuple[Value, View],
        b: tuple[Value, View],
        bias: tuple[Value, View] | None = None,
    ) -> Value:
        """sum_k a b + bias over explicit views: loops are ``shape`` then ``contract``; stored row-major in ``shape``.

        The result's scale is the product of the operands'; the bias must already have it.
        """
        extra = [bias[0].ref] if bias else []
        ref = self.emit(
            "dot",
            shape,
            [a[0].ref, b[0].ref, *extra],
            contract=tuple(contract),
            a=a[1],
            b=b[1],
            bias=bias[1] if bias else View(0, ()),
        )
        return Value(ref, tuple(shape), contiguous(shape), a[0].scale * b[0].scale, "float")

    def take(self, x: Value, axis: int, index: Value) -> Value:
        """x indexed along ``axis`` by a tensor of positions (clamped): shape x[:axis] + index + x[axis+1:]."""
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        shape = (*before, *index.shape, *after)
        strides = x.view.strides
        over_x = (*strides[:axis], *(0 for _ in index.shape), *strides[axis + 1 :])
        over_index = (*(0 for _ in before), *index.view.strides, *(0 for _ in after))
        ref = self.emit(
            "take",
            shape,
            [x.ref, index.ref],
            x=View(x.view.offset, over_x),
            index=View(index.view.offset, over_index),
            size=x.shape[axis],
            stride=strides[axis],
        )
        return Value(ref, shape, contiguous(shape), x.scale, x.kind, x.limit)

    def finish(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[Graph, dict[int, int]]:
        """The graph with unused nodes dropped (inputs always stay), and where each kept node went."""
        used = {spec.node for spec in (*inputs, *outputs)}
        for index in range(len(self.nodes) - 1, -1, -1):
            if index in used:
                used.update(self.nodes[index].inputs)
        kept = sorted(used)
        new = {old: k for k, old in enumerate(kept)}
        nodes = tuple(replace(self.nodes[i], inputs=tuple(new[r] for r in self.nodes[i].inputs)) for i in kept)
        graph = Graph(
            nodes,
            {new[i]: values for i, values in self.constants.items() if i in used},
            tuple(replace(spec, node=new[spec.node]) for spec in inputs),
            tuple(replace(spec, node=new[spec.node]) for spec in outputs),
            tuple(self.names[i] for i in kept),
        )
        return graph, new
