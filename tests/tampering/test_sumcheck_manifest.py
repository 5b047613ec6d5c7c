"""The tamper manifest of a sumcheck proof: every field of everything in it, how it is altered, and what must follow.

A field of a dataclass that is not in the manifest fails the suite (`test_the_manifest_has_every_field`). Alterations
of values are made after decoding and encoded again, so that nothing dies in the decoder that could reach the verifier;
alterations of bytes are made where the field lies in the encoded body, found by its neighbours.

A value in a matrix is the product of two things: which field, and how. Everything altered must end in the one error
that its row names; a proof that is altered and accepted is a failure whatever the error would have been.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.sumcheck.runs import small, small_proof
from vml.backends.sumcheck.fractions.types import FractionLayer, FractionProof
from vml.backends.sumcheck.opening.types import OpeningProof
from vml.backends.sumcheck.payload import Body, decode_payload, encode_body, encode_payload
from vml.backends.sumcheck.products.types import ProductProof
from vml.errors import ClaimMismatch, MalformedProof, ProofRejected, VerificationError
from vml.field.goldilocks import P
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
