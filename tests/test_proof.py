"""The envelope: one encoding a proof, everything else refused."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vml import canonical
from vml.claim import ZERO_CONTEXT, Claim
from vml.errors import MalformedProof
from vml.keccak import keccak256
from vml.proof import FORMAT, MAX_BYTES, MAX_CLAIMS, Proof

CLAIM = Claim(model=b"\x01" * 32, input=b"\x02" * 32, output=b"\x03" * 32, context=ZERO_CONTEXT)


@pytest.fixture
def proof() -> Proof:
    return Proof(
        scheme="ezkl/23.0.5/kzg-bn254",
        claims=(CLAIM,),
        public={"output": [{"name": "logits", "values": [1, -2, 3]}], "note": 'é "quoted" \n'},
        payload=bytes(range(256)),
    )


def respell(proof: Proof, **changes: Any) -> bytes:
    """The canonical encoding of the envelope's JSON with top-level fields replaced (None removes one)."""
    value = json.loads(proof.to_bytes())
    for name, change in changes.items():
        if change is None:
            del value[name]
        else:
            value[name] = change
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_round_trip(proof: Proof) -> None:
    data = proof.to_bytes()
    assert Proof.from_bytes(data) == proof
    assert Proof.from_bytes(data).to_bytes() == data
    assert json.loads(data)["format"] == FORMAT


def test_file_round_trip(proof: Proof, tmp_path: Path) -> None:
    proof.save(tmp_path / "a.proof.json")
    assert Proof.load(tmp_path / "a.proof.json") == proof
    assert [path.name for path in tmp_path.iterdir()] == ["a.proof.json"]


def test_backend_and_selector(proof: Proof) -> None:
    assert proof.backend == "ezkl"
    assert proof.selector == keccak256(b"ezkl/23.0.5/kzg-bn254")[:4]


def test_every_byte_matters(proof: Proof) -> None:
    """Any changed byte is refused, or gives another proof that says so in its own bytes."""
    data = proof.to_bytes()
    for index in range(len(data)):
        for flip in (0x01, 0x20, 0x80):
            changed = data[:index] + bytes([data[index] ^ flip]) + data[index + 1 :]
            try:
                other = Proof.from_bytes(changed)
            except MalformedProof:
                continue
            assert other != proof
            assert other.to_bytes() == changed


def test_truncated_and_extended(proof: Proof) -> None:
    data = proof.to_bytes()
    for length in range(len(data)):
        with pytest.raises(MalformedProof):
            Proof.from_bytes(data[:length])
    for tail in (b" ", b"\n", b"\0", b"{}", data):
        with pytest.raises(MalformedProof):
            Proof.from_bytes(data + tail)


