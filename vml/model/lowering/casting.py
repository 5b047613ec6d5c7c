"""Cast: between floats, integers and booleans; every change of value is stated, none is silent."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from vml.model.lowering.base import Lowering, OnnxNode, Refused
from vml.model.lowering.movement import Inputs, first
from vml.model.numbers import Numbers, Tensor

INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


def cast(b: Numbers, node: OnnxNode, inputs: Inputs) -> list[Tensor]:
    """Float to integer drops the fraction; anything to bool is "not zero"; between float widths nothing changes.

    Raises:
        Refused: a target other than float16/32/64, integers and bool; integers that may leave the target's range.
    """
    from onnx import TensorProto

    x, name = first(inputs), TensorProto.DataType.Name(node.attributes["to"])
    if name in ("FLOAT", "FLOAT16", "DOUBLE"):
        return [replace(x, kind="float")]
    if name == "BOOL":
        zero = b.equal(x, b.constant(np.zeros((), dtype=np.int8)))
        return [x if x.kind == "bool" else b.affine(zero, -1, gamma=1, kind="bool")]
    if name not in INTEGERS:
        raise Refused(f"its target {name} has no exact codes here; cast to float, an integer or bool")
    whole = replace(x, kind="int", scale=Fraction(1)) if x.kind != "float" else b.truncate(x)
    header, room = b.header(whole), np.iinfo(name.lower())
    if header.lo < room.min or header.hi > room.max:
        raise Refused(
            f"values in {header.lo}..{header.hi} may not fit {name}, where ONNX wraps; "
            "clip before the cast or declare a smaller range"
        )
    return [replace(whole, limit=None)]


LOWERINGS: dict[str, Lowering] = {"Cast": cast}
