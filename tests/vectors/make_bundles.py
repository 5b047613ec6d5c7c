"""Makes the vectors of assertion bundles: a second implementation of the bytes, from docs/optimistic.md.

Nothing of vml is imported. Signatures are a wallet's: eth_account's own typed-data signing.

Run: ``python tests/vectors/make_bundles.py``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak
from eth_account import Account

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_bundles.py"
ORIGIN = "Written out by the generator from docs/optimistic.md, without importing vml; signed by eth_account."
KEYS = ("0x" + "11" * 32, "0x" + "22" * 32)
DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
MESSAGE = b"Assertion(bytes32 claim,address asserter,bytes32 terms,bytes32 trace,uint256 nonce)"
LARGEST = (1 << 256) - 1


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def padded(address: bytes) -> bytes:
    return bytes(12) + address


def digest(label: str) -> bytes:
    return keccak256(label.encode())


def typed(chain_id: int, game: bytes, message: dict[str, Any]) -> dict[str, Any]:
    """What a wallet is shown."""
    fields = ("name string", "version string", "chainId uint256", "verifyingContract address")
    members = ("claim bytes32", "asserter address", "terms bytes32", "trace bytes32", "nonce uint256")
    return {
        "domain": {
            "name": "vml dispute game",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": "0x" + game.hex(),
        },
        "types": {
            name: [dict(zip(("name", "type"), field.split(), strict=True)) for field in listed]
            for name, listed in (("EIP712Domain", fields), ("Assertion", members))
        },
        "primaryType": "Assertion",
        "message": message,
    }


def case(name: str, chain_id: int, game: bytes, trace: bytes, nonce: int, key: str | None) -> dict[str, Any]:
    """One bundle; without a chain it is asserted nowhere."""
    account = Account.from_key(key or KEYS[0])
    nowhere = chain_id == 0
    asserter = bytes(20) if nowhere else bytes.fromhex(account.address[2:])
    claim, graph = digest(f"{name} claim"), digest(f"{name} graph")
    terms = bytes(32) if nowhere else digest(f"{name} terms")
    inputs, outputs = digest(f"{name} inputs")[:7], digest(f"{name} outputs")
    domain = keccak256(
        keccak256(DOMAIN) + keccak256(b"vml dispute game") + keccak256(b"1") + word(chain_id) + padded(game)
    )
    struct = keccak256(keccak256(MESSAGE) + claim + padded(asserter) + terms + trace + word(nonce))
    signature = b""
    if key is not None:
        message = {"claim": claim, "asserter": account.address, "terms": terms, "trace": trace, "nonce": nonce}
        signature = bytes(Account.sign_typed_data(key, full_message=typed(chain_id, game, message)).signature)
    parts = [claim, word(chain_id), game, asserter, terms, trace, word(nonce), graph]
    for specs in (inputs, outputs):
        parts += [len(specs).to_bytes(4, "big"), specs]
    parts += [bytes([len(signature)]), signature]
    name_in_game = b"\x21" + word(1) + word(chain_id) + padded(game) + claim + padded(asserter)
    return {
        "name": name,
        "claim": claim.hex(),
        "chain_id": str(chain_id),
        "game": game.hex(),
        "asserter": asserter.hex(),
        "terms": terms.hex(),
        "trace": trace.hex(),
        "nonce": str(nonce),
        "graph": graph.hex(),
        "inputs": inputs.hex(),
        "outputs": outputs.hex(),
        "signature": signature.hex(),
        "id": keccak256(name_in_game + terms + trace + word(nonce)).hex(),
        "domain": domain.hex(),
        "struct": struct.hex(),
        "bytes": b"".join(parts).hex(),
    }


def build() -> dict[str, dict[str, Any]]:
    """The vector files by name."""
    game, trace = digest("game")[:20], digest("trace")
    cases = [
        case("signed", 31337, game, bytes(32), 0, KEYS[0]),
        case("signed, with a trace", 1, game, trace, 7, KEYS[1]),
        case("unsigned", 10, game, trace, 1, None),
        case("largest numbers", LARGEST, b"\xff" * 20, b"\xff" * 32, LARGEST, KEYS[0]),
        case("nowhere", 0, bytes(20), bytes(32), 0, None),
        case("nowhere, with a trace", 0, bytes(20), trace, 0, None),
    ]
    return {"bundles.json": {"origin": ORIGIN, "generator": GENERATOR, "bundles": cases}}


if __name__ == "__main__":
    for name, value in build().items():
        (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
