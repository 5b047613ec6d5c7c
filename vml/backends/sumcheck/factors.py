"""The factors of products as tables over the shared loops, for the prover.

A factor is a sum of placed reads. Each read starts as its column's block, one array axis for each axis of the
block, and every axis is contracted with a matrix [shared positions, axis positions] that adds up the weights of the
loops folded into it. So a convolution's input goes from [height, width, channels] to [kernel rows, kernel columns,
channels] in two small matrix products, without a copy of any window.

Twin of ``linear.ProductShape.claims``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vml.backends.sumcheck import kernels_columns
from vml.backends.sumcheck.arrange import Arrangement, Placed, Sum
from vml.backends.sumcheck.linear import ProductShape
from vml.backends.sumcheck.matrices import (
    SMALL,
    WeightArrays,
    Words,
    ext_product,
    padded,
    positions,
    to_field,
    valid,
)
from vml.backends.sumcheck.weights import Weight
from vml.field import kernels
from vml.field.goldilocks import Ext, from_int, mul, scale
from vml.model.relation import Public, Step
from vml.threads import over_blocks

Folded = Sequence[Weight | None]


class Factors:
    """Tables of one proof's products.

    Args:
        arrangement: the placed system. columns: int64 values of every column.
    """

    def __init__(self, arrangement: Arrangement, columns: Sequence[np.ndarray[Any, Any]]) -> None:
        self._arrangement, self._columns = arrangement, columns
        self._elements: dict[int, Words] = {}
        self._arrays = WeightArrays()

    def tables(self, shape: ProductShape) -> tuple[Words, Words, Words]:
        """Weights and both factors over the shared loops, padded: uint64[2^num_vars, 2] each."""
        return (
            self._weights(shape),
            self._table(shape, shape.a, shape.folded_a),
            self._table(shape, shape.b, shape.folded_b),
        )

    def _weights(self, shape: ProductShape) -> Words:
        table = np.array([[1, 0]], dtype=np.uint64)
        for loop in shape.shared:
            vector = np.zeros((*padded([shape.loops[loop]]), 2), dtype=np.uint64)
            vector[: shape.loops[loop]] = self._arrays(shape.base[loop])
            table = ext_product(table, vector)
        return table

    def _table(self, shape: ProductShape, factor: Sum, folded: Folded) -> Words:
        dims = shape.sizes
        out = np.zeros((*padded(dims), 2), dtype=np.uint64)
        inside = out[valid(dims)]
        for coefficient, term in factor.terms:
            scalar, array = self._term(term, shape, folded)
            scalar = scale(scalar, from_int(coefficient))
            if array.ndim == len(dims):  # base elements
                inside[..., 0] = self._added(inside[..., 0], array, scalar[0])
                if scalar[1]:
                    inside[..., 1] = self._added(inside[..., 1], array, scalar[1])
            else:
                inside[...] = _added_ext(inside, array, scalar)
        return out.reshape(-1, 2)

    @staticmethod
    def _added(target: Words, array: Words, factor: int) -> Words:
        total = np.ascontiguousarray(target).reshape(-1)
        values = _spread(array, target.shape).reshape(-1)
        kernels_columns.add_scaled(total, values, np.uint64(factor))
        return total.reshape(target.shape)

    def _term(self, term: Placed | Public, shape: ProductShape, folded: Folded) -> tuple[Ext, Words]:
        """A scalar, and an array that broadcasts to the shared loops: base elements, or extension with 2 at the end."""
        rank = len(shape.shared)
        if isinstance(term, Public):
            return self._public(term, shape, folded)
        scalar: Ext = (1, 0)
        kept: list[tuple[int, Step]] = []  # loops on no axis that only mask
        for loop, step in term.weighed:
            weight = folded[loop]
            if loop in shape.shared:
                if isinstance(step, tuple):
                    kept.append((loop, step))
            elif weight is not None:
                scalar = mul(scalar, weight.total(step))
        array, loops, extended = self._contracted(term, shape, folded)
        for loop, step in kept:
            mask = (positions(step, shape.loops[loop]) >= 0).astype(np.uint64)
            array = array[..., None, :] * mask[:, None] if extended else array[..., None] * mask
            loops = [*loops, loop]
        order = [loops.index(loop) for loop in shape.shared if loop in loops]
        array = array.transpose(*order, len(loops)) if extended else array.transpose(order)
        dims = [shape.loops[loop] if loop in loops else 1 for loop in shape.shared]
        array = array.reshape(*dims, 2) if extended else array.reshape(dims)
        if array.ndim != rank + extended:
            raise ValueError("a factor does not cover its loops")
        return scalar, array

    def _public(self, term: Public, shape: ProductShape, folded: Folded) -> tuple[Ext, Words]:
        scalar: Ext = (1, 0)
        array = np.ones([1] * len(shape.shared), dtype=np.uint64)
        for loop, size in enumerate(shape.loops):
            factor, weight = term.factors[loop] if term.factors else None, folded[loop]
            if loop in shape.shared:
                if factor is None:
                    continue
                numbers = np.arange(size) if factor == "index" else np.array(factor, dtype=np.int64)
                place = [1] * len(shape.shared)
                place[shape.shared.index(loop)] = size
                vector = to_field(numbers).reshape(place)
                dims = np.broadcast_shapes(array.shape, vector.shape)
                flat = np.zeros(math.prod(dims), dtype=np.uint64)
                left, right = _spread(array, dims), _spread(vector, dims)
                kernels_columns.add_products(flat, left.reshape(-1), right.reshape(-1))
                array = flat.reshape(dims)
            elif weight is not None:
                scalar = mul(scalar, weight.times(factor))
        return scalar, array

    def _contracted(self, read: Placed, shape: ProductShape, folded: Folded) -> tuple[Words, list[int], bool]:
        """A read with its folded loops summed: the array, the loop of each of its axes, whether it is extended."""
        block = self._arrangement.blocks[read.column]
        if read.column not in self._elements:
            self._elements[read.column] = to_field(self._columns[read.column])
        array: Words = self._elements[read.column].reshape(block.sizes)
        extended = False
        loops_at: list[list[int]] = [[loop for loop, _ in moves if loop in shape.shared] for _, moves in read.axes]
        # Axes that lose the most come first: everything after them is smaller.
        folding = [k for k, (_, moves) in enumerate(read.axes) if len(moves) > len(loops_at[k])]
        gain = {k: math.prod(shape.loops[loop] for loop in loops_at[k]) / block.sizes[k] for k in folding}
        for k in sorted(folding, key=lambda k: gain[k]):
            matrix = self._matrix(read.axes[k], loops_at[k], shape, folded, block.sizes[k])
            array = _contract(array, k, matrix, extended)
            extended = True
        for k, (offset, moves) in enumerate(read.axes):
            if k not in folding:
                array = _selected(array, k, offset, [(m, shape.loops[m[0]]) for m in moves])
        dims = [shape.loops[loop] for loops in loops_at for loop in loops]
        array = array.reshape(*dims, 2) if extended else array.reshape(dims)
        return array, [loop for loops in loops_at for loop in loops], extended

    def _matrix(
        self,
        axis: tuple[int, tuple[tuple[int, Step], ...]],
        shared: list[int],
        shape: ProductShape,
        folded: Folded,
        size: int,
    ) -> Words:
        """uint64[positions of the shared loops, size, 2]: the summed weights of the folded loops."""
        offset, moves = axis
        places, values = np.array([offset], dtype=np.int64), np.array([[1, 0]], dtype=np.uint64)
        rows = np.zeros(1, dtype=np.int64)
        for loop, step in moves:
            where = positions(step, shape.loops[loop])
            keep = where >= 0 if isinstance(step, tuple) else np.ones(len(where), dtype=bool)
            weight = folded[loop]
            if loop in shared:
                factor = np.zeros((len(where), 2), dtype=np.uint64)
                factor[:, 0] = 1
                index = np.arange(len(where))
            elif weight is not None:
                factor, index = self._arrays(weight), np.zeros(len(where), dtype=np.int64)
            else:
                raise ValueError("a folded loop has no weight")
            values = ext_product(values, np.ascontiguousarray(factor[keep]))
            places = (places[:, None] + where[keep]).reshape(-1)
            inner = len(where) if loop in shared else 1
            rows = (rows[:, None] * inner + index[keep]).reshape(-1)
        count = math.prod(shape.loops[loop] for loop in shared)
        matrix = np.zeros((count * size, 2), dtype=np.uint64)
        kernels_columns.scatter_add(matrix, rows * size + places, values)
        return matrix.reshape(count, size, 2)


def _contract(array: Words, axis: int, matrix: Words, extended: bool) -> Words:
    """Replace one axis by the matrix's rows."""
    dims = array.shape[:-1] if extended else array.shape
    outer, inner = math.prod(dims[:axis]), math.prod(dims[axis + 1 :])
    count, size = matrix.shape[:2]
    out = np.empty((outer, count, inner, 2), dtype=np.uint64)
    values = np.ascontiguousarray(array).reshape(outer, size, inner, *([2] if extended else []))
    kernel = kernels.multiply_matrix if extended else kernels.multiply_matrix_base
    if outer > 1 and values.size >= SMALL:
        over_blocks(outer, lambda part: kernel(matrix, values, out, part.start, part.stop))
    elif outer == 1 and values.size >= SMALL and inner >= SMALL // 8 and not extended:
        flat = values.reshape(size, inner)

        def columns(part: slice) -> None:
            for k in range(count):
                kernels.accumulate_rows(flat, matrix[k], out[0, k], part.start, part.stop)

        over_blocks(inner, columns)
    else:
        kernel(matrix, values, out, 0, outer)
    return out.reshape(*dims[:axis], count, *dims[axis + 1 :], 2)


