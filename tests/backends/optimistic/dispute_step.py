"""A step oracle made from the EXACT sections, which are the specification: one element, the rest cut away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vml.backends.optimistic.step import Read
from vml.model.codec import View
from vml.model.graph import Graph
from vml.model.primitives import PRIMITIVES
from vml.model.tensor import Header, row_major


class Lazy(Sequence[int]):
    """An operand that is read element by element."""

    def __init__(self, read: Read, operand: int, size: int) -> None:
        self._read, self._operand, self._size = read, operand, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: Any) -> Any:
        return self._read(self._operand, place)


def step(graph: Graph, operator: int, element: int, read: Read) -> int:
    """As `vml.backends.optimistic.step.Step`."""
    node = graph.nodes[operator]
    headers = [graph.nodes[ref].header for ref in node.inputs]
    operands = [Lazy(read, number, header.size) for number, header in enumerate(headers)]
    index = [element // s % n for s, n in zip(row_major(node.header.shape), node.header.shape, strict=True)]
    if node.primitive == "gather":
        return gather(node.attributes, node.header, operands, index)
    attributes, chosen, shape = dict(node.attributes), 0, tuple(1 for _ in index)
    if node.primitive == "topk":  # the last loop of the output is the rank, which is not a loop of x
        chosen, shape = index[-1], (*shape[:-1], node.header.shape[-1])
        index = index[:-1]
    for name, kind in PRIMITIVES[node.primitive].fields:
        if kind == "view" and attributes[name].strides:
            view = attributes[name]
            moved = sum(s * i for s, i in zip(view.strides, index, strict=False))
            attributes[name] = View(view.offset + moved, view.strides)
    one = replace(node.header, shape=shape)
    return PRIMITIVES[node.primitive].exact(attributes, one, operands, headers)[chosen]


def gather(attributes: Any, out: Header, operands: Sequence[Sequence[int]], index: list[int]) -> int:
    axis, at = attributes["axis"], 0
    number, within = 0, index[attributes["axis"]] if index else 0
    while index and within >= attributes["parts"][number].length:
        within -= attributes["parts"][number].length
        number += 1
    part = attributes["parts"][number]
    at = part.offset
    for loop, runs in enumerate(part.maps):
        place = within if loop == axis else index[loop]
        for run in runs:
            if place < run.length:
                break
            place -= run.length
        if run.start < 0:
            return int(attributes["fill"])
        at += run.start + run.step * place
    assert math.prod(out.shape) >= 1
    return int(operands[number][at])
