"""Headers, views and static ranges: what is known of a tensor before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vml.model.codec import View

if TYPE_CHECKING:
    import numpy as np

DTYPE_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
"""Storage types and their width in bits."""

ACCUMULATOR_LIMIT = 1 << 52
"""Sums of products stay strictly below this in absolute value, so float64 holds every partial sum exactly."""

VALUE_LIMIT = 1 << 62
"""Every other intermediate stays strictly below this in absolute value, so int64 never wraps."""

MAX_RANK = 32
"""Dimensions of a tensor, and loops of a view, at most: numpy has 64, and views add contracted loops."""

MAX_STRIDE = 1 << 48
"""Strides of views stay strictly below this, so that they fit an int64 in bytes even where a loop has one step."""

MAX_ELEMENTS = 1 << 40
"""Elements of a tensor at most: beyond any memory, so that a stored graph cannot ask for more than int64 indexes."""

MAX_STEPS = 1 << 52
"""Loop steps of one node at most."""


@dataclass(frozen=True)
class Header:
    """Storage type, shape and static range (inclusive, in codes) of a tensor."""

    dtype: str
    shape: tuple[int, ...]
    lo: int
    hi: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bound(self) -> int:
        """Largest absolute value."""
        return max(abs(self.lo), abs(self.hi))


@dataclass(frozen=True)
class Operand:
    """An input of a primitive as its SHAPE section sees it: the header, and the values where they are constant."""

    header: Header
    values: np.ndarray | None = None


def dtype_for(lo: int, hi: int) -> str:
    """The smallest storage type that holds lo..hi. Raises ValueError beyond +-2^62."""
    for name, bits in DTYPE_BITS.items():
        if -(1 << (bits - 1)) <= lo and hi < 1 << (bits - 1) and max(abs(lo), abs(hi)) < VALUE_LIMIT:
            return name
    raise ValueError(f"range {lo}..{hi} does not fit below 2^62")


def header_for(shape: Sequence[int], lo: int, hi: int) -> Header:
    return Header(dtype_for(lo, hi), tuple(int(n) for n in shape), int(lo), int(hi))


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a contiguous row-major tensor."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def contiguous(shape: Sequence[int]) -> View:
    return View(0, row_major(shape))


def check_view(view: View, loops: Sequence[int], size: int, what: str) -> None:
    """Refuse a view that has the wrong rank or leaves the storage anywhere.

    Args:
        view: the view; loops: sizes of the loop indices it takes; size: elements of the storage; what: for the message.

    Raises:
        ValueError: with the reason.
    """
    if len(view.strides) != len(loops):
        raise ValueError(f"{what}: view has rank {len(view.strides)}, its loops have {len(loops)}")
    if len(loops) > 2 * MAX_RANK:
        raise ValueError(f"{what}: {len(loops)} loops, at most {2 * MAX_RANK} are allowed")
    if math.prod(loops) > MAX_STEPS:
        raise ValueError(f"{what}: loops {tuple(loops)} take more than 2^52 steps")
    if any(abs(s) >= MAX_STRIDE for s in view.strides):
        raise ValueError(f"{what}: view strides {view.strides} reach 2^48")
    low = view.offset + sum(min(0, s * (n - 1)) for s, n in zip(view.strides, loops, strict=True))
    high = view.offset + sum(max(0, s * (n - 1)) for s, n in zip(view.strides, loops, strict=True))
    if low < 0 or high >= size:
        raise ValueError(f"{what}: view reaches {low}..{high} of {size} elements")


def offsets(view: View, loops: Sequence[int]) -> Iterator[int]:
    """The storage offsets a view visits, loops in row-major order."""
    for index in itertools.product(*(range(n) for n in loops)):
        yield view.offset + sum(s * i for s, i in zip(view.strides, index, strict=True))
