"""The leaves of the lookup argument, for the prover: numerators and denominators of every lookup and table row.

Twin of ``linear.fraction_claims``, which says what their multilinear extensions must be at one point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vml.backends.sumcheck import kernels_columns
from vml.backends.sumcheck.arrange import Arrangement, PlacedLookup
from vml.backends.sumcheck.matrices import Words, padded, to_field, valid
from vml.field.goldilocks import Ext, P, mul, scale, sub
from vml.model.relation import Evaluate, Lookup, Table

Columns = Sequence[np.ndarray[Any, Any]]


def leaves(
    arrangement: Arrangement, columns: Columns, evaluate: Evaluate, alpha: Ext, beta: Ext
) -> tuple[Words, Words]:
    """Numerators and denominators, uint64[2^log_fractions, 2] each.

    Args:
        columns: int64 values of every column. evaluate: values of expressions over them.
    """
    size = 1 << arrangement.log_fractions
    above = np.zeros((size, 2), dtype=np.uint64)
    below = np.zeros((size, 2), dtype=np.uint64)
    below[:, 0] = 1
    for lookup in arrangement.lookups:
        ends = slice(lookup.start, lookup.start + (1 << lookup.log_size))
        shape, inside = padded(lookup.loops), valid(lookup.loops)
        numbers = above[ends].reshape(*shape, 2)[inside]
        if isinstance(lookup.source, Table):
            counts = to_field(columns[lookup.source.multiplicity])
            numbers[..., 0] = np.where(counts == 0, counts, np.uint64(P) - counts).reshape(lookup.loops)
        else:
            numbers[..., 0] = 1
        offset = sub(alpha, scale(mul(beta, beta), lookup.table))
        below[ends] = np.array(offset, dtype=np.uint64)
        prints = fingerprints(lookup, columns, evaluate, offset, beta)
        below[ends].reshape(*shape, 2)[inside] = prints.reshape(*lookup.loops, 2)
    return above, below


def fingerprints(lookup: PlacedLookup, columns: Columns, evaluate: Evaluate, offset: Ext, beta: Ext) -> Words:
    """alpha minus the fingerprint of every row: uint64[n, 2]."""
    keys, values = (numbers.view() for numbers in keys_and_values(lookup.source, columns, evaluate))
    keys.flags.writeable = values.flags.writeable = False  # another form of array would be another kernel
    out = np.empty((keys.size, 2), dtype=np.uint64)
    factors = (np.array(offset, dtype=np.uint64), np.array(beta, dtype=np.uint64))
    kernels_columns.fingerprints(keys, values, *factors, out)
    return out


def keys_and_values(source: Lookup | Table, columns: Columns, evaluate: Evaluate) -> tuple[Any, Any]:
    """Flat int64 keys, and values (none at all where there are no values)."""
    none = np.empty(0, dtype=np.int64)
    if isinstance(source, Lookup):
        keys = evaluate(source.key, source.loops).reshape(-1)
        return keys, none if source.value is None else evaluate(source.value, source.loops).reshape(-1)
    keys = np.arange(source.first, source.first + int(np.prod(source.loops)), dtype=np.int64)
    if source.value is None:
        return keys, none
    return keys, np.ascontiguousarray(columns[source.value.column], dtype=np.int64).reshape(-1)
