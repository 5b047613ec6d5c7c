"""One step a primitive for the executor: numpy, and numba kernels above ``KERNEL_ELEMENTS``.

A step takes the node and its stored operands (arrays in header shape and dtype) and returns the node's array.
``vml.model.interpreter`` is what every step must agree with, bit for bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vml.model.codec import Part, View
from vml.model.graph import Node
from vml.model.primitives.gather import axis_offsets, part_shape
from vml.model.views import read
from vml.threads import over_blocks

Array = np.ndarray[Any, np.dtype[Any]]
Step = Callable[[Node, Sequence[Array]], Array]

KERNEL_ELEMENTS = 1 << 15  # below, numpy is faster than loading and calling a kernel
MAX_WINDOW = 64  # reductions over at most this many positions run as that many vector operations
MAX_BLOCKS = 256  # gathers of at most this many strided blocks are copied block by block


def _read(node: Node, operands: Sequence[Array], position: int, name: str) -> Array:
    return read(operands[position], node.attributes[name], node.header.shape)


def _wide(node: Node, operands: Sequence[Array], position: int, name: str) -> Array:
    return _read(node, operands, position, name).astype(np.int64)


def _stored(node: Node, result: Any) -> Array:
    """The result in the header's dtype."""
    array: Array = np.asarray(result).astype(node.header.dtype, copy=False)
    return array


def _flat(window: Array) -> Array:
    return np.ascontiguousarray(window).reshape(-1)


def rescale(node: Node, operands: Sequence[Array]) -> Array:
    x = _read(node, operands, 0, "x")
    if len(operands) == 1:
        return rescale_array(node, x, None, node.attributes["multiplier"])
    m = read(operands[1], node.attributes["multipliers"], node.header.shape).astype(np.int64)
    return _finish_rescale(node, x.astype(np.int64) * m)


def rescale_array(node: Node, x: Array, bias: Array | None, multiplier: int) -> Array:
    """A rescale with one multiplier of x (integers, or exact integers in float64) plus an optional last-axis bias."""
    attributes, header = node.attributes, node.header
    if x.size < KERNEL_ELEMENTS:
        wide = x.astype(np.int64)
        return _finish_rescale(node, (wide if bias is None else wide + bias) * np.int64(multiplier))
    from vml.model.kernels import rescale_rows

    columns = 1024 if bias is None else bias.size
    flat = _flat(x)
    tail = flat.size % columns
    out = np.empty(flat.size, dtype=header.dtype)
    body = flat.size - tail
    added = np.zeros(columns, dtype=np.int64) if bias is None else bias.astype(np.int64)
    arguments = (np.full(columns, multiplier, dtype=np.int64), attributes["shift"], attributes["lo"], attributes["hi"])
    x_rows, out_rows = flat[:body].reshape(-1, columns), out[:body].reshape(-1, columns)
    over_blocks(len(x_rows), lambda k: rescale_rows(x_rows[k], added, *arguments, out_rows[k]))
    if tail:
        out[body:] = _finish_rescale(node, flat[body:].astype(np.int64) * np.int64(multiplier))
    return out.reshape(header.shape)


def _finish_rescale(node: Node, product: Array) -> Array:
    shift = np.int64(node.attributes["shift"])
    product += np.int64(1) << (shift - np.int64(1))
    product >>= shift
    return _stored(node, np.clip(product, node.attributes["lo"], node.attributes["hi"]))


def lookup(node: Node, operands: Sequence[Array]) -> Array:
    x, base = _read(node, operands, 0, "x"), node.attributes["base"]
    table = operands[1].reshape(-1)
    if x.size < KERNEL_ELEMENTS:
        return _stored(node, table[x.astype(np.int64) - base])
    from vml.model.kernels import lookup_flat

    out = np.empty(x.size, dtype=node.header.dtype)
    flat = _flat(x)
    over_blocks(out.size, lambda k: lookup_flat(flat[k], table, base, out[k]))
    return out.reshape(node.header.shape)


def affine(node: Node, operands: Sequence[Array]) -> Array:
    attributes, header = node.attributes, node.header
    alpha, beta, gamma = (np.int64(attributes[k]) for k in ("alpha", "beta", "gamma"))
    if len(operands) == 2 and header.size >= KERNEL_ELEMENTS:
        from vml.model.kernels import affine_flat

        out = np.empty(header.size, dtype=header.dtype)
        a, b = (_flat(_read(node, operands, k, name)) for k, name in enumerate(("a", "b")))
        over_blocks(out.size, lambda k: affine_flat(a[k], alpha, b[k], beta, gamma, out[k]))
        return out.reshape(header.shape)
    total = _wide(node, operands, 0, "a") * alpha + gamma
    if len(operands) == 2:
        total += _wide(node, operands, 1, "b") * beta
    return _stored(node, total)


def multiply(node: Node, operands: Sequence[Array]) -> Array:
    return _stored(node, _wide(node, operands, 0, "a") * _wide(node, operands, 1, "b"))


