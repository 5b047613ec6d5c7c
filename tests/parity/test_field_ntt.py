"""Codewords and values of rows equal evaluation in plain integers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from vml.field import goldilocks as gl
from vml.field import ntt
from vml.field.goldilocks import P

EDGES = (0, 1, P - 1, 2**32 - 1, 2**32, P - 2**32, 2**63)


def words(*shape: int) -> np.ndarray:
    rng = random.Random(repr(shape))
    count = int(np.prod(shape))
    values = [rng.choice(EDGES) if rng.random() < 0.3 else rng.randrange(P) for _ in range(count)]
    return np.array(values, np.uint64).reshape(shape)


def value(coefficients: np.ndarray, point: int) -> int:
    result = 0
    for c in coefficients[::-1]:
        result = (result * point + int(c)) % P
    return result


def codeword(row: np.ndarray, log_blowup: int) -> list[int]:
    size = row.size << log_blowup
    w = gl.root_of_unity(size.bit_length() - 1)
    return [value(row, pow(w, j, P)) for j in range(size)]


@pytest.mark.parametrize("log_n", range(8))
@pytest.mark.parametrize("log_blowup", range(5))
def test_codewords(log_n: int, log_blowup: int) -> None:
    rows = words(3, 1 << log_n)
    expected = [codeword(row, log_blowup) for row in rows]
    assert ntt.encode_rows(rows, log_blowup).tolist() == expected


def test_the_greatest_values() -> None:
    rows = np.full((1, 64), P - 1, np.uint64)
    assert ntt.encode_rows(rows, 1).tolist() == [codeword(rows[0], 1)]


@pytest.mark.parametrize("log_blowup", [0, 2, 3])
def test_codewords_of_extension_rows(log_blowup: int) -> None:
    rows = words(2, 32, 2)
    out = ntt.encode_rows(rows, log_blowup)
    assert out.flags.c_contiguous
    for row, word in zip(rows, out, strict=True):
        for part in (0, 1):
            assert word[:, part].tolist() == codeword(row[:, part], log_blowup)


@pytest.mark.parametrize(("rows", "log_n", "log_blowup"), [(1, 14, 1), (2, 13, 2), (1, 15, 0), (40, 11, 3), (1, 12, 5)])
def test_long_rows(rows: int, log_n: int, log_blowup: int) -> None:
    """Sampled: rows that all threads share, and rows that they divide among themselves."""
    values = words(rows, 1 << log_n)
    out = ntt.encode_rows(values, log_blowup)
    size = 1 << (log_n + log_blowup)
    assert out.shape == (rows, size)
    assert (out < np.uint64(P)).all()
    w = gl.root_of_unity(log_n + log_blowup)
    for j in (0, 1, 7, 8, size // 8 + 3, size // 2, size - 1):
        assert out[-1, j] == value(values[-1], pow(w, j, P))
        assert out[0, j] == value(values[0], pow(w, j, P))
    again = ntt.evaluate_columns(values, np.array([pow(w, j, P) for j in range(0, size, size // 64)], np.uint64))
    assert (out[:, :: size // 64] == again.T).all()


@pytest.mark.parametrize("n", [1, 2, 100, 1023, 1024, 1025, 3000])
def test_columns(n: int) -> None:
    rows, points = words(2, n), np.array([*EDGES, 7], np.uint64)
    expected = [[value(row, int(point)) for row in rows] for point in points]
    assert ntt.evaluate_columns(rows, points).tolist() == expected


def test_columns_of_the_greatest_values() -> None:
    rows = np.full((1, 4096), P - 1, np.uint64)
    points = np.array([P - 2, P - 1, 2**63], np.uint64)
    assert ntt.evaluate_columns(rows, points).tolist() == [[value(rows[0], int(z))] for z in points]
    assert ntt.evaluate_columns(rows, points[:0]).shape == (0, 1)


def test_powers() -> None:
    for count in (1, 2, 5, 64):
        assert ntt.powers(P - 3, count).tolist() == [pow(P - 3, k, P) for k in range(count)]


@pytest.mark.parametrize(("shape", "log_blowup"), [((1, 3), 1), ((1, 0), 1), ((1, 4), -1), ((1, 4), 31)])
def test_refused_shapes(shape: tuple[int, int], log_blowup: int) -> None:
    with pytest.raises(ValueError):
        ntt.encode_rows(np.zeros(shape, np.uint64), log_blowup)


def test_signed_words_are_refused() -> None:
    signed = np.zeros((1, 8), np.int64)
    with pytest.raises(TypeError):
        ntt.encode_rows(signed, 1)
    with pytest.raises(TypeError):
        ntt.evaluate_columns(signed, np.zeros(1, np.uint64))