SPELLINGS = {
    "white space": lambda d: d.replace(b":", b": ", 1),
    "leading space": lambda d: b" " + d,
    "byte order mark": lambda d: b"\xef\xbb\xbf" + d,
    "utf-16": lambda d: d.decode().encode("utf-16"),
    "key order": lambda d: b'{"format":"vml-proof/1",' + d[1:].replace(b'"format":"vml-proof/1",', b""),
    "duplicate key": lambda d: b'{"claims":[],' + d[1:],
    "same key twice": lambda d: d.replace(b'"format"', b'"format":"vml-proof/1","format"'),
    "escaped letter": lambda d: d.replace(b'"ezkl/', b'"\\u0065zkl/'),
    "escaped slash": lambda d: d.replace(b'"ezkl/', b'"ezkl\\/'),
    "upper-case escape": lambda d: d.replace(b"\\n", b"\\u000A"),
    "minus zero": lambda d: d.replace(b"[1,", b"[-0,"),
    "exponent": lambda d: d.replace(b"[1,", b"[1e0,"),
    "decimal point": lambda d: d.replace(b"[1,", b"[1.0,"),
    "a float": lambda d: d.replace(b"[1,", b"[1.5,"),
    "leading zero": lambda d: d.replace(b"[1,", b"[01,"),
    "2^53": lambda d: d.replace(b"[1,", b"[9007199254740992,"),
    "-2^53": lambda d: d.replace(b"[1,", b"[-9007199254740992,"),
    "10^5000": lambda d: d.replace(b"[1,", b"[1" + b"0" * 5000 + b","),
    "10^1000000": lambda d: d.replace(b"[1,", b"[1" + b"0" * 1_000_000 + b","),
    "NaN": lambda d: d.replace(b"[1,", b"[NaN,"),
    "Infinity": lambda d: d.replace(b"[1,", b"[Infinity,"),
    "lone surrogate": lambda d: d.replace(b"logits", b"\\ud800"),
    "lone surrogate key": lambda d: d.replace(b'"name"', b'"\\ud800"'),
    "invalid utf-8": lambda d: d.replace(b"logits", b"\xff\xfe"),
    "overlong utf-8": lambda d: d.replace(b"logits", b"\xc0\xaf"),
    "raw control character": lambda d: d.replace(b"\\n", b"\n"),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_another_spelling_is_refused(proof: Proof, spell: Any) -> None:
    data = proof.to_bytes()
    changed = spell(data)
    assert changed != data
    with pytest.raises(MalformedProof):
        Proof.from_bytes(changed)


@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [40, 2_000, 200_000, 5_000_000])
def test_deep_nesting_is_malformed(open_: bytes, close: bytes, depth: int) -> None:
    with pytest.raises(MalformedProof):
        Proof.from_bytes(open_ * depth + b"1" + close * depth)
    with pytest.raises(MalformedProof):
        Proof.from_bytes(open_ * depth)


def test_100_megabytes_of_noise_are_refused_at_once(tmp_path: Path) -> None:
    noise = tmp_path / "noise.proof.json"
    block = keccak256(b"noise") * 32768
    with noise.open("wb") as file:
        for _ in range(100):
            file.write(block)
    assert noise.stat().st_size == 100 << 20
    with pytest.raises(MalformedProof, match="at most"):
        Proof.load(noise)
    with pytest.raises(MalformedProof):
        Proof.from_bytes(block)


