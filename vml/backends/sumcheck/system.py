"""Every statement about a graph: one column for each node, in order, and then each node's relation.

Prover and verifier build the same system from the graph and the number of inputs in the batch. What ties the columns
of inputs and constants to a claim and a model is not said here.
"""

from __future__ import annotations

from collections.abc import Sequence

from vml.model.graph import Node
from vml.model.primitives import PRIMITIVES
from vml.model.relation import Column, Relation, System


def build_system(nodes: Sequence[Node], names: Sequence[str], batch: int) -> System:
    """The system of a validated graph for ``batch`` inputs; column i is the output of node i.

    Args:
        names: of the nodes, for messages.

    Raises:
        UnsupportedModel: numbers of some node's equations may reach the field's modulus.
        ValueError: batch < 1.
    """
    if batch < 1:
        raise ValueError(f"a batch of {batch}")
    system = System(batch)
    for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
        constant = node.primitive == "constant"
        shape = node.header.shape if constant else (batch, *node.header.shape)
        system.add_column(Column(name, index, shape, constant))
    for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
        headers = [nodes[ref].header for ref in node.inputs]
        relation = Relation(system, index, name, node.header, headers, (index, *node.inputs))
        PRIMITIVES[node.primitive].relation(relation, node.attributes)
    return system
