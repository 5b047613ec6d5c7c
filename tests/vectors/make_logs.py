"""Makes the vectors of transparency logs: a second implementation of the tree, and texts that others publish.

Nothing of vml is imported. The leaves and the roots of 0 to 8 of them are those that implementations of RFC 6962 test
themselves with (Certificate Transparency, `merkletree/merkle_tree_test.cc`; transparency-dev/merkle, `testonly`); the
note is the example of golang.org/x/mod/sumdb/note, which C2SP's signed-note describes. All of them were published; the
generator recomputes each root, and signs the note again with cryptography instead of pycryptodome.

Run: ``python tests/vectors/make_logs.py``
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_logs.py"
ORIGIN = (
    "Leaves and roots: published test vectors of RFC 6962 implementations (certificate-transparency, "
    "transparency-dev/merkle). Note: the published example of golang.org/x/mod/sumdb/note (C2SP signed-note). "
    "Checkpoint and proofs: written out by the generator from RFC 9162 and C2SP tlog-checkpoint, without importing vml."
)
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
NOTE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
NOTE_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return [*path(m, leaves[:k]), root(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), root(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), root(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), root(leaves[:k])]


def build() -> dict[str, dict[str, Any]]:
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES]
    assert [root(leaves[:size]).hex() for size in range(9)] == ROOTS
    seed = base64.b64decode(NOTE_SECRET.split("+", 4)[4])[1:]
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = b"\x01" + key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(b"PeterNeumann\n" + public).digest()[:4]
    assert f"PeterNeumann+{key_id.hex()}+{base64.b64encode(public).decode()}" == NOTE_KEY
    assert f"— PeterNeumann {base64.b64encode(key_id + key.sign(NOTE_TEXT.encode())).decode()}\n" == NOTE_LINE
    text = f"PeterNeumann\n8\n{base64.b64encode(bytes.fromhex(ROOTS[8])).decode()}\n"
    line = base64.b64encode(key_id + key.sign(text.encode())).decode()
    return {
        "logs.json": {
            "origin": ORIGIN,
            "generator": GENERATOR,
            "leaves": LEAVES,
            "roots": ROOTS,
            "inclusion": [
                {"size": n, "index": m, "proof": [each.hex() for each in path(m, leaves[:n])]}
                for n in range(1, 9)
                for m in range(n)
            ],
            "consistency": [
                {"first": m, "second": n, "proof": [each.hex() for each in subproof(m, leaves[:n], True)]}
                for n in range(1, 9)
                for m in range(1, n + 1)
            ],
            "note": {"key": NOTE_KEY, "secret": NOTE_SECRET, "text": NOTE_TEXT, "note": f"{NOTE_TEXT}\n{NOTE_LINE}"},
            "checkpoint": f"{text}\n— PeterNeumann {line}\n",
        }
    }


if __name__ == "__main__":
    for name, value in build().items():
        (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
