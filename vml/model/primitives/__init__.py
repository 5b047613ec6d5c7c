"""The table of primitives of ``vml-int/1``: a new primitive is one file and one line here."""

from __future__ import annotations

from vml.model.primitives.affine import AFFINE, MULTIPLY
from vml.model.primitives.base import Primitive
from vml.model.primitives.compare import ARGMAX, EQUAL, LESS, SELECT, TOPK
from vml.model.primitives.divide import DIVIDE, ISQRT
from vml.model.primitives.dot import DOT
from vml.model.primitives.gather import GATHER, TAKE
from vml.model.primitives.lookup import LOOKUP
from vml.model.primitives.reduce import REDUCE_MAX, REDUCE_SUM
from vml.model.primitives.rescale import RESCALE
from vml.model.primitives.source import CONSTANT, INPUT

PRIMITIVES: dict[str, Primitive] = {
    primitive.name: primitive
    for primitive in (
        INPUT,
        CONSTANT,
        DOT,
        RESCALE,
        LOOKUP,
        AFFINE,
        MULTIPLY,
        GATHER,
        TAKE,
        REDUCE_SUM,
        REDUCE_MAX,
        LESS,
        EQUAL,
        SELECT,
        ARGMAX,
        TOPK,
        DIVIDE,
        ISQRT,
    )
}
"""Every primitive by name."""

BY_KIND: dict[int, Primitive] = {primitive.kind: primitive for primitive in PRIMITIVES.values()}
"""Every primitive by its descriptor's first byte."""
