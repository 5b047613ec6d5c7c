"""Measuring a lowered model against the float model: outputs, layers, saturation, accumulators, boundary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.errors import OutOfRange, UnsupportedModel
from vml.model.calibration import FloatModel, Rows, each_row
from vml.model.certificate import Accumulator, Boundary, Difference, Layer, Saturation
from vml.model.executor import Executor
from vml.model.graph import Graph, TensorSpec
from vml.model.lowering.driver import Lowered
from vml.model.primitives.dot import accumulator_bound
from vml.model.quantizer import MOVES, dequantize, quantize_inputs
from vml.model.views import read

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[float], None]

LAYER_ROWS = 16
"""Rows the per-layer table and the saturation counts are measured on: every tensor of a row is held at once."""

DECISIONS = frozenset({"ArgMax", "TopK"})
PREPARED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass
class _Sums:
    """Running figures of one output."""

    rows: int = 0
    largest: float = 0.0
    total: float = 0.0
    elements: int = 0
    lo: float = math.inf
    hi: float = -math.inf
    same: int = 0
    decided: int = 0

    def add(self, spec: TensorSpec, integer: Array, reference: Array) -> None:
        """Take one row: values in units and the float model's."""
        if not np.isfinite(reference).all():
            raise UnsupportedModel(f"output {spec.name!r} of the float model is NaN or infinite; the model is broken")
        error = np.abs(integer.astype(np.float64) - reference.astype(np.float64))
        self.rows += 1
        self.largest = max(self.largest, float(error.max()))
        self.total += float(error.sum())
        self.elements += error.size
        self.lo, self.hi = min(self.lo, float(reference.min())), max(self.hi, float(reference.max()))
        if np.dtype(spec.onnx_dtype).kind != "f":
            same = error == 0
        else:
            axis = score_axis(spec)
            if axis is None:
                return
            same = integer.argmax(axis) == reference.argmax(axis)
        self.same += int(np.sum(same))
        self.decided += int(np.size(same))

    def difference(self, refused: int) -> Difference:
        return Difference(
            rows=self.rows,
            refused=refused,
            max_error=self.largest,
            mean_error=self.total / max(1, self.elements),
            reference=(self.lo, self.hi) if self.rows else (0.0, 0.0),
            agreement=self.same / self.decided if self.decided else None,
        )


def score_axis(spec: TensorSpec) -> int | None:
    """The axis of a float output along which a decision would be taken: the last one with more than one element."""
    if np.dtype(spec.onnx_dtype).kind != "f":
        return None
    return max((axis for axis, n in enumerate(spec.shape) if n > 1), default=None)


def compare_outputs(
    graph: Graph, executor: Executor, reference: FloatModel, rows: Rows, refuse: bool, progress: Progress
) -> dict[str, Difference]:
    """Run both models on every row.

    Args:
        graph, executor: the integer model. reference: the float model.
        rows: to compare on.
        refuse: whether a row outside the input range is an error; else it is counted and left out.
        progress: called with the share of rows done.

    Returns:
        The difference by output name.

    Raises:
        OutOfRange: a row outside the input range, where ``refuse``.
        UnsupportedModel: the float model gives no finite outputs.
    """
    sums = {spec.name: _Sums() for spec in graph.outputs}
    refused = 0
    every = each_row(rows)
    for k, row in enumerate(every):
        try:
            codes = quantize_inputs(graph.inputs, row)
        except OutOfRange:
            if refuse:
                raise
            refused += 1
            continue
        outputs, floats = executor.run(codes), reference.run(row)
        for spec in graph.outputs:
            sums[spec.name].add(spec, dequantize(spec, outputs[spec.name]), floats[spec.name])
        progress((k + 1) / len(every))
    return {name: each.difference(refused) for name, each in sums.items()}


@dataclass
class _LayerSums:
    largest: float = 0.0
    total: float = 0.0
    elements: int = 0
    magnitude: float = 0.0


@dataclass
class LayerMeasure:
    """Per-layer errors and saturation over a few rows, collected row by row."""

    lowered: Lowered
    layers: dict[str, _LayerSums] = field(default_factory=dict)
    clamped: dict[int, int] = field(default_factory=dict)
    rows: int = 0

    def add(self, values: list[Array], floats: Mapping[str, Array]) -> None:
        """Take one row: every integer node's tensor, every float tensor by ONNX name."""
        self.rows += 1
        for name, value in self.lowered.values.items():
            if name not in floats or not isinstance(floats[name], np.ndarray) or not floats[name].size:
                continue
            reference = floats[name].astype(np.float64)
            finite = np.isfinite(reference)
            codes = read(values[value.ref], value.view, value.shape)
            error = np.abs(codes[finite] / float(value.scale) - reference[finite])
            if not error.size:
                continue
            sums = self.layers.setdefault(name, _LayerSums())
            sums.largest = max(sums.largest, float(error.max()))
            sums.total += float(error.sum())
            sums.elements += error.size
            sums.magnitude = max(sums.magnitude, float(np.abs(reference[finite]).max()))
        graph = self.lowered.graph
        for index, node in enumerate(graph.nodes):
            if node.primitive == "rescale":
                self.clamped[index] = self.clamped.get(index, 0) + clamped_elements(graph, index, values)

    def table(self, proto: onnx.ModelProto) -> tuple[Layer, ...]:
        """One line a tensor, in the order of the graph."""
        lines = []
        for node in proto.graph.node:
            for name in node.output:
                if name in self.layers:
                    sums, value = self.layers[name], self.lowered.values[name]
                    lines.append(
                        Layer(
                            tensor=name,
                            node=node.name,
                            op=node.op_type,
                            max_error=sums.largest,
                            mean_error=sums.total / sums.elements,
                            magnitude=sums.magnitude,
                            relative=sums.largest / (sums.magnitude or 1.0),
                            codes_per_unit=float(value.scale),
                        )
                    )
        return tuple(lines)

    def saturation(self) -> tuple[Saturation, ...]:
        """The rescales that clamped anything."""
        graph = self.lowered.graph
        tables = table_feeders(graph)
        return tuple(
            Saturation(
                node=i,
                name=graph.names[i],
                clamped=count,
                of=graph.nodes[i].header.size * self.rows,
                into_table=i in tables,
            )
            for i, count in sorted(self.clamped.items())
            if count
        )


