"""The table of lying provers: for each primitive a small graph, and what its prover says instead of the truth.

A lie alters outputs of the primitive's node (the rest of the graph follows, so that the claim is consistent), further
witness columns, or both. Everything after that is done honestly: multiplicities, fractions, products, opening.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

import numpy as np

from tests.backends.sumcheck.runs import Array, Stage, recount, spec_of, stage_of
from tests.tampering.sumcheck_lie import EQUATIONS, HALF, Liar, Lie, both, fraction, plus, put, swap
from vml.model.builder import Builder, Value
from vml.model.codec import Part, Run, View
from vml.model.relation import MODULUS
from vml.model.tensor import contiguous


def _pair(b: Builder, shape: tuple[int, ...] = (4,), reach: int = 100) -> tuple[Value, Value]:
    return tuple(b.input(k, shape, -reach, reach, Fraction(1), "float") for k in range(2))  # type: ignore[return-value]


def _one(b: Builder, shape: tuple[int, ...], lo: int = -100, hi: int = 100) -> Value:
    return b.input(0, shape, lo, hi, Fraction(1), "float")


def _dot(b: Builder) -> Value:
    x, y = _pair(b, (2, 3))
    bias = b.constant(np.array([5, -5]))
    return b.dot((2, 2), (3,), (x, View(0, (3, 0, 1))), (y, View(0, (0, 3, 1))), (bias, View(0, (0, 1))))


def _rescale(b: Builder) -> Value:
    return b.rescale_codes(_one(b, (6,), -1000, 1000), 9000, 16, -50, 60)


def _channels(b: Builder) -> Value:
    channels = b.constant(np.array([9000, 500, 70000]))
    return b.rescale_channels(_one(b, (2, 3), -1000, 1000), channels, 16, -50, 60)


def _relu(b: Builder) -> Value:
    return b.rescale_codes(_one(b, (6,), -1000, 1000), 9000, 16, 0, 30000)


def _lookup(b: Builder) -> Value:
    x = _one(b, (4,), -5, 5)
    table = b.constant(np.array([7, 3, -2, 9, 4, 0, 1, 8, -6, 5, 2]))
    return Value(b.emit("lookup", (4,), [x.ref, table.ref], x=x.view, base=-5), (4,), x.view)


def _affine(b: Builder) -> Value:
    x, y = _pair(b)
    return b.affine(x, 3, y, -2, 7)


def _multiply(b: Builder) -> Value:
    return b.multiply(*_pair(b))


def _gather(b: Builder) -> Value:
    x, y = _pair(b, (3,))
    first = Part(2, 0, ((Run(1, 0, 0), Run(1, -1, 0)),))
    second = Part(3, 0, ((Run(3, 2, -1),),))
    ref = b.emit("gather", (5,), [x.ref, y.ref], axis=0, fill=4, parts=(first, second))
    return Value(ref, (5,), contiguous((5,)))


def _take(b: Builder) -> Value:
    x = b.input(0, (4,), -100, 100, Fraction(1), "float")
    return b.take(x, 0, b.input(1, (3,), -2, 6, Fraction(1), "int"))


def _reduce(primitive: str) -> Callable[[Builder], Value]:
    return lambda b: b.reduce(primitive, _one(b, (2, 3)), [1], False)


def _compare(primitive: str) -> Callable[[Builder], Value]:
    return lambda b: getattr(b, primitive)(*_pair(b))


def _select(b: Builder) -> Value:
    condition = b.input(0, (4,), -3, 3, Fraction(1), "int")
    x, y = (b.input(k, (4,), -100, 100, Fraction(1), "float") for k in (1, 2))
    return b.select(condition, x, y)


def _rows(primitive: str, length: int, k: int | None = None) -> Callable[[Builder], Value]:
    return lambda b: b.rows(primitive, _one(b, (2, length)), 1, k)


def _divide(lo: int) -> Callable[[Builder], Value]:
    def build(b: Builder) -> Value:
        x = b.input(0, (4,), -1000, 1000, Fraction(1), "float")
        return b.divide(x, b.input(1, (4,), lo, 20, Fraction(1), "float"))

    return build


def _isqrt(b: Builder) -> Value:
    return b.isqrt(_one(b, (4,), -500, 10000))


PAIRS = ({"x0": [3, -7, 50, 9], "x1": [3, 8, -50, 90]},)
WIDE = {"x0": [1, 250, -1000, 1000, -3, 100]}
DIVISIONS = ({"x0": [100, -100, 7, 55], "x1": [7, 7, 2, 10]},)
SIGNED_DIVISIONS = ({"x0": [100, -100, 7, 55], "x1": [7, 0, -2, 10]},)

LIARS: dict[str, tuple[Liar, ...]] = {
    "dot": (Liar(_dot, ({"x0": [1, 2, 3, 4, 5, 6], "x1": [7, 8, 9, -1, -2, -3]},), EQUATIONS),),
    "affine": (Liar(_affine, PAIRS, EQUATIONS),),
    "multiply": (Liar(_multiply, PAIRS, EQUATIONS),),
    "reduce_sum": (Liar(_reduce("reduce_sum"), ({"x0": [1, 2, 3, -4, 5, 6]},), EQUATIONS),),
    "gather": (
        Liar(
            _gather,
            ({"x0": [1, 2, 3], "x1": [6, 7, 8]},),
            (
                *EQUATIONS,
                Lie("no fill", put(1, 0)),
                Lie("another element where the fill is", put(1, 2)),
                Lie("the fill where an element is", put(0, 4)),
            ),
        ),
    ),
    "lookup": (
        Liar(
            _lookup,
            ({"x0": [-5, 0, 2, 5]},),
            (
                Lie("one more", plus(1)),
                Lie("the row of another element", swap(0, 1)),
                Lie("a number of no row", put(0, 6), hidden=True),
                Lie("a residue", plus(HALF), hidden=True),
            ),
        ),
    ),
    "take": (
        Liar(
            _take,
            ({"x0": [10, 20, 30, 40], "x1": [0, 2, 6]}, {"x0": [10, 20, 30, 40], "x1": [-2, 1, 3]}),
            (
                Lie("the row beside it", put(0, 20)),
                Lie("the row of another element", swap(0, 1)),
                Lie("a number of no row", put(0, 11)),
                Lie("cut off, where the index is inside", put(1, 40), {"cut off above": put(1, -1)}),
                Lie("cut off below, where the index is inside", put(1, 10), {"cut off below": put(1, -1)}, inputs=1),
                Lie("not cut off enough", put(2, 30), {"cut off above": put(2, 4)}),
                Lie("cut off on both sides", None, {"cut off above": plus(5, 2), "cut off below": put(2, 5)}),
            ),
        ),
    ),
    "rescale": (
        Liar(
            _rescale,
            (WIDE,),
            (
                Lie("one more, the remainder makes up for it", plus(1)),
                Lie("one less, the remainder makes up for it", plus(-1)),
                Lie("one more, the remainder does not", plus(1), kept=True),
                Lie("not cut off above", put(3, 59)),
                Lie("cut off, although inside", put(5, 60), {"cut off above": put(5, -46)}),
                Lie("cut off below, although inside", put(5, -50), {"cut off below": put(5, -64)}),
                Lie("cut off twice", None, {"cut off above": plus(5, 3), "cut off below": put(3, 5)}),
                Lie("beyond the limit", put(3, 61), {"cut off above": plus(-1, 3)}, hidden=True),
                Lie("a fraction and no remainder", put(0, fraction(9000 + (1 << 15), 1 << 16)), hidden=True),
                Lie("a fraction and another remainder", plus(fraction(-1, 1 << 16)), hidden=True),
                Lie("cut off by a fraction", None, {"cut off above": plus(HALF, 0), "cut off below": plus(HALF, 0)}),
            ),
        ),
        Liar(
            _channels,
            (WIDE,),
            (
                Lie("one more, the remainder makes up for it", plus(1)),
                Lie("one less, the remainder makes up for it", plus(-1)),
                Lie("another channel's multiplier", put(1, 34)),
                Lie("a fraction", plus(fraction(1, 1 << 16)), hidden=True),
            ),
        ),
        Liar(
            _relu,
            (WIDE,),
            (
                Lie("negative", put(2, -137), {"cut off below": put(2, 0)}, hidden=True),
                Lie("zero, where positive", put(5, 0), {"cut off below": put(5, -14)}),
                Lie("positive, where zero", put(2, 1), {"cut off below": put(2, 138)}),
            ),
        ),
    ),
    "reduce_max": (
        Liar(
            _reduce("reduce_max"),
            ({"x0": [1, 9, 3, -4, 5, 6]},),
            (
                Lie("the second largest", put(0, 3), {"which is largest": both(put(1, 0), put(2, 1))}),
                Lie("more than the largest", plus(1)),
                Lie("more than the largest, none chosen", plus(1), {"which is largest": put(1, 0)}),
                Lie("between two, half of each", put(0, 6), {"which is largest": both(put(1, HALF), put(2, HALF))}),
                Lie("none is chosen", None, {"which is largest": put(1, 0)}),
                Lie("two are chosen", None, {"which is largest": put(2, 1)}),
                Lie("a fraction", plus(HALF), hidden=True),
            ),
        ),
    ),
    "less": (
        Liar(
            _compare("less"),
            PAIRS,
            (
                Lie("less, where equal", put(0, 1)),
                Lie("not less", put(1, 0)),
                Lie("less, where greater", put(2, 1)),
                Lie("neither 0 nor 1", put(1, 2), hidden=True),
                Lie("half", put(1, HALF), hidden=True),
                Lie("old witness", put(1, 0), kept=True),
            ),
        ),
    ),
    "equal": (
        Liar(
            _compare("equal"),
            PAIRS,
            (
                Lie("different, where equal", put(0, 0)),
                Lie("equal, where different", put(1, 1)),
                Lie("equal, where different, no inverse", put(1, 1), {"different: inverse": put(1, 0)}),
                Lie("half", put(1, HALF), {"different: inverse": put(1, fraction(-1, 30))}, hidden=True),
                Lie("another inverse", None, {"different: inverse": plus(1, 1)}),
            ),
        ),
    ),
    "select": (
        Liar(
            _select,
            ({"x0": [0, 1, -3, 2], "x1": [10, 11, 12, 13], "x2": [20, 21, 22, 23]},),
            (
                Lie("the other one", put(0, 10)),
                Lie("the other one, as if the condition held", put(0, 10), {"condition holds": put(0, 1)}),
                Lie(
                    "the other one, as if it did not hold",
                    put(1, 21),
                    {"condition holds": put(1, 0), "condition holds: inverse": put(1, 0)},
                ),
                Lie(
                    "half of each",
                    put(2, 17),
                    {"condition holds": put(2, HALF), "condition holds: inverse": put(2, fraction(-1, 6))},
                ),
                Lie("neither", put(3, 99)),
            ),
        ),
    ),
    "argmax": (
        Liar(
            _rows("argmax", 3),
            ({"x0": [5, 9, 9, 1, -2, 0]},),
            (
                Lie("the result alone", put(0, 2)),
                Lie(
                    "the last of two equal ones",
                    put(0, 2),
                    {"places of the largest": both(put(1, 0), put(2, 1)), "keys of the largest": plus(-1)},
                ),
                Lie(
                    "the second largest",
                    put(1, 2),
                    {"places of the largest": both(put(3, 0), put(5, 1)), "keys of the largest": plus(-5, 1)},
                ),
                Lie("a key above all", None, {"keys of the largest": plus(1)}),
                Lie("no place", put(1, 0), {"places of the largest": put(3, 0)}),
                Lie(
                    "a mixture of places",
                    put(1, 1),
                    {
                        "places of the largest": both(put(3, HALF), put(5, HALF)),
                        "keys of the largest": plus(fraction(-5, 2), 1),
                    },
                ),
            ),
        ),
    ),
    "topk": (
        Liar(
            _rows("topk", 4, 2),
            ({"x0": [5, 9, 9, 1, -2, 0, 7, 3]},),
            (
                Lie("the result alone", swap(0, 1)),
                Lie(
                    "two ranks exchanged",
                    swap(0, 1),
                    {
                        "places of the largest": both(swap(1, 5), swap(2, 6)),
                        "keys of the largest": swap(0, 1),
                    },
                ),
                Lie(
                    "the same place twice",
                    put(1, 1),
                    {"places of the largest": both(put(6, 0), put(5, 1)), "keys of the largest": plus(1, 1)},
                ),
                Lie(
                    "the third instead of the second",
                    put(1, 0),
                    {"places of the largest": both(put(6, 0), put(4, 1)), "keys of the largest": plus(-14, 1)},
                ),
                Lie(
                    "the third instead of the first",
                    put(0, 0),
                    {"places of the largest": both(put(1, 0), put(0, 1)), "keys of the largest": plus(-15)},
                ),
            ),
        ),
    ),
    "divide": (
        Liar(
            _divide(1),
            DIVISIONS,
            (
                Lie("the result alone", plus(1)),
                Lie("one more, the remainder makes up for it", plus(1), {"remainder, limb 0": plus(-14)}),
                Lie("one less, the remainder makes up for it", plus(-1), {"remainder, limb 0": plus(14)}),
                Lie("rounded down", put(3, 5), {"remainder, limb 0": plus(20, 3)}),
                Lie(
                    "a fraction and no remainder",
                    put(0, fraction(207, 14)),
                    {"remainder, limb 0": put(0, 0)},
                    hidden=True,
                ),
                Lie(
                    "a fraction and another remainder",
                    plus(fraction(1, 14)),
                    {"remainder, limb 0": plus(-1)},
                    hidden=True,
                ),
            ),
        ),
        Liar(
            _divide(-20),
            SIGNED_DIVISIONS,
            (
                Lie("one more, the remainder makes up for it", plus(1), {"remainder, limb 0": plus(-14)}),
                Lie("one less, the remainder makes up for it", plus(-1), {"remainder, limb 0": plus(14)}),
                Lie("anything divided by zero", put(1, 5)),
                Lie("divided by a negative number", put(2, -3)),
                Lie(
                    "divided by a negative number, as if it were positive",
                    put(2, -3),
                    {"divisor is positive": put(2, 1)},
                ),
                Lie("nothing, although divided by a positive one", put(0, 0), {"divisor is positive": put(0, 0)}),
                Lie(
                    "nothing, and no remainder",
                    put(0, 0),
                    {"divisor is positive": put(0, 0), "remainder, limb 0": put(0, 0)},
                ),
            ),
        ),
    ),
    "isqrt": (
        Liar(
            _isqrt,
            ({"x0": [100, 120, -5, 0]},),
            (
                Lie("the result alone", plus(1), kept=True),
                Lie("one more, the remainder makes up for it", put(1, 11), {"remainder, limb 0": put(1, -1)}),
                Lie("one less, the remainder makes up for it", put(1, 9), {"remainder, limb 0": put(1, 39)}),
                Lie("the negative root", put(0, -10), hidden=True),
                Lie("a root modulo p", put(2, pow(-5 % MODULUS, 1, MODULUS)), hidden=True),
                Lie("of a negative number, as if it were natural", put(2, 3), {"argument is natural": put(2, 1)}),
                Lie("nothing, although positive", put(0, 0), {"argument is natural": put(0, 0)}),
                Lie(
                    "nothing, and no remainder",
                    put(0, 0),
                    {"argument is natural": put(0, 0), "remainder, limb 0": put(0, 0)},
                ),
            ),
        ),
    ),
}


@cache
def stage(primitive: str, index: int, hidden: bool) -> tuple[Stage, int]:
    """A liar's graph and its node; the node is an output and goes on into another one, or is hidden behind 0 y + 7."""
    b = Builder(name=primitive)
    value = LIARS[primitive][index].build(b)
    node = value.ref
    after = b.affine(value, 0, gamma=7) if hidden else b.affine(value, 2, gamma=1)
    inputs = [
        spec_of(b, f"x{n.attributes['index']}", Value(k, n.header.shape, contiguous(n.header.shape)))
        for k, n in enumerate(b.nodes)
        if n.primitive == "input"
    ]
    outputs = [spec_of(b, "after", after)] if hidden else [spec_of(b, "y", value), spec_of(b, "after", after)]
    graph, new = b.finish(inputs, outputs)
    return stage_of(graph), new[node]


