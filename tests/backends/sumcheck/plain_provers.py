"""The sumcheck provers from their definition, in plain Python: slow, without any trick, and free to lie.

Each takes `tamper(where, honest) -> sent`, called with every message before it is sent; a lie is observed like any
message, and the prover goes on from what it sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

from vml.backends.sumcheck.fractions.types import FractionClaim, FractionLayer, FractionProof
from vml.backends.sumcheck.products.types import ProductInstance, ProductProof
from vml.field.goldilocks import ONE, ZERO, Ext, P, add, dot, eq_table, evaluate, inverse, mul, power, scale, sub
from vml.transcript import Transcript

Tamper = Callable[[tuple[Any, ...], Any], Any]


def honest(where: tuple[Any, ...], message: Any) -> Any:
    return message


def drawn(random: Random, count: int) -> list[Ext]:
    """Elements of which many are small or next to the modulus."""
    edges = (0, 1, 2, P - 1, P - 2, 2**32 - 1, 2**32, P - 2**32)
    word = [lambda: random.randrange(P), lambda: random.choice(edges)]
    return [(random.choice(word)(), random.choice(word)()) for _ in range(count)]


def packed(values: Sequence[Ext]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """As the provers take them."""
    return np.array(values, np.uint64).reshape(-1, 2)


def line(table: Sequence[Ext], t: int) -> list[Ext]:
    """The most significant variable set to t."""
    return fold(table, (t, 0))


def fold(table: Sequence[Ext], r: Ext) -> list[Ext]:
    half = len(table) // 2
    return [add(low, mul(r, sub(high, low))) for low, high in zip(table[:half], table[half:], strict=True)]


def total(values: Sequence[Ext]) -> Ext:
    return dot(values, [ONE] * len(values))


def prove_fractions(
    p: list[Ext], q: list[Ext], transcript: Transcript, tamper: Tamper = honest
) -> tuple[FractionProof, FractionClaim]:
    """The layers are called (k, "values") and their rounds (k, index)."""
    tree = [(p, q)]
    while len(p) > 2:
        half = len(p) // 2
        crossed = zip(p[:half], p[half:], q[:half], q[half:], strict=True)
        p, q = (
            [add(mul(p0, q1), mul(p1, q0)) for p0, p1, q0, q1 in crossed],
            [mul(q0, q1) for q0, q1 in zip(q[:half], q[half:], strict=True)],
        )
        tree.append((p, q))
    layers: list[FractionLayer] = []
    point: list[Ext] = []
    for k, (p, q) in enumerate(reversed(tree)):
        half = 1 << k
        tables = [p[:half], p[half:], q[:half], q[half:]]
        rounds, bound = [], []
        if k:
            by = transcript.sample_ext("fractions/fold")
            eq = eq_table(point)

            def g(t: int, eq: list[Ext] = eq, tables: list[list[Ext]] = tables, by: Ext = by) -> Ext:
                p0, p1, q0, q1 = (line(table, t) for table in tables)
                rows = zip(line(eq, t), p0, p1, q0, q1, strict=True)
                return total([mul(e, add(add(mul(a, d), mul(b, c)), mul(by, mul(c, d)))) for e, a, b, c, d in rows])

            for index in range(k):
                sent = tamper((k, index), (g(0, eq, tables), g(2, eq, tables), g(3, eq, tables)))
                rounds.append(sent)
                transcript.observe_ext("fractions/round", sent)
                bound.append(transcript.sample_ext("fractions/bind"))
                eq, tables = fold(eq, bound[-1]), [fold(table, bound[-1]) for table in tables]
        values = tamper((k, "values"), tuple(table[0] for table in tables))
        layers.append(FractionLayer(tuple(rounds), values))
        transcript.observe_ext("fractions/values", values)
        child = transcript.sample_ext("fractions/child")
        point = [child, *bound]
    p0, p1, q0, q1 = layers[-1].values
    numerator, denominator = fold([p0, p1], point[0])[0], fold([q0, q1], point[0])[0]
    return FractionProof(tuple(layers)), FractionClaim(tuple(point), numerator, denominator)


def prove_products(
    instances: Sequence[tuple[list[Ext], list[Ext], list[Ext]]], transcript: Transcript, tamper: Tamper = honest
) -> tuple[ProductProof, list[Ext]]:
    """Messages are called "values", the index of a round, and "factors". Returns the whole point."""
    sums = tuple(total([mul(w, mul(a, b)) for w, a, b in zip(*tables, strict=True)]) for tables in instances)
    values = tamper(("values",), sums)
    transcript.observe_ext("products/values", values)
    mix = transcript.sample_ext("products/mix")
    longest = max((len(tables[0]) for tables in instances), default=1)
    variables = longest.bit_length() - 1
    # Every instance is written out in all variables.
    spread = [[table * (longest // len(table)) for table in tables] for tables in instances]
    shares = [scale(power(mix, j), inverse(longest // len(tables[0]) % P)) for j, tables in enumerate(instances)]
    rounds: list[tuple[Ext, Ext, Ext]] = []
    point: list[Ext] = []
    for index in range(variables):
        message = []
        for t in (0, 2, 3):
            value = ZERO
            for share, tables in zip(shares, spread, strict=True):
                rows = zip(*(line(table, t) for table in tables), strict=True)
                value = add(value, mul(share, total([mul(w, mul(a, b)) for w, a, b in rows])))
            message.append(value)
        rounds.append(tamper((index,), tuple(message)))
        transcript.observe_ext("products/round", rounds[-1])
        point.append(transcript.sample_ext("products/bind"))
        spread = [[fold(table, point[-1]) for table in tables] for tables in spread]
    factors = tamper(("factors",), tuple((tables[1][0], tables[2][0]) for tables in spread))
    transcript.observe_ext("products/factors", [factor for pair in factors for factor in pair])
    return ProductProof(values, tuple(rounds), factors), point


def known(instances: Sequence[tuple[list[Ext], list[Ext], list[Ext]]]) -> list[ProductInstance]:
    """What a verifier knows of instances: their sizes and weights."""
    return [
        ProductInstance(len(weight).bit_length() - 1, lambda point, weight=weight: evaluate(weight, point))
        for weight, _, _ in instances
    ]
