"""What a lowering sees: the node, and a builder that knows real numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vml.errors import VmlError
from vml.model.builder import Value
from vml.model.numbers import Numbers, Tensor


class Refused(VmlError):
    """A lowering cannot do this node; the message says what could be done. Collected into UnsupportedOperator."""


@dataclass(frozen=True)
class OnnxNode:
    """One node of the imported graph.

    Attributes:
        name, op, opset: for messages and version differences.
        attributes: ONNX attributes as Python values (strings decoded, tensors as numpy arrays).
        outputs: number of outputs asked for (trailing or empty ones excluded).
        limits: calibrated (lo, hi) of each output in units; None for outputs that are not floats.
        shapes: static shape of each output, where shape inference knows it.
    """

    name: str
    op: str
    opset: int
    attributes: Mapping[str, Any]
    outputs: int
    limits: Sequence[tuple[float, float] | None]
    shapes: Sequence[tuple[int, ...] | None]


Lowering = Callable[[Numbers, OnnxNode, Sequence[Tensor | None]], list[Tensor]]
"""(builder, node, inputs; None for an omitted one) to the outputs, in ONNX order."""


def static(node: OnnxNode, inputs: Sequence[Tensor | None], position: int, what: str) -> np.ndarray | None:
    """An input that must be known at compile time, None if omitted. Raises Refused where it is not."""
    tensor = inputs[position] if position < len(inputs) else None
    if isinstance(tensor, Value):
        raise Refused(f"its {what} must be a constant: shapes and index maps are fixed when the model is compiled")
    return tensor


def normalize_axis(axis: int, rank: int) -> int:
    """A possibly negative axis as 0..rank-1. Raises Refused outside."""
    if not -rank <= axis < max(rank, 1):
        raise Refused(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank if rank else 0
