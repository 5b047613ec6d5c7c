"""``dot``: y[o] = sum_k a[o, k] * b[o, k] + bias[o], over views.

One primitive for matrix products, convolutions (a view with overlapping strides is im2col) and contractions. The
static bound sum |a| |b| + |bias| < 2^52 makes every partial sum, in any order, an exact float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from vml.model.codec import Attributes
from vml.model.primitives.base import Primitive, Read, StepCost, Walk, check_operands, place, places, position
from vml.model.relation import Product, Relation
from vml.model.tensor import ACCUMULATOR_LIMIT, Header, Operand, header_for, offsets

FIELDS = (("contract", "dims"), ("a", "view"), ("b", "view"), ("bias", "view"))

# SHAPE


def _sums(
    attributes: Attributes, shape: tuple[int, ...], constant: Operand, other: Header, name: str
) -> tuple[int, int, int]:
    """Lowest and highest sum and largest sum of absolute products, from the constant operand's actual values."""
    import numpy as np

    assert constant.values is not None
    view, contract = attributes[name], attributes["contract"]
    # Loops the constant does not depend on repeat the same sums.
    loops = tuple(1 if s == 0 else n for s, n in zip(view.strides, (*shape, *contract), strict=True))
    repeats = 1
    for stride, n in zip(view.strides[len(shape) :], contract, strict=True):
        repeats *= n if stride == 0 else 1
    flat = constant.values.reshape(-1).astype(np.int64)
    block = np.lib.stride_tricks.as_strided(flat[view.offset :], loops, [8 * s for s in view.strides], writeable=False)
    axes = tuple(range(len(shape), len(loops)))
    positive = np.maximum(block, 0).sum(axes, dtype=object if constant.header.dtype == "int64" else np.int64)
    negative = np.minimum(block, 0).sum(axes, dtype=object if constant.header.dtype == "int64" else np.int64)
    pos, neg = [int(v) * repeats for v in np.ravel(positive)], [int(v) * repeats for v in np.ravel(negative)]
    low = min(p * other.lo + n * other.hi for p, n in zip(pos, neg, strict=True))
    high = max(p * other.hi + n * other.lo for p, n in zip(pos, neg, strict=True))
    return low, high, max(p - n for p, n in zip(pos, neg, strict=True)) * other.bound


def _range(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> tuple[int, int, int]:
    """Lowest and highest result, and the bound on sum |a| |b| + |bias|; raises ValueError for ill-formed views."""
    a, b, *bias = operands
    loops = (*out, *attributes["contract"])
    check_operands(attributes, loops, (a, b), ("a", "b"))
    if bias:
        check_operands(attributes, out, bias, ("bias",))
    elif attributes["bias"].strides or attributes["bias"].offset:
        raise ValueError("bias view without a bias")
    if b.values is not None:
        low, high, size = _sums(attributes, out, b, a.header, "b")
    elif a.values is not None:
        low, high, size = _sums(attributes, out, a, b.header, "a")
    else:
        terms = 1
        for n in attributes["contract"]:
            terms *= n
        corners = [x * y for x in (a.header.lo, a.header.hi) for y in (b.header.lo, b.header.hi)]
        low, high, size = terms * min(corners), terms * max(corners), terms * a.header.bound * b.header.bound
    if bias:
        low, high, size = low + bias[0].header.lo, high + bias[0].header.hi, size + bias[0].header.bound
    return low, high, size


def accumulator_bound(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> int:
    """The static bound on sum |a| |b| + |bias|, which every partial sum respects in any order."""
    return _range(attributes, out, operands)[2]


def shape(attributes: Attributes, out: tuple[int, ...], operands: Sequence[Operand]) -> Header:
    """Header of the sum; raises ValueError where a sum could reach 2^52."""
    low, high, size = _range(attributes, out, operands)
    if size >= ACCUMULATOR_LIMIT:
        raise ValueError(f"a sum may reach {size}, the limit is 2^52; use narrower activations or weights")
    return header_for(out, low, high)


# EXACT


def exact(attributes: Attributes, out: Header, inputs: Sequence[Sequence[int]], _: Sequence[Header]) -> list[int]:
    a, b = inputs[:2]
    loops = (*out.shape, *attributes["contract"])
    terms = 1
    for n in attributes["contract"]:
        terms *= n
    pairs = zip(offsets(attributes["a"], loops), offsets(attributes["b"], loops), strict=True)
    sums = [sum(a[i] * b[j] for i, j in itertools.islice(pairs, terms)) for _ in range(out.size)]
    if len(inputs) == 3:
        bias = offsets(attributes["bias"], out.shape)
        sums = [s + inputs[2][i] for s, i in zip(sums, bias, strict=True)]
    return sums


# RELATION: y - bias - sum_k a b = 0. Modulo p one y solves it, and the static bound keeps the sum below p / 2.


def relation(r: Relation, attributes: Attributes) -> None:
    rest = r.result()
    if len(r.headers) == 3:
        rest = rest - r.operand(2, attributes["bias"])
    terms = Product(-1, r.operand(0, attributes["a"]), r.operand(1, attributes["b"]))
    r.zero("sum of products", r.header.shape, rest, [terms], attributes["contract"])


# STEP: the sum of one row of products.


def step(attributes: Attributes, out: Header, operands: Sequence[Header], element: int, read: Read) -> int:
    index, contract = position(out.shape, element), attributes["contract"]
    pairs = zip(places(attributes["a"], index, contract), places(attributes["b"], index, contract), strict=True)
    total = sum(read(0, i) * read(1, j) for i, j in pairs)
    return total + read(2, place(attributes["bias"], index)) if len(operands) == 3 else total


def cost(attributes: Attributes, out: Header, operands: Sequence[Header]) -> Sequence[StepCost]:
    contract, rank = attributes["contract"], len(out.shape)
    walks = [Walk(k, contract, attributes[name].strides[rank:]) for k, name in enumerate(("a", "b"))]
    return (StepCost(math.prod(contract), (*walks, *(Walk(k) for k in range(2, len(operands))))),)


DOT = Primitive(16, "dot", (2, 3), FIELDS, shape, exact, relation, step, cost)
