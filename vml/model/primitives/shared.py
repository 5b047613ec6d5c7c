"""Relations that several primitives share: clamping, signs, and whether a number is zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vml.model.relation import LIMB_BITS, MODULUS, ONE, Compute, Evaluate, Expression, Product, Relation, largest

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

    excess = above - below, both >= 0; above (hi - y) = 0 and below (y - lo) = 0, so one of them is 0. Where q can
    exceed hi, y <= hi is proved: then q > hi needs above > 0, so y = hi. Likewise below. Where both are 0, y = q.
    Where q cannot exceed a limit, y needs some bound on that side only so that nothing wraps.

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

    def magnitude(exact: bool) -> int:
        top = largest(y_hi - y_lo, exact)
        highest = hi + largest(over, exact) if over else y_lo + top
        lowest = lo - largest(under, exact) if under else y_hi - top
        return scale * max(q_hi + 1 - lowest, highest - q_lo)

    exact = magnitude(False) + scale >= MODULUS
    r.no_wrap(magnitude(exact) + scale)
    above = r.natural("above the clamp", loops, over, lambda evaluate: _positive(compute(evaluate) - hi), exact)[0]
    below = r.natural("below the clamp", loops, under, lambda evaluate: _positive(lo - compute(evaluate)), exact)[0]
    y = result(above - below)
    if over:
        r.zero("nothing is cut off above, or the result is the upper limit", loops, 0, [Product(1, above, hi - y)])
    if under:
        r.zero("nothing is cut off below, or the result is the lower limit", loops, 0, [Product(1, below, y - lo)])
    if over and under:
        r.within("result", loops, y, lo, hi)
    else:
        r.nonnegative("range of the result", loops, hi - y if over else y - y_lo, y_hi - y_lo, 0, exact=exact)
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
    full = -(-bits // LIMB_BITS) * LIMB_BITS
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
    r.zero(f"{name}, or the number is zero", loops, 0, [Product(1, 1 - flag, value)])
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
