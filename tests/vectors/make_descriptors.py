"""Makes the descriptor vectors: one node of every primitive, its bytes, and a whole small model's commitment.

Nothing of vml is imported: bytes are written field by field from the tables of docs/integer-model.md, so that a
mistake would have to be made twice, in different words.

Run: ``python tests/vectors/make_descriptors.py``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_descriptors.py"
ORIGIN = "Computed by the generator from the field tables of docs/integer-model.md, without importing vml."
DTYPES = {"int8": 1, "int16": 2, "int32": 3, "int64": 4}


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def unsigned(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def signed(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def dims(values: list[int]) -> bytes:
    return unsigned(len(values), 1) + b"".join(unsigned(v, 8) for v in values)


def view(offset: int, *strides: int) -> dict[str, Any]:
    return {"offset": offset, "strides": list(strides)}


def field(value: Any, kind: str) -> bytes:
    """One attribute's bytes."""
    if kind == "i64":
        return signed(value)
    if kind == "root":
        return bytes.fromhex(value)
    if kind == "dims":
        return dims(value)
    if kind == "view":
        strides = value["strides"]
        return unsigned(value["offset"], 8) + unsigned(len(strides), 1) + b"".join(map(signed, strides))
    if kind == "parts":
        out = unsigned(len(value), 1)
        for part in value:
            out += unsigned(part["length"], 8) + unsigned(part["offset"], 8) + unsigned(len(part["maps"]), 1)
            for runs in part["maps"]:
                out += unsigned(len(runs), 4)
                for length, start, step in runs:
                    out += unsigned(length, 8) + signed(start) + signed(step)
        return out
    return unsigned(value, {"u8": 1, "u32": 4, "u64": 8}[kind])


NONE = view(0)
FLAT = view(0, 1)
FIELDS: dict[str, tuple[int, list[tuple[str, str]]]] = {
    "input": (1, [("index", "u32")]),
    "constant": (2, [("root", "root")]),
    "dot": (16, [("contract", "dims"), ("a", "view"), ("b", "view"), ("bias", "view")]),
    "rescale": (
        17,
        [("x", "view"), ("shift", "u8"), ("multiplier", "i64"), ("multipliers", "view"), ("lo", "i64"), ("hi", "i64")],
    ),
    "lookup": (18, [("x", "view"), ("base", "i64")]),
    "affine": (19, [("a", "view"), ("b", "view"), ("alpha", "i64"), ("beta", "i64"), ("gamma", "i64")]),
    "multiply": (20, [("a", "view"), ("b", "view")]),
    "gather": (21, [("axis", "u8"), ("fill", "i64"), ("parts", "parts")]),
    "take": (22, [("x", "view"), ("index", "view"), ("size", "u64"), ("stride", "i64")]),
    "reduce_sum": (23, [("reduced", "dims"), ("x", "view")]),
    "reduce_max": (24, [("reduced", "dims"), ("x", "view")]),
    "less": (25, [("a", "view"), ("b", "view")]),
    "equal": (26, [("a", "view"), ("b", "view")]),
    "select": (27, [("condition", "view"), ("a", "view"), ("b", "view")]),
    "argmax": (28, [("length", "u64"), ("x", "view")]),
    "topk": (29, [("length", "u64"), ("x", "view")]),
    "divide": (30, [("a", "view"), ("b", "view")]),
    "isqrt": (31, [("x", "view")]),
}

# primitive, dtype, shape, lo, hi, inputs, attributes: a graph in order, every node used by a later one or an output.
NODES: list[tuple[str, str, list[int], int, int, list[int], dict[str, Any]]] = [
    ("input", "int16", [4], -300, 300, [], {"index": 0}),
    ("constant", "int8", [4], -3, 5, [], {"root": "<weights>"}),
    (
        "dot",
        "int16",
        [2],
        -1503,
        1505,
        [0, 1, 1],
        {"contract": [2], "a": view(0, 2, 1), "b": view(1, 0, 1), "bias": view(3, 0)},
    ),
    (
        "rescale",
        "int16",
        [2],
        0,
        753,
        [2],
        {"x": FLAT, "shift": 16, "multiplier": 32768, "multipliers": NONE, "lo": 0, "hi": 1000},
    ),
    ("affine", "int16", [4], -901, 899, [0], {"a": view(3, -1), "b": NONE, "alpha": -3, "beta": 0, "gamma": -1}),
    ("multiply", "int32", [4], -270300, 270300, [4, 0], {"a": FLAT, "b": view(0, 1)}),
    (
        "gather",
        "int16",
        [5],
        -300,
        753,
        [0, 3],
        {
            "axis": 0,
            "fill": -7,
            "parts": [
                {"length": 3, "offset": 1, "maps": [[[1, -1, 0], [2, 1, -1]]]},
                {"length": 2, "offset": 0, "maps": [[[2, 1, -1]]]},
            ],
        },
    ),
    ("argmax", "int8", [], 0, 4, [6], {"length": 5, "x": view(0, 1)}),
    ("take", "int16", [2], -300, 753, [6, 7], {"x": view(0, 0), "index": view(0, 0), "size": 5, "stride": 1}),
    ("reduce_sum", "int16", [2], -600, 600, [0], {"reduced": [2], "x": view(0, 2, 1)}),
    ("reduce_max", "int16", [], -600, 600, [9], {"reduced": [2], "x": view(0, 1)}),
    ("less", "int8", [2], 0, 1, [9, 10], {"a": FLAT, "b": view(0, 0)}),
    ("equal", "int8", [2], 0, 1, [9, 10], {"a": FLAT, "b": view(0, 0)}),
    ("select", "int16", [2], -600, 753, [11, 9, 8], {"condition": FLAT, "a": FLAT, "b": FLAT}),
    ("topk", "int8", [2], 0, 4, [6], {"length": 5, "x": view(0, 1)}),
    ("divide", "int16", [2], -600, 753, [13, 12], {"a": FLAT, "b": FLAT}),
    ("isqrt", "int8", [2], 0, 27, [15], {"x": FLAT}),
    ("constant", "int8", [28], -15, 12, [], {"root": "<table>"}),
    ("lookup", "int8", [2], -15, 12, [16, 17], {"x": FLAT, "base": 0}),
]
CONSTANTS = {"<weights>": [-3, 5, 0, 1], "<table>": list(range(12, -16, -1))}
OUTPUTS = {"y": 18, "top": 14, "product": 5}


