"""Solidity = Python = vectors, for every byte format of docs/commitments.md; and what both refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vml import merkle
from vml.claim import CLAIM_TYPE_HASH, CONTEXT_TYPE_HASH, DOMAIN_SEPARATOR, Claim, Context, parse_bytes32
from vml.errors import ProofRejected

VECTORS = Path(__file__).parents[1] / "vectors"
CLAIMS = json.loads((VECTORS / "claims.json").read_text(encoding="utf-8"))
COMMITMENTS = json.loads((VECTORS / "commitments.json").read_text(encoding="utf-8"))

Call = Callable[..., Any]
bytes32 = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
dtypes = st.sampled_from(sorted(merkle.DTYPES))
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def call(commitments: Any) -> Call:
    bound: Call = commitments.call
    return bound


@pytest.fixture(scope="module")
def refusal(commitments: Any) -> Call:
    """The name of the custom error a call reverts with, None when it succeeds."""

    def attempt(*arguments: object) -> str | None:
        try:
            commitments.call(*arguments)
        except Exception as error:
            return error.name  # type: ignore[attr-defined, no-any-return]
        return None

    return attempt


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def context_tuple(record: dict[str, str]) -> tuple[object, ...]:
    return (
        record["requester"],
        int(record["chainId"]),
        record["contract"],
        unhex(record["requestId"]),
        record["payee"],
        int(record["expiry"]),
    )


# ---- vectors


@pytest.mark.parametrize("vector", CLAIMS["claims"], ids=lambda vector: vector["name"])
def test_claim_vectors(call: Call, vector: dict[str, Any]) -> None:
    digest = unhex(vector["digest"])
    assert Claim.from_json(vector["claim"]).digest() == digest
    assert call("claimDigest", tuple(unhex(value) for value in vector["claim"].values())) == digest


@pytest.mark.parametrize("vector", CLAIMS["contexts"], ids=lambda vector: vector["name"])
def test_context_vectors(call: Call, vector: dict[str, Any]) -> None:
    commitment = unhex(vector["commitment"])
    assert Context.from_json(vector["context"]).commitment() == commitment
    assert call("contextCommitment", context_tuple(vector["context"])) == commitment


def test_constants(call: Call) -> None:
    assert call("empties") == (merkle.EMPTY, merkle.EMPTY_DESCRIPTOR)
    assert unhex(COMMITMENTS["empty"]) == merkle.EMPTY
    assert unhex(COMMITMENTS["empty_descriptor"]) == merkle.EMPTY_DESCRIPTOR
    assert call("typeHashes") == (DOMAIN_SEPARATOR, CLAIM_TYPE_HASH, CONTEXT_TYPE_HASH)


@pytest.mark.parametrize("vector", COMMITMENTS["tensors"], ids=lambda vector: vector["name"])
def test_tensor_vectors(call: Call, vector: dict[str, Any]) -> None:
    data, root = unhex(vector["bytes"]), unhex(vector["root"])
    dtype, shape = vector["dtype"], vector["shape"]
    array = np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder(">")).reshape(shape)
    assert merkle.tensor_bytes(array) == data
    assert merkle.tensor_tree(array).root == unhex(vector["merkle_root"])
    assert merkle.tensor_root(array) == merkle.tensor_root(array.astype(dtype)) == root
    assert call("tensorRoot", merkle.DTYPES[dtype], shape, data) == root
    assert call("tensorDigest", merkle.DTYPES[dtype], shape, unhex(vector["merkle_root"])) == root


@pytest.mark.parametrize("vector", COMMITMENTS["tensor_lists"], ids=lambda vector: str(len(vector["roots"])))
def test_tensor_list_vectors(call: Call, vector: dict[str, Any]) -> None:
    roots = [unhex(root) for root in vector["roots"]]
    assert merkle.tensors_root(roots) == call("tensorsRoot", roots) == unhex(vector["root"])


@pytest.mark.parametrize("vector", COMMITMENTS["graphs"], ids=lambda vector: vector["name"])
def test_graph_vectors(call: Call, vector: dict[str, Any]) -> None:
    descriptors = [unhex(item) for item in vector["descriptors"]]
    assert merkle.graph_tree(descriptors).root == unhex(vector["merkle_root"])
    assert merkle.graph_root(descriptors) == call("graphRoot", descriptors) == unhex(vector["root"])


@pytest.mark.parametrize(
    "vector", COMMITMENTS["openings"], ids=lambda vector: f"{vector['index']}-of-{vector['leaf_count']}"
)
def test_opening_vectors(call: Call, vector: dict[str, Any]) -> None:
    leaf, root, path = unhex(vector["leaf"]), unhex(vector["root"]), [unhex(item) for item in vector["path"]]
    depth = merkle.tree_depth(vector["leaf_count"])
    merkle.verify_opening(root, leaf, vector["index"], path, depth)
    call("verifyOpening", root, leaf, vector["index"], path, depth)


@pytest.mark.parametrize("vector", COMMITMENTS["models"], ids=lambda vector: vector["name"])
def test_model_vectors(call: Call, vector: dict[str, Any]) -> None:
    parts = [unhex(vector[name]) for name in ("semantics", "graph", "input_spec", "output_spec")]
    assert merkle.model_digest(*parts) == call("modelDigest", *parts) == unhex(vector["model"])


@pytest.mark.parametrize("vector", COMMITMENTS["hidden"], ids=("zero salt", "a salt"))
def test_hidden_vectors(call: Call, vector: dict[str, Any]) -> None:
    salt, root = unhex(vector["salt"]), unhex(vector["root"])
    assert merkle.hidden_field(salt, root) == call("hiddenField", salt, root) == unhex(vector["field"])


# ---- anything


@quick
@given(fields=st.tuples(bytes32, bytes32, bytes32, bytes32))
def test_any_claim(call: Call, fields: tuple[bytes, bytes, bytes, bytes]) -> None:
    assert Claim(*fields).digest() == call("claimDigest", fields)


@quick
@given(
    requester=addresses,
    chain_id=st.integers(0, 2**256 - 1),
    contract=addresses,
    request_id=bytes32,
    payee=addresses,
    expiry=st.integers(0, 2**64 - 1),
)
def test_any_context(
    call: Call, requester: bytes, chain_id: int, contract: bytes, request_id: bytes, payee: bytes, expiry: int
) -> None:
    texts = ["0x" + address.hex() for address in (requester, contract, payee)]
    context = Context(texts[0], chain_id, texts[1], request_id, texts[2], expiry)
    words = (texts[0], chain_id, texts[1], request_id, texts[2], expiry)
    assert context.commitment() == call("contextCommitment", words)


@quick
@given(data=st.data(), dtype=dtypes, shape=npst.array_shapes(min_dims=0, max_dims=5, min_side=1, max_side=7))
def test_any_tensor(call: Call, data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    array = data.draw(npst.arrays(np.dtype(dtype), shape))
    expected = call("tensorRoot", merkle.DTYPES[dtype], shape, merkle.tensor_bytes(array))
    assert merkle.tensor_root(array) == expected


@quick
@given(roots=st.lists(bytes32, min_size=1, max_size=9))
def test_any_tensor_list(call: Call, roots: list[bytes]) -> None:
    assert merkle.tensors_root(roots) == call("tensorsRoot", roots)


@quick
@given(descriptors=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=11))
def test_any_graph(call: Call, descriptors: list[bytes]) -> None:
    assert merkle.graph_root(descriptors) == call("graphRoot", descriptors)
    assert merkle.descriptor_leaf(descriptors[0]) == call("descriptorLeaf", descriptors[0])


@quick
@given(leaves=st.lists(bytes32, min_size=1, max_size=20), empty=bytes32)
def test_any_tree(call: Call, leaves: list[bytes], empty: bytes) -> None:
    assert merkle.merkle_root(leaves, empty) == call("merkleRoot", leaves, empty)


@quick
@given(chunk=st.binary(min_size=1, max_size=1024))
def test_any_leaf(call: Call, chunk: bytes) -> None:
    assert merkle.tensor_leaf(chunk) == call("tensorLeaf", chunk)


@quick
@given(parts=st.tuples(bytes32, bytes32, st.binary(max_size=200), st.binary(max_size=200)))
def test_any_model(call: Call, parts: tuple[bytes, bytes, bytes, bytes]) -> None:
    assert merkle.model_digest(*parts) == call("modelDigest", *parts)


# ---- what both refuse


@quick
@given(
    leaf_count=st.integers(1, 12),
    index=st.integers(0, 40),
    depth_off=st.integers(-1, 1),
    path_off=st.integers(-1, 1),
    wrong=st.sampled_from(("nothing", "root", "leaf", "sibling")),
)
def test_openings_are_accepted_and_refused_alike(
    call: Call, refusal: Call, leaf_count: int, index: int, depth_off: int, path_off: int, wrong: str
) -> None:
    tree = merkle.Tree([bytes([i]) * 32 for i in range(leaf_count)], merkle.EMPTY)
    leaves = [bytes([i]) * 32 for i in range(leaf_count)] + [merkle.EMPTY] * (2**tree.depth - leaf_count)
    inside = index % 2**tree.depth
    path = [*tree.open(inside), bytes(32)][: tree.depth + path_off] if tree.depth + path_off >= 0 else []
    depth = max(tree.depth + depth_off, 0)
    root, leaf = tree.root, leaves[inside]
    if wrong == "root":
        root = bytes(32)
    elif wrong == "leaf":
        leaf = b"\xfe" * 32
    elif wrong == "sibling" and path:
        path[-1] = b"\xfd" * 32
    try:
        merkle.verify_opening(root, leaf, index, path, depth)
    except ProofRejected as error:
        reasons = {"1": "PathLength", "3": "LeafIndex", "4": "WrongRoot"}
        expected: str | None = reasons[error.step.removeprefix("merkle ")[0]]
    else:
        expected = None
    assert refusal("verifyOpening", root, leaf, index, path, depth) == expected


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        ("LeafSize", ("tensorLeaf", b"")),
        ("LeafSize", ("tensorLeaf", bytes(1025))),
        ("NoLeaves", ("merkleRoot", [], bytes(32))),
        ("NoTensors", ("tensorsRoot", [])),
        ("NoLeaves", ("graphRoot", [])),
        ("EmptyDescriptor", ("graphRoot", [b"a", b""])),
        ("EmptyDescriptor", ("descriptorLeaf", b"")),
        ("UnknownDtype", ("tensorDigest", 0, [1], bytes(32))),
        ("UnknownDtype", ("tensorDigest", 5, [1], bytes(32))),
        ("BadRank", ("tensorDigest", 1, [1] * 256, bytes(32))),
        ("ZeroDimension", ("tensorDigest", 1, [1, 0], bytes(32))),
        ("TensorSize", ("tensorRoot", 2, [3], bytes(5))),
        ("NoLeaves", ("tensorRoot", 2, [0], b"")),
        ("Depth", ("verifyOpening", bytes(32), bytes(32), 0, [bytes(32)] * 65, 65)),
    ],
)
def test_solidity_refuses(refusal: Call, error: str, arguments: tuple[object, ...]) -> None:
    assert refusal(*arguments) == error


@pytest.mark.parametrize(
    "refused",
    [
        lambda: merkle.tensor_leaf(b""),
        lambda: merkle.tensor_leaf(bytes(1025)),
        lambda: merkle.merkle_root([], bytes(32)),
        lambda: merkle.tensors_root([]),
        lambda: merkle.graph_root([]),
        lambda: merkle.graph_root([b"a", b""]),
        lambda: merkle.descriptor_leaf(b""),
        lambda: merkle.tensor_digest("int128", [1], bytes(32)),
        lambda: merkle.tensor_digest("int8", [1] * 256, bytes(32)),
        lambda: merkle.tensor_digest("int8", [1, 0], bytes(32)),
        lambda: merkle.verify_opening(bytes(32), bytes(32), 0, [bytes(32)] * 65, 65),
        lambda: parse_bytes32("0x"),
    ],
)
def test_python_refuses_the_same(refused: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        refused()
