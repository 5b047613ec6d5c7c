"""Partial results: a reduction with more terms than one step may take becomes several nodes.

A dispute ends with one element of one node, whose step has at most ``MAX_TERMS`` terms, and should read no more than
``MAX_LEAVES`` leaves. Over more terms:

    sum      y = sum of the blocks' sums (+ the sum over the rest) (+ bias)
    largest  y = largest of the blocks' largest; blocks may overlap
    argmax   y = step * j + (place within block j), j the lowest block that holds the largest element

One loop is cut into blocks, which become one more loop of the output; the loops after it stay whole. So do the loops
before it where leaves are too many: the loop is then the one that needs the fewest blocks. Where terms are too many,
they become loops of the output too. So views stay plain, and what lay together in memory still does. Every emitted node
may be long itself and is then cut in turn. The result has the same integers and the same static range as the node it
stands for: the range of a sum of blocks can be wider, because each block has its own largest output, and a clamp that
never clamps says so.

argmax: if position i is the first of the largest, no block that begins before the first block with i holds an equal
element: it would hold one behind i and not i itself, so it would begin behind i, and so before no block with i.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vml.model.codec import Attributes, View
from vml.model.primitives import PRIMITIVES
from vml.model.primitives.base import MAX_LEAVES, MAX_TERMS, Walk, walk_leaves
from vml.model.tensor import ACCUMULATOR_LIMIT, VALUE_LIMIT, Header, contiguous

if TYPE_CHECKING:
    from vml.model.builder import Builder

FINEST = 8
"""Blocks at most, as a multiple of the fewest, for the sake of a number that leaves no rest."""

ABSENT = View(0, ())
IDENTITY_SHIFT = 16


@dataclass(frozen=True)
class Cut:
    """Loop ``axis`` of ``loops``, cut into ``count`` blocks of ``length`` whose beginnings lie ``step`` apart.

    The loops before it stay ``whole`` within each block, or become loops of the output.
    """

    loops: tuple[int, ...]
    axis: int
    count: int
    length: int
    step: int
    whole: bool = False

    @property
    def before(self) -> int:
        """How many loops become loops of the output."""
        return 0 if self.whole else self.axis

    @property
    def outer(self) -> tuple[int, ...]:
        """The blocks as loops of the output."""
        return (*self.loops[: self.before], self.count)

    @property
    def inner(self) -> tuple[int, ...]:
        """The loops within a block."""
        return (*self.loops[self.before : self.axis], self.length, *self.loops[self.axis + 1 :])

    @property
    def rest(self) -> tuple[int, ...] | None:
        """The loops over what lies behind the last block, if anything does."""
        left = self.loops[self.axis] - self.step * (self.count - 1) - self.length
        return (*self.loops[: self.axis], left, *self.loops[self.axis + 1 :]) if left else None

    def blocks(self, view: View) -> View:
        """A view over some loops and then ``loops``, with ``outer`` and ``inner`` in their place."""
        first = len(view.strides) - len(self.loops)
        at, stride = first + self.before, view.strides[first + self.axis]
        return View(view.offset, (*view.strides[:at], stride * self.step, *view.strides[at:]))

    def behind(self, view: View) -> View:
        """The same view over ``rest`` in the place of ``loops``."""
        stride = view.strides[len(view.strides) - len(self.loops) + self.axis]
        return View(view.offset + stride * (self.step * (self.count - 1) + self.length), view.strides)


@dataclass(frozen=True)
class Limit:
    """So many terms of a block; or so long a block of one loop, the others staying whole."""

    terms: int
    axis: int | None = None


def _place(loops: Sequence[int], limit: Limit) -> tuple[int, int, int]:
    """Which loop to cut, the innermost that makes the terms too many; the fewest blocks; the longest block."""
    if limit.axis is not None:
        return limit.axis, -(-loops[limit.axis] // limit.terms), limit.terms
    inner = 1
    for axis in reversed(range(len(loops))):
        if inner * loops[axis] > limit.terms:
            room = limit.terms // inner
            return axis, -(-loops[axis] // room), room
        inner *= loops[axis]
    raise ValueError(f"loops {tuple(loops)} take no more than {limit.terms} terms")


def cut_apart(loops: tuple[int, ...], limit: Limit) -> Cut:
    """Blocks that do not overlap: of a length that divides the loop where one is near, else with a rest behind."""
    axis, fewest, _ = _place(loops, limit)
    size, whole = loops[axis], limit.axis is not None
    # Blocks of one term would leave as many terms.
    most = min(FINEST * fewest, math.prod(loops if whole else loops[axis:]) - 1)
    count = next((q for q in range(fewest, most + 1) if size % q == 0), fewest)
    return Cut(loops, axis, count, size // count, size // count, whole)


def cut_across(loops: tuple[int, ...], limit: Limit) -> Cut:
    """Blocks that cover the loop exactly, overlapping where nothing divides it."""
    axis, count, room = _place(loops, limit)
    size = loops[axis]
    while size - size // count * (count - 1) > room:
        count += 1
    step = size // count
    return Cut(loops, axis, count, size - step * (count - 1), step, limit.axis is not None)


# One function a primitive: the index of a node with the result, or None to leave the node whole.


def _dot(b: Builder, limit: Limit, header: Header, inputs: Sequence[int], attributes: Attributes) -> int | None:
    cut = cut_apart(attributes["contract"], limit)
    views = {name: cut.blocks(attributes[name]) for name in ("a", "b")}
    loops = (*header.shape, *cut.outer)
    sums = b.emit("dot", loops, inputs[:2], contract=cut.inner, **views, bias=ABSENT)
    if math.prod(cut.outer) * b.nodes[sums].header.bound + ACCUMULATOR_LIMIT >= VALUE_LIMIT:
        return None
    total = _over_blocks(b, "reduce_sum", header, cut, sums)
    if cut.rest is not None:
        views = {name: cut.behind(attributes[name]) for name in ("a", "b")}
        rest = b.emit("dot", header.shape, inputs, contract=cut.rest, **views, bias=attributes["bias"])
        total = _plus(b, header, total, rest, contiguous(header.shape))
    elif len(inputs) == 3:
        total = _plus(b, header, total, inputs[2], attributes["bias"])
    return _within(b, header, total)


def _reduce_sum(b: Builder, limit: Limit, header: Header, inputs: Sequence[int], attributes: Attributes) -> int:
    cut, x = cut_apart(attributes["reduced"], limit), attributes["x"]
    sums = b.emit("reduce_sum", (*header.shape, *cut.outer), inputs, reduced=cut.inner, x=cut.blocks(x))
    total = _over_blocks(b, "reduce_sum", header, cut, sums)
    if cut.rest is None:
        return total
    rest = b.emit("reduce_sum", header.shape, inputs, reduced=cut.rest, x=cut.behind(x))
    return _plus(b, header, total, rest, contiguous(header.shape))


def _reduce_max(b: Builder, limit: Limit, header: Header, inputs: Sequence[int], attributes: Attributes) -> int:
    cut = cut_across(attributes["reduced"], limit)
    view = cut.blocks(attributes["x"])
    largest = b.emit("reduce_max", (*header.shape, *cut.outer), inputs, reduced=cut.inner, x=view)
    return _over_blocks(b, "reduce_max", header, cut, largest)


def _argmax(b: Builder, limit: Limit, header: Header, inputs: Sequence[int], attributes: Attributes) -> int:
    cut = cut_across((attributes["length"],), limit)
    view, loops = cut.blocks(attributes["x"]), (*header.shape, cut.count)
    within = b.emit("argmax", loops, inputs, length=cut.length, x=view)
    by_block, each = contiguous(loops), View(view.offset, view.strides[:-1])
    largest = b.emit("take", loops, [*inputs, within], x=each, index=by_block, size=cut.length, stride=view.strides[-1])
    block = b.emit("argmax", header.shape, [largest], length=cut.count, x=by_block)
    rows, first = contiguous(header.shape), View(0, by_block.strides[:-1])
    place = b.emit("take", header.shape, [within, block], x=first, index=rows, size=cut.count, stride=1)
    return b.emit("affine", header.shape, [block, place], a=rows, b=rows, alpha=cut.step, beta=1, gamma=0)


def _over_blocks(b: Builder, primitive: str, header: Header, cut: Cut, blocks: int) -> int:
    """The node of the blocks' results, reduced over the blocks."""
    loops = (*header.shape, math.prod(cut.outer))
    return b.emit(primitive, header.shape, [blocks], reduced=loops[-1:], x=contiguous(loops))


