"""Fixed binary encoding of operator descriptors, and its JSON twin.

One table of field types serves three directions: bytes out (committed in the graph root), bytes in (strict: what
decodes must encode to the same bytes), and JSON (the readable ``graph.json``). All integers are big-endian.

==========  ==========================================================================================
field type  bytes
==========  ==========================================================================================
u8 u32 u64  unsigned, 1, 4, 8 bytes
i64         two's complement, 8 bytes
root        32 bytes
dims        u8 count, then u64 each
view        u64 offset, u8 count, then i64 strides
parts       u8 count; each part: u64 length, u64 offset, u8 axes, per axis u32 runs of (u64, i64, i64)
==========  ==========================================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class View(NamedTuple):
    """Where a loop index lies in a tensor's flat storage: ``offset + sum(strides * index)``, in elements."""

    offset: int
    strides: tuple[int, ...]


class Run(NamedTuple):
    """``length`` positions of one axis: position j adds ``start + step * j`` to the offset; start < 0 is fill."""

    length: int
    start: int
    step: int


class Part(NamedTuple):
    """A slab of a gather's output along its join axis: ``length`` positions read from one input at ``offset``."""

    length: int
    offset: int
    maps: tuple[tuple[Run, ...], ...]


class Reader:
    """A cursor over bytes that refuses to read past the end.

    Raises:
        ValueError: on truncated input.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, count: int) -> bytes:
        chunk = self.data[self.position : self.position + count]
        if len(chunk) != count:
            raise ValueError(f"descriptor ends at byte {len(self.data)}, {count} more were expected")
        self.position += count
        return chunk

    def number(self, form: str) -> int:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(value)


@dataclass(frozen=True)
class FieldType:
    """How one field goes to bytes, from bytes, to JSON and from JSON."""

    encode: Callable[[Any], bytes]
    decode: Callable[[Reader], Any]
    to_json: Callable[[Any], Any] = lambda value: value
    from_json: Callable[[Any], Any] = lambda value: value


def _number(form: str) -> FieldType:
    def from_json(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"expected an integer, got {value!r}")
        return value

    return FieldType(lambda value: struct.pack(form, value), lambda reader: reader.number(form), from_json=from_json)


def encode_dims(dims: tuple[int, ...]) -> bytes:
    return struct.pack(f">B{len(dims)}Q", len(dims), *dims)


def decode_dims(reader: Reader) -> tuple[int, ...]:
    return tuple(reader.number(">Q") for _ in range(reader.number(">B")))


def _encode_root(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError(f"a root has 32 bytes, not {len(value)}")
    return value


def _encode_view(view: View) -> bytes:
    return struct.pack(f">QB{len(view.strides)}q", view.offset, len(view.strides), *view.strides)


def _decode_view(reader: Reader) -> View:
    offset = reader.number(">Q")
    return View(offset, tuple(reader.number(">q") for _ in range(reader.number(">B"))))


def _encode_parts(parts: tuple[Part, ...]) -> bytes:
    out = [struct.pack(">B", len(parts))]
    for part in parts:
        out.append(struct.pack(">QQB", part.length, part.offset, len(part.maps)))
        for runs in part.maps:
            out.append(struct.pack(">I", len(runs)))
            out.extend(struct.pack(">Qqq", *run) for run in runs)
    return b"".join(out)


def _decode_parts(reader: Reader) -> tuple[Part, ...]:
    def runs() -> tuple[Run, ...]:
        return tuple(
            Run(reader.number(">Q"), reader.number(">q"), reader.number(">q")) for _ in range(reader.number(">I"))
        )

    return tuple(
        Part(reader.number(">Q"), reader.number(">Q"), tuple(runs() for _ in range(reader.number(">B"))))
        for _ in range(reader.number(">B"))
    )


def _ints(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or any(not isinstance(v, int) or isinstance(v, bool) for v in values):
        raise ValueError(f"expected a list of integers, got {values!r}")
    return tuple(values)


def _record(value: Any, fields: tuple[str, ...]) -> list[Any]:
    """The members of a JSON object with exactly these fields, in their order."""
    if not isinstance(value, dict) or set(value) != set(fields):
        raise ValueError(f"expected an object of {', '.join(fields)}, got {value!r}")
    return [value[name] for name in fields]


def _view_from_json(value: Any) -> View:
    offset, strides = _record(value, View._fields)
    return View(_ints([offset])[0], _ints(strides))


def _parts_from_json(values: Any) -> tuple[Part, ...]:
    def part(value: Any) -> Part:
        length, offset, maps = _record(value, Part._fields)
        length, offset = _ints([length, offset])
        return Part(length, offset, tuple(tuple(Run(*_ints(run)) for run in runs) for runs in maps))

    return tuple(part(value) for value in values)


FIELD_TYPES: dict[str, FieldType] = {
    "u8": _number(">B"),
    "u32": _number(">I"),
    "u64": _number(">Q"),
    "i64": _number(">q"),
    "root": FieldType(_encode_root, lambda reader: reader.take(32), lambda value: value.hex(), bytes.fromhex),
    "dims": FieldType(encode_dims, decode_dims, list, _ints),
    "view": FieldType(
        _encode_view,
        _decode_view,
        lambda view: {"offset": view.offset, "strides": list(view.strides)},
        _view_from_json,
    ),
    "parts": FieldType(
        _encode_parts,
        _decode_parts,
        lambda parts: [
            {"length": p.length, "offset": p.offset, "maps": [[list(run) for run in runs] for runs in p.maps]}
            for p in parts
        ],
        _parts_from_json,
    ),
}

Fields = tuple[tuple[str, str], ...]
Attributes = Mapping[str, Any]


def encode_fields(fields: Fields, attributes: Attributes) -> bytes:
    """The attributes' bytes in table order. Raises ValueError for a missing, extra or out-of-range attribute."""
    if set(attributes) != {name for name, _ in fields}:
        raise ValueError(f"attributes {sorted(attributes)} are not {[name for name, _ in fields]}")
    try:
        return b"".join(FIELD_TYPES[kind].encode(attributes[name]) for name, kind in fields)
    except struct.error as error:
        raise ValueError(f"attribute out of range: {error}") from error


def decode_fields(fields: Fields, reader: Reader) -> dict[str, Any]:
    return {name: FIELD_TYPES[kind].decode(reader) for name, kind in fields}


def fields_to_json(fields: Fields, attributes: Attributes) -> dict[str, Any]:
    return {name: FIELD_TYPES[kind].to_json(attributes[name]) for name, kind in fields}


def fields_from_json(fields: Fields, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != {name for name, _ in fields}:
        raise ValueError(f"attributes {value!r} are not {[name for name, _ in fields]}")
    return {name: FIELD_TYPES[kind].from_json(value[name]) for name, kind in fields}
