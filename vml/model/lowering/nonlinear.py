"""Activations and elementwise functions.

tanh, sigmoid and erf read their tables at a step of 1/2048, which bounds their error by 2.5e-4 times the slope (1, 1/4
and 1.13), whatever the operand's range; beyond +-16 they are flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from vml.model.builder import Value
from vml.model.lowering.arithmetic import operand
from vml.model.lowering.base import Lowering, OnnxNode, Refused, static
from vml.model.lowering.functions import (
    Q11,
    Q15,
    TURN,
    absolute,
    clip,
    exponential,
    logarithm,
    product,
    quotient,
    sine,
    tabulated,
)
from vml.model.numbers import GUARD_BITS, Numbers, Tensor

ONE, HALF = Fraction(1), Fraction(1, 2)
GELU_CUBIC = Fraction(44715, 1000000)
SLOPE_BITS = GUARD_BITS + 6
"""Bits after the point of LeakyRelu's slope."""


def _number(node: OnnxNode, name: str, default: float) -> Fraction:
    """A float attribute as the exact rational it holds; the default as the nearest float32, as ONNX has it."""
    value = float(node.attributes.get(name, np.float32(default)))
    if not math.isfinite(value):
        raise Refused(f"attribute {name} = {value}")
    return Fraction(value)