def test_too_many_values_are_refused_before_parsing() -> None:
    with pytest.raises(MalformedProof, match="values"):
        Proof.from_bytes(b"[" + b"0," * (MAX_BYTES // 2 - 8) + b"0]")


@pytest.mark.parametrize(
    "version", ["vml-proof/2", "vml-proof/1.0", "VML-PROOF/1", "", 1, None, ["vml-proof/1"], "vml-proof/" + "9" * 9999]
)
def test_another_version_is_refused(proof: Proof, version: Any) -> None:
    with pytest.raises(MalformedProof):
        Proof.from_bytes(respell(proof, format=version))


def test_version_is_named(proof: Proof) -> None:
    with pytest.raises(MalformedProof, match=r"vml-proof/2.*vml-proof/1"):
        Proof.from_bytes(respell(proof, format="vml-proof/2"))


@pytest.mark.parametrize("payload", ["AA=", "AA", "AB==", "A A=", "AA==\n", "_-==", "é", 1, None, [], "AA==="])
def test_payload_has_one_spelling(proof: Proof, payload: Any) -> None:
    changed = respell(proof, payload="x").replace(b'"payload":"x"', b'"payload":' + json.dumps(payload).encode())
    with pytest.raises(MalformedProof):
        Proof.from_bytes(changed)


def test_payload_may_be_empty(proof: Proof) -> None:
    assert Proof.from_bytes(respell(proof, payload="")).payload == b""


@pytest.mark.parametrize(
    "scheme",
    ["", "ezkl", "/", "ezkl/", "/ezkl", "Ezkl/1", "ezkl//1", "ezkl/ 1", "ezkl/é", "ezkl/\n", "a/" + "b" * 199, 1, []],
)
def test_scheme_is_plain(proof: Proof, scheme: Any) -> None:
    with pytest.raises(MalformedProof):
        Proof.from_bytes(respell(proof, scheme=scheme))


def test_claim_fields(proof: Proof) -> None:
    good = CLAIM.to_json()
    bad: list[Any] = [
        [],
        {},
        [good] * (MAX_CLAIMS + 1),
        [[]],
        [None],
        [{**good, "extra": "0x"}],
        [{k: v for k, v in good.items() if k != "input"}],
        [{**good, "input": good["input"].upper()}],
        [{**good, "input": "0x" + "AB" * 32}],
        [{**good, "input": good["input"][:-2]}],
        [{**good, "input": good["input"] + "00"}],
        [{**good, "input": good["input"][2:]}],
        [{**good, "input": " " + good["input"]}],
        [{**good, "input": 5}],
        [{**good, "input": None}],
    ]
    for claims in bad:
        with pytest.raises(MalformedProof):
            Proof.from_bytes(respell(proof, claims=claims))
    assert len(Proof.from_bytes(respell(proof, claims=[good] * 3)).claims) == 3


@pytest.mark.parametrize("data", [b"", b"null", b"1", b'"x"', b"[]", b"{}", b"\0", b"{", b"[1", b"tru"])
def test_not_an_envelope(data: bytes) -> None:
    with pytest.raises(MalformedProof):
        Proof.from_bytes(data)


def test_constructor_refuses_mistakes() -> None:
    good: dict[str, Any] = {"scheme": "a/b", "claims": (CLAIM,), "public": {}, "payload": b""}
    Proof(**good)
    for name, value, error in [
        ("scheme", "a", ValueError),
        ("scheme", b"a/b", TypeError),
        ("claims", (), ValueError),
        ("claims", [CLAIM], TypeError),
        ("claims", (CLAIM.to_json(),), TypeError),
        ("public", [], TypeError),
        ("payload", "x", TypeError),
        ("payload", bytearray(b"x"), TypeError),
    ]:
        with pytest.raises(error):
            Proof(**{**good, name: value})


@pytest.mark.parametrize("value", [1.0, float("nan"), 1 << 53, b"x", {1: 2}, {"a": {1, 2}}, object(), "\ud800"])
def test_public_must_be_canonical_json(value: Any) -> None:
    with pytest.raises(ValueError):
        Proof("a/b", (CLAIM,), {"x": value}, b"").to_bytes()


def test_too_large_to_write() -> None:
    with pytest.raises(ValueError, match="at most"):
        Proof("a/b", (CLAIM,), {}, bytes(50 << 20)).to_bytes()


def test_vectors() -> None:
    """The format's frozen vectors; `tests/vectors/make_proofs.py` writes them."""
    vectors = json.loads((Path(__file__).parent / "vectors" / "proof.json").read_text())
    for vector in vectors["valid"]:
        data = base64.b64decode(vector["bytes"])
        proof = Proof.from_bytes(data)
        assert proof.to_bytes() == data
        assert "0x" + proof.selector.hex() == vector["selector"]
        assert ["0x" + claim.digest().hex() for claim in proof.claims] == vector["digests"]
    for vector in vectors["malformed"]:
        with pytest.raises(MalformedProof):
            Proof.from_bytes(base64.b64decode(vector["bytes"]))


def test_deep_nesting_is_refused_whatever_the_recursion_limit() -> None:
    """A library may have raised the limit; the parser would then exhaust the stack."""
    code = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from vml import canonical\n"
        "for data in (b'[' * 500000, b'{\"a\":' * 500000, b'[\"' + b'[' * 500000, b'\"\\\\\"[' + b'[' * 500000):\n"
        "    try: canonical.decode(data, max_bytes=1 << 24)\n"
        "    except canonical.NotCanonical: continue\n"
        "    sys.exit(1)\n"
        "assert canonical.decode(b'\"' + b'[' * 500000 + b'\"', max_bytes=1 << 24) == '[' * 500000\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_too_deep_a_value_is_not_encoded() -> None:
    value: Any = 0
    for _ in range(canonical.MAX_DEPTH):
        value = [value]
    assert canonical.decode(canonical.encode(value), max_bytes=1 << 10) == value
    with pytest.raises(canonical.NotCanonical, match="levels deep"):
        canonical.encode([value])
