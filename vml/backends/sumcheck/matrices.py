"""The prover's arrays: columns laid into the committed matrices, and a functional over them.

Twin of ``linear.evaluate``, which has the functional's multilinear extension at one point; here it is every entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vml.backends.sumcheck import kernels_columns
from vml.backends.sumcheck.arrange import FIXED, Arrangement, Block, bits_of
from vml.backends.sumcheck.linear import Term, weighed
from vml.backends.sumcheck.weights import Weight
from vml.field import kernels
from vml.field.goldilocks import mul
from vml.model.relation import Step
from vml.threads import over_blocks

Words = np.ndarray[Any, np.dtype[np.uint64]]
SMALL = 1 << 12  # elements: below this, threads cost more than they give


def to_field(values: np.ndarray[Any, Any]) -> Words:
    """Integers modulo p, flat."""
    flat = np.ascontiguousarray(values).reshape(-1)
    out = np.empty(flat.size, dtype=np.uint64)
    kernels.from_signed(flat, out)
    return out


def padded(sizes: Sequence[int]) -> tuple[int, ...]:
    """The powers of two that sizes are padded to."""
    return tuple(1 << bits_of(n) for n in sizes)


def valid(sizes: Sequence[int]) -> tuple[slice, ...]:
    """Where a padded array holds something."""
    return tuple(slice(0, n) for n in sizes)


def lay_out(arrangement: Arrangement, part: str, columns: Sequence[np.ndarray[Any, Any]], log_cols: int) -> Words:
    """One of the two matrices.

    Args:
        columns: int64 values of every column.

    Returns:
        uint64[rows, 2^log_cols].
    """
    rows = arrangement.rows(log_cols)[0 if part == FIXED else 1]
    flat = np.zeros(rows << log_cols, dtype=np.uint64)
    for block, column in zip(arrangement.blocks, columns, strict=True):
        if block.part == part:
            entries = flat[block.start : block.start + (1 << block.log_size)].reshape(padded(block.sizes))
            entries[valid(block.sizes)] = to_field(column).reshape(block.sizes)
    return flat.reshape(rows, 1 << log_cols)


class WeightArrays:
    """Weights of loops as arrays, made once each."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Weight, Words]] = {}

    def __call__(self, weight: Weight) -> Words:
        """uint64[size, 2]."""
        if id(weight) not in self._known:
            self._known[id(weight)] = (weight, _weight_array(weight))
        return self._known[id(weight)][1]


def _weight_array(weight: Weight) -> Words:
    if weight.point is None:
        ones = np.zeros((weight.size, 2), dtype=np.uint64)
        ones[:, 0] = 1
        return ones
    table = np.empty((1 << len(weight.point), 2), dtype=np.uint64)
    kernels.eq_expand(np.array(weight.point, dtype=np.uint64).reshape(-1, 2), table)
    return np.ascontiguousarray(table[: weight.size])


def ext_product(left: Words, right: Words) -> Words:
    """All products of two vectors: uint64[l * r, 2] from uint64[l, 2] and uint64[r, 2]."""
    out = np.zeros((len(left) * len(right), 2), dtype=np.uint64)
    kernels.outer_add(out, left, right, 0, len(left))
    return out


def positions(step: Step, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where a loop's positions lead on an axis; -1 nowhere (of a stride, no position is that)."""
    if isinstance(step, tuple):
        return np.array(step, dtype=np.int64)
    return np.arange(size, dtype=np.int64) * step


def axis_vector(
    offset: int, moves: Sequence[tuple[int, Step]], weights: Sequence[Weight | None], size: int, arrays: WeightArrays
) -> Words:
    """The vector of one axis, padded: twin of ``weights.along_axis``."""
    vector = np.zeros((1 << bits_of(size), 2), dtype=np.uint64)
    places = np.array([offset], dtype=np.int64)
    values = np.array([[1, 0]], dtype=np.uint64)
    for loop, step in moves:
        weight = weights[loop]
        if weight is None:
            raise ValueError("a loop without weights moves")
        where = positions(step, weight.size)
        keep = where >= 0 if isinstance(step, tuple) else np.ones(len(where), dtype=bool)
        values = ext_product(values, np.ascontiguousarray(arrays(weight)[keep]))
        places = (places[:, None] + where[keep][None, :]).reshape(-1)
    if len(np.unique(places)) == len(places):
        vector[places] = values
    else:
        kernels_columns.scatter_add(vector, places, values)
    return vector


def functional(arrangement: Arrangement, terms: Sequence[Term], part: str, log_cols: int) -> Words:
    """A functional over one matrix, entry by entry: uint64[rows * 2^log_cols, 2]."""
    rows = arrangement.rows(log_cols)[0 if part == FIXED else 1]
    out = np.zeros((rows << log_cols, 2), dtype=np.uint64)
    arrays, vectors = WeightArrays(), {}
    for term in terms:
        block = arrangement.blocks[term.read.column]
        if block.part != part:
            continue
        axes = []
        for (offset, moves), size in zip(term.read.axes, block.sizes, strict=True):
            key = (size, offset, moves, tuple(id(term.weights[loop]) for loop, _ in moves))
            if key not in vectors:
                vectors[key] = axis_vector(offset, moves, term.weights, size, arrays)
            axes.append(vectors[key])
        coefficient = np.array([mul(term.coefficient, weighed(term))], dtype=np.uint64)
        _add_product(out[block.start : block.start + (1 << block.log_size)], block, coefficient, axes)
    return out


def _add_product(target: Words, block: Block, coefficient: Words, axes: Sequence[Words]) -> None:
    """target += coefficient * (product of one vector for each axis)."""
    left, right = coefficient, np.array([[1, 0]], dtype=np.uint64)
    half = block.log_size // 2
    done = 0
    for vector, bits in zip(axes, block.bits, strict=True):
        if done < half:
            left = ext_product(left, vector)
        else:
            right = ext_product(right, vector)
        done += bits
    if len(target) < SMALL:
        kernels.outer_add(target, left, right, 0, len(left))
    else:
        over_blocks(len(left), lambda rows: kernels.outer_add(target, left, right, rows.start, rows.stop))
