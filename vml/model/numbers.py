"""Real numbers on codes: choosing scales, narrowing, adding and multiplying values of different scales.

value = code / scale with an exact rational scale. A result that may be wide (a sum of products) stays wide until
somebody needs it narrow; ``narrow`` rescales it once to the activation width, using the calibrated range.

Every approximation made here is a choice of integer factors: a rescale's output scale is defined by its multiplier,
and the factors that bring two scales together are rounded to at least ``GUARD_BITS`` bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from vml.errors import UnsupportedModel
from vml.model.builder import Builder, Value
from vml.model.primitives.rescale import SHIFTS
from vml.model.scales import code_limit, exact_scale, nice_scale, short_scale, to_codes
from vml.model.tensor import VALUE_LIMIT

GUARD_BITS = 14
LIGHT_SUM = 1 << 44  # sums below this are rescaled to activations in one step
PRODUCT_BITS = 8  # what factors of an elementwise product keep beyond the activation width
LIGHT_BITS = 30
Tensor = Value | np.ndarray
"""What a lowering takes and gives: a value in the graph, or a static numpy array."""


@dataclass
class Numbers(Builder):
    """A builder that also knows real numbers.

    Attributes:
        bits: width of activations. weight_bits: width of constants in products. headroom: factor on calibrated
        ranges before saturation.
    """

    bits: int = 16
    weight_bits: int = 16
    headroom: Fraction = Fraction(3, 2)
    _narrowed: dict[Any, Value] = field(default_factory=dict)

    # Constants.

    def lift(self, tensor: Tensor, bits: int | None = None) -> Value:
        """A static array as a constant of at most ``bits`` bits (default: weight width); a value stays as it is.

        Booleans and integers keep their codes at scale 1; floats get an exact scale where there is one, else the
        finest that fits.
        """
        if isinstance(tensor, Value):
            return tensor
        if tensor.dtype == np.bool_:
            return self.constant(tensor.astype(np.int8), kind="bool")
        if np.issubdtype(tensor.dtype, np.integer):
            return self.constant(tensor.astype(np.int64), kind="int")
        limit = code_limit(bits or self.weight_bits)
        return self.quantize_constant(tensor, self.constant_scale(tensor, limit))

    def constant_scale(self, array: np.ndarray, limit: int) -> Fraction:
        """The scale ``lift`` gives a float array whose codes may reach ``limit``."""
        self.check_finite(array)
        largest = float(np.abs(array).max(initial=0))
        if largest == 0:
            return Fraction(1)
        return exact_scale(array, limit) or nice_scale(Fraction(limit) / Fraction(largest))

    def check_finite(self, array: np.ndarray) -> None:
        """Raises UnsupportedModel where a constant holds NaN or infinity."""
        if not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise UnsupportedModel(
                f"node {self.name!r}: constant[{place}] = {array[place]}; weights must be finite, retrain or re-export"
            )

    def quantize_constant(self, array: np.ndarray, scale: Fraction) -> Value:
        """A float array as a constant at a given scale."""
        self.check_finite(array)
        codes = to_codes(array, scale)
        if codes.dtype == object or int(np.abs(codes).max(initial=0)) >= VALUE_LIMIT:
            raise UnsupportedModel(f"node {self.name!r}: a constant leaves the range of its partner by more than 2^62")
        return self.constant(codes, scale)

    # Ranges and rescaling.

    def bounds(self, value: Value) -> tuple[Fraction, Fraction]:
        """Real range: the static one, cut to the calibrated one with headroom where that is known."""
        header = self.header(value)
        lo, hi = header.lo / value.scale, header.hi / value.scale
        if value.limit is not None:
            low, high = (Fraction(end) * self.headroom for end in value.limit)
            lo, hi = max(lo, min(low, Fraction(0))), min(hi, max(high, Fraction(0)))
        return (lo, hi) if lo <= hi else (Fraction(0), Fraction(0))

    def to_scale(
        self,
        value: Value,
        target: Fraction,
        lo: int | None = None,
        hi: int | None = None,
        bits: int = 62,
        factor_bits: int = 14,
    ) -> Value:
        """Rescale so that the scale comes as near to ``target`` as a multiplier allows, clamping codes to lo..hi.

        The scale is what the multiplier makes it (``short_scale``). lo and hi default to the range of ``bits``.
        Where the input is so wide that the multiplier would have fewer than ``factor_bits`` bits, low bits that the
        result cannot show are dropped first.
        """
        header, ratio = self.header(value), target / value.scale
        limit = min(code_limit(bits), VALUE_LIMIT - 1)
        lo, hi = -limit if lo is None else lo, limit if hi is None else hi
        for shift in reversed(SHIFTS):
            multiplier = int(ratio * (1 << shift) + Fraction(1, 2))
            if multiplier >= 1 and header.bound * multiplier + (1 << (shift - 1)) < VALUE_LIMIT:
                break
        else:
            multiplier = 0
        if multiplier >> (factor_bits - 1) == 0 and header.bound >> LIGHT_BITS and max(-lo, hi) >> LIGHT_BITS == 0:
            light = self._lightened(value, int(max(-lo, hi) / ratio) + 1)
            return self.to_scale(light, target, lo, hi, bits, factor_bits)
        if multiplier == 0 and ratio < 1:
            # No single multiplier goes so far down: 16 bits first.
            dropped = self.rescale_codes(value, 1, 16, -VALUE_LIMIT + 1, VALUE_LIMIT - 1, kind=value.kind)
            dropped = replace(dropped, scale=value.scale / (1 << 16), limit=value.limit)
            return self.to_scale(dropped, target, lo, hi, bits, factor_bits)
        if multiplier == 0:
            raise UnsupportedModel(
                f"node {self.name!r}: codes up to {header.bound} cannot be multiplied by {float(ratio):.3g}; "
                "calibrate with data of a realistic range"
            )
        while shift > SHIFTS[0] and multiplier % (1 << 16) == 0:
            multiplier, shift = multiplier >> 16, shift - 16
        result = self.rescale_codes(value, multiplier, shift, lo, hi, kind=value.kind)
        scale = short_scale(value.scale * Fraction(multiplier, 1 << shift))
        return replace(result, scale=scale, limit=value.limit)

    def _lightened(self, value: Value, reach: int) -> Value:
        """Codes clamped to +-reach (nearly), with low bits dropped until they need less than LIGHT_BITS bits."""
        bound = self.header(value).bound
        kept = min(reach, bound)
        drop = max(0, min(16, kept.bit_length() - LIGHT_BITS + 1))
        while drop < 16 and (bound << (16 - drop)) + (1 << 15) >= VALUE_LIMIT:
            drop += 1
        limit = (kept >> drop) + 1
        result = self.rescale_codes(value, 1 << (16 - drop), 16, -limit, limit, kind=value.kind)
        return replace(result, scale=value.scale / (1 << drop), limit=value.limit)

    def clamp(self, value: Value, lo: int, hi: int) -> Value:
        """Clamp codes, scale unchanged."""
        return replace(
            self.rescale_codes(value, 1 << 16, 16, lo, hi), scale=value.scale, kind=value.kind, limit=value.limit
        )

    def narrow(self, tensor: Tensor, bits: int | None = None, lo: int | None = None) -> Value:
        """At most ``bits`` bits (default: activation width); lo = 0 makes it a ReLU.

        Integers and booleans are never rescaled. Memoised: one wide value is narrowed once.

        Raises:
            UnsupportedModel: an integer value too wide for ``bits``.
        """
        bits = bits or self.bits
        value = self.lift(tensor, bits)
        header, limit = self.header(value), code_limit(bits)
        fits = -limit - 1 <= header.lo and header.hi <= limit
        if fits and lo is None:
            return value
        key = (value, bits, lo)
        if key not in self._narrowed:
            floor = -limit if lo is None else lo
            if fits:
                self._narrowed[key] = self.clamp(value, floor, limit)
            elif value.kind != "float":
                raise UnsupportedModel(
                    f"node {self.name!r}: integers in {header.lo}..{header.hi} do not fit {bits} bits; "
                    "declare a smaller input range"
                )
            else:
                low, high = self.bounds(value)
                reach = high if lo == 0 else max(abs(low), abs(high))
                if reach == 0:
                    reach = Fraction(header.bound) / value.scale
                target = min(nice_scale(limit / reach), value.scale)
                self._narrowed[key] = self.to_scale(value, target, floor, limit, factor_bits=8)
        return self._narrowed[key]

    # Arithmetic on real numbers. Results may be wide.

    def common_scale(self, values: Sequence[Value]) -> Fraction:
        """A scale at which every value's factor is a whole number or carries GUARD_BITS bits."""
        finest = max(value.scale for value in values)
        if all((finest / value.scale).denominator == 1 for value in values):
            return finest
        need = max(self.header(v).bound * (finest / v.scale) for v in values)
        spare = (VALUE_LIMIT // 8 // max(1, int(need) + 1)).bit_length() - 1
        return finest * (1 << max(0, min(GUARD_BITS, spare)))

    def add(self, a: Tensor, b: Tensor, sign: int = 1) -> Value:
        """a + sign * b in real numbers (sign is 1 or -1)."""
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            raise ValueError("two constants are folded, not added")
        first, second = self.commensurable(*self.pair(a, b))
        scale = self.common_scale([first, second])
        alpha, beta = (round(scale / v.scale) for v in (first, second))
        return self.affine(first, alpha, second, sign * beta, scale=scale, kind=_kind(first, second))

    def commensurable(self, a: Value, b: Value) -> tuple[Value, Value]:
        """Floats whose sum would be too wide to rescale in one step are narrowed first, as far as float32 would be.

        Where even then their scales are so different that the sum would not fit, the finer one is cut.
        """
        if "float" not in (a.kind, b.kind) or self._sum_bound(a, b) < LIGHT_SUM:
            return a, b
        a, b = (self.narrow(v, self.bits + PRODUCT_BITS) for v in (a, b))
        if self._sum_bound(a, b) < VALUE_LIMIT // 8:
            return a, b
        reach = [max(abs(end) for end in self.bounds(v)) for v in (a, b)]
        cap = Fraction(1 << (LIGHT_BITS - 1)) / (sum(reach) or Fraction(1))
        first, second = (
            self.to_scale(v, min(cap, v.scale), -limit, limit)
            for v, limit in ((v, int(r * min(cap, v.scale)) + 1) for v, r in zip((a, b), reach, strict=True))
        )
        return first, second

    def _sum_bound(self, a: Value, b: Value) -> Fraction:
        """Largest code of a + b at a common scale with guard bits."""
        finest = max(a.scale, b.scale)
        need = sum((self.header(v).bound * (finest / v.scale) for v in (a, b)), Fraction(0))
        whole = all((finest / v.scale).denominator == 1 for v in (a, b))
        return need * (1 if whole else 1 << GUARD_BITS)

    def pair(self, a: Tensor, b: Tensor) -> tuple[Value, Value]:
        """Both as values; a float constant takes the other's scale (with guard bits where that is coarse)."""
        if isinstance(a, np.ndarray):
            second, first = self.pair(b, a)
            return first, second
        if isinstance(b, np.ndarray):
            if a.kind != "float" or not np.issubdtype(b.dtype, np.floating):
                return a, self.lift(b)
            self.check_finite(b)
            largest = Fraction(float(np.abs(b).max(initial=0)))
            reach = max(Fraction(self.header(a).bound), largest * a.scale)
            exponent = 0
            while exponent < GUARD_BITS and reach * (1 << (exponent + 2)) < LIGHT_SUM:
                exponent += 1
            scale = a.scale if (largest * a.scale).denominator == 1 and b.size == 1 else a.scale * (1 << exponent)
            return a, self.quantize_constant(b, scale)
        return a, b

    def align(self, tensors: Sequence[Tensor], bits: int | None = None) -> list[Value]:
        """All at one scale and at most ``bits`` bits (default: activation width): for concat, select, max, compare.

        Integers and booleans stay as they are; mixing them with floats raises ValueError.
        """
        bits = bits or self.bits
        values = [t for t in tensors if isinstance(t, Value)]
        if not values or any(v.kind != "float" for v in values):
            lifted = [self.lift(t) for t in tensors]
            if len({v.scale for v in lifted}) != 1:
                raise ValueError("integers and floats do not mix here")
            return lifted
        limit = code_limit(bits)
        reach = [max(abs(end) for end in self.bounds(v)) for v in values]
        for t in tensors:
            if isinstance(t, np.ndarray):
                self.check_finite(t)
                reach.append(Fraction(float(np.abs(t).max(initial=0))))
        scales = {v.scale for v in values}
        narrow = all(self.header(v).bound <= limit for v in values)
        if len(scales) == 1 and narrow and max(reach) * values[0].scale <= limit:
            target = values[0].scale
        else:
            target = min(nice_scale(limit / (max(reach) or Fraction(1))), max(scales))
        out = []
        for t in tensors:
            if isinstance(t, np.ndarray):
                out.append(self.quantize_constant(t, target))
            elif t.scale == target and self.header(t).bound <= limit:
                out.append(t)
            else:
                # Every rescale rounds its own multiplier; all are declared to have the target scale. The relative
                # error is below 2^-16, less than half a code.
                out.append(replace(self.to_scale(t, target, -limit, limit, factor_bits=16), scale=target))
        return out

    def times(self, a: Tensor, b: Tensor) -> Value:
        """a * b in real numbers. A positive scalar constant only changes the scale."""
        if isinstance(a, np.ndarray):
            a, b = b, a
        if isinstance(a, np.ndarray):
            raise ValueError("two constants are folded, not multiplied")
        if isinstance(b, np.ndarray) and b.size == 1 and a.kind == "float":
            shape = np.broadcast_shapes(a.shape, b.shape)
            if len(shape) == a.rank:
                self.check_finite(b)
                return self.scaled(a, Fraction(float(b.reshape(()))))
        # Wider than activations: squares and cubes (variances, tanh-Gelu) would lose their small values at 16 bits.
        first, second = (self.narrow(t, self.bits + PRODUCT_BITS) for t in (a, b))
        return self.multiply(first, second, scale=first.scale * second.scale, kind=_kind(first, second))

    def scaled(self, value: Value, factor: Fraction) -> Value:
        """value * factor for a rational factor: a change of scale (and of sign, and zero)."""
        if factor == 0:
            return self.affine(value, 0, scale=Fraction(1), kind=value.kind)
        limit = None if value.limit is None else tuple(sorted(float(end) * float(factor) for end in value.limit))
        if factor > 0:
            return replace(value, scale=value.scale / factor, limit=limit)  # type: ignore[arg-type]
        negated = self.affine(value, -1, scale=value.scale / -factor, kind=value.kind)
        return replace(negated, limit=limit)  # type: ignore[arg-type]

    def truncate(self, value: Value) -> Value:
        """The integer part, towards zero, as kind int.

        Exact where the scale leaves room in 62 bits; else 1/scale is rounded up to the finest power-of-two fraction
        that does, so that whole numbers stay whole.
        """
        bound = self.header(value).bound
        q, p = value.scale.denominator, value.scale.numerator
        if 4 * (bound * q + p) >= VALUE_LIMIT:
            shift = max(0, 59 - (int(bound / value.scale) + 1).bit_length())
            q, p = -(-(q << shift) // p), 1 << shift
        zero = self.constant(np.zeros((), dtype=np.int8))
        signed = self.header(value).lo < 0
        below = self.less(value, zero)
        size = self.select(below, self.affine(value, -1), value) if signed else value
        # floor(n / p) is the rounded quotient of n - p / 2: divide 2 n - p by 2 p.
        whole = self.divide(
            self.affine(size, 2 * q, gamma=-p), self.constant(np.array(2 * p, dtype=np.int64)), kind="int"
        )
        return self.select(below, self.affine(whole, -1, kind="int"), whole, kind="int") if signed else whole


def _kind(*values: Value) -> str:
    """Float wins over int, int over bool."""
    kinds = {value.kind for value in values}
    return "float" if "float" in kinds else "int"
