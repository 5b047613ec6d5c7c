"""From an imported ONNX graph to the exact integer graph: fold what is static, lower the rest, list every refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from vml.errors import OperatorProblem, UnsupportedModel, UnsupportedOperator
from vml.model.builder import Value
from vml.model.graph import Graph, TensorSpec
from vml.model.lowering import LOWERINGS
from vml.model.lowering.base import OnnxNode, Refused
from vml.model.numbers import Numbers, Tensor
from vml.model.views import materialize

if TYPE_CHECKING:
    import onnx

KEEP_INTEGERS = {"DequantizeLinear", "QuantizeLinear"}
"""Not folded: a quantised model's own integers go into the graph as they are."""

DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class InputDeclaration:
    """A graph input: codes lo..hi at ``scale`` codes per unit; ``saturate`` clamps instead of refusing."""

    name: str
    shape: tuple[int, ...]
    onnx_dtype: str
    lo: int
    hi: int
    scale: Fraction
    saturate: bool = False


@dataclass(frozen=True)
class LoweringOptions:
    """Widths in bits (8 or 16), and the factor on calibrated ranges before activations saturate."""

    bits: int = 16
    weight_bits: int = 16
    headroom: Fraction = Fraction(3, 2)


@dataclass(frozen=True)
class Lowered:
    """The graph, and for every ONNX tensor that has one, its value (refs are the graph's)."""

    graph: Graph
    values: Mapping[str, Value]


def kind_of(dtype: np.dtype[Any]) -> str:
    """ "float", "int" or "bool" for a numpy dtype. Raises UnsupportedModel for anything else."""
    for kind, family in (("bool", np.bool_), ("int", np.integer), ("float", np.floating)):
        if np.issubdtype(dtype, family):
            return kind
    raise UnsupportedModel(f"tensors of type {dtype} are not numbers")


class _Lowerer:
    def __init__(
        self, model: onnx.ModelProto, limits: Mapping[str, tuple[float, float]], options: LoweringOptions
    ) -> None:
        from onnx import numpy_helper

        self.model, self.limits = model, limits
        self.builder = Numbers(bits=options.bits, weight_bits=options.weight_bits, headroom=options.headroom)
        self.opset = next((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), 1)
        self.tensors: dict[str, Tensor] = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.shapes, self.types = _known_shapes(model), _known_types(model)
        self.problems: list[OperatorProblem] = []
        self.lost: set[str] = set()

    def declare(self, index: int, declared: InputDeclaration) -> None:
        self.builder.name = declared.name
        kind = kind_of(np.dtype(declared.onnx_dtype))
        value = self.builder.input(index, declared.shape, declared.lo, declared.hi, declared.scale, kind)
        self.tensors[declared.name] = value

    def lower_node(self, node: onnx.NodeProto) -> None:
        name = node.name or (node.output[0] if node.output else node.op_type)
        self.builder.name = name
        if any(i in self.lost for i in node.input):
            self.lost.update(node.output)  # its cause is listed already
            return
        missing = [i for i in node.input if i and i not in self.tensors]
        if missing:
            raise UnsupportedModel(f"node {name!r} reads {missing[0]!r}, which nothing produces")
        inputs = [self.tensors[i] if i else None for i in node.input]
        supported = node.domain in DEFAULT_DOMAINS and node.op_type in LOWERINGS
        static = all(t is None or isinstance(t, np.ndarray) for t in inputs)
        try:
            if static and node.op_type not in KEEP_INTEGERS:
                results: Sequence[Tensor] = _fold(node, inputs, self.opset)
            elif supported:
                results = LOWERINGS[node.op_type](self.builder, self._view(node, name), inputs)
            else:
                raise Refused(operator_hint(node))
        except Refused as refused:
            self.problems.append(OperatorProblem(name, node.op_type, self.opset, str(refused)))
            self.lost.update(node.output)
            return
        for output, result in zip(node.output, results, strict=False):
            if output:
                self.tensors[output] = self._finish_output(name, output, result)

    def _view(self, node: onnx.NodeProto, name: str) -> OnnxNode:
        outputs = list(node.output)
        while outputs and not outputs[-1]:
            outputs.pop()
        return OnnxNode(
            name,
            node.op_type,
            self.opset,
            _attributes(node),
            len(outputs),
            [self.limits.get(o) for o in outputs],
            [self.shapes.get(o) for o in outputs],
        )

    def _finish_output(self, name: str, output: str, result: Tensor) -> Tensor:
        known = self.shapes.get(output)
        if known is not None and tuple(result.shape) != known:
            raise UnsupportedModel(
                f"node {name!r}: lowered to shape {tuple(result.shape)}, ONNX infers {known}; please report"
            )
        self._check_whole(name, output, result)
        if isinstance(result, Value) and result.kind == "float" and output in self.limits:
            return replace(result, limit=self.limits[output])
        return result

    def _check_whole(self, name: str, output: str, result: Tensor) -> None:
        """Refuse integers that may leave their ONNX type, where ONNX wraps and exact integers do not."""
        dtype = self.types.get(output)
        if not isinstance(result, Value) or result.kind != "int" or dtype is None or dtype.kind not in "iu":
            return
        header, room = self.builder.header(result), np.iinfo(dtype)
        if header.lo < room.min or header.hi > room.max:
            raise UnsupportedModel(
                f"node {name!r}: its results may reach {header.lo}..{header.hi}, beyond {dtype}, where ONNX wraps; "
                "cast its inputs to a wider type, or declare a smaller input range"
            )

    def output_spec(self, info: onnx.ValueInfoProto) -> TensorSpec:
        from onnx import helper

        self.builder.name = info.name
        dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        value = self.builder.lift(self.tensors[info.name], self.builder.bits)
        value = materialize(self.builder, self.builder.narrow(value) if value.kind == "float" else value)
        self.tensors[info.name] = value
        return TensorSpec(info.name, dtype.name, value.ref, self.builder.header(value), value.scale)


