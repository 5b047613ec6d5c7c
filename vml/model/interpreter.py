"""The specification of ``vml-int/1``: plain Python integers, slow and obvious.

Every node's value is a flat list in the row-major order of its header's shape. The fast ``executor`` must agree with
this module bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vml.errors import OutOfRange
from vml.model.primitives import PRIMITIVES

if TYPE_CHECKING:
    from vml.model.graph import Graph


def run_nodes(graph: Graph, inputs: Mapping[str, Sequence[int]]) -> list[list[int]]:
    """Evaluate every node.

    Args:
        graph: a validated graph.
        inputs: flat codes by input name, row-major.

    Returns:
        Flat codes of every node.

    Raises:
        OutOfRange: an input lies outside its declared range, or (a defect) a node outside its static range.
        ValueError: an input is missing or has another size.
    """
    values: list[list[int]] = []
    specs = {spec.node: spec for spec in graph.inputs}
    for index, node in enumerate(graph.nodes):
        if node.primitive == "input":
            flat = [int(v) for v in inputs[specs[index].name]]
        elif node.primitive == "constant":
            flat = [int(v) for v in graph.constants[index].ravel()]
        else:
            headers = [graph.nodes[ref].header for ref in node.inputs]
            operands = [values[ref] for ref in node.inputs]
            flat = PRIMITIVES[node.primitive].exact(node.attributes, node.header, operands, headers)
        if len(flat) != node.header.size:
            raise ValueError(f"{graph.names[index]!r} has {len(flat)} elements, its header {node.header.size}")
        for place, value in enumerate(flat):
            if not node.header.lo <= value <= node.header.hi:
                raise OutOfRange(graph.names[index], place, value, f"{node.header.lo}..{node.header.hi}")
        values.append(flat)
    return values


def run(graph: Graph, inputs: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Evaluate a graph: flat output codes by output name. Arguments and errors as ``run_nodes``."""
    values = run_nodes(graph, inputs)
    return {spec.name: values[spec.node] for spec in graph.outputs}
