"""The Goldilocks field and its quadratic extension, in plain Python integers: the definition, and the verifier's.

The base field is F_p with p = 2^64 - 2^32 + 1, so that 2^64 = 2^32 - 1 and 2^96 = -1 modulo p: products of
words reduce by shifts and additions. p - 1 = 2^32 * (2^32 - 1) = 2^32 * 3 * 5 * 17 * 257 * 65537, so F_p has
roots of unity of every order 2^k up to k = 32 (the two-adicity).

7 generates the multiplicative group: 7^((p-1)/q) != 1 for each prime q dividing p - 1, which the tests check.
A generator is not a square, since 7^((p-1)/2) = -1. So X^2 - 7 is irreducible and F = F_p[X]/(X^2 - 7) is the
field of p^2 elements, about 2^128: large enough that a verifier's random point misses the roots of a polynomial
of degree d but for a chance of d / p^2.

A base element is an int, 0 <= a < p; an extension element a0 + a1 X is the tuple (a0, a1) of two of them. The
Frobenius map x -> x^p sends X to -X, so the norm of a0 + a1 X is a0^2 - 7 a1^2, a base element, and zero only
for zero: inverses cost one base inverse.

Functions trust that arguments are canonical; `decode` and `decode_base` are where bytes of strangers enter.

Sources: Polygon Zero, "Plonky2: Fast Recursive Arguments with PLONK and FRI", 2022 (this field, this reduction and
X^2 - 7); J. Thaler, "Proofs, Arguments, and Zero-Knowledge", chapter 3.5 (multilinear extensions).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul as _times
from typing import TypeAlias

Ext: TypeAlias = tuple[int, int]

P = 2**64 - 2**32 + 1
NONRESIDUE = 7
GENERATOR = 7
TWO_ADICITY = 32

ZERO: Ext = (0, 0)
ONE: Ext = (1, 0)

BASE_BYTES = 8
EXT_BYTES = 16


def from_int(n: int) -> int:
    """The base element that a signed integer stands for."""
    return n % P


def to_int(a: int) -> int:
    """The integer of least magnitude that `a` stands for: -(p-1)/2 .. (p-1)/2."""
    return a if a <= P >> 1 else a - P


def inverse(a: int) -> int:
    """1 / a; zero has none and raises ZeroDivisionError."""
    if not a:
        raise ZeroDivisionError("zero has no inverse")
    return pow(a, -1, P)


def root_of_unity(log_n: int) -> int:
    """The primitive 2^log_n-th root of unity that all of vml uses: GENERATOR^((p-1) / 2^log_n)."""
    if not 0 <= log_n <= TWO_ADICITY:
        raise ValueError(f"there is no primitive root of unity of order 2^{log_n}")
    return pow(GENERATOR, (P - 1) >> log_n, P)


def ext(a: int) -> Ext:
    """A base element as an extension element."""
    return (a, 0)


def add(x: Ext, y: Ext) -> Ext:
    return ((x[0] + y[0]) % P, (x[1] + y[1]) % P)


def sub(x: Ext, y: Ext) -> Ext:
    return ((x[0] - y[0]) % P, (x[1] - y[1]) % P)


def neg(x: Ext) -> Ext:
    return (-x[0] % P, -x[1] % P)


def mul(x: Ext, y: Ext) -> Ext:
    a, b = x
    c, d = y
    return ((a * c + NONRESIDUE * b * d) % P, (a * d + b * c) % P)


def scale(x: Ext, a: int) -> Ext:
    """x times the base element a."""
    return (x[0] * a % P, x[1] * a % P)


def square(x: Ext) -> Ext:
    a, b = x
    return ((a * a + NONRESIDUE * b * b) % P, 2 * a * b % P)


def inv(x: Ext) -> Ext:
    """1 / x; zero has none and raises ZeroDivisionError."""
    a, b = x
    factor = inverse((a * a - NONRESIDUE * b * b) % P)
    return (a * factor % P, -b * factor % P)


def power(x: Ext, n: int) -> Ext:
    """x^n, also for negative n; 0^0 = 1."""
    if n < 0:
        x, n = inv(x), -n
    result = ONE
    while n:
        if n & 1:
            result = mul(result, x)
        x = square(x)
        n >>= 1
    return result


def dot(xs: Sequence[Ext], ys: Sequence[Ext]) -> Ext:
    """Sum of x_i y_i, reduced once."""
    low = high = 0
    for (a, b), (c, d) in zip(xs, ys, strict=True):
        low += a * c + NONRESIDUE * b * d
        high += a * d + b * c
    return (low % P, high % P)


def dot_base(xs: Sequence[Ext], ys: Sequence[int]) -> Ext:
    """Sum of x_i y_i with base elements y_i, reduced once."""
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} elements meet {len(ys)}")
    low = sum(map(_times, (x[0] for x in xs), ys))
    high = sum(map(_times, (x[1] for x in xs), ys))
    return (low % P, high % P)


def eq_table(point: Sequence[Ext]) -> list[Ext]:
    """eq(i, point) for every index i of len(point) bits: the product of point[k] where bit k of i is set and of
    1 - point[k] elsewhere. point[0] belongs to the most significant bit."""
    table = [ONE]
    for coordinate in point:
        longer: list[Ext] = []
        for x in table:
            high = mul(x, coordinate)
            longer += (sub(x, high), high)
        table = longer
    return table


def eq_point(a: Sequence[Ext], b: Sequence[Ext]) -> Ext:
    """The product over k of a_k b_k + (1 - a_k)(1 - b_k): eq_table's polynomial in both arguments."""
    result = ONE
    for x, y in zip(a, b, strict=True):
        both = mul(x, y)
        factor = ((1 - x[0] - y[0] + 2 * both[0]) % P, (2 * both[1] - x[1] - y[1]) % P)
        result = mul(result, factor)
    return result


def evaluate(values: Sequence[Ext], point: Sequence[Ext]) -> Ext:
    """The multilinear extension of 2^len(point) values at a point; point[0] is the most significant index bit."""
    if len(values) != 1 << len(point):
        raise ValueError(f"{len(values)} values have no extension in {len(point)} variables")
    folded = list(values)
    for r, s in point:
        half = len(folded) >> 1
        s7 = NONRESIDUE * s
        folded = [
            ((a + r * (c - a) + s7 * (d - b)) % P, (b + r * (d - b) + s * (c - a)) % P)
            for (a, b), (c, d) in zip(folded[:half], folded[half:], strict=True)
        ]
    return folded[0]


def encode_base(a: int) -> bytes:
    """8 bytes, little-endian."""
    return a.to_bytes(BASE_BYTES, "little")


def decode_base(data: bytes) -> int:
    """The base element of 8 bytes; any other bytes than `encode_base` writes are refused."""
    if len(data) != BASE_BYTES:
        raise ValueError(f"a field element has {BASE_BYTES} bytes, not {len(data)}")
    a = int.from_bytes(data, "little")
    if a >= P:
        raise ValueError("a field element is not below the modulus")
    return a


def encode(x: Ext) -> bytes:
    """16 bytes: the two coefficients, constant one first, each 8 bytes little-endian."""
    return x[0].to_bytes(BASE_BYTES, "little") + x[1].to_bytes(BASE_BYTES, "little")


def decode(data: bytes) -> Ext:
    """The extension element of 16 bytes; any other bytes than `encode` writes are refused."""
    if len(data) != EXT_BYTES:
        raise ValueError(f"an extension element has {EXT_BYTES} bytes, not {len(data)}")
    return (decode_base(data[:BASE_BYTES]), decode_base(data[BASE_BYTES:]))
