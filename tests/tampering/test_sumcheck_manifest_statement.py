"""The tamper manifest of what a sumcheck proof states: key, graph, envelope, claims and public section.

As in `test_sumcheck_manifest`, whose subject is the body: a field that is missing here fails the suite.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.sumcheck.runs import small, small_proof
from tests.tampering.test_sumcheck_manifest import (
    ANY,
    MALFORMED,
    MISMATCH,
    REJECTED,
    VALUES,
    one_more,
    payload,
    refused,
)
from vml import canonical
from vml.backends.sumcheck.key import VerifyingKey
from vml.backends.sumcheck.payload import decode_graph, decode_payload, encode_graph
from vml.claim import Claim
from vml.errors import VerificationError
from vml.model.graph import Node, TensorSpec
from vml.model.tensor import Header
from vml.proof import Proof

# The key.


def keyed(**change: Any) -> Callable[[], Proof]:
    return lambda: payload(key=replace(small().key, **change).encode())


KEY: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    "model": (
        ("another", lambda: keyed(model=bytes(32))(), MISMATCH),
        ("a bit", lambda: keyed(model=one_more(small().key.model))(), MISMATCH),
    ),
    "log_cols": (
        ("one more", lambda: keyed(log_cols=small().key.log_cols + 1)(), REJECTED),
        ("one less", lambda: keyed(log_cols=small().key.log_cols - 1)(), REJECTED),
    ),
    "fixed_rows": (
        ("one more", lambda: keyed(fixed_rows=small().key.fixed_rows + 1)(), REJECTED),
        ("many", lambda: keyed(fixed_rows=(1 << 32) - 1)(), REJECTED),
    ),
    "cap": (
        *((how, lambda how=how: keyed(cap=VALUES[how](small().key.cap))(), REJECTED) for how in VALUES),
        ("the witness's", lambda: keyed(cap=small().body(small_proof()).cap)(), REJECTED),
    ),
}
KEY_CASES = [(field, *row) for field, rows in KEY.items() for row in rows]


@pytest.mark.parametrize(("field", "how", "make", "error"), KEY_CASES, ids=[f"{f}: {h}" for f, h, *_ in KEY_CASES])
def test_the_key(field: str, how: str, make: Callable[[], Proof], error: Any) -> None:
    refused(make(), error)


# The graph. A graph with another meaning is another model, whose commitment the claims do not have.


def graphed(alter: Callable[[list[Node], list[TensorSpec], list[TensorSpec]], Any]) -> Callable[[], Proof]:
    def make() -> Proof:
        nodes, inputs, outputs = (list(part) for part in decode_graph(decode_payload(small_proof().payload)[1]))
        alter(nodes, inputs, outputs)
        return payload(graph=encode_graph(nodes, tuple(inputs), tuple(outputs)))

    return make


def of_node(**change: Any) -> Callable[[], Proof]:
    def alter(nodes: list[Node], _: Any, __: Any) -> None:
        (k,) = [k for k, node in enumerate(nodes) if node.primitive == "reduce_sum"]
        nodes[k] = replace(nodes[k], **change)

    return graphed(alter)


def of_spec(**change: Any) -> Callable[[], Proof]:
    return graphed(lambda _, inputs, __: inputs.__setitem__(0, replace(inputs[0], **change)))


def of_header(**change: Any) -> Callable[[], Proof]:
    def alter(nodes: list[Node], _: Any, __: Any) -> None:
        (k,) = [k for k, node in enumerate(nodes) if node.primitive == "lookup"]
        nodes[k] = replace(nodes[k], header=replace(nodes[k].header, **change))

    return graphed(alter)


def root_altered(nodes: list[Node], _: Any, __: Any) -> None:
    k = next(k for k, node in enumerate(nodes) if node.primitive == "constant")
    nodes[k] = replace(nodes[k], attributes={"root": one_more(nodes[k].attributes["root"])})


def multiplier_altered(nodes: list[Node], _: Any, __: Any) -> None:
    (k,) = [k for k, node in enumerate(nodes) if node.primitive == "rescale"]
    nodes[k] = replace(nodes[k], attributes={**nodes[k].attributes, "multiplier": 1})


NODE: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    "primitive": (("max instead of sum", of_node(primitive="reduce_max"), MISMATCH),),
    "header": (("of another shape", of_node(header=Header("int16", (3,), -150, 150)), MISMATCH),),
    "inputs": (("another", of_node(inputs=(0,)), MISMATCH), ("beyond", of_node(inputs=(99,)), MISMATCH)),
    "attributes": (
        ("another root", graphed(root_altered), MISMATCH),
        ("another multiplier", graphed(multiplier_altered), MISMATCH),
    ),
}
SPEC: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    "name": (("another", of_spec(name="z"), MISMATCH), ("none", of_spec(name=""), MISMATCH)),
    "onnx_dtype": (("another", of_spec(onnx_dtype="float64"), MISMATCH),),
    "node": (("another", of_spec(node=5), MISMATCH), ("beyond", of_spec(node=1 << 20), MISMATCH)),
    "header": (("another", of_spec(header=Header("int8", (2, 3), -99, 100)), MISMATCH),),
    "scale": (("another", of_spec(scale=2), MISMATCH),),
    "saturate": (("another", of_spec(saturate=True), MISMATCH),),
}
HEADER: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    "dtype": (("another", of_header(dtype="int64"), MISMATCH),),
    "shape": (("another", of_header(shape=(3, 2)), MISMATCH), ("empty", of_header(shape=(0, 3)), VerificationError)),
    "lo": (("another", of_header(lo=-51), MISMATCH),),
    "hi": (("another", of_header(hi=51), MISMATCH),),
}
GRAPH_CASES = [
    *((f"node {field}", *row) for field, rows in NODE.items() for row in rows),
    *((f"spec {field}", *row) for field, rows in SPEC.items() for row in rows),
    *((f"header {field}", *row) for field, rows in HEADER.items() for row in rows),
    ("nodes", "exchanged", graphed(lambda n, _, __: n.__setitem__(slice(2, 4), n[3:1:-1])), MISMATCH),
    ("nodes", "one less", graphed(lambda n, _, __: n.pop()), VerificationError),
    ("nodes", "one more", graphed(lambda n, _, __: n.append(n[-1])), MISMATCH),
    ("nodes", "none", graphed(lambda n, _, __: n.clear()), MALFORMED),
    ("inputs", "exchanged", graphed(lambda _, i, __: i.reverse()), MISMATCH),
    ("inputs", "none", graphed(lambda _, i, __: i.clear()), MISMATCH),
    ("outputs", "exchanged", graphed(lambda _, __, o: o.reverse()), MISMATCH),
    ("outputs", "none", graphed(lambda _, __, o: o.clear()), MISMATCH),
    ("outputs", "one more", graphed(lambda _, i, o: o.append(i[0])), MISMATCH),
]


@pytest.mark.parametrize(("field", "how", "make", "error"), GRAPH_CASES, ids=[f"{f}: {h}" for f, h, *_ in GRAPH_CASES])
def test_the_graph(field: str, how: str, make: Callable[[], Proof], error: Any) -> None:
    refused(make(), error)


# The envelope, as the verifier of this scheme sees it.


def replaced(**change: Any) -> Callable[[], Proof]:
    return lambda: replace(small_proof(), **change)


def claimed(**change: bytes) -> Callable[[], Proof]:
    return lambda: replace(small_proof(), claims=(replace(small_proof().claims[0], **change),))


CLAIM: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    field: (
        ("another", claimed(**{field: bytes(range(32))}), MISMATCH),
        (
            "a bit",
            lambda field=field: claimed(**{field: one_more(getattr(small_proof().claims[0], field))})(),
            MISMATCH,
        ),
    )
    for field in ("model", "input", "output", "context")
}
ENVELOPE: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    "scheme": (
        ("another version", lambda: replaced(scheme=small_proof().scheme.replace("/1/", "/2/", 1))(), MALFORMED),
        ("fewer bits", lambda: replaced(scheme=small_proof().scheme.replace("bits-100", "bits-80"))(), MALFORMED),
        ("another rate", lambda: replaced(scheme=small_proof().scheme.replace("8-16", "2-4"))(), MALFORMED),
        ("its name alone", replaced(scheme="sumcheck/1"), MALFORMED),
    ),
    "claims": (
        ("twice", lambda: replaced(claims=small_proof().claims * 2)(), MALFORMED),
        ("those of two rows", lambda: replaced(claims=small_proof(2).claims)(), MALFORMED),
    ),
    "public": (
        ("that of two rows", lambda: replaced(public=small_proof(2).public)(), MALFORMED),
        ("nothing", replaced(public={}), MALFORMED),
    ),
    "payload": (
        ("that of two rows", lambda: replaced(payload=small_proof(2).payload)(), ANY),
        ("nothing", replaced(payload=b""), MALFORMED),
    ),
}


def published(alter: Callable[[Any], Any]) -> Callable[[], Proof]:
    def make() -> Proof:
        public = copy.deepcopy(small_proof().public)
        alter(public)
        return replace(small_proof(), public=public)

    return make


def entry(field: str, value: Any) -> Callable[[], Proof]:
    return published(lambda public: public["output"][0].__setitem__(field, value))


def code(side: str, tensor: int) -> Callable[[], Proof]:
    def alter(public: Any) -> None:
        data = bytearray(base64.b64decode(public[side][tensor]["codes"][0]))
        data[-1] = data[-1] - 1 if 0 < data[-1] < 128 or data[-1] == 255 else data[-1] + 1
        public[side][tensor]["codes"][0] = base64.b64encode(bytes(data)).decode()

    return published(alter)


ENTRY: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    "name": (("another", entry("name", "rescaled"), MALFORMED),),
    "dtype": (("another", entry("dtype", "int64"), MALFORMED),),
    "shape": (("another", entry("shape", [2, 1]), MALFORMED),),
    "scale": (("another", entry("scale", ["2", "1"]), MALFORMED), ("unreduced", entry("scale", ["2", "2"]), MALFORMED)),
    "codes": (
        *((f"another {side} {k}", code(side, k), MISMATCH) for side in ("input", "output") for k in (0, 1)),
        ("none", entry("codes", []), MALFORMED),
        ("no text", entry("codes", [0]), MALFORMED),
        ("too few", entry("codes", ["AA=="]), MALFORMED),
    ),
}
PUBLIC: dict[str, tuple[tuple[str, Callable[[], Proof], Any], ...]] = {
    "hidden": (("something", published(lambda public: public.update(hidden=["input"])), MALFORMED),),
    "input": (
        ("exchanged", published(lambda public: public["input"].reverse()), MALFORMED),
        ("one less", published(lambda public: public["input"].pop()), MALFORMED),
        ("one more", published(lambda public: public["input"].append(public["input"][0])), MALFORMED),
        ("missing", published(lambda public: public.pop("input")), MALFORMED),
    ),
    "output": (
        ("exchanged", published(lambda public: public["output"].reverse()), MALFORMED),
        ("that of the input", published(lambda public: public.update(output=public["input"])), MALFORMED),
        ("missing", published(lambda public: public.pop("output")), MALFORMED),
    ),
}
ENVELOPE_CASES = [
    (f"{group} {field}", *row)
    for group, table in (("envelope", ENVELOPE), ("claim", CLAIM), ("public", PUBLIC), ("entry", ENTRY))
    for field, rows in table.items()
    for row in rows
]


@pytest.mark.parametrize(
    ("field", "how", "make", "error"), ENVELOPE_CASES, ids=[f"{f}: {h}" for f, h, *_ in ENVELOPE_CASES]
)
def test_the_envelope(field: str, how: str, make: Callable[[], Proof], error: Any) -> None:
    refused(make(), error)


def test_the_manifest_has_every_field() -> None:
    assert {field.name for field in dataclasses.fields(VerifyingKey)} == KEY.keys()
    assert {field.name for field in dataclasses.fields(Proof)} == ENVELOPE.keys()
    assert {field.name for field in dataclasses.fields(Claim)} == CLAIM.keys()
    assert {field.name for field in dataclasses.fields(Node)} == NODE.keys()
    assert {field.name for field in dataclasses.fields(TensorSpec)} == SPEC.keys()
    assert {field.name for field in dataclasses.fields(Header)} == HEADER.keys()
    assert small_proof().public.keys() == PUBLIC.keys()
    for side in ("input", "output"):
        assert all(entry.keys() == ENTRY.keys() for entry in small_proof().public[side])


def test_what_is_not_altered_is_accepted() -> None:
    stage, honest = small(), small_proof()
    assert stage.with_body(honest, stage.body(honest)) == honest
    assert payload() == honest
    assert graphed(lambda *_: None)() == honest
    assert Proof.from_bytes(canonical.encode(json.loads(honest.to_bytes()))) == honest
    stage.verify(honest)
