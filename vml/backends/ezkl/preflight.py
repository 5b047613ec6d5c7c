"""Refuses, before any work, what cannot fit in memory, and says how much it would need."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from vml.backends.ezkl.circuit import LEAST_WORDS_PER_PRODUCT, WORD_BYTES, Cost
from vml.errors import BackendUnavailable, ProvingError

if TYPE_CHECKING:
    import onnx

SHARE = 0.9
"""Of what is free; the rest is for everything else that runs here."""

GIB = 2**30


def available_memory() -> int:
    """Bytes that a worker may take here.

    Raises:
        BackendUnavailable: psutil is not installed.
    """
    try:
        import psutil
    except ImportError as error:
        raise BackendUnavailable("psutil is missing: pip install 'vml[ezkl]'") from error
    return int(psutil.virtual_memory().available * SHARE)


def count_products(model: onnx.ModelProto) -> int:
    """How many products of two numbers convolutions and matrix products take, from shapes alone.

    Args:
        model: with inferred shapes; what has none is not counted.
    """
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if all(dims):
            shapes[value.name] = dims
    total = 0
    for node in graph.node:
        known = [shapes.get(name) for name in (*node.input[:2], *node.output[:1])]
        if len(known) < 3 or any(shape is None for shape in known):
            continue
        left, right, out = (shape or [] for shape in known)
        if node.op_type == "Conv":
            total += prod(out) * prod(right[1:])
        elif node.op_type == "ConvTranspose":
            total += prod(left) * prod(right[1:])
        elif node.op_type in ("MatMul", "Gemm") and left:
            transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
            total += prod(out) * (left[0] if transposed else left[-1])
    return total


def require_products(products: int, limit_bytes: int) -> None:
    """Refuse, before ezkl lays anything out, a model whose products alone do not fit.

    Laying out takes about a microsecond a product, hours for a large network; counting takes none.

    Raises:
        ProvingError: with what it needs at the least and what there is.
    """
    needed = products * LEAST_WORDS_PER_PRODUCT * WORD_BYTES
    if needed > limit_bytes:
        raise ProvingError(
            f"the model's {products:,} products alone make a proving key of {needed / GIB:,.1f} GiB, and "
            f"{limit_bytes / GIB:.1f} GiB of memory may be taken: shrink the model, or use another backend"
        )


def require_memory(cost: Cost, limit_bytes: int) -> None:
    """Refuse a circuit that would not fit.

    Raises:
        ProvingError: with what it needs and what there is.
    """
    if cost.memory_bytes > limit_bytes:
        raise ProvingError(
            f"a circuit of 2^{cost.log_rows} rows in {cost.blocks} blocks needs about "
            f"{cost.memory_bytes / GIB:.1f} GiB of memory and may take {limit_bytes / GIB:.1f} GiB; allow a larger "
            "error, shrink the model, or use another backend"
        )
