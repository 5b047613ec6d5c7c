"""The tamper manifest of a sumcheck proof: every field of everything in it, how it is altered, and what must follow.

A field of a dataclass that is not in the manifest fails the suite (`test_the_manifest_has_every_field`). Alterations
of values are made after decoding and encoded again, so that nothing dies in the decoder that could reach the verifier;
alterations of bytes are made where the field lies in the encoded body, found by its neighbours.

A value in a matrix is the product of two things: which field, and how. Everything altered must end in the one error
that its row names; a proof that is altered and accepted is a failure whatever the error would have been.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.sumcheck.runs import small, small_proof
from vml import canonical
from vml.backends.sumcheck.fractions.types import FractionLayer, FractionProof
from vml.backends.sumcheck.key import VerifyingKey
from vml.backends.sumcheck.opening.types import OpeningProof
from vml.backends.sumcheck.payload import Body, decode_graph, decode_payload, encode_body, encode_graph, encode_payload
from vml.backends.sumcheck.products.types import ProductProof
from vml.claim import Claim
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected, VerificationError
from vml.field.goldilocks import P
from vml.model.graph import Node, TensorSpec
from vml.model.tensor import Header
from vml.proof import Proof

Path = tuple[Any, ...]
REJECTED, MALFORMED, MISMATCH = ProofRejected, MalformedProof, ClaimMismatch
ANY = (ProofRejected, MalformedProof)
"""Where other challenges follow, other columns are drawn, and their number may differ too: either error is right."""


# How a value is altered. What does not apply to a value gives None.


def one_more(value: Any) -> Any:
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, int):
        return (value + 1) % P
    return (one_more(value[0]), *value[1:])


def last_one_more(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 128])
    if isinstance(value, int):
        return (value - 1) % P
    return (*value[:-1], last_one_more(value[-1]))


def zero(value: Any) -> Any:
    if isinstance(value, bytes):
        return bytes(len(value))
    if isinstance(value, int):
        return 0
    return tuple(zero(v) for v in value)


def swapped(value: Any) -> Any:
    """Two neighbours exchanged; of bytes two hashes."""
    if isinstance(value, int):
        return None
    if isinstance(value, bytes):
        return value[32:64] + value[:32] + value[64:]
    return next(((*value[:k], value[k + 1], value[k], *value[k + 2 :]) for k in range(len(value) - 1)
                 if value[k] != value[k + 1]), None)  # fmt: skip


def doubled(value: Any) -> Any:
    """The first element in the place of the second, too."""
    if isinstance(value, int):
        return None
    if isinstance(value, bytes):
        return value[:32] + value[:32] + value[64:]
    return (value[0], value[0], *value[2:]) if len(value) > 1 and value[0] != value[1] else None


VALUES: dict[str, Callable[[Any], Any]] = {
    "one more": one_more,
    "one less, at its end": last_one_more,
    "zero": zero,
    "neighbours exchanged": swapped,
    "first twice": doubled,
}
SIZES: dict[str, Callable[[Any], Any]] = {
    "shorter": lambda value: value[:-1],
    "longer": lambda value: value + value[-1:],
    "empty": lambda value: value[:0],
    "twice": lambda value: value + value,
}


def get(body: Any, path: Path) -> Any:
    for step in path:
        body = getattr(body, step) if isinstance(step, str) else body[step]
    return body


def put(body: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        return replace(body, **{step: put(getattr(body, step), rest, value)})
    items = list(body)
    items[step] = put(items[step], rest, value)
    return tuple(items)


@dataclasses.dataclass(frozen=True)
class Row:
    """One field: where instances of it are, and what must follow an altered value."""

    paths: tuple[Path, ...]
    refused: type[Exception] | tuple[type[Exception], ...]


LAYERS = ("fractions", "layers")
MANIFEST: dict[type, dict[str, Row]] = {
    Body: {
        "cap": Row((("cap",),), ANY),
        "fractions": Row((("fractions", "layers"),), ANY),
        "products": Row((("products", "values"),), ANY),
        "opening": Row((("opening", "rounds"),), ANY),
    },
    FractionProof: {"layers": Row((LAYERS,), ANY)},
    FractionLayer: {
        "rounds": Row(
            tuple((*LAYERS, k, "rounds", j) for k, j in ((1, 0), (9, 0), (9, 8), (-1, 0), (-1, -1))), REJECTED
        ),
        "values": Row(tuple((*LAYERS, k, "values") for k in (0, 1, 9, -1)), ANY),
    },
    ProductProof: {
        "values": Row((("products", "values"),), REJECTED),
        "rounds": Row((("products", "rounds", 0), ("products", "rounds", -1), ("products", "rounds")), REJECTED),
        "factors": Row((("products", "factors", 0), ("products", "factors", -1), ("products", "factors")), ANY),
    },
    OpeningProof: {
        "level2_cap": Row((("opening", "level2_cap"),), ANY),
        "rounds": Row((("opening", "rounds", 0), ("opening", "rounds", 5), ("opening", "rounds", -1)), ANY),
        "message": Row((("opening", "message"),), ANY),
        **{
            f"{part}_{kind}": Row(
                ((("opening", f"{part}_{kind}", 0)), ("opening", f"{part}_{kind}", -1), ("opening", f"{part}_{kind}")),
                REJECTED,
            )
            for part in ("fixed", "witness", "level2")
            for kind in ("columns", "paths")
        },
    },
}
FIELDS = [(kind, field, path) for kind, rows in MANIFEST.items() for field, row in rows.items() for path in row.paths]


def name(path: Path) -> str:
    return ".".join(map(str, path))


def parts(value: Any) -> Iterator[type]:
    """The dataclasses a body is made of."""
    if dataclasses.is_dataclass(value):
        yield type(value)
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)


def test_the_manifest_has_every_field() -> None:
    assert set(parts(small().body(small_proof()))) == MANIFEST.keys()
    for kind, rows in MANIFEST.items():
        assert {field.name for field in dataclasses.fields(kind)} == rows.keys(), kind
    assert {field.name for field in dataclasses.fields(VerifyingKey)} == KEY.keys()
    assert {field.name for field in dataclasses.fields(Proof)} == ENVELOPE.keys()
    assert {field.name for field in dataclasses.fields(Claim)} == CLAIM.keys()
    assert {field.name for field in dataclasses.fields(Node)} == NODE.keys()
    assert {field.name for field in dataclasses.fields(TensorSpec)} == SPEC.keys()
    assert {field.name for field in dataclasses.fields(Header)} == HEADER.keys()
    assert small_proof().public.keys() == PUBLIC.keys()
    for side in ("input", "output"):
        assert all(entry.keys() == ENTRY.keys() for entry in small_proof().public[side])


def refused(proof: Proof, error: Any) -> None:
    assert proof != small_proof()
    with pytest.raises(error):
        small().verify(proof)


# The body.


@pytest.mark.parametrize("how", VALUES)
@pytest.mark.parametrize(("kind", "field", "path"), FIELDS, ids=[f"{k.__name__}.{f}: {name(p)}" for k, f, p in FIELDS])
def test_values_of_the_body(kind: type, field: str, path: Path, how: str) -> None:
    stage, honest = small(), small_proof()
    body = stage.body(honest)
    old = get(body, path)
    if old and isinstance(old, tuple) and dataclasses.is_dataclass(old[0]):  # layers: their values stand for them
        path = (*path, 3, "values")
        old = get(body, path)
    altered = VALUES[how](old)
    if altered is None or altered == old:
        return
    proof = stage.with_body(honest, put(body, path, altered))
    refused(proof, MANIFEST[kind][field].refused)


SIZED = [
    (("cap",), 32),
    (LAYERS, None),
    ((*LAYERS, 5, "rounds"), None),
    (("products", "values"), None),
    (("products", "rounds"), None),
    (("products", "factors"), None),
    (("opening", "level2_cap"), 32),
    (("opening", "rounds"), None),
    (("opening", "message"), None),
]
"""What has its size from the circuit; each item of bytes is a hash."""


@pytest.mark.parametrize("how", SIZES)
@pytest.mark.parametrize("path", [path for path, _ in SIZED], ids=name)
def test_sizes_of_the_body(path: Path, how: str) -> None:
    stage, honest = small(), small_proof()
    body = stage.body(honest)
    old = get(body, path)
    items = tuple(old[k : k + 32] for k in range(0, len(old), 32)) if isinstance(old, bytes) else old
    altered: Any = SIZES[how](items)
    if isinstance(old, bytes):
        altered = b"".join(altered)
    refused(stage.with_body(honest, put(body, path, altered)), MALFORMED)


@pytest.mark.parametrize("how", SIZES)
@pytest.mark.parametrize("parts", [("fixed", "witness"), ("level2",)], ids=str)
def test_numbers_of_opened_columns(parts: tuple[str, ...], how: str) -> None:
    """The encoding has room for another number; the transcript has not."""
    stage, honest = small(), small_proof()
    opening = stage.body(honest).opening
    changes = {f"{p}_{k}": SIZES[how](getattr(opening, f"{p}_{k}")) for p in parts for k in ("columns", "paths")}
    body = replace(stage.body(honest), opening=replace(opening, **changes))
    refused(stage.with_body(honest, body), MALFORMED)


@pytest.mark.parametrize("part", ["fixed", "witness", "level2"])
@pytest.mark.parametrize("kind", ["columns", "paths"])
@pytest.mark.parametrize("how", ["shorter", "longer", "empty"])
def test_sizes_of_one_column_and_one_path(part: str, kind: str, how: str) -> None:
    stage, honest = small(), small_proof()
    body = stage.body(honest)
    path = ("opening", f"{part}_{kind}", 3)
    refused(stage.with_body(honest, put(body, path, SIZES[how](get(body, path)))), MALFORMED)


ELEMENTS = [path for _, _, path in FIELDS if not name(path).endswith(("cap", "layers")) and "paths" not in name(path)]


def first_word(value: Any, path: Path = ()) -> Path:
    return path if isinstance(value, int) else first_word(value[0], (*path, 0))


@pytest.mark.parametrize("path", sorted(set(ELEMENTS), key=name), ids=name)
@pytest.mark.parametrize("more", [P, 1 << 64])
def test_a_second_name_of_a_number(path: Path, more: int) -> None:
    """The same residue, from p on: no other spelling of an honest proof is accepted."""
    stage, honest = small(), small_proof()
    body = stage.body(honest)
    path = (*path, *first_word(get(body, path)))
    marked = (1 << 63) + 987654321987654321 % (1 << 40)  # found again in the bytes: no other word looks like it
    data = encode_body(put(body, path, marked))
    assert data.count(struct.pack("<Q", marked)) == 1
    if more == P:
        other = data.replace(
            struct.pack("<Q", marked), struct.pack("<Q", P + get(body, path) % (1 << 32) % (2**32 - 1))
        )
    else:
        other = data.replace(struct.pack("<Q", marked), b"\xff" * 8)
    refused(stage.with_body(honest, other), MALFORMED)


# The bytes around the body.


def payload(key: bytes | None = None, graph: bytes | None = None, body: bytes | None = None) -> Proof:
    old = decode_payload(small_proof().payload)
    new = [given if given is not None else kept for given, kept in zip((key, graph, body), old, strict=True)]
    return replace(small_proof(), payload=encode_payload(*new))


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "a byte less": lambda data: data[:-1],
    "a byte less in front": lambda data: data[1:],
    "a byte more": lambda data: data + b"\0",
    "a byte more in front": lambda data: b"\0" + data,
    "twice": lambda data: data + data,
    "half": lambda data: data[: len(data) // 2],
}


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("part", ["key", "graph", "body", "payload"])
def test_parts_of_the_payload(part: str, how: str) -> None:
    honest = small_proof()
    if part == "payload":
        refused(replace(honest, payload=BYTES[how](honest.payload)), VerificationError)
        return
    index = ("key", "graph", "body").index(part)
    proof = payload(**{part: BYTES[how](decode_payload(honest.payload)[index])})
    refused(proof, MALFORMED)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("by", [-1, 1, 1 << 16, (1 << 31) - 5])
def test_lengths_of_the_payload(at: int, by: int) -> None:
    data = bytearray(small_proof().payload)
    (length,) = struct.unpack_from(">I", data)
    place = 0 if at == 0 else 4 + length
    (old,) = struct.unpack_from(">I", data, place)
    struct.pack_into(">I", data, place, old + by)
    refused(replace(small_proof(), payload=bytes(data)), VerificationError)


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


def test_what_is_not_altered_is_accepted() -> None:
    stage, honest = small(), small_proof()
    assert stage.with_body(honest, stage.body(honest)) == honest
    assert payload() == honest
    assert graphed(lambda *_: None)() == honest
    assert Proof.from_bytes(canonical.encode(json.loads(honest.to_bytes()))) == honest
    stage.verify(honest)
