"""Descriptor bytes, graph root and model commitment are those of the frozen vectors."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vml.model import graph as graphs
from vml.model.codec import fields_from_json, fields_to_json
from vml.model.graph import Graph, Node, TensorSpec
from vml.model.primitives import PRIMITIVES
from vml.model.semantics import SEMANTICS, semantics_digest
from vml.model.tensor import Header

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "descriptors.json").read_text())
DIGEST = "814bc9d2b471ba26a4459b432b85ca94b4748dc49b55cb70f95d8393840eb3d9"


def node_of(vector: dict[str, Any]) -> Node:
    header = vector["header"]
    attributes = fields_from_json(PRIMITIVES[vector["primitive"]].fields, vector["attributes"])
    shape = tuple(header["shape"])
    return Node(
        vector["primitive"],
        Header(header["dtype"], shape, header["lo"], header["hi"]),
        tuple(vector["inputs"]),
        attributes,
    )


def test_every_primitive_has_a_vector() -> None:
    assert {vector["primitive"] for vector in VECTORS["nodes"]} == set(PRIMITIVES)


@pytest.mark.parametrize("vector", VECTORS["nodes"], ids=lambda vector: vector["primitive"])
def test_descriptor(vector: dict[str, Any]) -> None:
    node = node_of(vector)
    assert "0x" + node.encode().hex() == vector["descriptor"]
    assert Node.decode(bytes.fromhex(vector["descriptor"][2:])) == node
    assert fields_to_json(PRIMITIVES[node.primitive].fields, node.attributes) == vector["attributes"]


def test_graph_root_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is a valid one too: every header is the one its primitive derives."""
    nodes = tuple(node_of(vector) for vector in VECTORS["nodes"])
    constants = {int(i): np.array(values, dtype=np.int8) for i, values in VECTORS["constants"].items()}

    def specs(side: dict[str, Any]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(name, "float32", spec["node"], nodes[spec["node"]].header, Fraction(spec["scale"]))
            for name, spec in side.items()
        )

    names = tuple("vector" for _ in nodes)
    graph = Graph(nodes, constants, specs(VECTORS["inputs"]), specs(VECTORS["outputs"]), names)
    graph.validate()
    assert "0x" + graph.root.hex() == VECTORS["graph_root"]
    stand_in = bytes.fromhex(VECTORS["semantics_stand_in"][2:])
    monkeypatch.setattr(graphs, "semantics_digest", lambda: stand_in)
    assert "0x" + graph.commitment.hex() == VECTORS["model"]


def test_the_semantics_are_frozen() -> None:
    """A change of a primitive's fields or of a table's root is a new semantics, with a new name."""
    assert SEMANTICS == VECTORS["semantics"] == "vml-int/1"
    assert semantics_digest().hex() == DIGEST
