"""The graph that ezkl proves: the model, plus what binds a claim to the circuit.

* ``vml_context``, sixteen 16-bit integers, goes in and comes out unchanged: the claim's context.
* A private input is read from one flat tensor that carries sixteen more lanes of 15 bits, sliced away before
  the model: its Poseidon digest cannot be guessed.
* A private model carries sixteen random integers among its constants: so its parameters' digest cannot be
  guessed either. They meet the context as ``context + (context - context) * salt``, which no optimiser folds
  and which changes nothing.

Some operators are written another way on the way, with the same result in exact arithmetic, because ezkl
demands it (attributes must be spelled out) or because it is cheaper (maximum pooling as a few subtractions and
ReLUs instead of a sort; a ReLU after the pooling rather than before).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vml.backends.ezkl.commitments import CONTEXT_LIMBS
from vml.backends.ezkl.statement import CONTEXT_NAME, SALT_LANES, TensorInfo, describe
from vml.backends.types import Visibility
from vml.errors import BackendUnavailable, UnsupportedModel

if TYPE_CHECKING:
    import onnx

MIN_OPSET = 13
TARGET_OPSET = 17
_RESERVED = "vml_"


@dataclass(frozen=True)
class Wrapped:
    """A wrapped graph.

    Args:
        onnx: bytes of the graph that ezkl reads.
        inputs, outputs: of the model inside, without what the wrapper added.
        descriptor: canonical JSON whose digest is part of the model's identity.
        salt_lanes: lanes behind each input tensor; 0 where the input is not private.
        products: how many products convolutions and matrix products take.
    """

    onnx: bytes
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    descriptor: bytes
    salt_lanes: int
    products: int


def wrap(source: bytes, visibility: Visibility, model_salt: tuple[int, ...] = ()) -> Wrapped:
    """Wrap a model.

    Args:
        source: ONNX bytes, every shape static.
        visibility: what the proofs will hide.
        model_salt: sixteen integers below 2^15, exactly when the model is private.

    Raises:
        UnsupportedModel: not a model, a shape is not static, or a name is reserved.
        BackendUnavailable: onnx is not installed.
    """
    if (len(model_salt) == SALT_LANES) != (visibility.model == "private"):
        raise ValueError("a private model, and no other, takes a salt of sixteen lanes")
    model = _load(source)
    graph = model.graph
    initial = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_info(value) for value in graph.input if value.name not in initial)
    outputs = tuple(_info(value) for value in graph.output)
    names = {t.name for t in (*inputs, *outputs)} | initial | {o for n in graph.node for o in n.output}
    if reserved := sorted(name for name in names if name.startswith(_RESERVED)):
        raise UnsupportedModel(f"names beginning with {_RESERVED!r} are reserved: {', '.join(reserved[:5])}")

    from vml.backends.ezkl import preflight, rewrite

    products = preflight.count_products(model)
    rewrite.simplify(model)
    if visibility.input == "private":
        _add_salt_lanes(graph, inputs)
    _add_context(graph, model_salt)
    # The inferred shapes named tensors that may be gone.
    del graph.value_info[:]
    lanes = SALT_LANES if visibility.input == "private" else 0
    return Wrapped(model.SerializeToString(), inputs, outputs, describe(inputs, outputs, visibility), lanes, products)


def _load(source: bytes) -> onnx.ModelProto:
    """Parse, bring to an operator set the wrapper writes, and infer shapes."""
    try:
        import onnx
    except ImportError as error:
        raise BackendUnavailable("onnx is missing: pip install 'vml[ezkl]'") from error
    try:
        model = onnx.load_model_from_string(source)
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        if opset < MIN_OPSET:
            model = onnx.version_converter.convert_version(model, TARGET_OPSET)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    # The parser, the converter and shape inference raise types of their own, protobuf's among them.
    except Exception as error:
        raise UnsupportedModel(f"not a valid ONNX model: {error}") from error


def _info(value: onnx.ValueInfoProto) -> TensorInfo:
    import onnx

    tensor = value.type.tensor_type
    shape = tuple(int(d.dim_value) if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    if not value.type.HasField("tensor_type") or any(d < 1 for d in shape):
        raise UnsupportedModel(f"{value.name!r} has no static shape; compile the model with its shapes given")
    return TensorInfo(value.name, shape, onnx.TensorProto.DataType.Name(tensor.elem_type).lower())


def _add_salt_lanes(graph: onnx.GraphProto, inputs: tuple[TensorInfo, ...]) -> None:
    """Replace every input by a flat one with salt behind it; the model reads the sliced and reshaped rest."""
    import numpy as np
    from onnx import helper, numpy_helper

    nodes = []
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    del graph.input[:]
    for i, tensor in enumerate(inputs):
        size = int(np.prod(tensor.shape))
        constants = {"begin": [0], "end": [size], "axis": [1], "shape": list(tensor.shape)}
        for name, value in constants.items():
            array = np.array(value, np.int64)
            graph.initializer.append(numpy_helper.from_array(array, f"vml_{name}_{i}"))
        salted, sliced = f"vml_input_{i}", f"vml_sliced_{i}"
        graph.input.append(helper.make_tensor_value_info(salted, kinds[tensor.name], [1, size + SALT_LANES]))
        bounds = [f"vml_begin_{i}", f"vml_end_{i}", f"vml_axis_{i}"]
        nodes.append(helper.make_node("Slice", [salted, *bounds], [sliced]))
        nodes.append(helper.make_node("Reshape", [sliced, f"vml_shape_{i}"], [tensor.name]))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _add_context(graph: onnx.GraphProto, model_salt: tuple[int, ...]) -> None:
    """Pass the context through, last among inputs and outputs."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, CONTEXT_LIMBS]
    result = f"{CONTEXT_NAME}_out"
    graph.input.append(helper.make_tensor_value_info(CONTEXT_NAME, TensorProto.INT64, shape))
    graph.output.append(helper.make_tensor_value_info(result, TensorProto.INT64, shape))
    if not model_salt:
        graph.node.append(helper.make_node("Identity", [CONTEXT_NAME], [result]))
        return
    salt = np.array([model_salt], np.int64)
    graph.initializer.append(numpy_helper.from_array(salt, "vml_model_salt"))
    graph.node.extend(
        (
            helper.make_node("Sub", [CONTEXT_NAME, CONTEXT_NAME], ["vml_zero"]),
            helper.make_node("Mul", ["vml_zero", "vml_model_salt"], ["vml_salted_zero"]),
            helper.make_node("Add", [CONTEXT_NAME, "vml_salted_zero"], [result]),
        )
    )
