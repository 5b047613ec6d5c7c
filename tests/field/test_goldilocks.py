"""Laws of the Goldilocks field and its extension, and what its encodings refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.field import goldilocks as gl
from vml.field.goldilocks import ONE, ZERO, Ext, P

EDGES = (0, 1, 2, 6, 7, P - 1, P - 2, 2**32 - 1, 2**32, 2**32 + 1, P - 2**32, 2**63, (P - 1) // 2, (P + 1) // 2)
bases = st.sampled_from(EDGES) | st.integers(0, P - 1)
exts = st.tuples(bases, bases)
nonzero = exts.filter(lambda x: x != ZERO)


def test_constants() -> None:
    factors = (2, 3, 5, 17, 257, 65537)
    product = 2**32
    for q in factors[1:]:
        product *= q
    assert product == P - 1
    assert pow(2, P - 1, P) == 1
    assert all(pow(gl.GENERATOR, (P - 1) // q, P) != 1 for q in factors)  # so P is prime (Lucas), 7 a generator
    assert pow(gl.NONRESIDUE, (P - 1) // 2, P) == P - 1
    assert (P - 1) % 2**gl.TWO_ADICITY == 0
    assert (P - 1) >> gl.TWO_ADICITY & 1


@pytest.mark.parametrize("log_n", range(33))
def test_roots_of_unity(log_n: int) -> None:
    w = gl.root_of_unity(log_n)
    assert pow(w, 1 << log_n, P) == 1
    assert not log_n or pow(w, 1 << (log_n - 1), P) == P - 1
    assert not log_n or w * w % P == gl.root_of_unity(log_n - 1)


@pytest.mark.parametrize("log_n", [-1, 33])
def test_there_are_no_other_roots(log_n: int) -> None:
    with pytest.raises(ValueError, match="root of unity"):
        gl.root_of_unity(log_n)


@given(st.integers(-(2**70), 2**70))
def test_signed_integers(n: int) -> None:
    a = gl.from_int(n)
    assert 0 <= a < P
    assert (a - n) % P == 0
    if abs(n) <= (P - 1) // 2:
        assert gl.to_int(a) == n
    assert abs(gl.to_int(a)) <= (P - 1) // 2


@given(exts, exts, exts)
def test_ring(x: Ext, y: Ext, z: Ext) -> None:
    for result in (gl.add(x, y), gl.sub(x, y), gl.mul(x, y), gl.neg(x), gl.square(x)):
        assert all(0 <= a < P for a in result)
    assert gl.add(x, y) == gl.add(y, x)
    assert gl.mul(x, y) == gl.mul(y, x)
    assert gl.add(gl.add(x, y), z) == gl.add(x, gl.add(y, z))
    assert gl.mul(gl.mul(x, y), z) == gl.mul(x, gl.mul(y, z))
    assert gl.mul(x, gl.add(y, z)) == gl.add(gl.mul(x, y), gl.mul(x, z))
    assert gl.add(x, ZERO) == x
    assert gl.mul(x, ONE) == x
    assert gl.add(x, gl.neg(x)) == ZERO
    assert gl.sub(x, y) == gl.add(x, gl.neg(y))
    assert gl.square(x) == gl.mul(x, x)


def test_x_is_a_root_of_seven() -> None:
    assert gl.square((0, 1)) == gl.ext(7)


@given(exts, bases)
def test_base_elements_embed(x: Ext, a: int) -> None:
    assert gl.scale(x, a) == gl.mul(x, gl.ext(a))


@given(nonzero)
def test_inverses(x: Ext) -> None:
    assert gl.mul(x, gl.inv(x)) == ONE
    for a in x:
        assert a == 0 or a * gl.inverse(a) % P == 1


def test_zero_has_no_inverse() -> None:
    with pytest.raises(ZeroDivisionError):
        gl.inv(ZERO)
    with pytest.raises(ZeroDivisionError):
        gl.inverse(0)


@given(exts)
def test_frobenius(x: Ext) -> None:
    assert gl.power(x, P) == (x[0], -x[1] % P)


@given(nonzero, st.integers(-40, 40), st.integers(-40, 40))
def test_powers(x: Ext, m: int, n: int) -> None:
    assert gl.mul(gl.power(x, m), gl.power(x, n)) == gl.power(x, m + n)
    assert gl.power(x, 1) == x
    assert gl.power(ZERO, 0) == ONE


@given(st.lists(st.tuples(exts, exts), max_size=8))
def test_dot(terms: list[tuple[Ext, Ext]]) -> None:
    xs, ys = [x for x, _ in terms], [y for _, y in terms]
    total = low = ZERO
    for x, y in terms:
        total = gl.add(total, gl.mul(x, y))
        low = gl.add(low, gl.scale(x, y[0]))
    assert gl.dot(xs, ys) == total
    assert gl.dot_base(xs, [y[0] for y in ys]) == low


def test_dot_refuses_lengths_that_differ() -> None:
    with pytest.raises(ValueError):
        gl.dot([ONE], [])
    with pytest.raises(ValueError):
        gl.dot_base([ONE], [1, 2])
    with pytest.raises(ValueError):
        gl.dot_base([ONE, ONE], [1])
    with pytest.raises(ValueError):
        gl.eq_point([ONE], [])
    with pytest.raises(ValueError):
        gl.evaluate([ONE, ONE], [])


def bits(index: int, count: int) -> list[Ext]:
    return [gl.ext(index >> (count - 1 - k) & 1) for k in range(count)]


@given(st.lists(exts, max_size=4))
def test_eq_table_is_its_definition(point: list[Ext]) -> None:
    table = gl.eq_table(point)
    assert len(table) == 1 << len(point)
    for i, entry in enumerate(table):
        product = ONE
        for bit, x in zip(bits(i, len(point)), point, strict=True):
            product = gl.mul(product, x if bit == ONE else gl.sub(ONE, x))
        assert entry == product == gl.eq_point(bits(i, len(point)), point)


@given(st.data(), st.integers(0, 4))
def test_evaluation(data: st.DataObject, k: int) -> None:
    values = data.draw(st.lists(exts, min_size=1 << k, max_size=1 << k))
    point = data.draw(st.lists(exts, min_size=k, max_size=k))
    other = data.draw(st.lists(exts, min_size=k, max_size=k))
    assert gl.evaluate(values, point) == gl.dot(values, gl.eq_table(point))
    assert gl.evaluate(gl.eq_table(other), point) == gl.eq_point(point, other) == gl.eq_point(other, point)
    for i in range(1 << k):
        assert gl.evaluate(values, bits(i, k)) == values[i]


@given(exts)
def test_encodings(x: Ext) -> None:
    assert gl.decode(gl.encode(x)) == x
    assert gl.encode(x) == gl.encode_base(x[0]) + gl.encode_base(x[1])
    assert gl.decode_base(gl.encode_base(x[0])) == x[0]


def test_encoding_is_little_endian() -> None:
    assert gl.encode((1, P - 1)).hex() == "0100000000000000" + "00000000ffffffff"


@pytest.mark.parametrize("a", [P, P + 1, 2**64 - 1])
def test_elements_at_or_above_the_modulus_are_refused(a: int) -> None:
    word, zero = a.to_bytes(8, "little"), bytes(8)
    with pytest.raises(ValueError, match="below the modulus"):
        gl.decode_base(word)
    for data in (word + zero, zero + word):
        with pytest.raises(ValueError, match="below the modulus"):
            gl.decode(data)


@pytest.mark.parametrize("length", [0, 7, 9, 15, 17, 32])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        gl.decode(bytes(length))
    with pytest.raises(ValueError, match="bytes"):
        gl.decode_base(bytes(length))


def test_a_verifier_loads_no_arrays() -> None:
    code = "import sys, vml.field.goldilocks\nassert not {'numpy', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