def tensor_root(values: list[int]) -> str:
    """Of int8 values, at most one leaf."""
    leaf = keccak256(b"\x00" + b"".join(v.to_bytes(1, "big", signed=True) for v in values).ljust(1024, b"\x00"))
    return keccak256(b"\x02" + unsigned(1, 1) + dims([len(values)]) + leaf).hex()


def encode(node: tuple[str, str, list[int], int, int, list[int], dict[str, Any]]) -> bytes:
    name, dtype, shape, lo, hi, inputs, attributes = node
    kind, fields = FIELDS[name]
    head = unsigned(kind, 1) + unsigned(DTYPES[dtype], 1) + dims(shape) + signed(lo) + signed(hi)
    refs = unsigned(len(inputs), 1) + b"".join(unsigned(ref, 4) for ref in inputs)
    return head + refs + b"".join(field(attributes[key], kind_) for key, kind_ in fields)


def graph_root(descriptors: list[bytes]) -> bytes:
    level = [keccak256(b"\x04" + d) for d in descriptors]
    while len(level) & (len(level) - 1):
        level.append(keccak256(b"\x04"))
    while len(level) > 1:
        level = [keccak256(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return keccak256(b"\x05" + unsigned(len(descriptors), 4) + level[0])


def spec(name: str, node: int, scale: tuple[int, int]) -> bytes:
    """One outside tensor: float32, codes per unit as a ratio, no saturation."""
    _, dtype, shape, lo, hi, _, _ = NODES[node]
    out = unsigned(len(name), 2) + name.encode() + unsigned(7, 1) + b"float32" + unsigned(node, 4)
    out += unsigned(DTYPES[dtype], 1) + dims(shape) + signed(lo) + signed(hi) + unsigned(0, 1)
    for number in scale:
        size = (number.bit_length() + 7) // 8
        out += unsigned(size, 2) + unsigned(number, size)
    return out


def build() -> dict[str, dict[str, Any]]:
    """The vector files by name."""
    roots = {name: tensor_root(values) for name, values in CONSTANTS.items()}
    nodes = [
        (*node[:6], {key: roots.get(value, value) if key == "root" else value for key, value in node[6].items()})
        for node in NODES
    ]
    descriptors = [encode(node) for node in nodes]
    semantics = keccak256(b"the semantics digest is checked apart")
    inputs = unsigned(1, 4) + spec("x", 0, (100, 1))
    outputs = unsigned(len(OUTPUTS), 4) + b"".join(spec(name, node, (1 << 20, 3)) for name, node in OUTPUTS.items())
    root = graph_root(descriptors)
    model = keccak256(b"\x06" + semantics + root + keccak256(inputs) + keccak256(outputs))
    return {
        "descriptors.json": {
            "origin": ORIGIN,
            "generator": GENERATOR,
            "semantics": "vml-int/1",
            "semantics_stand_in": "0x" + semantics.hex(),
            "constants": {str(i): CONSTANTS[n[6]["root"]] for i, n in enumerate(NODES) if n[0] == "constant"},
            "inputs": {"x": {"node": 0, "scale": "100"}},
            "outputs": {name: {"node": node, "scale": f"{1 << 20}/3"} for name, node in OUTPUTS.items()},
            "nodes": [
                {
                    "primitive": name,
                    "header": {"dtype": dtype, "shape": shape, "lo": lo, "hi": hi},
                    "inputs": refs,
                    "attributes": attributes,
                    "descriptor": "0x" + descriptor.hex(),
                }
                for (name, dtype, shape, lo, hi, refs, attributes), descriptor in zip(nodes, descriptors, strict=True)
            ],
            "graph_root": "0x" + root.hex(),
            "model": "0x" + model.hex(),
        }
    }


if __name__ == "__main__":
    for file, content in build().items():
        (HERE / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