def told(primitive: str, index: int, lie: Lie | None) -> tuple[Stage, list[Array]]:
    """The stage, and the columns of a lie (of the truth where there is none)."""
    liar = LIARS[primitive][index]
    where, node = stage(primitive, index, bool(lie and lie.hidden))
    row = {name: np.array(codes) for name, codes in liar.inputs[lie.inputs if lie else 0].items()}
    row = {spec.name: row[spec.name].reshape(spec.shape) for spec in where.graph.inputs}
    true = where.values([row])
    if lie is None:
        return where, where.columns(true)
    values = where.values([row], {node: lie.output}) if lie.output else true
    system = where.circuit().arrangement.system
    altered = {}
    for end, alter in lie.columns.items():
        found = [k for k, c in enumerate(system.columns) if c.node == node and c.name.endswith(f": {end}")]
        assert len(found) == 1, f"{end}: {[column.name for column in system.columns]}"
        altered[found[0]] = alter
    columns = where.columns(values, altered)
    if lie.kept:
        columns[len(values) :] = where.columns(true)[len(values) :]
        recount(system, columns)
    return where, columns


def lies() -> Sequence[tuple[str, int, Lie]]:
    """Every row of the table."""
    return [(name, k, lie) for name, rows in LIARS.items() for k, liar in enumerate(rows) for lie in liar.lies]
