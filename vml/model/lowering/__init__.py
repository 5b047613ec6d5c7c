"""ONNX operators to integer primitives: one file an operator family, and this table.

A new operator is a function in its family's file and one line in the family's ``LOWERINGS``.
"""

from __future__ import annotations

from vml.model.lowering import (
    arithmetic,
    casting,
    contraction,
    convolution,
    indexing,
    logic,
    movement,
    nonlinear,
    normalization,
    pooling,
    quantized,
    reduction,
    rounding,
    sampling,
    softmax,
)
from vml.model.lowering.base import Lowering, OnnxNode, Refused

LOWERINGS: dict[str, Lowering] = {
    **arithmetic.LOWERINGS,
    **casting.LOWERINGS,
    **contraction.LOWERINGS,
    **convolution.LOWERINGS,
    **indexing.LOWERINGS,
    **logic.LOWERINGS,
    **movement.LOWERINGS,
    **nonlinear.LOWERINGS,
    **normalization.LOWERINGS,
    **pooling.LOWERINGS,
    **quantized.LOWERINGS,
    **reduction.LOWERINGS,
    **rounding.LOWERINGS,
    **sampling.LOWERINGS,
    **softmax.LOWERINGS,
}
"""Every supported ONNX operator (domain ai.onnx)."""

__all__ = ["LOWERINGS", "Lowering", "OnnxNode", "Refused"]
