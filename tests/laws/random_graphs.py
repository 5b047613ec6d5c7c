"""Random integer graphs over every primitive, with random views, for laws that must hold for any graph."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from vml.errors import UnsupportedModel
from vml.model.builder import Builder, Value
from vml.model.codec import Part, Run, View
from vml.model.graph import Graph, TensorSpec
from vml.model.tensor import contiguous

Rng = np.random.Generator


def random_shape(rng: Rng, rank: int | None = None, largest: int = 4) -> tuple[int, ...]:
    rank = int(rng.integers(0, 4)) if rank is None else rank
    return tuple(int(n) for n in rng.integers(1, largest + 1, rank))


def random_view(rng: Rng, loops: tuple[int, ...], size: int) -> View:
    """Any view that stays inside: broadcast, reversed and overlapping strides included."""
    strides, room = [], size - 1
    for n in loops:
        reach = room // (n - 1) if n > 1 else 0
        stride = int(rng.integers(0, reach + 1)) if rng.random() < 0.8 else 0
        room -= stride * (n - 1)
        strides.append(-stride if rng.random() < 0.2 else stride)
    lowest = -sum(min(0, s * (n - 1)) for s, n in zip(strides, loops, strict=True))
    return View(lowest + int(rng.integers(0, room + 1)), tuple(strides))


def _random_runs(rng: Rng, n: int, room: int) -> tuple[tuple[Run, ...], int, bool]:
    """Runs covering n positions with contributions up to ``room``; returns (runs, highest contribution, uses fill)."""
    runs, left, high, fills = [], n, 0, False
    while left:
        length = int(rng.integers(1, left + 1))
        left -= length
        if rng.random() < 0.2:
            runs.append(Run(length, -1, 0))
            fills = True
            continue
        start = int(rng.integers(0, room + 1))
        reach = (room - start) // (length - 1) if length > 1 else 0
        step = int(rng.integers(0, reach + 1))
        if rng.random() < 0.3 and length > 1:
            step = -int(rng.integers(0, start // (length - 1) + 1))
        high = max(high, start, start + step * (length - 1))
        runs.append(Run(length, start, step))
    return tuple(runs), high, fills


def _gather(rng: Rng, b: Builder, values: list[Value], loops: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    axis = int(rng.integers(0, len(loops))) if loops else 0
    chosen = [values[int(rng.integers(len(values)))] for _ in range(int(rng.integers(1, 4)) if loops else 1)]
    parts, fills = [], False
    lengths = [int(rng.integers(1, 4)) for _ in chosen]
    shape = tuple(sum(lengths) if k == axis else n for k, n in enumerate(loops))
    for value, length in zip(chosen, lengths, strict=True):
        room, maps = b.header(value).size - 1, []
        offset = int(rng.integers(0, room + 1))
        room -= offset
        for k, n in enumerate(loops):
            runs, high, filled = _random_runs(rng, length if k == axis else n, room)
            room, fills = room - high, fills or filled
            maps.append(runs)
        parts.append(Part(length, offset, tuple(maps)))
    fill = int(rng.integers(-5, 6)) if fills else 0
    return b.emit("gather", shape, [v.ref for v in chosen], axis=axis, fill=fill, parts=tuple(parts)), shape


def _random_node(rng: Rng, b: Builder, values: list[Value], name: str) -> Value:
    shape = random_shape(rng)
    pick = lambda: values[int(rng.integers(len(values)))]  # noqa: E731 - three uses in three lines
    x, y, z = pick(), pick(), pick()
    sizes = [b.header(v).size for v in (x, y, z)]
    view = lambda k, loops=shape: random_view(rng, tuple(loops), sizes[k])  # noqa: E731 - closes over the draw
    inner = random_shape(rng, int(rng.integers(0, 3)))
    small = lambda: int(rng.integers(-9, 10))  # noqa: E731 - a short draw
    none = View(0, ())
    if name == "dot":
        loops = (*shape, *inner)
        refs, bias = [x.ref, y.ref], none
        if rng.random() < 0.5:
            refs, bias = [x.ref, y.ref, z.ref], view(2)
        ref = b.emit("dot", shape, refs, contract=inner, a=view(0, loops), b=view(1, loops), bias=bias)
    elif name == "rescale":
        lo, hi = sorted((int(rng.integers(-300, 1)), int(rng.integers(0, 30000))))
        shift = int(rng.choice([16, 32, 48]))
        common = {"x": view(0), "shift": shift, "lo": lo, "hi": hi}
        if rng.random() < 0.4:
            channels = b.constant(rng.integers(1, 1 << 16, random_shape(rng, 1, 6)))
            views = random_view(rng, shape, b.header(channels).size)
            ref = b.emit("rescale", shape, [x.ref, channels.ref], multiplier=0, multipliers=views, **common)
        else:
            ref = b.emit(
                "rescale", shape, [x.ref], multiplier=int(rng.integers(1, 1 << 18)), multipliers=none, **common
            )
    elif name == "lookup":
        low, high = b.header(x).lo, b.header(x).hi
        if high - low > 1 << 17:
            raise UnsupportedModel("table too long")
        table = b.constant(rng.integers(-(1 << 15), 1 << 15, high - low + 1))
        ref = b.emit("lookup", shape, [x.ref, table.ref], x=view(0), base=low)
    elif name == "affine":
        if rng.random() < 0.3:
            ref = b.emit("affine", shape, [x.ref], a=view(0), b=none, alpha=small(), beta=0, gamma=small())
        else:
            factors = {"alpha": small(), "beta": small(), "gamma": small()}
            ref = b.emit("affine", shape, [x.ref, y.ref], a=view(0), b=view(1), **factors)
    elif name in ("multiply", "less", "equal", "divide"):
        ref = b.emit(name, shape, [x.ref, y.ref], a=view(0), b=view(1))
    elif name == "select":
        ref = b.emit(name, shape, [x.ref, y.ref, z.ref], condition=view(0), a=view(1), b=view(2))
    elif name == "gather":
        ref, shape = _gather(rng, b, values, shape)
    elif name == "take":
        reached = view(0, (*shape, int(rng.integers(1, 5))))
        size = 1 if reached.strides[-1] == 0 else int(rng.integers(1, 5))
        ref = b.emit(
            "take",
            shape,
            [x.ref, y.ref],
            x=View(reached.offset, reached.strides[:-1]),
            index=view(1),
            size=size,
            stride=reached.strides[-1],
        )
    elif name in ("reduce_sum", "reduce_max"):
        ref = b.emit(name, shape, [x.ref], reduced=inner, x=view(0, (*shape, *inner)))
    elif name == "argmax":
        length = int(rng.integers(1, 6))
        ref = b.emit(name, shape, [x.ref], length=length, x=view(0, (*shape, length)))
    elif name == "topk":
        length = int(rng.integers(1, 6))
        shape = (*shape, int(rng.integers(1, length + 1)))
        ref = b.emit(name, shape, [x.ref], length=length, x=view(0, (*shape[:-1], length)))
    else:
        ref = b.emit("isqrt", shape, [x.ref], x=view(0))
    return Value(ref, shape, contiguous(shape))


COMPUTED = [
    "dot",
    "rescale",
    "lookup",
    "affine",
    "multiply",
    "gather",
    "take",
    "reduce_sum",
    "reduce_max",
    "less",
    "equal",
    "select",
    "argmax",
    "topk",
    "divide",
    "isqrt",
]


def random_graph(seed: int, nodes: int = 12) -> Graph:
    """A valid random graph with two inputs; the same for the same seed."""
    rng, b = np.random.default_rng(seed), Builder(name="random")
    values, specs = [], []
    for index in range(2):
        shape = random_shape(rng, int(rng.integers(1, 4)), 5)
        reach = int(rng.choice([1, 100, 32767]))
        values.append(b.input(index, shape, -reach, reach, Fraction(1), "float"))
        header = b.header(values[-1])
        specs.append(TensorSpec(f"x{index}", "float32", values[-1].ref, header, Fraction(1)))
    values.append(b.constant(rng.integers(-(1 << 15), 1 << 15, random_shape(rng, 2, 6))))
    for _ in itertools.islice(itertools.count(), nodes * 4):
        try:
            values.append(_random_node(rng, b, values, str(rng.choice(COMPUTED))))
        except UnsupportedModel:
            continue  # the static analysis refused this draw; that refusal is tested elsewhere
        if len(values) >= nodes:
            break
    last = values[-1]
    outputs = [TensorSpec("y", "float32", last.ref, b.header(last), Fraction(1))]
    if len(values) > 5:
        middle = values[len(values) // 2]
        outputs.append(TensorSpec("z", "float32", middle.ref, b.header(middle), Fraction(1)))
    return b.finish(specs, outputs)[0]


def random_inputs(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """Codes within the declared ranges, the ends included."""
    rng = np.random.default_rng(seed)
    out = {}
    for spec in graph.inputs:
        codes = rng.integers(spec.header.lo, spec.header.hi + 1, spec.shape)
        if math.prod(spec.shape) > 1:
            codes.reshape(-1)[:2] = (spec.header.lo, spec.header.hi)
        out[spec.name] = codes
    return out