def _plus(b: Builder, header: Header, total: int, other: int, view: View) -> int:
    rows = contiguous(header.shape)
    return b.emit("affine", header.shape, [total, other], a=rows, b=view, alpha=1, beta=1, gamma=0)


def _within(b: Builder, header: Header, total: int) -> int:
    """The same integers with the range that they are known to have, where a rescale can hold the wider one."""
    wide = b.nodes[total].header
    if wide == header or (wide.bound << IDENTITY_SHIFT) + (1 << (IDENTITY_SHIFT - 1)) >= VALUE_LIMIT:
        return total
    return b.emit(
        "rescale",
        header.shape,
        [total],
        x=contiguous(header.shape),
        shift=IDENTITY_SHIFT,
        multiplier=1 << IDENTITY_SHIFT,
        multipliers=ABSENT,
        lo=header.lo,
        hi=header.hi,
    )


CUTS: dict[str, Callable[[Builder, Limit, Header, Sequence[int], Attributes], int | None]] = {
    "dot": _dot,
    "reduce_sum": _reduce_sum,
    "reduce_max": _reduce_max,
    "argmax": _argmax,
}
"""How each long reduction is cut. ``topk`` stays whole: where k * length is too large, it has no step."""


def cut_long(b: Builder, primitive: str, header: Header, inputs: Sequence[int], attributes: Attributes) -> int | None:
    """The index of a node with the result of a reduction (one of ``CUTS``) too long for one step; None: it is not.

    Terms that lie apart cost a leaf each, so fewer of them make a step too large; blocks then have some leaves spare.
    """
    headers = [b.nodes[ref].header for ref in inputs]
    (way,) = PRIMITIVES[primitive].cost(attributes, header, headers)
    leaves = _leaves(way.walks, headers)
    if leaves <= MAX_LEAVES:
        limit = Limit(MAX_TERMS)
    else:
        limit = _fewest_blocks(way.walks, headers) or Limit(
            min(MAX_TERMS, way.terms * MAX_LEAVES * 15 // (16 * leaves))
        )
    if limit.axis is None and way.terms <= limit.terms:
        return None
    return CUTS[primitive](b, limit, header, inputs, attributes)


def _leaves(walks: Sequence[Walk], headers: Sequence[Header]) -> int:
    return sum(walk_leaves(walk, headers[walk.operand]) for walk in walks)


def _fewest_blocks(walks: Sequence[Walk], headers: Sequence[Header]) -> Limit | None:
    """The loop that becomes few enough leaves and terms with the fewest blocks; None: no loop does alone."""
    loops = walks[0].loops
    best: tuple[int, Limit] | None = None
    for axis, size in enumerate(loops):
        others = math.prod(loops) // size
        count = 2
        while count <= size and (best is None or count < best[0]):
            length = -(-size // count)
            within = [
                replace(walk, loops=(*loops[:axis], length, *loops[axis + 1 :])) if walk.loops else walk
                for walk in walks
            ]
            if others * length <= MAX_TERMS and _leaves(within, headers) <= MAX_LEAVES * 15 // 16:
                # Blocks of one term would leave as many terms.
                if others * length > 1:
                    best = count, Limit(length, axis)
                break
            count += max(1, count // 8)
    return None if best is None else best[1]
