"""Makes the claim and commitment vectors and the documented example: a second implementation.

Nothing of vml is imported. Trees are built by plain recursion over explicitly padded leaves, EIP-712 digests
from the type strings, so that a mistake would have to be made twice, in different words.

Run: ``python tests/vectors/make_commitments.py``
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "commitments.md"
GENERATOR = "tests/vectors/make_commitments.py"
ORIGIN = "Computed by the generator from the formulas of docs/commitments.md and EIP-712, without importing vml."

ITEM_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8}
DTYPE_CODES = {"int8": 1, "int16": 2, "int32": 3, "int64": 4}
# Number types besides: code, and letter of the module struct.
VALUE_TYPES = {
    "float16": (5, "e"),
    "float32": (6, "f"),
    "float64": (7, "d"),
    "uint8": (8, "B"),
    "uint16": (9, "H"),
    "uint32": (10, "I"),
    "uint64": (11, "Q"),
    "bool": (12, "?"),
}

CLAIM_TYPE = "Claim(bytes32 model,bytes32 input,bytes32 output,bytes32 context)"
CONTEXT_TYPE = (
    "Context(address requester,uint256 chainId,address contract,bytes32 requestId,address payee,uint64 expiry)"
)


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def text(label: str) -> bytes:
    """32 bytes that look like a digest and name where they come from."""
    return keccak256(label.encode())


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


# ---- claims


def claim_digest(fields: list[bytes]) -> bytes:
    domain = keccak256(keccak256(b"EIP712Domain(string name,string version)") + keccak256(b"vml") + keccak256(b"1"))
    return keccak256(b"\x19\x01" + domain + keccak256(keccak256(CLAIM_TYPE.encode()) + b"".join(fields)))


def claim_vector(name: str, fields: list[bytes]) -> dict[str, Any]:
    names = ("model", "input", "output", "context")
    return {
        "name": name,
        "claim": {key: hexed(value) for key, value in zip(names, fields, strict=True)},
        "digest": hexed(claim_digest(fields)),
    }


def context_vector(name: str, requester: int, chain: int, contract: int, request: bytes, payee: int, expiry: int):
    words = [requester, chain, contract, int.from_bytes(request, "big"), payee, expiry]
    encoded = b"".join(word.to_bytes(32, "big") for word in words)
    return {
        "name": name,
        "context": {
            "requester": f"0x{requester:040x}",
            "chainId": str(chain),
            "contract": f"0x{contract:040x}",
            "requestId": hexed(request),
            "payee": f"0x{payee:040x}",
            "expiry": str(expiry),
        },
        "commitment": hexed(keccak256(keccak256(CONTEXT_TYPE.encode()) + encoded)),
    }


def build_claims() -> dict[str, Any]:
    words = [text("model"), text("input"), text("output"), text("context")]
    claims = [
        claim_vector("all zero", [bytes(32)] * 4),
        claim_vector("all ones", [b"\xff" * 32] * 4),
        claim_vector("replayable", [*words[:3], bytes(32)]),
        claim_vector("bound to a context", words),
        claim_vector("input and output swapped", [words[0], words[2], words[1], words[3]]),
    ]
    address = int.from_bytes(text("address")[:20], "big")
    contexts = [
        context_vector("all zero", 0, 0, 0, bytes(32), 0, 0),
        context_vector("all ones", 2**160 - 1, 2**256 - 1, 2**160 - 1, b"\xff" * 32, 2**160 - 1, 2**64 - 1),
        context_vector("mainnet", address, 1, address ^ 1, text("request"), address ^ 2, 1_800_000_000),
        context_vector(
            "requester and payee swapped",
            address ^ 2,
            1,
            address ^ 1,
            text("request"),
            address,
            1_800_000_000,
        ),
    ]
    return {"origin": ORIGIN, "generator": GENERATOR, "claims": claims, "contexts": contexts}


# ---- commitments


def root_of(leaves: list[bytes]) -> bytes:
    """The root of exactly 2**k leaves."""
    if len(leaves) == 1:
        return leaves[0]
    half = len(leaves) // 2
    return keccak256(b"\x01" + root_of(leaves[:half]) + root_of(leaves[half:]))


def padded(leaves: list[bytes], empty: bytes) -> list[bytes]:
    size = 1
    while size < len(leaves):
        size *= 2
    return leaves + [empty] * (size - len(leaves))


def path_of(leaves: list[bytes], index: int) -> list[bytes]:
    """Siblings of one of 2**k leaves, the leaf's first."""
    if len(leaves) == 1:
        return []
    half = len(leaves) // 2
    near, far = (leaves[:half], leaves[half:]) if index < half else (leaves[half:], leaves[:half])
    return [*path_of(near, index % half), root_of(far)]


def tensor_leaves(data: bytes) -> list[bytes]:
    leaves = [keccak256(b"\x00" + data[at : at + 1024].ljust(1024, b"\0")) for at in range(0, len(data), 1024)]
    return padded(leaves, keccak256(b"\x00" + bytes(1024)))


