"""How deep JSON is nested is found in one pass, whatever the text is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.canonical import NotCanonical, require_shallow

SIZE = 1 << 22


def depth_of(data: bytes) -> int:
    """Letter by letter: the deepest nesting outside strings. A string without an end holds all that follows."""
    depth = deepest = 0
    inside = escaped = False
    for letter in data:
        if inside:
            if escaped:
                escaped = False
            elif letter == ord("\\"):
                escaped = True
            elif letter == ord('"'):
                inside = False
        elif letter == ord('"'):
            inside = True
        elif letter in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in b"]}":
            depth -= 1
    return deepest


def refuses(data: bytes, levels: int) -> bool:
    try:
        require_shallow(data, levels)
    except NotCanonical:
        return True
    return False


@given(
    st.lists(st.sampled_from([b'"', b"\\", b"[", b"]", b"{", b"}", b"a", b"\n", b"\xc4"]), max_size=60).map(b"".join)
)
def test_the_scanner_counts_as_one_would_by_hand(data: bytes) -> None:
    deepest = depth_of(data)
    assert not refuses(data, max(deepest, 0))
    assert deepest == 0 or refuses(data, deepest - 1)


@pytest.mark.parametrize(
    "unit", [b'\\"', b'"', b"\\", b'"\\', b"[]", b'""', b"[", b'\\\\"', b'"[', random.Random(3).randbytes(4)]
)
@pytest.mark.parametrize("before", [b"", b'"', b"[", b'{"'])
def test_no_text_takes_long(before: bytes, unit: bytes) -> None:
    """Four megabytes in a moment; looked at again from every place, the first of these took days."""
    refuses(before + unit * (SIZE // len(unit)), 32)
