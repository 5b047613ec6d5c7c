"""BatchNormalization (inference), LayerNormalization, InstanceNormalization.

Batch normalisation with constant statistics is one factor and one summand per channel. The others normalise over
n elements: with codes c of scale s, d = n c - sum(c) is exact and equals n s (x - mean). Its 16-bit form q (scale
t) gives Q = sum(q^2), so that variance = Q / (n t^2), and with integers A and E = A n t^2 epsilon

    R = isqrt(A Q + E),  deviation = R / (t sqrt(A n)),  (x - mean) / deviation = (d / R) t sqrt(A n) / (n s).

A is as large as 2^60 allows, so R keeps about 30 bits of a wide variance and half of those of a narrow one; d is
not rounded before the division. The square root of A n is rational to 2^-ROOT_BITS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from vml.model import views
from vml.model.builder import Value
from vml.model.lowering.base import Lowering, OnnxNode, Refused, normalize_axis
from vml.model.numbers import Numbers, Tensor

ROOT_BITS = 48
VARIANCE_BITS = 60
QUOTIENT_BITS = 45
FACTOR_BITS = 24


@dataclass(frozen=True)
class Moments:
    """What normalising over some axes computes; axes are kept with size 1, except in ``centred``.

    Attributes:
        count: elements per group. centred: x - mean. mean: the mean. root: R. root_scale: codes of R per unit of the
        standard deviation.
    """

    count: int
    centred: Value
    mean: Value
    root: Value
    root_scale: Fraction


def square_root(x: Fraction) -> Fraction:
    """The square root of x > 0, at most 2^-ROOT_BITS (relative) below."""
    bits = 2 * ROOT_BITS + 2 * max(0, x.denominator.bit_length() - x.numerator.bit_length() + 1)
    return Fraction(math.isqrt((x.numerator << bits) // x.denominator), 1 << (bits // 2))


def moments(b: Numbers, tensor: Tensor, axes: Sequence[int], epsilon: float) -> Moments:
    """Mean and standard deviation of a value over ``axes`` (non-negative)."""
    x = b.narrow(tensor)
    n = math.prod(x.shape[k] for k in axes)
    total = b.reduce("reduce_sum", x, axes, keepdims=True, limit=None)
    centred = b.affine(x, n, total, -1, scale=x.scale * n)
    narrow = b.narrow(centred)
    squared = b.reduce("reduce_sum", b.multiply(narrow, narrow), axes, keepdims=True)
    factor = max(1, (1 << VARIANCE_BITS) // max(1, b.header(squared).hi))
    added = round(factor * n * narrow.scale**2 * Fraction(epsilon))
    if added >= 1 << VARIANCE_BITS:
        raise Refused(f"epsilon {epsilon} is far above any variance the input can have")
    root = b.isqrt(b.affine(squared, factor, gamma=added))
    mean = b.scaled(replace(total, kind="float"), Fraction(1, n))
    return Moments(n, centred, mean, root, narrow.scale * square_root(Fraction(factor * n)))


def normalised(b: Numbers, m: Moments) -> Value:
    """(x - mean) / standard deviation: about 15 fractional bits, clamped to the +-sqrt(n) it can reach."""
    factor = max(1, (1 << QUOTIENT_BITS) // max(1, b.header(m.centred).bound))
    scale = factor * m.centred.scale / m.root_scale
    quotient = b.divide(b.affine(m.centred, factor), m.root, scale=scale)
    limit = int(square_root(Fraction(m.count)) * scale) + 1
    return b.clamp(quotient, -limit, limit)


def _inverse(b: Numbers, m: Moments, limit: tuple[float, float] | None) -> Value:
    """1 / standard deviation."""
    one = b.constant(np.array([1 << QUOTIENT_BITS], dtype=np.int64).reshape((1,) * m.root.rank))
    return replace(b.divide(one, m.root, scale=(1 << QUOTIENT_BITS) / m.root_scale), limit=limit)


def _affinely(b: Numbers, x: Value, scale: Tensor | None, bias: Tensor | None) -> Value:
    """x * scale + bias; x may have more than activation width."""
    if isinstance(scale, np.ndarray):
        factor = b.lift(scale)
        x = b.multiply(x, factor, scale=x.scale * factor.scale)
    elif scale is not None:
        factor = b.narrow(scale)
        x = b.multiply(x, factor, scale=x.scale * factor.scale)
    return x if bias is None else b.add(x, bias)


def _along(tensor: Tensor, axis: int, rank: int) -> Tensor:
    """A vector laid along one axis of a tensor of ``rank``."""
    others = [k for k in range(rank) if k != axis]
    return np.expand_dims(tensor, others) if isinstance(tensor, np.ndarray) else views.unsqueeze(tensor, others)


def batch_normalization(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, *parameters = inputs
    if node.outputs > 1 or node.attributes.get("training_mode", 0):
        raise Refused("training mode is not supported; export the model in evaluation mode")
    if not node.attributes.get("spatial", 1):
        raise Refused("statistics per position (spatial=0) are not supported; use Mul and Add")
    if x is None or len(parameters) != 4:
        raise Refused("input, scale, bias, mean and variance are required")
    rank, epsilon = len(x.shape), float(node.attributes.get("epsilon", 1e-5))
    axis = min(1, rank - 1)
    if all(isinstance(p, np.ndarray) for p in parameters):
        scale, bias, mean, variance = (np.asarray(p, dtype=np.float64) for p in parameters)
        b.check_finite(variance)
        if float(variance.min()) + epsilon <= 0:
            raise Refused("a variance plus epsilon is not above 0")
        slope = scale / np.sqrt(variance + epsilon)
        offset = bias - mean * slope
        narrow = b.narrow(x)
        factor = b.lift(np.asarray(_along(slope, axis, rank)), FACTOR_BITS)
        y = b.multiply(narrow, factor, scale=narrow.scale * factor.scale)
        return [b.add(y, np.asarray(_along(offset, axis, rank)))]
    laid = [_along(p, axis, rank) for p in parameters if p is not None]
    return [_with_given_statistics(b, node, b.narrow(x), laid, epsilon)]


def _with_given_statistics(b: Numbers, node: OnnxNode, x: Value, parameters: Sequence[Tensor], epsilon: float) -> Value:
    """Batch normalisation whose statistics are computed in the graph."""
    scale, bias, mean, variance = parameters
    spread = b.narrow(variance, lo=0) if isinstance(variance, Value) else b.lift(variance)
    added = spread.scale * Fraction(epsilon)
    factor = (1 << VARIANCE_BITS) // max(1, b.header(spread).bound + round(added))
    if factor < 1:
        raise Refused(f"epsilon {epsilon} is far above any variance the input can have")
    root = b.isqrt(b.affine(spread, factor, gamma=round(factor * added)))
    centred = b.narrow(b.add(x, mean, -1), FACTOR_BITS)
    up = (1 << QUOTIENT_BITS) // max(1, b.header(centred).bound)
    quotient = b.divide(b.affine(centred, up), root, scale=up * centred.scale / square_root(factor * spread.scale))
    y = _affinely(b, quotient, scale, None)
    if (limit := node.limits[0]) is not None:
        # Before the bias, y reaches at most the calibrated range of the output plus that of the bias.
        reach = max(map(abs, limit)) + max(float(abs(end)) for end in b.bounds(b.lift(bias)))
        y = replace(y, limit=(-reach, reach))
    return b.add(y, bias)


def layer_normalization(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, scale, bias = (*inputs, None)[:3]
    if x is None:
        raise Refused("the input is required")
    axis = normalize_axis(int(node.attributes.get("axis", -1)), len(x.shape))
    m = moments(b, x, range(axis, len(x.shape)), float(node.attributes.get("epsilon", 1e-5)))
    y = _affinely(b, normalised(b, m), scale, bias)
    outputs: list[Tensor] = [y, m.mean]
    if node.outputs > 2:
        outputs.append(_inverse(b, m, node.limits[2]))
    return outputs[: node.outputs]


def instance_normalization(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, scale, bias = inputs
    if x is None or scale is None or bias is None or len(x.shape) < 3:
        raise Refused("it needs [N, C, spatial...], a scale and a bias")
    rank = len(x.shape)
    m = moments(b, x, range(2, rank), float(node.attributes.get("epsilon", 1e-5)))
    return [_affinely(b, normalised(b, m), _along(scale, 1, rank), _along(bias, 1, rank))]


LOWERINGS: dict[str, Lowering] = {
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "InstanceNormalization": instance_normalization,
}
