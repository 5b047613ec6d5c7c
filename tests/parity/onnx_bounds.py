"""How each operator's generated tests are compared. Fixed before measuring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Bound(NamedTuple):
    """Largest error allowed, as a fraction of the largest absolute output, and what it allows for."""

    error: float
    reason: str


EXACT = Bound(0.0, "codes are moved, compared, selected or mirrored")
ONE_STEP = 2.0**-13
PRODUCTS = 2.0**-11
TABLE = 2.0**-10

BOUNDS: Mapping[str, Bound] = {
    "Abs": EXACT,
    "Add": Bound(ONE_STEP, "roundings of inputs and output"),
    "And": EXACT,
    "ArgMax": EXACT,
    "ArgMin": EXACT,
    "AveragePool": Bound(PRODUCTS, "sums; the average is smaller than what is averaged"),
    "BatchNormalization": Bound(PRODUCTS, "products with rounded constants"),
    "Cast": Bound(TABLE, "to float16 ONNX keeps 11 bits, codes have 16; integers are exact, see tests/model/lowering"),
    "Ceil": EXACT,
    "Celu": Bound(TABLE, "a table"),
    "Clip": EXACT,
    "Concat": EXACT,
    "Constant": EXACT,
    "ConstantOfShape": EXACT,
    "Conv": Bound(PRODUCTS, "sums of products"),
    "ConvTranspose": Bound(PRODUCTS, "sums of products"),
    "Cos": Bound(TABLE, "a table"),
    "DequantizeLinear": EXACT,
    "Div": Bound(PRODUCTS, "a quotient of rounded numbers"),
    "Dropout": EXACT,
    "Einsum": Bound(PRODUCTS, "sums of products"),
    "Elu": Bound(TABLE, "a table"),
    "Equal": EXACT,
    "Erf": Bound(TABLE, "a table"),
    "Exp": Bound(TABLE, "a table"),
    "Expand": EXACT,
    "Flatten": EXACT,
    "Floor": EXACT,
    "Gather": EXACT,
    "Gelu": Bound(TABLE, "a table"),
    "Gemm": Bound(PRODUCTS, "sums of products"),
    "GlobalAveragePool": Bound(PRODUCTS, "sums; the average is smaller than what is averaged"),
    "GlobalMaxPool": EXACT,
    "Greater": EXACT,
    "GreaterOrEqual": EXACT,
    "HardSigmoid": Bound(ONE_STEP, "roundings of input and output"),
    "HardSwish": Bound(PRODUCTS, "products"),
    "Identity": EXACT,
    "InstanceNormalization": Bound(TABLE, "a quotient by a square root"),
    "LayerNormalization": Bound(TABLE, "a quotient by a square root"),
    "LeakyRelu": Bound(ONE_STEP, "roundings of input and output"),
    "Less": EXACT,
    "LessOrEqual": EXACT,
    "Log": Bound(TABLE, "a table"),
    "LogSoftmax": Bound(TABLE, "tables"),
    "MatMul": Bound(PRODUCTS, "sums of products, which may cancel"),
    "Max": EXACT,
    "MaxPool": EXACT,
    "Min": EXACT,
    "Mish": Bound(TABLE, "a table"),
    "Mod": Bound(PRODUCTS, "roundings of both sides, times the quotient"),
    "Mul": Bound(PRODUCTS, "products"),
    "Neg": EXACT,
    "Not": EXACT,
    "Or": EXACT,
    "PRelu": Bound(PRODUCTS, "products"),
    "Pad": EXACT,
    "Pow": Bound(TABLE, "tables or repeated products"),
    "QuantizeLinear": EXACT,
    "Reciprocal": Bound(PRODUCTS, "a quotient of rounded numbers"),
    "ReduceMax": EXACT,
    "ReduceMean": Bound(PRODUCTS, "sums; the mean may be smaller than what is averaged"),
    "ReduceMin": EXACT,
    "ReduceSum": Bound(PRODUCTS, "sums, which may cancel"),
    "Relu": EXACT,
    "Reshape": EXACT,
    "Resize": EXACT,
    "Round": EXACT,
    "Selu": Bound(TABLE, "a table"),
    "Shape": EXACT,
    "Sigmoid": Bound(TABLE, "a table"),
    "Sign": EXACT,
    "Sin": Bound(TABLE, "a table"),
    "Slice": EXACT,
    "Softmax": Bound(TABLE, "tables and a quotient"),
    "Softplus": Bound(TABLE, "a table"),
    "Softsign": Bound(PRODUCTS, "a quotient of rounded numbers"),
    "Split": EXACT,
    "Sqrt": Bound(PRODUCTS, "an integer square root"),
    "Squeeze": EXACT,
    "Sub": Bound(ONE_STEP, "roundings of inputs and output"),
    "Sum": Bound(ONE_STEP, "roundings of inputs and output"),
    "Swish": Bound(TABLE, "a table"),
    "Tanh": Bound(TABLE, "a table"),
    "ThresholdedRelu": Bound(ONE_STEP, "one rounding of the input"),
    "Tile": EXACT,
    "TopK": EXACT,
    "Transpose": EXACT,
    "Unsqueeze": EXACT,
    "Where": EXACT,
    "Xor": EXACT,
}
"""Every operator; those with a bound are exact, too, where all their tensors are integers or booleans."""
