"""Rescaling and adding very wide codes: exact scales, calibrated ends, no overflow."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.model.builder import Value
from vml.model.graph import TensorSpec
from vml.model.interpreter import run
from vml.model.numbers import Numbers
from vml.model.scales import SCALE_BITS, short_scale

WIDE = 1 << 58


def value_of(b: Numbers, result: Value, code: int, source: Value, bound: int) -> float:
    """The real number the graph computes from one code of its only input."""
    specs = [TensorSpec(name, "float32", v.ref, b.header(v), v.scale) for name, v in (("x", source), ("y", result))]
    graph, _ = b.finish(specs[:1], specs[1:])
    graph.validate()
    return float(run(graph, {"x": [code]})["y"][0] / result.scale)


@given(
    st.integers(-WIDE, WIDE),
    st.integers(20, 58),
    st.fractions(Fraction(1, 1 << 40), Fraction(1 << 40)),
    st.integers(-30, 30),
)
def test_narrow_keeps_its_calibrated_range(code: int, bits: int, scale: Fraction, exponent: int) -> None:
    """Whatever the static bound and the scale, a value inside its calibrated range keeps 14 bits of that range."""
    bound = 1 << bits
    reach = min(float(bound / scale), max(float(1 / scale), float(bound / scale) * 2.0**exponent))
    b = Numbers()
    x = replace(b.input(0, (), -bound, bound, scale, "float"), limit=(-reach, reach))
    inside = int(max(-1.0, min(1.0, code / WIDE)) * min(float(bound), reach * float(scale)))
    narrow = b.narrow(x)
    assert b.header(narrow).bound < 1 << 15
    error = abs(value_of(b, narrow, inside, x, bound) - inside / float(scale))
    assert error <= reach / (1 << 13) + 1 / float(scale)


@given(st.integers(30, 60), st.integers(30, 60), st.integers(-40, 40), st.integers(-60, 60))
def test_sums_of_any_widths(first: int, second: int, apart: int, where: int) -> None:
    """a + b / 3 of any widths and scales compiles, and is right to 2^-13 of its calibrated range."""
    b = Numbers()
    scale = Fraction(2) ** where
    x = b.input(0, (), -(1 << first), 1 << first, scale, "float")
    shifted = replace(b.rescale_codes(x, 1, 16, -(1 << second), 1 << second), scale=scale * 3 * Fraction(2) ** apart)
    reach = [float(b.header(v).bound / v.scale) for v in (x, shifted)]
    x, shifted = (replace(v, limit=(-r, r)) for v, r in zip((x, shifted), reach, strict=True))
    total = b.add(x, shifted)
    code = (1 << first) * 3 // 4
    cut = min((code + (1 << 15)) >> 16, 1 << second)
    expected = code / float(scale) + cut / float(shifted.scale)
    error = abs(value_of(b, total, code, x, 1 << first) - expected)
    assert error <= 1e-4 * sum(reach)


def test_a_factor_far_below_one_takes_several_steps() -> None:
    b = Numbers()
    x = b.input(0, (1,), -(1 << 40), 1 << 40, Fraction(1 << 100), "float")
    tiny = b.to_scale(x, Fraction(1))
    assert b.header(tiny).bound == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_constant_beside_a_value(sign: int) -> None:
    b = Numbers()
    x = b.input(0, (1,), -100, 100, Fraction(3), "float")
    total = b.add(x, np.array([0.7], np.float32), sign)
    assert abs(value_of(b, total, 30, x, 100) - (10 + sign * 0.7)) < 1e-4


@given(st.fractions(Fraction(1, 1 << 300), Fraction(1 << 300)).filter(bool))
def test_short_scale_is_short_and_near(scale: Fraction) -> None:
    short = short_scale(scale)
    assert abs(short / scale - 1) < Fraction(1, 1 << (SCALE_BITS - 2))
    odd = short.numerator // (short.numerator & -short.numerator)
    assert odd.bit_length() <= SCALE_BITS + 1


def test_scales_stay_short_in_a_deep_graph() -> None:
    b = Numbers()
    x = replace(b.input(0, (1,), -30000, 30000, Fraction(9999, 7), "float"), limit=(-1.0, 1.0))
    for k in range(200):
        squared = b.multiply(x, x, scale=x.scale * x.scale)
        x = b.narrow(replace(squared, limit=(-1.0 - k / 999, 1.0)))
    assert max(x.scale.numerator, x.scale.denominator).bit_length() < 4 * SCALE_BITS