def gather(node: Node, operands: Sequence[Array]) -> Array:
    attributes, header = node.attributes, node.header
    out = np.full(header.shape, attributes["fill"], dtype=header.dtype)
    start, axis = 0, attributes["axis"]
    for part, source in zip(attributes["parts"], operands, strict=True):
        target = out[(slice(None),) * axis + (slice(start, start + part.length),)] if header.shape else out
        _copy_part(target, part, source.reshape(-1), part_shape(header.shape, axis, part))
        start += part.length
    return out


def _copy_part(target: Array, part: Part, source: Array, loops: tuple[int, ...]) -> None:
    if math.prod(len(runs) for runs in part.maps) > MAX_BLOCKS:
        _copy_by_index(target, part, source)
        return
    starts = [[0, *itertools.accumulate(run.length for run in runs)] for runs in part.maps]
    for blocks in itertools.product(*(range(len(runs)) for runs in part.maps)):
        runs = [part.maps[axis][k] for axis, k in enumerate(blocks)]
        if any(run.start < 0 for run in runs):
            continue
        view = View(part.offset + sum(run.start for run in runs), tuple(run.step for run in runs))
        place = tuple(slice(starts[axis][k], starts[axis][k + 1]) for axis, k in enumerate(blocks))
        target[place] = read(source, view, [run.length for run in runs])


def _copy_by_index(target: Array, part: Part, source: Array) -> None:
    index, real = np.array(part.offset, dtype=np.int64), np.array(True)
    for runs in part.maps:
        steps = np.array(axis_offsets(runs), dtype=np.int64)
        index, real = np.add.outer(index, steps), np.logical_and.outer(real, steps >= 0)
    np.copyto(target, source[np.where(real, index, 0)], where=real, casting="same_kind")


def take(node: Node, operands: Sequence[Array]) -> Array:
    attributes, header = node.attributes, node.header
    storage = np.arange(operands[0].size, dtype=np.int64)
    places = read(storage, attributes["x"], header.shape)
    index = np.clip(_wide(node, operands, 1, "index"), 0, attributes["size"] - 1)
    return _stored(node, operands[0].reshape(-1)[places + attributes["stride"] * index])


def _reducer(fold: Callable[..., Any], whole: Callable[..., Any]) -> Step:
    def step(node: Node, operands: Sequence[Array]) -> Array:
        header, reduced = node.header, node.attributes["reduced"]
        window = read(operands[0], node.attributes["x"], (*header.shape, *reduced))
        if math.prod(reduced) > MAX_WINDOW:
            axes = tuple(range(len(header.shape), window.ndim))
            return _stored(node, whole(window, axis=axes))
        total = None
        for index in np.ndindex(*reduced):
            term = window[(..., *index)]
            total = term.astype(header.dtype) if total is None else fold(total, term, out=total, casting="same_kind")
        assert total is not None
        return np.asarray(total)

    return step


def _int64_sum(window: Array, axis: tuple[int, ...]) -> Any:
    return window.sum(axis=axis, dtype=np.int64)


def less(node: Node, operands: Sequence[Array]) -> Array:
    return _stored(node, _read(node, operands, 0, "a") < _read(node, operands, 1, "b"))


def equal(node: Node, operands: Sequence[Array]) -> Array:
    return _stored(node, _read(node, operands, 0, "a") == _read(node, operands, 1, "b"))


def select(node: Node, operands: Sequence[Array]) -> Array:
    condition, a, b = (_read(node, operands, k, name) for k, name in enumerate(("condition", "a", "b")))
    return _stored(node, np.where(condition != 0, a, b))


def argmax(node: Node, operands: Sequence[Array]) -> Array:
    window = read(operands[0], node.attributes["x"], (*node.header.shape, node.attributes["length"]))
    return _stored(node, window.argmax(axis=-1))


def topk(node: Node, operands: Sequence[Array]) -> Array:
    shape = node.header.shape
    window = read(operands[0], node.attributes["x"], (*shape[:-1], node.attributes["length"]))
    order = np.argsort(-window.astype(np.int64), axis=-1, kind="stable")
    return _stored(node, order[..., : shape[-1]])


def divide(node: Node, operands: Sequence[Array]) -> Array:
    a, b = _wide(node, operands, 0, "a"), _wide(node, operands, 1, "b")
    positive = b > 0
    quotients = (2 * a + b) // np.where(positive, 2 * b, 1)
    return _stored(node, np.where(positive, quotients, 0))


def isqrt(node: Node, operands: Sequence[Array]) -> Array:
    x = np.maximum(_wide(node, operands, 0, "x"), 0)
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    # The float root is off by at most one; the inequalities decide.
    root -= root * root > x
    root += (root + 1) * (root + 1) <= x
    return _stored(node, root)


STEPS: dict[str, Step] = {
    "rescale": rescale,
    "lookup": lookup,
    "affine": affine,
    "multiply": multiply,
    "gather": gather,
    "take": take,
    "reduce_sum": _reducer(np.add, _int64_sum),
    "reduce_max": _reducer(np.maximum, np.max),
    "less": less,
    "equal": equal,
    "select": select,
    "argmax": argmax,
    "topk": topk,
    "divide": divide,
    "isqrt": isqrt,
}
"""Every primitive but the sources and ``dot`` (see ``vml.model.contract``)."""
