"""Descriptors that the registry of exact models refuses, and that it takes every one that validates."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.chain.graph_world import (
    I64,
    NONE,
    ONE,
    Raw,
    call,
    chain_of,
    descriptor,
    dims,
    new_registry,
    open_,
    part,
    refusal,
    refused,
    run,
    source,
    spec,
    view,
    worst_gas,
)
from tests.laws.random_graphs import random_graph
from vml.chain.client import Chain
from vml.chain.embedded import EmbeddedChain
from vml.chain.graphs import registered
from vml.model.graph import Graph, Node
from vml.model.onestep import MAX_TERMS, step_value
from vml.model.tensor import Header


@pytest.fixture(scope="module")
def chain() -> Chain:
    return chain_of(EmbeddedChain())


@pytest.fixture
def registry(chain: Chain) -> str:
    return new_registry(chain)


X, C = source(0).encode(), Node("constant", Header("int16", (4,), -5, 5), (), {"root": bytes(32)}).encode()
WRONG: dict[str, list[bytes]] = {
    "DescriptorKind": [
        descriptor(0),
        descriptor(3),
        descriptor(15),
        descriptor(32, ONE, (0,)),
        descriptor(255),
        descriptor(1, bytes(4), (0,)),
        descriptor(2, bytes(32), (0,)),
        descriptor(16, dims(4) + view(0, 0, 1), (0,)),
        descriptor(16, b"", (0, 0, 0, 0)),
        descriptor(17, ONE),
        descriptor(18, ONE + I64, (0,)),
        descriptor(19, ONE, (0, 0, 0)),
        descriptor(20, ONE, (0,)),
        descriptor(21, bytes(10)),
        descriptor(22, ONE, (0,)),
        descriptor(23, dims(4) + view(0, 0, 1), (0, 0)),
        descriptor(27, ONE + ONE, (0, 0)),
        descriptor(31, ONE, (0, 0)),
    ],
    "NotBefore": [descriptor(31, ONE, (k,)) for k in (2, 3, 4, 1 << 31)] + [descriptor(20, ONE + ONE, (0, 2))],
    "UnknownDtype": [descriptor(31, ONE, (0,), dtype=dtype) for dtype in (0, 5, 255)],
    "DescriptorElements": [
        descriptor(31, ONE, (0,), shape=(0,)),
        descriptor(31, view(0, 0), (0,), shape=((1 << 40) + 1,)),
        descriptor(31, view(0, 0, 0), (0,), shape=(1 << 40, 2)),
        descriptor(31, view(0, 0, 0), (0,), shape=(1 << 63, 2)),
    ],
    "DescriptorRank": [descriptor(31, view(0, *[0] * 33), (0,), shape=[1] * 33)],
    "ViewRank": [
        descriptor(31, NONE, (0,)),
        descriptor(31, view(0, 1, 1), (0,)),
        descriptor(23, dims(2) + ONE, (0,)),
        descriptor(19, ONE + ONE + 3 * I64, (0,)),
        descriptor(19, ONE + view(1) + 3 * I64, (0,)),
        descriptor(17, ONE + b"\x10" + I64 + ONE + 2 * I64, (0,)),
        descriptor(16, dims(2) + 2 * view(0, 1, 0) + view(0, 0), (0, 1)),
        descriptor(16, dims(2) + 2 * view(0, 1, 0) + NONE, (0, 1, 1)),
    ],
    "PlaceOutside": [
        descriptor(31, view(1, 1), (0,)),
        descriptor(31, view(4, 0), (0,)),
        descriptor(31, view(0, -1), (0,)),
        descriptor(31, view(0, 2), (0,)),
        descriptor(31, view((1 << 64) - 1, 0), (0,)),
        descriptor(31, view(3, -(1 << 63)), (0,)),
        descriptor(31, view(0, (1 << 63) - 1), (0,)),
        descriptor(31, view(0, 0), (0,), shape=(1 << 40,))[:-8] + struct.pack(">q", 1),
        descriptor(16, dims(2) + view(0, 1, 1) + view(0, 0, 1) + NONE, (0, 1)),
        descriptor(16, dims(2) + view(0, 0, 1) + view(0, 1, 1) + NONE, (0, 1)),
        descriptor(16, dims(2) + view(0, 0, 1) + view(0, 0, 1) + view(1, 1), (0, 1, 1)),
        descriptor(17, ONE + b"\x10" + I64 + view(1, 1) + 2 * I64, (0, 1)),
        descriptor(27, ONE + ONE + view(1, 1), (0, 0, 0)),
        descriptor(22, view(0, 1) + ONE + struct.pack(">Qq", 2, 1), (0, 1)),
        descriptor(22, view(0, 0) + ONE + struct.pack(">Qq", 5, 1), (0, 1)),
        descriptor(22, view(0, 0) + ONE + struct.pack(">Qq", 2, -1), (0, 1)),
        descriptor(22, view(0, 0) + ONE + struct.pack(">Qq", (1 << 64) - 1, -(1 << 63)), (0, 1)),
        descriptor(23, dims(2) + view(0, 1, 1), (0,)),
        descriptor(28, struct.pack(">Q", 2) + view(0, 1, 1), (0,)),
        descriptor(29, struct.pack(">Q", 5) + view(0, 1), (0,)),
    ],
    "NoTerms": [
        descriptor(16, dims(0) + 2 * view(0, 1, 1) + NONE, (0, 1)),
        descriptor(16, dims(1 << 63, 0) + 2 * view(0, 1, 1, 1) + NONE, (0, 1)),
        descriptor(23, dims(0) + view(0, 1, 1), (0,)),
        descriptor(24, dims(2, 0) + view(0, 1, 1, 1), (0,)),
        descriptor(28, bytes(8) + view(0, 1, 1), (0,)),
        descriptor(29, bytes(8) + view(0, 1), (0,)),
        descriptor(22, view(0, 1) + ONE + struct.pack(">Qq", 0, 1), (0, 1)),
    ],
    "RankOutside": [
        descriptor(29, struct.pack(">Q", 1) + view(0, 1), (0,), shape=()),
        descriptor(29, struct.pack(">Q", 3) + view(0, 1), (0,)),
    ],
    "BadShift": [descriptor(17, ONE + bytes([s]) + I64 + NONE + 2 * I64, (0,)) for s in (0, 15, 17, 64, 255)],
    "StepTooLong": [
        descriptor(23, dims(MAX_TERMS + 1) + view(0, 1, 0), (0,)),
        descriptor(16, dims(*[1 << 63] * 20) + b"", (0, 1)),
        descriptor(28, b"\xff" * 8 + view(0, 1, 0), (0,)),
        descriptor(29, struct.pack(">Q", MAX_TERMS // 4 + 1) + view(0, 0), (0,)),
        descriptor(29, b"\xff" * 8 + view(0, 0), (0,), shape=(1 << 40,)),
    ],
}


def gather(*parts: bytes, axis: int = 0, shape: Sequence[int] = (4,), inputs: Sequence[int] | None = None) -> bytes:
    given = [0] * len(parts) if inputs is None else inputs
    return descriptor(21, struct.pack(">BqB", axis, 7, len(parts)) + b"".join(parts), given, shape=shape)


GATHERS: dict[str | None, list[bytes]] = {
    None: [
        gather(part(4, [run(4, 0, 1)])),
        gather(part(4, [run(4, 3, -1)])),
        gather(part(4, [run(2, 0, 1), run(2, -1, 99)])),
        gather(part(1, [run(1, 3)]), part(3, [run(3, 0, 1)], offset=1), inputs=(0, 1)),
        gather(part(1), shape=()),
        gather(part(2, [run(2)], [run(2, 0, 3)]), axis=1, shape=(2, 2)),
    ],
    "GatherAxis": [gather(part(4, [run(4)]), axis=1), gather(part(1), axis=1, shape=()), gather(part(4), axis=255)],
    "GatherParts": [gather(part(4, [run(4)]), inputs=(0, 1)), gather(inputs=(0,))],
    "GatherMaps": [gather(part(4)), gather(part(4, [run(4)], [run(4)])), gather(part(1, [run(1)]), shape=())],
    "GatherCover": [
        gather(part(3, [run(3)])),
        gather(part(5, [run(5)])),
        gather(part(0, []), part(4, [run(4)])),
        gather(part(4, [run(3)])),
        gather(part(4, [run(4), run(1)])),
        gather(part(4, [run(4), run(0)])),
        gather(part(4, [])),
        gather(part(2), shape=()),
        gather(part((1 << 64) - 1, [run((1 << 64) - 1)])),
        gather(part(2, [run(1)], [run(2)]), axis=1, shape=(2, 2)),
    ],
    "PlaceOutside": [
        gather(part(4, [run(4, 1, 1)])),
        gather(part(4, [run(4, 0, -1)])),
        gather(part(4, [run(4, 0, 1)], offset=1)),
        gather(part(4, [run(4)], offset=(1 << 64) - 1)),
        gather(part(4, [run(4, 0, (1 << 63) - 1)])),
        gather(part(2, [run(2, 0, 3)], [run(2, 0, 1)]), axis=1, shape=(2, 2)),
    ],
    "DescriptorEnds": [gather(part(4, [run(4)]))[:-1], gather(struct.pack(">QQBI", 4, 0, 1, (1 << 32) - 1))],
    "DescriptorContinues": [gather(part(4, [run(4)])) + b"\0"],
}


@pytest.mark.parametrize("name", [*WRONG, *(f"gather {name}" for name in GATHERS)])
def test_descriptors_that_are_refused_by_name(chain: Chain, name: str) -> None:
    cases = (
        GATHERS[None if name == "gather None" else name.removeprefix("gather ")] if name not in WRONG else WRONG[name]
    )
    want = None if name.endswith("None") else name.split()[-1]
    # In the chunk of its operands, and in one behind it.
    for between in (0, 14) if want != "NotBefore" else (0,):
        fresh, fillers = new_registry(chain), [descriptor(31, ONE, (0,))] * between
        for case in cases:
            raw = Raw((X, C, *fillers, case), spec(0), spec(2 + between))
            error = refusal(chain, fresh, raw, 4 if between else 2)
            assert (error.error if error else None) == want, case


RIGHT = {
    "input": X,
    "constant": C,
    "dot": descriptor(16, dims(2) + view(0, 0, 1) * 2 + NONE, (0, 1)),
    "dot with bias": descriptor(16, dims() + ONE * 3, (0, 1, 0)),
    "rescale": descriptor(17, ONE + b"\x20" + I64 + NONE + 2 * I64, (0,)),
    "rescale by channel": descriptor(17, ONE + b"\x30" + I64 + ONE + 2 * I64, (0, 1)),
    "lookup": descriptor(18, ONE + I64, (0, 1)),
    "affine": descriptor(19, ONE + NONE + 3 * I64, (0,)),
    "affine of two": descriptor(19, ONE + ONE + 3 * I64, (0, 1)),
    "gather": GATHERS[None][2],
    "take": descriptor(22, view(0, 0) + ONE + struct.pack(">Qq", 4, 1), (0, 1)),
    "argmax": descriptor(28, struct.pack(">Q", 4) + view(0, 0, 1), (0,)),
    "topk": descriptor(29, struct.pack(">Q", 4) + view(0, 1), (0,)),
    **{f"pair {kind}": descriptor(kind, ONE + ONE, (0, 1)) for kind in (20, 25, 26, 30)},
    **{f"reduced {kind}": descriptor(kind, dims(4) + view(0, 0, 1), (0,)) for kind in (23, 24)},
    "select": descriptor(27, ONE * 3, (0, 1, 0)),
    "isqrt": descriptor(31, ONE, (0,)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_descriptors_are_read_to_their_end(chain: Chain, registry: str, name: str) -> None:
    """As it is it is taken; cut anywhere, or longer, it is refused."""
    right = RIGHT[name]
    at = {"input": 0, "constant": 1}.get(name, 2)
    raw = Raw((X, C, RIGHT["isqrt"]), spec(0), spec(2)).altered(at, right)
    assert refusal(chain, registry, raw) is None
    for length in range(1, len(right)):
        error = refusal(chain, registry, raw.altered(at, right[:length]))
        assert error is not None
        assert error.error == "DescriptorEnds", length
    for more in (b"\0", bytes(8), bytes(32)):
        error = refusal(chain, registry, raw.altered(at, right + more))
        assert error is not None
        assert error.error == "DescriptorContinues"


@pytest.mark.parametrize("name", RIGHT)
def test_every_byte_is_bound_by_the_root(chain: Chain, registry: str, name: str) -> None:
    at = {"input": 0, "constant": 1}.get(name, 2)
    raw = Raw((X, C, RIGHT["isqrt"]), spec(0), spec(2)).altered(at, RIGHT[name])
    raw = replace(raw, outputs=spec(1))
    open_(chain, registry, raw, 2)
    for place in range(len(RIGHT[name])):
        changed = bytearray(RIGHT[name])
        changed[place] ^= 1 << place % 8
        given = raw.altered(at, bytes(changed)).chunk(2, 0)
        refused("WrongGraph", chain, registry, "append", raw.model, given, [])


def check_changed(chain: Chain, registry: str, rng: np.random.Generator, graph: Graph) -> bool:
    """One descriptor with changed bytes, in a graph of its own.

    If the contract takes it, Python reads it, foresees the same cost, and every step of it exists. If Python's
    analysis finds nothing wrong, the contract takes it.
    """
    raw, node = Raw.of(graph), int(rng.integers(len(graph.nodes)))
    changed = bytearray(raw.descriptors[node])
    for _ in range(int(rng.integers(1, 3))):
        place = int(rng.integers(len(changed)))
        changed[place] = int(rng.choice([changed[place] ^ 1 << int(rng.integers(8)), 0, 1, 2, 255]))
    raw = raw.altered(node, bytes(changed))
    if registered(chain, registry, raw.model):
        return True
    error = refusal(chain, registry, raw)
    try:
        other = replace(graph, nodes=tuple(Node.decode(data) for data in raw.descriptors))
        other.validate_structure()
    except ValueError:
        other = None
    if error is not None:
        assert error.error, f"no custom error: {error}"
        assert error.error not in ("Panic", "Error"), error
        if other is not None and error.error not in ("StepTooDear", "StepTooLong"):
            with pytest.raises(ValueError, match="node"):
                other.validate()
        return False
    # Headers may differ from what the specifications say; the bytes are read all the same.
    taken = replace(graph, nodes=tuple(Node.decode(data) for data in raw.descriptors))
    assert call(chain, registry, "graphOf", raw.model) == (raw.root, len(taken.nodes), worst_gas(taken))
    row = taken.nodes[node]
    if row.primitive not in ("input", "constant"):
        sizes = [taken.nodes[ref].header.size for ref in row.inputs]

        def read(operand: int, place: int) -> int:
            assert 0 <= place < sizes[operand]
            return int(rng.integers(-(1 << 63), 1 << 63, dtype=np.int64))

        for element in {0, row.header.size - 1, int(rng.integers(row.header.size))}:
            step_value(taken, node, element, read)
    return True


def test_changed_descriptors(chain: Chain, registry: str) -> None:
    rng = np.random.default_rng(0)
    taken = [check_changed(chain, registry, rng, random_graph(case % 20)) for case in range(400)]
    assert 40 < sum(taken) < 360


@pytest.mark.slow
def test_changed_descriptors_at_length(chain: Chain, registry: str) -> None:
    rng = np.random.default_rng(1)
    taken = [check_changed(chain, registry, rng, random_graph(case % 500)) for case in range(4_000)]
    assert 400 < sum(taken) < 3_600
