"""Nodes that lie, fail or vanish, and a generated verifier that accepts everything, for tests of what stands around."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vml.chain import abi
from vml.chain.embedded import EmbeddedChain
from vml.chain.ezkl_adapter import Layout
from vml.chain.generate import FORMAT, Generated, load
from vml.chain.keys import Signer, from_private_key
from vml.keccak import keccak256

SCHEME = "ezkl/23.0.5/kzg-bn254/input-hashed/model-public"
KEY = "0x" + "4c" * 32
MODEL = bytes(range(32))
CONTEXT = bytes(range(100, 132))
PROOF_BYTES = 64
DIGEST, CONTEXT_DIGEST = (77).to_bytes(32, "big"), (78).to_bytes(32, "big")
OUTPUT = [(n).to_bytes(32, "big") for n in (3, 4)]
HEADER = b"\x08" + (1).to_bytes(4, "big") + (1).to_bytes(4, "big") + (2).to_bytes(8, "big")

YES = bytes.fromhex("60015f5260205ff3")
"""Runtime code that answers one word, 1, to everything."""


def signer() -> Signer:
    return from_private_key(KEY)


def signed(nonce: int, data: bytes, to: str | None = None, *, gas: int = 3_000_000, fee: int = 10**10) -> bytes:
    """A transaction of the signer's for chain 31337."""
    fields: dict[str, Any] = {"type": 2, "chainId": 31337, "nonce": nonce, "gas": gas, "data": data, "value": 0}
    fields |= {"maxFeePerGas": fee, "maxPriorityFeePerGas": fee}
    return signer().sign(fields | ({"to": to} if to else {}))


def creation_of(runtime: bytes) -> bytes:
    """Creation code that leaves this code."""
    return b"\x61" + len(runtime).to_bytes(2, "big") + bytes.fromhex("80600a5f395ff3") + runtime


def write_generated(folder: Path, runtime: bytes = YES, model: bytes = MODEL) -> Generated:
    """A folder as `vml contract generate` writes one, around a verifier of our own."""
    creation = creation_of(runtime)
    layout = Layout(model, bytes(32), PROOF_BYTES, 1, len(OUTPUT), b"\x09", HEADER)
    manifest = {
        "format": FORMAT,
        "name": "Verifier",
        "scheme": SCHEME,
        "model": "0x" + model.hex(),
        "vk_digest": "0x" + "5a" * 32,
        "unsafe_setup": False,
        "code_hash": "0x" + keccak256(runtime).hex(),
        "creation_hash": "0x" + keccak256(creation).hex(),
        "layout": layout.to_json(),
        "vka": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "bytecode").write_text("0x" + creation.hex() + "\n")
    return load(folder)


def honest() -> tuple[tuple[bytes, bytes, bytes, bytes], bytes, list[int]]:
    """A claim, a transcript and instances that fit the layout of `write_generated`."""
    limbs = [int.from_bytes(CONTEXT[at : at + 2], "big") for at in range(0, 32, 2)]
    words = [int.from_bytes(word, "big") for word in (DIGEST, CONTEXT_DIGEST, *OUTPUT)] + limbs
    claim = (MODEL, keccak256(b"\x09" + DIGEST), keccak256(HEADER + b"".join(OUTPUT)), CONTEXT)
    return claim, bytes(range(PROOF_BYTES)), words


def encoded(transcript: bytes, words: list[int]) -> bytes:
    """A proof as the router takes it."""
    return keccak256(SCHEME.encode())[:4] + abi.encode(["bytes", "uint256[]"], [transcript, words])


Hook = Callable[[Any, list[Any]], Any]


class Liar:
    """A node in front of another: `lies[method]` is given the true answer and the parameters and answers instead.

    Args:
        behind: the true node.
        dies_at: number of the request at which the connection is lost for good; None never.
        after: the last request reaches the node, and only its answer is lost.
    """

    def __init__(self, behind: Any = None, *, dies_at: int | None = None, after: bool = False) -> None:
        self.behind = behind or EmbeddedChain()
        self.lies: dict[str, Hook] = {}
        self.requests: list[str] = []
        self._dies_at, self._after = dies_at, after

    def make_request(self, method: str, params: Any) -> Any:
        self.requests.append(method)
        if self._dies_at is not None and len(self.requests) >= self._dies_at:
            if self._after and len(self.requests) == self._dies_at:
                self.behind.make_request(method, params)
            raise ConnectionError("gone")
        answer = dict(self.behind.make_request(method, params))
        if method in self.lies and "result" in answer:
            answer["result"] = self.lies[method](answer["result"], list(params))
        return answer


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
