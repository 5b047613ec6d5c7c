"""Makes the envelope vectors: a second implementation of the encoding, from docs/proof-format.md.

Nothing of vml is imported. The text is put together by hand, field by field, so that a mistake in an encoder would
have to be made twice.

Run: ``python tests/vectors/make_proofs.py``
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_proofs.py"
ORIGIN = "Written out by the generator from docs/proof-format.md, without importing vml."
CLAIM_TYPE = b"Claim(bytes32 model,bytes32 input,bytes32 output,bytes32 context)"


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def digest(fields: dict[str, bytes]) -> bytes:
    domain = keccak256(keccak256(b"EIP712Domain(string name,string version)") + keccak256(b"vml") + keccak256(b"1"))
    words = b"".join(fields[name] for name in ("model", "input", "output", "context"))
    return keccak256(b"\x19\x01" + domain + keccak256(keccak256(CLAIM_TYPE) + words))


def claim(label: str) -> dict[str, bytes]:
    return {name: keccak256(f"{label} {name}".encode()) for name in ("model", "input", "output", "context")}


def claim_text(fields: dict[str, bytes]) -> str:
    """The four fields in the order of their names."""
    return "{" + ",".join(f'"{name}":"0x{fields[name].hex()}"' for name in sorted(fields)) + "}"


def envelope(scheme: str, claims: list[dict[str, bytes]], public: str, payload: bytes) -> bytes:
    """The canonical bytes; `public` is JSON text that is canonical already."""
    listed = ",".join(claim_text(fields) for fields in claims)
    encoded = base64.b64encode(payload).decode()
    text = f'{{"claims":[{listed}],"format":"vml-proof/1","payload":"{encoded}","public":{public},"scheme":"{scheme}"}}'
    return text.encode("utf-8")


def valid(name: str, scheme: str, claims: list[dict[str, bytes]], public: str, payload: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "scheme": scheme,
        "selector": "0x" + keccak256(scheme.encode())[:4].hex(),
        "digests": ["0x" + digest(fields).hex() for fields in claims],
        "bytes": base64.b64encode(envelope(scheme, claims, public, payload)).decode(),
    }


def malformed(name: str, data: bytes) -> dict[str, str]:
    return {"name": name, "bytes": base64.b64encode(data).decode()}


def build() -> dict[str, dict[str, Any]]:
    """File name to content, for `tests/test_vectors.py`."""
    zero = {**claim("one"), "context": bytes(32)}
    good = envelope("ezkl/23.0.5/kzg-bn254", [zero], "{}", b"proof")
    content = {
        "origin": ORIGIN,
        "generator": GENERATOR,
        "valid": [
            valid("smallest", "a/b", [zero], "{}", b""),
            valid("one claim", "ezkl/23.0.5/kzg-bn254", [zero], '{"output":[1,-2,3]}', bytes(range(256))),
            valid("a batch", "sumcheck/1/keccak256", [claim("one"), claim("two")], "{}", b"\xff" * 33),
            valid(
                "names sort by UTF-16 code units, text is escaped as little as possible",
                "a/b",
                [claim("three")],
                '{"\\n\\u001f\\"\\\\":null,"/":[true,false,[],{}],"é":9007199254740991,'
                '"\U0001f600":-9007199254740991,"\ue000":0}',
                b"\x00",
            ),
        ],
        "malformed": [
            malformed("trailing newline", good + b"\n"),
            malformed("white space", good.replace(b'":', b'": ', 1)),
            malformed("another version", good.replace(b"vml-proof/1", b"vml-proof/2")),
            malformed("unknown field", good.replace(b'{"claims"', b'{"a":1,"claims"')),
            malformed("no payload", good.replace(b'"payload":"cHJvb2Y=",', b"")),
            malformed("unpadded base64", good.replace(b"cHJvb2Y=", b"cHJvb2Y")),
            malformed("stray bits in base64", good.replace(b"cHJvb2Y=", b"cHJvb2Z=")),
            malformed("upper-case hex", good.replace(b"0x" + b"00" * 32, b"0x" + b"0A" * 32)),
            malformed("a float", good.replace(b'"public":{}', b'"public":{"x":1.5}')),
            malformed("2^53", good.replace(b'"public":{}', b'"public":{"x":9007199254740992}')),
            malformed("names in the wrong order", good.replace(b'"public":{}', b'"public":{"b":1,"a":1}')),
            malformed("a name twice", good.replace(b'"public":{}', b'"public":{"a":1,"a":1}')),
            malformed("needless escape", good.replace(b'"public":{}', b'"public":{"\\u0061":1}')),
            malformed("lone surrogate", good.replace(b'"public":{}', b'"public":{"a":"\\ud800"}')),
            malformed("no claims", envelope("a/b", [], "{}", b"")),
            malformed("scheme without parameters", envelope("a", [zero], "{}", b"")),
            malformed("33 levels", envelope("a/b", [zero], '{"x":' + "[" * 32 + "]" * 32 + "}", b"")),
        ],
    }
    return {"proof.json": content}


if __name__ == "__main__":
    for file_name, content in build().items():
        (HERE / file_name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
