"""Which ONNX files a float run takes: the file alone says what is computed, and says it to every reader alike.

The prover chooses the file, and the identity holds no more of it than its SHA-256. So nothing may be left for the
machine to add: no other file, no random number, no second reading of the same bytes. docs/tee-float.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vml.errors import UnsupportedModel
from vml.model.external import parts
from vml.model.extras import compile_extra
from vml.model.importer import OLDEST_OPSET
from vml.model.lowering.driver import DEFAULT_DOMAINS

if TYPE_CHECKING:
    import onnx

ORT_FORMAT = b"ORTM"
"""Bytes 4 to 7 of onnxruntime's own format."""

_OPERATORS = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift BitwiseAnd
BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvInteger
ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal
Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool
GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization
IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul
MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow
QLinearConv QLinearMatMul QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu
Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum
Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""Of the standard set: arithmetic on tensors, whose result is a function of the inputs. Left out is what draws random
numbers, keeps a state, has subgraphs, reads texts or pictures, or writes to one place from several threads."""

TRAINING_INPUT = 2
"""Place of Dropout's input that turns it on."""


def require_whole(source: bytes) -> None:
    """Refuse a file whose result could depend on anything but itself and its inputs. Returns nothing or raises.

    Args:
        source: the bytes of an ONNX model that can be parsed.

    Raises:
        UnsupportedModel: it refers to other files; it is not in the one encoding of what it says, or could be taken for
            another format; it has functions, sparse tensors, training or metadata; an operator that is not in
            `OPERATORS`, or that is told to train.
        BackendUnavailable: onnx is not installed.
    """
    onnx = compile_extra("onnx")
    if source[4:8] == ORT_FORMAT:
        raise UnsupportedModel("onnxruntime would read the file in its own format, not as ONNX")
    proto = onnx.ModelProto()
    proto.ParseFromString(source)
    proto.DiscardUnknownFields()
    if proto.SerializeToString(deterministic=True) != source:
        raise UnsupportedModel(
            "the file is not in the one encoding of what it says (deterministic, nothing unknown): compile it again"
        )
    for field in ("functions", "training_info", "metadata_props"):
        if getattr(proto, field):
            raise UnsupportedModel(f"the file has {field}, which a float run does not take: compile it again")
    versions = [entry.version for entry in proto.opset_import if entry.domain in DEFAULT_DOMAINS]
    if len(versions) != 1 or versions[0] < OLDEST_OPSET:
        raise UnsupportedModel(f"the file does not import one standard operator set, from version {OLDEST_OPSET}")
    held = list(parts(proto))
    for part in held:
        external = isinstance(part, onnx.TensorProto) and part.data_location == onnx.TensorProto.EXTERNAL
        if external or (isinstance(part, onnx.TensorProto) and part.external_data):
            raise UnsupportedModel(f"tensor {part.name!r} lies in another file")
        if isinstance(part, onnx.SparseTensorProto):
            raise UnsupportedModel("sparse tensors are not taken: store the weights as dense ones")
    for part in held:
        if isinstance(part, onnx.NodeProto):
            _require_a_function(part, proto)


def _require_a_function(node: onnx.NodeProto, proto: onnx.ModelProto) -> None:
    """Refuse an operator whose result may be another one each time."""
    if node.domain not in DEFAULT_DOMAINS or node.op_type not in OPERATORS:
        named = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
        raise UnsupportedModel(f"a float run takes no operator {named}: it may give something else each time")
    trains = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
    if node.op_type == "BatchNormalization" and any(node.output[1:]):
        trains = True  # before version 14 by asking for the statistics
    if node.op_type == "Dropout" and any(node.input[TRAINING_INPUT:]):
        trains = not _is_false(node.input[TRAINING_INPUT], proto)
    if trains:
        raise UnsupportedModel(f"the operator {node.op_type} is told to train; export the model for inference")


def _is_false(name: str, proto: onnx.ModelProto) -> bool:
    """Whether a tensor is one that the file holds, and false."""
    held = [tensor for tensor in proto.graph.initializer if tensor.name == name]
    if len(held) != 1 or held[0].data_type != compile_extra("onnx").TensorProto.BOOL or held[0].dims:
        return False
    return (held[0].raw_data, list(held[0].int32_data)) in ((b"\0", []), (b"", [0]))
