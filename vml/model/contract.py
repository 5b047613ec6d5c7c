"""Exact integer contractions through float64 BLAS.

Every product and every partial sum of a ``dot`` is an integer below 2^52 (proved statically), so float64 holds it
exactly in whatever order, with or without fused multiply-add, on any number of threads. Overlapping views
(convolution windows) are copied in slabs, so im2col never exists as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vml.model.codec import View
from vml.model.graph import Node
from vml.model.views import read

SLAB_ELEMENTS = 1 << 18
DIRECT_TERMS = 64  # up to here a product without shared rows or columns runs in the direct kernel

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Plan:
    """How a dot's loops split: batch (both operands move), rows (only a), columns (only b), terms (contracted).

    The axes are positions in the output; ``order`` brings batch, rows, columns back to the output's own order.
    """

    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    order: tuple[int, ...]


def plan_dot(node: Node) -> Plan:
    """Classify the output loops of a dot node."""
    shape = node.header.shape
    a, b = node.attributes["a"].strides, node.attributes["b"].strides
    batch = tuple(k for k, n in enumerate(shape) if n > 1 and a[k] and b[k])
    columns = tuple(k for k, n in enumerate(shape) if n > 1 and not a[k] and b[k])
    rows = tuple(k for k in range(len(shape)) if k not in batch and k not in columns)
    placed = (*batch, *rows, *columns)
    return Plan(batch, rows, columns, tuple(placed.index(k) for k in range(len(shape))))


def _window(values: Array, view: View, loops: Sequence[int], axes: Sequence[int], contract: Sequence[int]) -> Array:
    """The operand over chosen output axes and then the contracted loops, as a strided window."""
    rank = len(view.strides) - len(contract)
    strides = (*(view.strides[k] for k in axes), *view.strides[rank:])
    return read(values, View(view.offset, strides), (*(loops[k] for k in axes), *contract))


def matrix(values: Array, view: View, node: Node, batch: Sequence[int], axes: Sequence[int]) -> Array:
    """An operand as float64[batch, rows, terms]."""
    shape, contract = node.header.shape, node.attributes["contract"]
    window = _window(values, view, shape, (*batch, *axes), contract)
    sizes = (math.prod(shape[k] for k in batch), math.prod(shape[k] for k in axes), math.prod(contract))
    return np.ascontiguousarray(window, dtype=np.float64).reshape(sizes)


def is_direct(node: Node, plan: Plan) -> bool:
    """Whether BLAS has nothing to share: no columns (or no rows), and few terms."""
    wide = math.prod(node.header.shape[k] for k in plan.columns)
    return wide == 1 and bool(plan.batch) and math.prod(node.attributes["contract"]) <= DIRECT_TERMS


def _places(view: View, loops: Sequence[int], first: int) -> Array:
    """Offsets visited by loops ``first``.. of a view: int64, flat."""
    total = np.zeros((), dtype=np.int64)
    for stride, n in zip(view.strides[first : first + len(loops)], loops, strict=True):
        total = np.add.outer(total, np.int64(stride) * np.arange(n, dtype=np.int64))
    return total.reshape(-1)


def direct(node: Node, a: Array, b: Array) -> Array:
    """The sums of a dot without shared rows: int64 in header shape."""
    from vml.model.kernels import dot_offsets

    shape, contract, views = node.header.shape, node.attributes["contract"], node.attributes
    out = np.empty(node.header.size, dtype=np.int64)
    arguments = []
    for name in ("a", "b"):
        arguments.append(
            (views[name].offset + _places(views[name], shape, 0), _places(views[name], contract, len(shape)))
        )
    (a_out, a_terms), (b_out, b_terms) = arguments
    dot_offsets(a.reshape(-1), b.reshape(-1), a_out, b_out, a_terms, b_terms, out)
    return out.reshape(shape)


def contract(node: Node, plan: Plan, a: Array, b: Array, right: Array | None) -> Array:
    """The sums of a dot (without bias) as float64, exact, in header shape.

    Args:
        node: the dot. plan: its loops. a, b: stored operands. right: b as ``matrix`` gives it, where it is constant.
    """
    shape, terms = node.header.shape, node.attributes["contract"]
    if right is None:
        right = matrix(b, node.attributes["b"], node, plan.batch, plan.columns)
    sizes = [math.prod(shape[k] for k in axes) for axes in (plan.batch, plan.rows, plan.columns)]
    window = _window(a, node.attributes["a"], shape, (*plan.batch, *plan.rows), terms)
    result = np.empty(sizes, dtype=np.float64)
    _fill(result, window, right, len(plan.batch), math.prod(terms))
    placed = result.reshape([shape[k] for k in (*plan.batch, *plan.rows, *plan.columns)])
    return np.ascontiguousarray(placed.transpose(plan.order)).reshape(shape)  # a scalar stays one


def _fill(result: Array, window: Array, right: Array, batch_rank: int, terms: int) -> None:
    """result = window @ right^T, slab by slab along the outermost row axis that keeps a slab small."""
    batches, rows, _ = result.shape
    if batches * rows * terms <= SLAB_ELEMENTS or window.ndim == batch_rank:
        left = np.ascontiguousarray(window, dtype=np.float64).reshape(batches, rows, terms)
        np.matmul(left, right.transpose(0, 2, 1), out=result)
        return
    if batch_rank:
        inner = result.reshape(*window.shape[:batch_rank], rows, result.shape[2])
        columns = right.reshape(*window.shape[:batch_rank], *right.shape[1:])
        for index in np.ndindex(*window.shape[:batch_rank]):
            _fill(inner[index][None], window[index], columns[index][None], 0, terms)
        return
    outer = window.shape[0]
    each = rows // outer
    if outer == 1 and window.ndim > 1 and rows > 1:
        _fill(result, window[0], right, 0, terms)
        return
    step = max(1, SLAB_ELEMENTS // max(1, each * terms))
    for start in range(0, outer, step):
        piece = window[start : start + step]
        slab = np.ascontiguousarray(piece, dtype=np.float64).reshape(-1, terms)
        np.matmul(slab, right[0].T, out=result[0, start * each : start * each + slab.shape[0]])


def self_test() -> None:
    """Refuse to run on a BLAS whose float64 products are not exact for integers below 2^52.

    Raises:
        RuntimeError: a product differed from integer arithmetic.
    """
    generator = np.random.default_rng(52)
    for rows, terms, columns in ((3, 4096, 5), (64, 129, 65), (200, 1000, 130)):
        reach = math.isqrt((1 << 51) // terms)
        a = generator.integers(-reach, reach, (rows, terms))
        b = generator.integers(-reach, reach, (terms, columns))
        a[0], b[:, 0] = reach, reach
        if not np.array_equal((a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64), a @ b):
            raise RuntimeError("this BLAS is not exact on integers in float64; install another numpy build")
