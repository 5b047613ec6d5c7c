"""One round of the sumcheck protocol, and what its messages are made of.

A round asserts g(0) + g(1) = claim for a polynomial g of degree d, which the prover sends as g(0), g(2), .., g(d).
The verifier computes g(1) = claim - g(0) and draws a challenge r; the next claim is g(r), by Lagrange's formula::

    g(r) = sum_i g(i) prod_(j != i) (r - j) / (i - j),    i, j = 0 .. d

g(1) is never sent, so no round can fail here: a wrong g moves the claim to a value that the last check refuses.

Source: C. Lund, L. Fortnow, H. Karloff, N. Nisan, "Algebraic Methods for Interactive Proof Systems" (1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import factorial

from vml.errors import MalformedProof
from vml.field.goldilocks import ONE, Ext, P, dot, inverse, mul, sub


def next_claim(claim: Ext, sent: Sequence[Ext], challenge: Ext) -> Ext:
    """g(challenge).

    Args:
        claim: g(0) + g(1).
        sent: g(0), g(2), .., g(d); their number is the degree d >= 1.
        challenge: drawn after they were observed.

    Raises:
        ValueError: nothing was sent.
    """
    if not sent:
        raise ValueError("a round has at least g(0)")
    values = (sent[0], sub(claim, sent[0]), *sent[1:])
    below = above = ONE
    lagrange = [(weight, 0) for weight in _weights(len(sent))]
    for i in range(len(values)):  # products of r - j over all j < i, and over all j > i
        lagrange[i] = mul(lagrange[i], below)
        lagrange[-1 - i] = mul(lagrange[-1 - i], above)
        below = mul(below, sub(challenge, (i, 0)))
        above = mul(above, sub(challenge, (len(sent) - i, 0)))
    return dot(values, lagrange)


@cache
def _weights(degree: int) -> tuple[int, ...]:
    """1 / prod_(j != i) (i - j) for i = 0 .. degree."""
    return tuple(inverse((-1) ** (degree - i) * factorial(i) * factorial(degree - i) % P) for i in range(degree + 1))


def check_elements(what: str, values: object, count: int) -> None:
    """Refuse anything but a tuple of `count` canonical extension elements.

    Raises:
        MalformedProof: another type, another number of elements, or a coefficient that is no int of 0 .. p - 1.
    """
    if type(values) is not tuple or len(values) != count:
        raise MalformedProof(f"{what}: not {count} field elements")
    for value in values:
        if type(value) is not tuple or len(value) != 2:
            raise MalformedProof(f"{what}: a field element is a pair")
        if not all(type(part) is int and 0 <= part < P for part in value):
            raise MalformedProof(f"{what}: a field element is not canonical")
