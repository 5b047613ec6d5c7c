"""Makes the vectors of signed runs: a second implementation of the payload's bytes, from docs/tee-backend.md.

Nothing of vml is imported. Certificates, receipts and signatures are those of ``receipts.json``, which a wallet and a
second implementation of P-256 made. What the other parts hold is of no matter to the layout: they are samples.

Run: ``python tests/vectors/make_signed_runs.py``
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_signed_runs.py"
ORIGIN = "Written out by the generator from docs/tee-backend.md and receipts.json, without importing vml."
NAMES = ("secp256k1 first", "secp256k1 largest", "P-256 word")
EVIDENCE = b'{"collateral":null,"data":"AQI=","event_log":null,"format":"vml-evidence/1","kind":"nitro"}'


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def derived(name: str, size: int = 32) -> bytes:
    return hashlib.shake_256(b"vml signed runs " + name.encode()).digest(size)


def case_of(receipt: dict[str, Any]) -> dict[str, Any]:
    """The payload of one receipt, field by field in the order of the page's table."""
    name, certificate, said = receipt["name"], receipt["certificate"], receipt["receipt"]
    nonce, source = derived(f"{name} nonce"), derived(f"{name} graph")
    inputs, outputs = derived(f"{name} inputs", 40), derived(f"{name} outputs", 0 if "P-256" in name else 50)
    parts = {"inputs": inputs, "outputs": outputs, "policy": b'{"version":1}', "evidence": EVIDENCE}
    data = bytes([certificate["algorithm"]])
    data += unhex(certificate["public_key"]) + unhex(certificate["model"]) + unhex(certificate["policy_id"])
    data += int(certificate["epoch"]).to_bytes(8, "big") + int(certificate["not_after"]).to_bytes(8, "big")
    data += nonce + int(said["sequence"]).to_bytes(8, "big") + int(said["issued_at"]).to_bytes(8, "big")
    data += unhex(receipt["signature"]) + source
    for part in parts.values():
        data += len(part).to_bytes(4, "big") + part
    return {
        "name": name,
        "claim": said["claim"],
        "key_id": receipt["key_id"],
        "certificate_digest": receipt["certificate_digest"],
        "nonce": "0x" + nonce.hex(),
        "source": "0x" + source.hex(),
        **{key: "0x" + part.hex() for key, part in parts.items()},
        "payload": "0x" + data.hex(),
    }


def build() -> dict[str, dict[str, Any]]:
    """Every file that this makes, by name."""
    receipts = json.loads((HERE / "receipts.json").read_text(encoding="utf-8"))["cases"]
    cases = [case_of(receipt) for receipt in receipts if receipt["name"] in NAMES]
    return {"signed_runs.json": {"origin": ORIGIN, "generator": GENERATOR, "cases": cases}}


def main() -> None:
    for name, value in build().items():
        (HERE / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
