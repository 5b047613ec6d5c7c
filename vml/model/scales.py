"""Scales (exact rationals, codes per unit) and the codes of real numbers at a scale."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

MANTISSA_BITS = 12
"""Bits of the scales that are chosen freely."""

SCALE_BITS = 80
"""Longest scale that is kept as it is: 18 bits beyond the widest code."""


def nice_scale(target: Fraction) -> Fraction:
    """The largest number with a 12-bit mantissa and a power-of-two factor that does not exceed ``target`` > 0."""
    exponent = (target.numerator.bit_length() - target.denominator.bit_length()) - MANTISSA_BITS
    unit = Fraction(2) ** exponent
    return Fraction(int(target / unit)) * unit


def short_scale(scale: Fraction) -> Fraction:
    """The scale itself, or where a chain of rescales made it long, its first SCALE_BITS bits."""
    n, d = scale.numerator.bit_length(), scale.denominator.bit_length()
    if max(n, d) <= SCALE_BITS:
        return scale
    unit = Fraction(2) ** (n - d - SCALE_BITS)
    return int(scale / unit) * unit


def code_limit(bits: int) -> int:
    """Largest code of a symmetric signed number of ``bits`` bits."""
    return (1 << (bits - 1)) - 1


def exact_scale(array: np.ndarray, limit: int) -> Fraction | None:
    """The smallest power of two <= 2^15 at which every element is an integer of at most ``limit``, if there is one."""
    sample = array.reshape(-1)[:64].astype(np.float64) * (1 << 15)
    if not bool((sample == np.rint(sample)).all()):
        return None  # trained weights are rarely integers at any scale: do not look at all of them
    for exponent in range(16):
        scaled = array.astype(np.float64) * (1 << exponent)
        if float(np.abs(scaled).max(initial=0)) > limit:
            return None
        if bool((scaled == np.rint(scaled)).all()):
            return Fraction(1 << exponent)
    return None


def to_codes(array: np.ndarray, scale: Fraction) -> np.ndarray:
    """floor(x * scale + 1/2) for every element, in exact rational arithmetic.

    Args:
        array: finite numbers, any shape. scale: codes per unit, > 0.

    Returns:
        int64 codes (object where they exceed int64).

    Raises:
        ValueError: a NaN or infinity.
    """
    if not np.isfinite(array).all():
        raise ValueError("NaN or infinity has no code")
    flat = array.astype(np.float64).reshape(-1)
    odd = scale.numerator // (scale.numerator & -scale.numerator)
    dyadic = scale.denominator & (scale.denominator - 1) == 0 and odd.bit_length() <= 29
    if dyadic and array.dtype == np.float32 and float(np.abs(flat).max(initial=0)) * float(scale) < 2**51:
        # A 24-bit mantissa times one of at most 29 bits is exact in float64, and so is its fraction.
        product = flat * float(scale)
        whole = np.floor(product)
        return (whole + (product - whole >= 0.5)).astype(np.int64).reshape(array.shape)
    p, q = scale.numerator, scale.denominator
    exact = []
    for x in flat:
        n, d = float(x).as_integer_ratio()
        exact.append((2 * n * p + d * q) // (2 * d * q))
    small = all(-(1 << 63) <= c < 1 << 63 for c in exact)
    return np.array(exact, dtype=np.int64 if small else object).reshape(array.shape)