def _selected(array: Words, axis: int, offset: int, moves: Sequence[tuple[tuple[int, Step], int]]) -> Words:
    """Replace one axis by the positions its shared loops visit; what a loop does not read is zero."""
    places = np.array([offset], dtype=np.int64)
    for (_, step), size in moves:
        where = positions(step, size)
        none = where < 0 if isinstance(step, tuple) else np.zeros(size, dtype=bool)
        joined = places[:, None] + where
        joined[:, none] = -1 << 40
        places = joined.reshape(-1)
    if len(moves) == 1 and len(places) == array.shape[axis] and bool((places == np.arange(len(places))).all()):
        return array
    taken = np.take(array, np.maximum(places, 0), axis=axis)
    if bool((places < 0).any()):
        index = [slice(None)] * array.ndim
        index[axis] = places < 0  # type: ignore[call-overload]
        taken[tuple(index)] = 0
    return taken


def _added_ext(target: Words, array: Words, factor: Ext) -> Words:
    """target + factor * array for extension elements."""
    total = np.ascontiguousarray(target).reshape(-1, 2)
    values = _spread(array, target.shape).reshape(-1, 2)
    vector = np.array([factor], dtype=np.uint64)
    kernels.outer_add(total, vector, values, 0, 1)
    return total.reshape(target.shape)


def _spread(array: Words, shape: tuple[int, ...]) -> Words:
    """An array broadcast to a shape, in memory that could be written to: kernels are compiled for that form."""
    return np.array(np.broadcast_to(array, shape)) if array.shape != shape else np.ascontiguousarray(array)
