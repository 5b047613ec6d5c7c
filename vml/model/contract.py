"""Exact integer contractions through float64 BLAS.

Every product and every partial sum of a ``dot`` is an integer below 2^52 (proved statically), so float64 holds it
exactly in whatever order, with or without fused multiply-add, on any number of threads. Overlapping views
(convolution windows) are copied in slabs, so im2col never exists as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.model.codec import View
from vml.model.graph import Node
from vml.model.views import read
from vml.threads import THREADS, over_blocks, run_all

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

SLAB_ELEMENTS = 1 << 18
PARALLEL_PRODUCTS = 1 << 21  # multiplications below which threads cost more than they give
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
    flat = (a.reshape(-1), b.reshape(-1))
    over_blocks(out.size, lambda k: dot_offsets(*flat, a_out[k], b_out[k], a_terms, b_terms, out[k]))
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


@dataclass(frozen=True)
class _Piece:
    """A product small enough for the caches: out[rows, columns] = float64(window)[rows, terms] @ right^T."""

    out: Array
    window: Array
    right: Array

    def run(self) -> None:
        left = np.ascontiguousarray(self.window, dtype=np.float64).reshape(self.out.shape[0], -1)
        np.matmul(left, self.right.T, out=self.out)


def _pieces(out: Array, window: Array, right: Array) -> Iterator[_Piece]:
    """Cut one product along its outermost row axis into slabs, or along its columns where there are few rows."""
    rows, columns = out.shape
    terms = right.shape[1]
    outer = window.shape[0] if rows > 1 else 1
    if outer == 1 and rows > 1:
        yield from _pieces(out, window[0], right)
    elif outer > 1 and rows * terms > SLAB_ELEMENTS:
        each = rows // outer
        step = max(1, min(SLAB_ELEMENTS // (each * terms), -(-outer // THREADS)))
        for start in range(0, outer, step):
            block = window[start : start + step]
            yield _Piece(out[start * each : (start + block.shape[0]) * each], block, right)
    elif rows * columns * terms >= PARALLEL_PRODUCTS:
        step = -(-columns // THREADS)
        for start in range(0, columns, step):
            yield _Piece(out[:, start : start + step], window, right[start : start + step])
    else:
        yield _Piece(out, window, right)


def _fill(result: Array, window: Array, right: Array, batch_rank: int, terms: int) -> None:
    """result[batch] = window[batch] @ right[batch]^T, in pieces over all threads where the work is worth it."""
    batches, rows, columns = result.shape
    if batches > 1 and batches * rows * terms <= SLAB_ELEMENTS:
        left = np.ascontiguousarray(window, dtype=np.float64).reshape(batches, rows, terms)
        np.matmul(left, right.transpose(0, 2, 1), out=result)
        return
    pieces: list[_Piece] = []
    for number, index in enumerate(np.ndindex(*window.shape[:batch_rank])):
        pieces.extend(_pieces(result[number], window[index], right[number]))
    if len(pieces) == 1 or batches * rows * columns * terms < PARALLEL_PRODUCTS:
        for piece in pieces:
            piece.run()
        return
    # One BLAS thread in each of ours: copying a slab and multiplying it then both use every core.
    with _blas().limit(limits=1, user_api="blas"):
        run_all([piece.run for piece in pieces])


@cache
def _blas() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def self_test(product: Callable[[Array, Array], Array] = np.matmul) -> None:
    """Refuse to run on a BLAS whose float64 products are not exact for integers below 2^52.

    Args:
        product: float64[m, k], float64[k, n] to float64[m, n].

    Raises:
        RuntimeError: a product differed from integer arithmetic.
    """
    generator = np.random.default_rng(52)
    for rows, terms, columns in ((3, 4096, 5), (64, 129, 65), (200, 1000, 130)):
        reach = math.isqrt((1 << 51) // terms)
        a = generator.integers(-reach, reach, (rows, terms))
        b = generator.integers(-reach, reach, (terms, columns))
        a[0], b[:, 0] = reach, reach
        if not np.array_equal(product(a.astype(np.float64), b.astype(np.float64)).astype(np.int64), a @ b):
            raise RuntimeError("this BLAS is not exact on integers in float64; install another numpy build")
