"""The compiled model: the exact integer graph, the ONNX source it came from, its certificate, and its folder.

``NAME.vml/`` holds

* ``graph.json``: the graph, readable; the loader rebuilds it, derives every header, range and root again and
  compares the model commitment;
* ``tensors.safetensors``: weights and tables, by node index;
* ``source.onnx``: the imported float model (static shapes, simplified);
* ``certificate.json``; ``calibration.npz``: up to ``KEPT_ROWS`` rows of input.

Backends may add files of their own (such as ``identities.json``); the loader reads only those above.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vml import strictjson
from vml.arrays import load_arrays
from vml.errors import UnsupportedModel
from vml.files import folder_atomic, open_inside, read_inside
from vml.model.certificate import Certificate
from vml.model.codec import fields_from_json, fields_to_json
from vml.model.extras import compile_extra
from vml.model.graph import MAX_NODES, OUTSIDE_DTYPES, Graph, Node, TensorSpec
from vml.model.primitives import PRIMITIVES
from vml.model.semantics import SEMANTICS
from vml.model.tensor import DTYPE_BITS, Header

if TYPE_CHECKING:
    from vml.model.executor import Executor

Array = np.ndarray[Any, np.dtype[Any]]

FORMAT = "vml-model/1"
GRAPH, TENSORS, SOURCE = "graph.json", "tensors.safetensors", "source.onnx"
CERTIFICATE, CALIBRATION = "certificate.json", "calibration.npz"
MAX_GRAPH_BYTES = 512 << 20
MAX_TENSOR_BYTES = 8 << 30
MAX_SOURCE_BYTES = 2 << 30
MAX_CERTIFICATE_BYTES = 64 << 20
GRAPH_FIELDS = {"format", "semantics", "commitment", "inputs", "outputs", "nodes"}
SPEC_FIELDS = {"name", "onnx_dtype", "node", "scale", "saturate"}
NODE_FIELDS = {"primitive", "name", "dtype", "shape", "range", "inputs", "attributes"}
KEPT_ROWS = 128
"""Calibration rows kept in the folder, for backends that calibrate again."""


@dataclass(frozen=True, eq=False)
class Model:
    """A compiled model.

    Attributes:
        graph: validated.
        source: bytes of the imported ONNX model.
        certificate: what was measured when it was compiled.
        calibration: up to ``KEPT_ROWS`` rows: arrays ``(n, *shape)`` by input name.
        folder: where it lies, or None.
    """

    graph: Graph
    source: bytes
    certificate: Certificate
    calibration: Mapping[str, Array]
    folder: Path | None = None

    @property
    def commitment(self) -> bytes:
        """The 32-byte identity ``Claim.model`` of the exact integer model."""
        return self.graph.commitment

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.graph.outputs

    @cached_property
    def executor(self) -> Executor:
        """The fast executor of this graph, made on first use."""
        from vml.model.executor import Executor

        return Executor(self.graph)

    def quantize(self, inputs: Mapping[str, Any], saturate: bool = False) -> dict[str, Array]:
        """Codes of the user's arrays.

        Args:
            inputs: arrays by input name, of exactly the inputs' shapes and dtypes.
            saturate: clamp what is out of range, as inputs compiled to saturate always do.

        Raises:
            ValueError: another name, shape or dtype.
            OutOfRange: NaN, or a value outside the input's range.
        """
        from vml.model.quantizer import quantize_inputs

        return quantize_inputs(self.inputs, inputs, saturate)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Output codes by name, from input codes by name, by the fast executor."""
        return self.executor.run(inputs)

    def run_exact(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """As ``run``, by the interpreter: plain Python integers, slow, the specification."""
        from vml.model.interpreter import run

        flat = run(self.graph, {name: np.asarray(codes).ravel().tolist() for name, codes in inputs.items()})
        return {
            spec.name: np.array(flat[spec.name], dtype=spec.header.dtype).reshape(spec.shape) for spec in self.outputs
        }

    def dequantize(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The numbers output codes stand for, in the outputs' ONNX dtypes. Raises ValueError for unknown names."""
        from vml.model.quantizer import dequantize

        specs = {spec.name: spec for spec in self.outputs}
        if set(outputs) - set(specs):
            raise ValueError(f"outputs are {sorted(outputs)}, the model has {sorted(specs)}")
        return {name: dequantize(specs[name], codes) for name, codes in outputs.items()}

    def save(self, path: str | os.PathLike[str]) -> Model:
        """Write the folder: all of it, or nothing.

        Args:
            path: the folder to create, or an earlier compiled model to replace; its parent must exist.

        Returns:
            The same model, knowing its folder.

        Raises:
            FileExistsError, NotADirectoryError, FileNotFoundError: as for ``check_target``.
            OSError: it cannot be written; nothing is left behind.
            BackendUnavailable: safetensors is not installed.
        """
        target = Path(path)
        self.check_target(target)
        tensors = compile_extra("safetensors.numpy").save(
            {str(index): values for index, values in self.graph.constants.items()}
        )
        kept = {name: rows[:KEPT_ROWS] for name, rows in self.calibration.items()}
        with folder_atomic(target) as folder:
            (folder / GRAPH).write_text(graph_to_json(self.graph))
            (folder / TENSORS).write_bytes(tensors)
            (folder / SOURCE).write_bytes(self.source)
            (folder / CERTIFICATE).write_text(self.certificate.model_dump_json(indent=2) + "\n")
            with (folder / CALIBRATION).open("wb") as file:
                np.savez_compressed(file, **kept)  # type: ignore[arg-type]
        return replace(self, folder=target)

    @staticmethod
    def check_target(path: str | os.PathLike[str]) -> None:
        """Refuse a place where ``save`` would refuse to write: worth asking before a long compilation.

        Raises:
            FileExistsError: a folder with other things in it. NotADirectoryError: a file.
            FileNotFoundError: its parent does not exist.
        """
        target = Path(path)
        if target.is_dir():
            if any(target.iterdir()) and not (target / GRAPH).is_file():
                raise FileExistsError(f"{target} is a folder with other things in it; it is not replaced by a model")
        elif os.path.lexists(target):
            raise NotADirectoryError(f"{target} is a file; a compiled model is a folder")
        elif not target.absolute().parent.is_dir():
            raise FileNotFoundError(f"{target.absolute().parent} does not exist; make it first")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read a folder and believe nothing in it.

        Args:
            path: a folder that ``save`` wrote.

        Raises:
            FileNotFoundError, NotADirectoryError: there is no such folder.
            UnsupportedModel: a file is missing, damaged, too large, a link, or does not agree with the others.
            BackendUnavailable: safetensors is not installed.
        """
        folder = Path(path)
        if not folder.is_dir():
            kind: type[OSError] = NotADirectoryError if folder.exists() else FileNotFoundError
            raise kind(f"{folder} is no compiled model (a folder made by `vml compile`)")
        numpy_format = compile_extra("safetensors.numpy")
        broken = compile_extra("safetensors").SafetensorError
        try:
            graph = _read_graph(folder, numpy_format)
            source = read_inside(folder, SOURCE, max_bytes=MAX_SOURCE_BYTES)
            certificate = Certificate.model_validate_json(
                read_inside(folder, CERTIFICATE, max_bytes=MAX_CERTIFICATE_BYTES)
            )
            if certificate.model != f"0x{graph.commitment.hex()}":
                raise ValueError(f"{CERTIFICATE} is about another model")
            if certificate.source.sha256 != hashlib.sha256(source).hexdigest():
                raise ValueError(f"{SOURCE} is not the one in {CERTIFICATE}")
            calibration = _read_calibration(folder, graph)
        except (ValueError, FileNotFoundError, MemoryError, broken) as error:
            raise UnsupportedModel(f"{folder} is not a complete compiled model: {error}; compile it again") from error
        return cls(graph, source, certificate, calibration, folder)

    @staticmethod
    def read_commitment(path: str | os.PathLike[str]) -> bytes:
        """The model commitment of a folder, recomputed from ``graph.json`` alone (weights are committed there by root).

        Raises:
            OSError: it cannot be read.
            UnsupportedModel: ``graph.json`` is missing, damaged or a link.
        """
        try:
            return _graph_from_json(read_inside(path, GRAPH, max_bytes=MAX_GRAPH_BYTES), None).commitment
        except (ValueError, FileNotFoundError) as error:
            raise UnsupportedModel(f"{path} is not a complete compiled model: {error}; compile it again") from error


def _read_graph(folder: Path, numpy_format: Any) -> Graph:
    data = read_inside(folder, GRAPH, max_bytes=MAX_GRAPH_BYTES)
    try:
        tensors = numpy_format.load(read_inside(folder, TENSORS, max_bytes=MAX_TENSOR_BYTES))
    except KeyError as error:  # how safetensors refuses a number type that numpy lacks
        raise ValueError(f"{TENSORS} holds numbers of type {error}") from error
    graph = _graph_from_json(data, tensors)
    graph.validate()
    return graph


def _read_calibration(folder: Path, graph: Graph) -> dict[str, Array]:
    from vml.model.calibration import check_rows
    from vml.model.importer import Edge

    open_inside(folder, CALIBRATION).close()  # refuses links; the arrays are then read by name
    arrays = load_arrays(folder / CALIBRATION)
    edges = [Edge(spec.name, spec.shape, spec.onnx_dtype) for spec in graph.inputs]
    return check_rows(edges, arrays, CALIBRATION) if edges else {}


def graph_to_json(graph: Graph) -> str:
    """A graph as JSON text, one node a line, with the commitment it must lead to."""
    head = {
        "format": FORMAT,
        "semantics": SEMANTICS,
        "commitment": f"0x{graph.commitment.hex()}",
        "inputs": [_spec_to_json(spec) for spec in graph.inputs],
        "outputs": [_spec_to_json(spec) for spec in graph.outputs],
    }
    lines = [json.dumps(_node_to_json(n, name)) for n, name in zip(graph.nodes, graph.names, strict=True)]
    parts = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    return "{\n" + ",\n".join(parts) + ',\n"nodes": [\n' + ",\n".join(lines) + "\n]\n}\n"


def _spec_to_json(spec: TensorSpec) -> dict[str, Any]:
    scale = [str(spec.scale.numerator), str(spec.scale.denominator)]
    return {
        "name": spec.name,
        "onnx_dtype": spec.onnx_dtype,
        "node": spec.node,
        "scale": scale,
        "saturate": spec.saturate,
    }


def _node_to_json(node: Node, name: str) -> dict[str, Any]:
    header = node.header
    return {
        "primitive": node.primitive,
        "name": name,
        "dtype": header.dtype,
        "shape": list(header.shape),
        "range": [header.lo, header.hi],
        "inputs": list(node.inputs),
        "attributes": fields_to_json(PRIMITIVES[node.primitive].fields, node.attributes),
    }


def _graph_from_json(data: bytes, tensors: Mapping[str, Array] | None) -> Graph:
    """Rebuild a graph; without tensors it serves for its commitment only. Raises ValueError for anything odd."""
    try:
        value = strictjson.loads(data, whole=True)
        if set(value) != GRAPH_FIELDS:
            raise ValueError(f"{GRAPH} has fields {sorted(set(value) ^ GRAPH_FIELDS)} too many or too few")
        if (value["format"], value["semantics"]) != (FORMAT, SEMANTICS):
            raise ValueError(
                f"format {value['format']!r}, semantics {value['semantics']!r}; this is {FORMAT}, {SEMANTICS}"
            )
        if not 0 < len(value["nodes"]) <= MAX_NODES:
            raise ValueError(f"{len(value['nodes'])} nodes")
        nodes = tuple(_node_from_json(node) for node in value["nodes"])
        graph = Graph(
            nodes,
            {} if tensors is None else _constants(nodes, tensors),
            tuple(_spec_from_json(spec, nodes) for spec in value["inputs"]),
            tuple(_spec_from_json(spec, nodes) for spec in value["outputs"]),
            tuple(_text(node["name"]) for node in value["nodes"]),
        )
        if value["commitment"] != f"0x{graph.commitment.hex()}":
            raise ValueError("the recorded commitment is not that of the graph")
    except (KeyError, TypeError, AttributeError, IndexError, struct.error, OverflowError) as error:
        raise ValueError(f"{GRAPH} is not a graph: {type(error).__name__}: {error}") from error
    return graph


def _constants(nodes: tuple[Node, ...], tensors: Mapping[str, Array]) -> dict[int, Array]:
    wanted = {str(i): i for i, node in enumerate(nodes) if node.primitive == "constant"}
    if set(wanted) != set(tensors):
        raise ValueError(f"{TENSORS} does not hold exactly the graph's {len(wanted)} constants")
    return {wanted[name]: values for name, values in tensors.items()}


def _node_from_json(value: Any) -> Node:
    if set(value) != NODE_FIELDS:
        raise ValueError(f"a node has fields {sorted(set(value) ^ NODE_FIELDS)} too many or too few")
    shape = tuple(_whole(n) for n in value["shape"])
    lo, hi = (_whole(end) for end in value["range"])
    if value["dtype"] not in DTYPE_BITS or value["primitive"] not in PRIMITIVES:
        raise ValueError(f"unknown primitive {value['primitive']!r} or type {value['dtype']!r}")
    return Node(
        value["primitive"],
        Header(value["dtype"], shape, lo, hi),
        tuple(_whole(ref) for ref in value["inputs"]),
        fields_from_json(PRIMITIVES[value["primitive"]].fields, value["attributes"]),
    )


def _spec_from_json(value: Any, nodes: tuple[Node, ...]) -> TensorSpec:
    if set(value) != SPEC_FIELDS or value["onnx_dtype"] not in OUTSIDE_DTYPES:
        raise ValueError(f"the spec of {value['name']!r} has unknown fields or number type")
    node = _whole(value["node"])
    numerator, denominator = (int(_text(part)) for part in value["scale"])
    if not 0 <= node < len(nodes) or numerator < 1 or denominator < 1 or not isinstance(value["saturate"], bool):
        raise ValueError(f"spec of {value['name']!r} is out of range")
    scale = Fraction(numerator, denominator)
    return TensorSpec(
        _text(value["name"]), value["onnx_dtype"], node, nodes[node].header, scale, saturate=value["saturate"]
    )


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"expected an integer, got {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value