def lower_graph(
    model: onnx.ModelProto,
    limits: Mapping[str, tuple[float, float]],
    inputs: Sequence[InputDeclaration],
    options: LoweringOptions | None = None,
) -> Lowered:
    """Lower an imported model.

    Args:
        model: simplified, static shapes, shapes inferred.
        limits: calibrated (lo, hi) in units of every float tensor, by ONNX name.
        inputs: in graph order, without initializers.
        options: widths and headroom.

    Returns:
        A validated graph, and where each ONNX tensor went.

    Raises:
        UnsupportedOperator: all nodes that cannot be lowered.
        UnsupportedModel: a range, shape or constant makes it impossible.
    """
    lowerer = _Lowerer(model, limits, options or LoweringOptions())
    for index, declared in enumerate(inputs):
        lowerer.declare(index, declared)
    for node in model.graph.node:
        lowerer.lower_node(node)
    if lowerer.problems:
        raise UnsupportedOperator(lowerer.problems)
    builder = lowerer.builder
    outputs = [lowerer.output_spec(info) for info in model.graph.output]
    specs = []
    for declared in inputs:
        value = lowerer.tensors[declared.name]
        assert isinstance(value, Value)
        header = builder.header(value)
        specs.append(
            TensorSpec(declared.name, declared.onnx_dtype, value.ref, header, declared.scale, declared.saturate)
        )
    graph, moved = builder.finish(specs, outputs)
    values = {
        name: replace(tensor, ref=moved[tensor.ref])
        for name, tensor in lowerer.tensors.items()
        if isinstance(tensor, Value) and tensor.ref in moved
    }
    return Lowered(graph, values)


def _known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for info in (*model.graph.value_info, *model.graph.output):
        tensor = info.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[info.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return shapes


def _known_types(model: onnx.ModelProto) -> dict[str, np.dtype[Any]]:
    from onnx import helper

    types = {info.name: info.type.tensor_type.elem_type for info in (*model.graph.value_info, *model.graph.output)}
    return {name: helper.tensor_dtype_to_np_dtype(number) for name, number in types.items() if number}


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    import onnx
    from onnx import helper, numpy_helper

    def convert(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, onnx.TensorProto):
            return numpy_helper.to_array(value)
        return list(map(convert, value)) if isinstance(value, list | tuple) else value

    return {a.name: convert(helper.get_attribute_value(a)) for a in node.attribute}


def _fold(node: onnx.NodeProto, inputs: Sequence[Tensor | None], opset: int) -> list[np.ndarray]:
    """A node with static inputs, by the ONNX reference evaluator."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    feeds = {name: np.asarray(t) for name, t in zip(node.input, inputs, strict=True) if name and t is not None}
    graph_inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(t.dtype), None) for n, t in feeds.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(o) for o in node.output if o]
    graph = helper.make_graph([node], "fold", graph_inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    try:
        found = iter(ReferenceEvaluator(model).run(None, feeds))
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise Refused(f"all its inputs are constants, but it cannot be evaluated: {error}") from error
    return [np.asarray(next(found)) if o else np.zeros(0) for o in node.output]


def operator_hint(node: onnx.NodeProto) -> str:
    """What could be done about a node that has no lowering."""
    if node.domain not in DEFAULT_DOMAINS:
        return f"domain {node.domain!r} is not ONNX's own; export without custom operators"
    if node.op_type in ("If", "Loop", "Scan"):
        return "control flow has no fixed graph; export with the condition fixed, or unrolled"
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return "unroll it over time at export (its cells are MatMul, Sigmoid, Tanh)"
    return "it has no lowering yet; see docs/operators.md for those that have, or rewrite the layer with them"