def tensor_values(label: str, dtype: str, count: int) -> list[int]:
    """Values over the whole range, the extremes first."""
    bits = 8 * ITEM_BYTES[dtype]
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    stream = b"".join(text(f"{label}/{block}") for block in range(count * ITEM_BYTES[dtype] // 32 + 1))
    size = ITEM_BYTES[dtype]
    drawn = [int.from_bytes(stream[i * size : (i + 1) * size], "big", signed=True) for i in range(count)]
    return [low, high, -1, 0, 1, *drawn][:count]


def tensor_vector(name: str, dtype: str, shape: list[int]) -> dict[str, Any]:
    data = b"".join(
        value.to_bytes(ITEM_BYTES[dtype], "big", signed=True) for value in tensor_values(name, dtype, math.prod(shape))
    )
    return tensor_of(name, dtype, DTYPE_CODES[dtype], shape, data)


def tensor_of(name: str, dtype: str, code: int, shape: list[int], data: bytes) -> dict[str, Any]:
    root = root_of(tensor_leaves(data))
    dims = b"".join(dim.to_bytes(8, "big") for dim in shape)
    return {
        "name": name,
        "dtype": dtype,
        "shape": shape,
        "bytes": hexed(data),
        "merkle_root": hexed(root),
        "root": hexed(keccak256(b"\x02" + bytes([code, len(shape)]) + dims + root)),
    }


def value_vector(name: str, dtype: str, shape: list[int]) -> dict[str, Any]:
    """Elements of a type that the exact model has not: its odd values first, then whatever bits are no NaN."""
    code, letter = VALUE_TYPES[dtype]
    size, count = struct.calcsize(letter), math.prod(shape)
    odd = [0.0, -0.0, math.inf, -math.inf, 1.5, -2.0] if dtype.startswith("float") else [0, 1]
    data = b"".join(struct.pack(">" + letter, value) for value in odd)
    for block in range(4 * count * size // 32 + 1):
        drawn = text(f"{name}/{block}")
        for at in range(0, 32, size):
            (value,) = struct.unpack(">" + letter, drawn[at : at + size])
            data += struct.pack(">?", value) if dtype == "bool" else b"" if value != value else drawn[at : at + size]
    return tensor_of(name, dtype, code, shape, data[: count * size])


def tensors_vector(roots: list[bytes]) -> dict[str, Any]:
    return {
        "roots": [hexed(root) for root in roots],
        "root": hexed(keccak256(b"\x03" + len(roots).to_bytes(4, "big") + b"".join(roots))),
    }


def graph_vector(name: str, descriptors: list[bytes]) -> dict[str, Any]:
    root = root_of(padded([keccak256(b"\x04" + item) for item in descriptors], keccak256(b"\x04")))
    return {
        "name": name,
        "descriptors": [hexed(item) for item in descriptors],
        "merkle_root": hexed(root),
        "root": hexed(keccak256(b"\x05" + len(descriptors).to_bytes(4, "big") + root)),
    }


def opening_vector(leaf_count: int, index: int) -> dict[str, Any]:
    leaves = padded([text(f"leaf/{i}") for i in range(leaf_count)], keccak256(b"\x00" + bytes(1024)))
    return {
        "leaf_count": leaf_count,
        "index": index,
        "leaf": hexed(leaves[index]),
        "path": [hexed(sibling) for sibling in path_of(leaves, index)],
        "root": hexed(root_of(leaves)),
    }


def model_vector(name: str, semantics: bytes, graph: bytes, input_spec: bytes, output_spec: bytes) -> dict[str, Any]:
    preimage = b"\x06" + semantics + graph + keccak256(input_spec) + keccak256(output_spec)
    return {
        "name": name,
        "semantics": hexed(semantics),
        "graph": hexed(graph),
        "input_spec": hexed(input_spec),
        "output_spec": hexed(output_spec),
        "model": hexed(keccak256(preimage)),
    }


def build_commitments() -> dict[str, Any]:
    tensors = [
        tensor_vector("scalar", "int64", []),
        tensor_vector("one int8", "int8", [1]),
        tensor_vector("one int8 as a matrix", "int8", [1, 1]),
        tensor_vector("one short leaf", "int16", [2, 3]),
        tensor_vector("exactly one leaf", "int32", [16, 16]),
        tensor_vector("one byte more than a leaf", "int8", [1025]),
        tensor_vector("two leaves", "int16", [1, 4, 16, 16]),
        tensor_vector("three leaves", "int64", [3, 128]),
        tensor_vector("five leaves, the last short", "int16", [7, 11, 29]),
    ]
    graphs = [
        graph_vector("one descriptor", [b"\x00"]),
        graph_vector("two descriptors", [b"\x01first", b"\x02second"]),
        graph_vector("two descriptors in the other order", [b"\x02second", b"\x01first"]),
        graph_vector("three descriptors", [text("a"), text("b") * 3, text("c")[:5]]),
        graph_vector("five descriptors, one long", [b"\x07" * (i + 1) * 171 for i in range(5)]),
    ]
    roots = [bytes.fromhex(tensor["root"][2:]) for tensor in tensors]
    graph = bytes.fromhex(graphs[-1]["root"][2:])
    values = [value_vector(f"odd {dtype}", dtype, [1, 9]) for dtype in VALUE_TYPES]
    values += [value_vector("a float", "float32", []), value_vector("three leaves of floats", "float32", [3, 200])]
    return {
        "origin": ORIGIN,
        "generator": GENERATOR,
        "empty": hexed(keccak256(b"\x00" + bytes(1024))),
        "empty_descriptor": hexed(keccak256(b"\x04")),
        "tensors": tensors,
        "values": values,
        "tensor_lists": [tensors_vector(roots[:n]) for n in (1, 2, len(roots))],
        "graphs": graphs,
        "openings": [opening_vector(n, i) for n, i in ((1, 0), (2, 1), (3, 2), (3, 3), (5, 4), (8, 5), (9, 8))],
        "models": [
            model_vector("empty specifications", bytes(32), graph, b"", b""),
            model_vector("a model", text("semantics"), graph, b"input specification", b"output specification"),
        ],
        "hidden": [
            {"salt": hexed(salt), "root": hexed(root), "field": hexed(keccak256(b"\x10" + salt + root))}
            for salt, root in ((bytes(32), roots[0]), (text("salt"), roots[1]))
        ],
    }


# ---- docs/commitments.md


def groups(data: bytes, size: int = 2) -> str:
    return " ".join(data[at : at + size].hex() for at in range(0, len(data), size))


def worked_example() -> str:
    """One small claim from its elements up, as Markdown."""
    values = [-32768, 32767, -1, 0, 1, 258]
    data = b"".join(value.to_bytes(2, "big", signed=True) for value in values)
    (leaf,) = tensor_leaves(data)
    header = bytes([2, DTYPE_CODES["int16"], 2]) + (2).to_bytes(8, "big") + (3).to_bytes(8, "big")
    tensor = keccak256(header + leaf)
    tensors = keccak256(b"\x03" + (1).to_bytes(4, "big") + tensor)
    descriptors = [b"first", b"second", b"third"]
    leaves = [keccak256(b"\x04" + item) for item in descriptors]
    empty = keccak256(b"\x04")
    left, right = keccak256(b"\x01" + leaves[0] + leaves[1]), keccak256(b"\x01" + leaves[2] + empty)
    root = keccak256(b"\x01" + left + right)
    graph = keccak256(b"\x05" + (3).to_bytes(4, "big") + root)
    semantics = text("semantics")
    model = keccak256(b"\x06" + semantics + graph + keccak256(b"input") + keccak256(b"output"))
    return f"""\
The int16 tensor [[-32768, 32767, -1], [0, 1, 258]]:

    bytes        {groups(data)}
    leaf         {leaf.hex()}     H(00 || bytes || 1012 zeros), the root of its tree
    header       {groups(header[:3], 1)} | {groups(header[3:], 8)}
    tensor       {tensor.hex()}     H(header || leaf)
    as a list    {tensors.hex()}     H(03 || 00000001 || tensor)

A graph of the three descriptors "first", "second", "third" (any bytes will do here):

    leaf 0       {leaves[0].hex()}     H(04 || "first")
    leaf 1       {leaves[1].hex()}
    leaf 2       {leaves[2].hex()}
    leaf 3       {empty.hex()}     H(04), padding
    node 01      {left.hex()}     H(01 || leaf 0 || leaf 1)
    node 23      {right.hex()}
    tree         {root.hex()}     H(01 || node 01 || node 23)
    graph        {graph.hex()}     H(05 || 00000003 || tree)

The opening of leaf 2 in it: index 2, path [leaf 3, node 01], depth 2.

A model with H("semantics") as its semantics and the specifications "input" and "output":

    semantics    {semantics.hex()}
    model        {model.hex()}     H(06 || semantics || graph || H("input") || H("output"))

The claim that this model, on that tensor, gave that tensor, replayable on purpose:

    digest       {claim_digest([model, tensors, tensors, bytes(32)]).hex()}
"""


def documented(page: str) -> str:
    """The page with the worked example that follows from the formulas."""
    begin, end = "<!-- worked example, made by tests/vectors/make_commitments.py -->\n", "<!-- end -->"
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{worked_example()}\n{end}{tail}"


def build() -> dict[str, dict[str, Any]]:
    """File name to content, for `tests/test_vectors.py`."""
    return {"claims.json": build_claims(), "commitments.json": build_commitments()}


if __name__ == "__main__":
    for file_name, content in build().items():
        (HERE / file_name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(documented(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
