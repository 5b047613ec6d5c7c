"""What each primitive gives at its corners, and what its SHAPE section refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.primitive_table import DOCUMENT, SOURCES, filled, render
from vml.model.codec import Part, Run, View
from vml.model.primitives import BY_KIND, PRIMITIVES
from vml.model.tensor import Header, Operand, header_for

FLAT = View(0, (1,))
NONE = View(0, ())


def run(name: str, out: tuple[int, ...], inputs: list[list[int]], **attributes: Any) -> list[int]:
    """Check SHAPE on headers with the inputs' own ranges, then EXACT."""
    headers = [header_for((len(flat),), min(flat), max(flat)) for flat in inputs]
    constant = {"lookup": {1}, "rescale": {1}}.get(name, set())
    operands = [
        Operand(header, np.array(flat, dtype=header.dtype) if k in constant else None)
        for k, (header, flat) in enumerate(zip(headers, inputs, strict=True))
    ]
    header = PRIMITIVES[name].shape(attributes, out, operands)
    result = PRIMITIVES[name].exact(attributes, header, inputs, headers)
    assert all(header.lo <= value <= header.hi for value in result)
    return result


def refused(name: str, out: tuple[int, ...], headers: list[Header], match: str, **attributes: Any) -> None:
    with pytest.raises(ValueError, match=match):
        PRIMITIVES[name].shape(attributes, out, [Operand(header) for header in headers])


def test_kinds_are_distinct_bytes() -> None:
    assert len(BY_KIND) == len(PRIMITIVES)
    assert all(0 < kind < 256 for kind in BY_KIND)


def test_no_cell_is_empty_and_the_document_is_current() -> None:
    for name in PRIMITIVES:
        if name not in SOURCES:
            assert all(filled(name).values()), name
    assert DOCUMENT.read_text() == render(), "run python -m tests.primitive_table"


def rescale(x: list[int], multiplier: int, shift: int, lo: int, hi: int) -> list[int]:
    return run("rescale", (len(x),), [x], x=FLAT, shift=shift, multiplier=multiplier, multipliers=NONE, lo=lo, hi=hi)


def test_rescale_rounds_ties_up_and_clamps() -> None:
    half = 1 << 15
    assert rescale([-3, -1, 0, 1, 3], half, 16, -100, 100) == [-1, 0, 0, 1, 2]
    assert rescale([-300, 300], 1 << 16, 16, -100, 50) == [-100, 50]
    assert rescale([-5, 5], 1 << 16, 16, 0, 50) == [0, 5]


def test_rescale_refuses_what_could_overflow() -> None:
    wide = Header("int64", (1,), -(1 << 45), 1 << 45)
    common = {"x": FLAT, "multipliers": NONE, "lo": 0, "hi": 1}
    refused("rescale", (1,), [wide], "2\\^62", shift=16, multiplier=1 << 17, **common)
    refused("rescale", (1,), [wide], "below 1", shift=16, multiplier=0, **common)
    refused("rescale", (1,), [wide], "not one of", shift=17, multiplier=1, **common)


def test_dot_bound_is_the_sum_of_absolute_products() -> None:
    views = {"a": View(0, (0, 1)), "b": View(0, (0, 1)), "bias": NONE}
    wide = Header("int32", (4096,), -(1 << 20), (1 << 20) - 1)
    refused("dot", (1,), [wide, wide], "2\\^52", contract=(4096,), **views)
    assert run("dot", (1,), [[1, 2, 3], [4, -5, 6]], contract=(3,), **views) == [12]


def test_division_is_defined_everywhere() -> None:
    a, b = [7, -7, 5, -5, 7, 7], [2, 2, 10, 10, 0, -3]
    assert run("divide", (6,), [a, b], a=FLAT, b=FLAT) == [4, -3, 1, 0, 0, 0]


def test_roots_are_floors() -> None:
    assert run("isqrt", (6,), [[-4, 0, 1, 24, 25, (1 << 61) - 1]], x=FLAT) == [0, 0, 1, 4, 5, 1518500249]


def test_argmax_and_topk_break_ties_by_lowest_index() -> None:
    rows = [3, 9, 9, 1, 9, 9, 9, 9]
    assert run("argmax", (2,), [rows], length=4, x=View(0, (4, 1))) == [1, 0]
    assert run("topk", (2, 3), [rows], length=4, x=View(0, (4, 1))) == [1, 2, 0, 0, 1, 2]


def test_take_clamps_its_index() -> None:
    x, index = [10, 20, 30], [-7, 0, 2, 99]
    assert run("take", (4,), [x, index], x=View(0, (0,)), index=FLAT, size=3, stride=1) == [10, 10, 30, 30]


def test_gather_fills_joins_and_refuses_to_leave() -> None:
    pad = Part(4, 0, ((Run(1, -1, 0), Run(2, 1, -1), Run(1, -1, 0)),))
    join = Part(1, 0, ((Run(1, 0, 0),),))
    assert run("gather", (5,), [[5, 6], [8]], axis=0, fill=-9, parts=(pad, join)) == [-9, 6, 5, -9, 8]
    far = Part(2, 1, ((Run(2, 0, 1),),))
    refused("gather", (2,), [Header("int8", (2,), 0, 1)], "reaches", axis=0, fill=0, parts=(far,))
    unused = Part(2, 0, ((Run(2, 0, 1),),))
    refused("gather", (2,), [Header("int8", (2,), 0, 1)], "never used", axis=0, fill=1, parts=(unused,))


@pytest.mark.parametrize("view", [View(1, (1,)), View(0, (2,)), View(0, (-1,)), View(0, (1, 1)), View(2, (-2,))])
def test_a_view_that_leaves_its_storage_is_refused(view: View) -> None:
    refused("isqrt", (3,), [Header("int8", (3,), 0, 9)], "view", x=view)


def test_a_table_must_cover_its_operand() -> None:
    x = Operand(Header("int8", (1,), -1, 3))
    table = Operand(Header("int8", (4,), 0, 3), np.arange(4, dtype=np.int8))
    with pytest.raises(ValueError, match="leave a table"):
        PRIMITIVES["lookup"].shape({"x": FLAT, "base": 0}, (1,), [x, table])
    assert run("lookup", (3,), [[-2, 0, 1], [7, 8, 9, 10]], x=FLAT, base=-2) == [7, 9, 10]


def test_sums_and_products_that_could_wrap_are_refused() -> None:
    big = Header("int64", (4,), -(1 << 61), 1 << 61)
    refused("reduce_sum", (1,), [big], "2\\^62", reduced=(4,), x=View(0, (0, 1)))
    refused("affine", (4,), [big], "2\\^62", a=FLAT, b=NONE, alpha=3, beta=0, gamma=0)
    refused("multiply", (4,), [big, big], "2\\^62", a=FLAT, b=FLAT)
    refused("divide", (4,), [big, big], "2\\^62", a=FLAT, b=FLAT)