def table_feeders(graph: Graph) -> set[int]:
    """Rescales whose result only goes into lookup tables, at once or through further rescales."""
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        for ref in node.inputs:
            readers.setdefault(ref, []).append(index)
    found: set[int] = set()
    for index in reversed(range(len(graph.nodes))):
        reading = readers.get(index, [])
        flat = all(graph.nodes[r].primitive == "lookup" or r in found for r in reading)
        if graph.nodes[index].primitive == "rescale" and reading and flat:
            found.add(index)
    return found


def clamped_elements(graph: Graph, index: int, values: list[Array]) -> int:
    """How many elements a rescale clamped; a lower end of 0 is a Relu and does not count.

    Args:
        graph: the graph. index: of a rescale. values: every node's tensor.
    """
    node = graph.nodes[index]
    attributes, shape = node.attributes, node.header.shape
    x = read(values[node.inputs[0]].astype(np.int64), attributes["x"], shape)
    if len(node.inputs) == 2:
        multiplier = read(values[node.inputs[1]].astype(np.int64), attributes["multipliers"], shape)
    else:
        multiplier = np.asarray(attributes["multiplier"], dtype=np.int64)
    free = (x * multiplier + (1 << (attributes["shift"] - 1))) >> attributes["shift"]
    above = np.count_nonzero(free > attributes["hi"])
    below = np.count_nonzero(free < attributes["lo"]) if attributes["lo"] else 0
    return int(above + below)


def measure_layers(
    lowered: Lowered, executor: Executor, exposed: FloatModel, rows: Rows, progress: Progress
) -> LayerMeasure:
    """Per-layer errors and saturation on the first ``LAYER_ROWS`` rows."""
    measure = LayerMeasure(lowered)
    every = each_row(rows)[:LAYER_ROWS]
    for k, row in enumerate(every):
        codes = quantize_inputs(lowered.graph.inputs, row)
        measure.add(executor.run_all(codes), exposed.run(row))
        progress((k + 1) / len(every))
    return measure


def simplification_difference(plain: FloatModel, simplified: FloatModel, rows: Rows) -> tuple[float, float]:
    """Largest difference of an output before and after simplification, and the largest output, over two rows."""
    largest, magnitude = 0.0, 0.0
    for row in each_row(rows)[:2]:
        before, after = plain.run(row), simplified.run(row)
        for name in plain.names:
            a, b = before[name].astype(np.float64), after[name].astype(np.float64)
            if a.shape != b.shape:
                return math.inf, 0.0
            finite = np.isfinite(a) & np.isfinite(b)
            largest = max(largest, float(np.abs(a[finite] - b[finite]).max(initial=0.0)))
            magnitude = max(magnitude, float(np.abs(a[finite]).max(initial=0.0)))
            if not np.array_equal(np.isfinite(a), np.isfinite(b)):
                return math.inf, magnitude
    return largest, magnitude


def worst_accumulator(graph: Graph) -> Accumulator | None:
    """The product with the largest static bound; None where there is no product."""
    worst = None
    for index, node in enumerate(graph.nodes):
        if node.primitive == "dot":
            operands = [graph.operand(ref) for ref in node.inputs]
            bound = accumulator_bound(node.attributes, node.header.shape, operands)
            if worst is None or bound > worst.bound:
                worst = Accumulator(node=index, name=graph.names[index], bound=bound)
    return worst


def boundary(proto: onnx.ModelProto, graph: Graph) -> Boundary:
    """What is computed first and last inside the graph, and what is therefore left to its users."""
    first = {spec.name: _first(proto, spec.name) for spec in graph.inputs}
    last = {spec.name: _last(proto, spec.name) for spec in graph.outputs}
    warnings = [
        f"input {name!r} goes straight into {', '.join(ops)}: it must be prepared (scaled, centred) outside, "
        "and the proof does not cover how"
        for name, ops in first.items()
        if np.dtype(next(s.onnx_dtype for s in graph.inputs if s.name == name)).kind == "f"
        and ops
        and PREPARED.issuperset(ops)
    ]
    scores = [spec.name for spec in graph.outputs if score_axis(spec) is not None]
    if scores and not DECISIONS.intersection(last.values()):
        warnings.append(
            f"output {scores[0]!r} holds scores: the decision (arg max) is taken outside, and the proof covers "
            "the scores only"
        )
    return Boundary(first=first, last=last, warnings=tuple(warnings))


def _first(proto: onnx.ModelProto, name: str) -> tuple[str, ...]:
    """Operators that read an input, behind mere data movement."""
    names, found = {name}, []
    for node in proto.graph.node:
        if names.intersection(node.input):
            if node.op_type in MOVES:
                names.update(node.output)
            elif node.op_type not in found:
                found.append(node.op_type)
    return tuple(found)


def _last(proto: onnx.ModelProto, name: str) -> str:
    """The operator that makes an output, before mere data movement; "" where it is an input."""
    for node in reversed(proto.graph.node):
        if name in node.output:
            if node.op_type not in MOVES:
                return str(node.op_type)
            name = node.input[0]
    return ""
