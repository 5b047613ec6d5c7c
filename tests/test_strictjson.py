"""JSON of strangers: one reading, whatever the parser would make of it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml import strictjson

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(PLAIN)
def test_what_is_plain_is_read(value: Any) -> None:
    # A surrogate by itself is no Unicode: it is written as an escape, as the parser takes it.
    assert strictjson.loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":1}', "duplicate name"),
        (b'[{"b":{"a":1,"a":2}}]', "duplicate name"),
        (b"NaN", "NaN is not a finite number"),
        (b"[-Infinity]", "not a finite number"),
        (b"", None),
        (b"{", None),
        (b"1 2", None),
        (b"\xff", None),
        (b"\xef\xbb\xbf{}", None),
        ("{}".encode("utf-16"), None),
        ("{}".encode("utf-32"), None),
        (b"[" * 33 + b"]" * 33, "levels"),
    ],
)
def test_what_is_not_is_refused(data: bytes, why: str | None) -> None:
    with pytest.raises(ValueError, match=why):
        strictjson.loads(data)


@pytest.mark.parametrize("data", [b"1.0", b"[1e3]", b"[0.5]", b"NaN"])
def test_whole_numbers_are_written_as_such(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a "):
        strictjson.loads(data, whole=True)
    assert strictjson.loads(b"[1,-2]", whole=True) == [1, -2]


def test_depth_is_bounded_where_nothing_bounds_the_parser() -> None:
    """Libraries of chains raise the recursion limit; the parser would then end the process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with pytest.raises(ValueError, match="levels"):
            strictjson.loads(b"[" * 100_000)
    finally:
        sys.setrecursionlimit(before)
    assert strictjson.loads(b"[" * 40 + b"]" * 40, levels=40)
