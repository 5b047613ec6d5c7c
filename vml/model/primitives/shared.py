"""Relations that several primitives share: clamping, signs, and whether a number is zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vml.model.relation import (
    LIMB_BITS,
    MODULUS,
    ONE,
    Compute,
    Evaluate,
    Expression,
    Product,
    Relation,
    largest,
    limb_count,
)

if TYPE_CHECKING:
    import numpy as np

Ends = tuple[int, int]


def clamp(
    r: Relation,
    loops: Sequence[int],
    limits: Ends,
    ends: Ends,
    scale: int,
    compute: Compute,
    result: Callable[[Expression], Expression],
) -> tuple[Expression, Expression, int]:
    """y = clamp(q, lo, hi), given that the caller states 0 <= scale * (q - t) + c < scale with t = y + excess.

    excess = above - below with above (hi - y) = 0 and below (y - lo) = 0, so one of them is 0. Each is >= 0, and
    y <= hi where q can exceed hi: then q > hi needs above > 0, so y = hi. Likewise below. Where both are 0, y = q.
    Of two numbers whose product is 0 one is the sum, so one range of the sum serves for both: of above + below, or of
    above + (hi - y). Where q cannot exceed a limit, y is bounded on that side only so that nothing wraps.

    Args:
        limits: lo < hi. ends: smallest and largest q, not both beyond the same limit.
        scale, c: of the caller's equation, 0 <= c < scale.
        compute: q, for the prover.
        result: from excess to y.

    Returns:
        y, excess, and a bound on the absolute value of scale * (q - t) + c.
    """
    (lo, hi), (q_lo, q_hi) = limits, ends
    over, under = max(0, q_hi - hi), max(0, lo - q_lo)
    y_lo, y_hi = max(lo, q_lo), min(hi, q_hi)
    width = y_hi - y_lo
    apart = limb_count(max(over, under)) + 2 * limb_count(width)
    joined = over > 0 and under > 0 and apart <= limb_count(max(width, over)) + limb_count(max(width, under))
    tops = [max(over, under)] * 2 if joined else [max(width, over), max(width, under)]

    def magnitude(exact: bool) -> int:
        top, bottom = (largest(bound, exact) for bound in tops)
        highest = hi + top if over else y_lo + bottom
        lowest = lo - bottom if under else hi - top if over else y_lo
        return max(scale * max(q_hi + 1 - lowest, highest - q_lo), highest - lowest)

    exact = magnitude(False) + scale >= MODULUS
    r.no_wrap(magnitude(exact) + scale)
    above = below = ONE * 0
    if over:
        column = r.witness("cut off above", loops, lambda evaluate: _positive(compute(evaluate) - hi))
        above = r.read(column, len(loops))
    if under:
        column = r.witness("cut off below", loops, lambda evaluate: _positive(lo - compute(evaluate)))
        below = r.read(column, len(loops))
    y = result(above - below)
    if over:
        r.zero("cut off above only at the limit", loops, 0, [Product(1, above, hi - y)])
    if under:
        r.zero("cut off below only at the limit", loops, 0, [Product(1, below, y - lo)])
    if joined:
        r.nonnegative("what is cut off", loops, above + below, tops[0], 0, exact=exact)
        r.within("result", loops, y, lo, hi)
        return y, above - below, magnitude(exact)
    if over:
        r.nonnegative("upper limit", loops, hi - y + above, tops[0], 0, exact=exact)
    if under or not over:
        r.nonnegative("lower limit", loops, y - y_lo + below, tops[1], 0, exact=exact)
    return y, above - below, magnitude(exact)


def is_nonnegative(
    r: Relation, name: str, loops: Sequence[int], value: Expression, ends: Ends, flag: Expression | None = None
) -> Expression:
    """1 where the value is >= 0, else 0.

    The flag is 0 or 1, and 0 <= value + (1 - flag) 2^k < 2^k, where -2^k <= value < 2^k for all it may be. With flag 1
    that says value >= 0, with flag 0 value < 0.

    Args:
        ends: smallest and largest value. flag: what shall be that number; by default a new witness.
    """
    lo, hi = ends
    if lo >= 0 or hi < 0:
        return _known(r, name, loops, int(lo >= 0), flag)

    def compute(evaluate: Evaluate) -> Any:
        return evaluate(value, r.loops(loops)) >= 0

    if flag is None:
        flag = r.read(r.witness(name, loops, compute), len(loops))
    r.zero(f"{name} is 0 or 1", loops, 0, [Product(1, flag, flag - 1)])
    bits = max(hi, -1 - lo).bit_length()
    full = limb_count((1 << bits) - 1) * LIMB_BITS
    bits = full if max(hi, -lo) + (2 << full) < MODULUS else bits  # whole limbs need one lookup less
    shifted = value + (1 - flag) * (1 << bits)
    r.nonnegative(name, loops, shifted, (1 << bits) - 1, max(hi, -lo) + (1 << bits), exact=True)
    return flag


def is_nonzero(
    r: Relation, name: str, loops: Sequence[int], value: Expression, ends: Ends, flag: Expression | None = None
) -> Expression:
    """1 where the value is not 0, else 0; arguments as `is_nonnegative`.

    flag = value * inverse and (1 - flag) value = 0: where value is 0 so is flag, elsewhere flag is 1. The value lies
    strictly between -p and p, so it is 0 modulo p only where it is 0. The inverse is free where the value is 0.
    """
    lo, hi = ends
    r.no_wrap(max(hi, -lo))
    if lo > 0 or hi < 0 or lo == hi:
        return _known(r, name, loops, int(lo > 0 or hi < 0), flag)
    if (lo, hi) == (0, 1):
        if flag is not None:
            r.zero(name, loops, flag - value)
        return value

    inverse = r.read(r.witness(f"{name}: inverse", loops, lambda e: _inverses(e(value, r.loops(loops)))), len(loops))
    if flag is None:
        flag = r.read(r.witness(name, loops, lambda e: e(value, r.loops(loops)) != 0), len(loops))
    r.zero(name, loops, flag, [Product(-1, value, inverse)])
    r.zero(f"{name}, or it is zero", loops, 0, [Product(1, 1 - flag, value)])
    return flag


def _known(r: Relation, name: str, loops: Sequence[int], number: int, flag: Expression | None) -> Expression:
    """The flag where the static range decides it."""
    if flag is not None:
        r.zero(name, loops, flag - number)
    return ONE * number


def _positive(values: np.ndarray) -> np.ndarray:
    import numpy as np

    positive: np.ndarray = np.maximum(values, 0)
    return positive


def _inverses(values: np.ndarray) -> np.ndarray:
    """Inverses modulo p as numbers in -p/2..p/2, 0 for 0: one inversion, and three products for each number."""
    import numpy as np

    distinct, places = np.unique(values, return_inverse=True)
    numbers = [int(v) for v in distinct if v]
    partial, product = [], 1
    for number in numbers:
        partial.append(product)
        product = product * number % MODULUS
    inverse, found = pow(product, -1, MODULUS), {0: 0}
    for number, before in zip(reversed(numbers), reversed(partial), strict=True):
        found[number] = (inverse * before + MODULUS // 2) % MODULUS - MODULUS // 2
        inverse = inverse * number % MODULUS
    return np.array([found[int(v)] for v in distinct], dtype=np.int64)[places].reshape(values.shape)
