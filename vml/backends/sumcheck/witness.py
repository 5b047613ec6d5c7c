"""The prover's columns: node values as they are, further witnesses computed, lookups counted.

Numbers are int64; a negative one stands for its residue modulo p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vml.errors import ProvingError
from vml.model.relation import LIMB, LIMB_BITS, Compute, Expression, Lookup, Public, Read, System, Table

Array = np.ndarray[Any, np.dtype[Any]]


def build_columns(system: System, node_values: Sequence[Array]) -> list[Array]:
    """Every column of a system, int64.

    Args:
        node_values: for each node the array of (batch, *shape), or of its own shape if it is a constant.

    Raises:
        ProvingError: a lookup has a key that its table does not have (a defect: static ranges exclude it).
        ValueError: a node's array has another shape.
    """
    columns = [np.asarray(values, dtype=np.int64, order="C") for values in node_values]
    for column, values in zip(system.columns, columns, strict=False):
        if values.shape != column.shape:
            raise ValueError(f"values of {column.name!r} have shape {values.shape}, not {column.shape}")

    def evaluator(expression: Expression, loops: Sequence[int]) -> Array:
        return evaluate(expression, columns, loops)

    latest: tuple[Compute | None, Array] = (None, np.empty(0))  # limbs of one number follow each other
    for column in system.columns[len(columns) :]:
        if column.compute is None:
            columns.append(np.zeros(column.shape, dtype=np.int64))
            continue
        if column.compute is not latest[0]:
            latest = (column.compute, np.asarray(column.compute(evaluator), dtype=np.int64))
        values = latest[1] if column.limb is None else latest[1] >> (LIMB_BITS * column.limb) & (LIMB - 1)
        columns.append(np.array(np.broadcast_to(values, column.shape), order="C"))
    for lookup in system.lookups:
        table = system.tables[lookup.table]
        columns[table.multiplicity] += _counts(lookup, table, columns)
    return columns


def evaluate(expression: Expression, columns: Sequence[Array], loops: Sequence[int]) -> Array:
    """An expression at every position of ``loops``, modulo 2^64."""
    total: Array | None = None
    for coefficient, term in expression.terms:
        values = _read(term, columns, loops) if isinstance(term, Read) else _public(term, loops)
        if coefficient != 1:
            values = values * np.int64((coefficient + (1 << 63)) % (1 << 64) - (1 << 63))
        if total is None:
            total = values
        elif total.shape == tuple(loops) and total.flags.writeable:
            total += values
        else:
            total = total + values
    return np.broadcast_to(np.int64(0) if total is None else total, tuple(loops))


def _read(read: Read, columns: Sequence[Array], loops: Sequence[int]) -> Array:
    """A view where all steps are strides; else the places are added up, loop by loop."""
    flat = columns[read.column].reshape(-1)
    strides = [step for step in read.steps if isinstance(step, int)]
    if len(strides) == len(loops):
        byte_strides = [8 * stride for stride in strides]
        return np.lib.stride_tricks.as_strided(flat[read.offset :], tuple(loops), byte_strides, writeable=False)
    places, present = np.full((1,) * len(loops), read.offset), np.ones((1,) * len(loops), dtype=bool)
    for loop, (step, size) in enumerate(zip(read.steps, loops, strict=True)):
        along = [size if k == loop else 1 for k in range(len(loops))]
        if isinstance(step, int):
            places = places + (np.arange(size) * step).reshape(along)
        else:
            contributions = np.array(step).reshape(along)
            places = places + np.maximum(contributions, 0)
            present = present & (contributions >= 0)
    # A place that is not read may lie outside.
    return np.where(present, flat[np.where(present, places, 0)], 0)


def _public(public: Public, loops: Sequence[int]) -> Array:
    numbers = np.ones((1,) * len(loops), dtype=np.int64)
    for loop, factor in enumerate(public.factors):
        if factor is not None:
            along = [loops[loop] if k == loop else 1 for k in range(len(loops))]
            values = np.arange(loops[loop]) if factor == "index" else np.array(factor, dtype=np.int64)
            numbers = numbers * values.reshape(along)
    return numbers


def _counts(lookup: Lookup, table: Table, columns: Sequence[Array]) -> Array:
    """How often each row of its table a lookup asks for."""
    rows = evaluate(lookup.key, columns, lookup.loops) - table.first
    size = math.prod(table.loops)
    if rows.min() < 0 or rows.max() >= size:
        raise ProvingError(f"node {lookup.node}: {lookup.name}: a key lies outside its table, which no input can cause")
    return np.bincount(rows.reshape(-1), minlength=size).reshape(table.loops)