def _float(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> Value:
    x = b.lift(operand(node, inputs))
    if x.kind != "float":
        raise Refused(f"{node.op} takes floats; cast its input")
    return x


def _unary(function: Callable[[Numbers, Value], Value]) -> Lowering:
    """A lowering of one float input that needs neither attributes nor ranges."""

    def lower(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
        return [function(b, _float(b, node, inputs))]

    return lower


def _relu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [clip(b, b.lift(operand(node, inputs)), Fraction(0), None)]


def _leaky_relu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    # slope * x + (1 - slope) * max(x, 0), with the slope rounded to SLOPE_BITS bits after the point.
    x, one = b.narrow(_float(b, node, inputs)), 1 << SLOPE_BITS
    slope = round(_number(node, "alpha", 0.01) * one)
    return [b.affine(x, slope, b.narrow(x, lo=0), one - slope, scale=x.scale * one)]


def _prelu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, slope = b.narrow(_float(b, node, inputs)), operand(node, inputs, 1)
    below = b.clamp(x, min(0, b.header(x).lo), 0)
    return [b.add(b.narrow(x, lo=0), product(b, below, slope))]


def _bound(node: OnnxNode, inputs: Sequence[Tensor | None], position: int, name: str, none: float) -> Fraction | None:
    """An end of Clip: an input from opset 11 on, an attribute before; None where it is omitted or infinite."""
    bound = static(node, inputs, position, f"{name} bound") if node.opset >= 11 else node.attributes.get(name)
    value = none if bound is None else np.asarray(bound).item()
    if value == none:
        return None
    if not math.isfinite(value):
        raise Refused(f"its {name} bound is {value}")
    return Fraction(value)


def _clip(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    low, high = _bound(node, inputs, 1, "min", -math.inf), _bound(node, inputs, 2, "max", math.inf)
    return [clip(b, b.lift(operand(node, inputs)), low, high)]


def _sigmoid(b: Numbers, x: Value) -> Value:
    return tabulated(b, x, "sigmoid")


def _tanh(b: Numbers, x: Value) -> Value:
    return tabulated(b, x, "tanh")


def _erf(b: Numbers, x: Value) -> Value:
    return tabulated(b, x, "erf")


def _hard_sigmoid(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    alpha, beta = _number(node, "alpha", 0.2), _number(node, "beta", 0.5)
    return [_hard_gate(b, _float(b, node, inputs), alpha, beta)]


def _hard_gate(b: Numbers, x: Value, alpha: Fraction, beta: Fraction) -> Value:
    """min(max(alpha * x + beta, 0), 1)."""
    return clip(b, b.add(b.scaled(x, alpha), np.array(float(beta))), Fraction(0), ONE)


def _hard_swish(b: Numbers, x: Value) -> Value:
    return product(b, x, _hard_gate(b, x, Fraction(1, 6), HALF))


def _gelu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    approximate = node.attributes.get("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Refused(f"approximate = {approximate!r}; 'none' or 'tanh'")
    x = _float(b, node, inputs)
    inner = tabulated(b, x, "erf", factor=Fraction(math.sqrt(0.5))) if approximate == "none" else _gelu_tanh(b, x)
    gate = b.affine(inner, 1, gamma=int(Q15), scale=2 * Q15)
    return [product(b, x, gate)]


def _gelu_tanh(b: Numbers, x: Value) -> Value:
    """tanh(sqrt(2/pi) * (x + 0.044715 x^3)); beyond +-8 it is flat."""
    x = b.to_scale(x, 2 * Q11, -32767, 32767)
    curve = b.add(b.scaled(product(b, x, x), GELU_CUBIC), np.ones(()))
    return tabulated(b, product(b, x, curve), "tanh", factor=Fraction(math.sqrt(2 / math.pi)))


def _softplus(b: Numbers, x: Value) -> Value:
    # ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|))
    return b.add(b.narrow(x, lo=0), tabulated(b, absolute(b, x), "softplus_tail", lo=0))


def _exp(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [exponential(b, _float(b, node, inputs), node.limits[0])]


def _log(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [logarithm(b, _float(b, node, inputs), node.limits[0])]


def _cos(b: Numbers, x: Value) -> Value:
    return sine(b, x, TURN // 4)


def _elu_like(b: Numbers, x: Value, alpha: Fraction, width: Fraction) -> Value:
    """max(x, 0) + alpha * (exp(min(x, 0) / width) - 1)."""
    decay = tabulated(b, x, "exp", hi=0, factor=1 / width)
    # The table's exp(0) is 1 - 2^-15: subtracting that makes the result 0 there.
    bend = b.affine(decay, 1, gamma=1 - int(Q15), scale=Q15)
    return b.add(b.narrow(x, lo=0), b.scaled(bend, alpha))


def _elu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [_elu_like(b, _float(b, node, inputs), _number(node, "alpha", 1.0), ONE)]


def _celu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    alpha = _number(node, "alpha", 1.0)
    if alpha <= 0:
        raise Refused(f"alpha = {float(alpha)}; it must be positive")
    return [_elu_like(b, _float(b, node, inputs), alpha, alpha)]


def _selu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    alpha = _number(node, "alpha", 1.67326319217681884765625)
    gamma = _number(node, "gamma", 1.05070102214813232421875)
    return [b.scaled(_elu_like(b, _float(b, node, inputs), alpha, ONE), gamma)]


def _softsign(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = _float(b, node, inputs)
    return [quotient(b, x, b.add(absolute(b, x), np.ones(())), node.limits[0])]


def _thresholded_relu(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x, alpha = b.narrow(_float(b, node, inputs)), _number(node, "alpha", 1.0)
    above = b.less(b.constant(np.array(math.floor(alpha * x.scale))), x)
    return [b.select(above, x, b.constant(np.zeros((), np.int64)), scale=x.scale)]


def _mish(b: Numbers, x: Value) -> Value:
    return product(b, x, _tanh(b, _softplus(b, x)))


def _swish(b: Numbers, node: OnnxNode, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    x = _float(b, node, inputs)
    return [product(b, x, _sigmoid(b, b.scaled(x, _number(node, "alpha", 1.0))))]


LOWERINGS: dict[str, Lowering] = {
    "Celu": _celu,
    "Cos": _unary(_cos),
    "Elu": _elu,
    "Erf": _unary(_erf),
    "Exp": _exp,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(_hard_swish),
    "LeakyRelu": _leaky_relu,
    "Log": _log,
    "Mish": _unary(_mish),
    "PRelu": _prelu,
    "Relu": _relu,
    "Selu": _selu,
    "Sigmoid": _unary(_sigmoid),
    "Sin": _unary(sine),
    "Softplus": _unary(_softplus),
    "Softsign": _softsign,
    "Swish": _swish,
    "Tanh": _unary(_tanh),
    "ThresholdedRelu": _thresholded_relu,
    "Clip": _clip,
}
