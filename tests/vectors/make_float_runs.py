"""Makes the vectors of float runs and of GPUs in payloads: a second implementation, from docs/tee-float.md.

Nothing of vml is imported. Certificates, receipts and signatures are those of ``receipts.json``; the certificate with
GPUs is made here, and its receipt is the one without: what a receipt signs does not depend on GPUs.

Run: ``python tests/vectors/make_float_runs.py``
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak

HERE = Path(__file__).parent
GENERATOR = "tests/vectors/make_float_runs.py"
ORIGIN = "Written out by the generator from docs/tee-float.md and receipts.json, without importing vml."
DTYPES = {"int64": 4, "float16": 5, "float32": 6, "float64": 7, "uint8": 8, "bool": 12}
CPU = {"name": "CPUExecutionProvider", "options": {}}
DESCRIPTION: dict[str, Any] = {
    "semantics": "onnxruntime-float/1",
    "runtime": "onnxruntime",
    "version": "1.20.1",
    "build": "ORT Build Info: git-commit-id=5c1b7ccbff",
    "providers": [CPU],
    "optimization": "disabled",
    "execution": "sequential",
    "threads": {"inside": 1, "between": 1},
    "deterministic": True,
    "machine": ["x86_64", "avx2", "fma"],
    "config": {"session.load_model_format": "ONNX"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "a processor": {},
    "another version": {"version": "1.20.2"},
    "another build": {"build": "mine"},
    "a GPU": {
        "providers": [{"name": "CUDAExecutionProvider", "options": {"use_tf32": "0", "device_id": "0"}}, CPU],
        "machine": ["x86_64", "avx2", "driver 550.90.07", "NVIDIA H100 80GB HBM3"],
    },
    "optimised": {"optimization": "all"},
    "eight threads": {"threads": {"inside": 8, "between": 1}},
    "any kernels": {"deterministic": False},
    "another machine": {"machine": ["aarch64", "asimd"]},
    "other session options": {"config": {"session.load_model_format": "ONNX", "session.set_denormal_as_zero": "1"}},
    "no session options": {"config": {}},
}
INPUTS = [("x", "float32", [1, 3]), ("größe", "int64", [])]
OUTPUTS = [("y", "float16", [2, 2, 1]), ("z", "float64", [1]), ("u", "uint8", [7]), ("b", "bool", [3])]


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def described(change: dict[str, Any]) -> bytes:
    """Canonical JSON: for ASCII names sorted as they are."""
    return json.dumps({**DESCRIPTION, **change}, sort_keys=True, separators=(",", ":")).encode()


def specs(tensors: list[tuple[str, str, list[int]]]) -> bytes:
    data = len(tensors).to_bytes(4, "big")
    for name, dtype, shape in tensors:
        text = name.encode()
        data += len(text).to_bytes(2, "big") + text + bytes([DTYPES[dtype], len(shape)])
        data += b"".join(dim.to_bytes(8, "big") for dim in shape)
    return data


def model_case(name: str, change: dict[str, Any], file: bytes, inputs: Any, outputs: Any) -> dict[str, Any]:
    description, source = described(change), hashlib.sha256(file).digest()
    given, made = specs(inputs), specs(outputs)
    preimage = b"\x0a" + keccak256(description) + source + keccak256(given) + keccak256(made)
    return {
        "name": name,
        "description": hexed(description),
        "source": hexed(source),
        "input_specs": [list(spec) for spec in inputs],
        "inputs": hexed(given),
        "outputs": hexed(made),
        "model": hexed(keccak256(preimage)),
    }


def cbor(value: int | bytes) -> bytes:
    """Deterministic CBOR of what stands in a key certificate."""
    major, number = (0, value) if isinstance(value, int) else (2, len(value))
    head = bytes([major << 5 | number]) if number < 24 else b""
    for size, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if not head and number < 1 << 8 * size:
            head = bytes([major << 5 | code]) + number.to_bytes(size, "big")
    return head + (b"" if isinstance(value, int) else value)


def certificate_digest(certificate: dict[str, Any], gpus: bytes | None) -> bytes:
    fields: list[int | bytes] = [certificate["algorithm"], *(unhex(certificate[n]) for n in ("public_key", "model"))]
    fields += [unhex(certificate["policy_id"]), int(certificate["epoch"]), int(certificate["not_after"])]
    fields += [] if gpus is None else [gpus]
    body = b"".join(bytes([key]) + cbor(value) for key, value in enumerate(fields, 1))
    return hashlib.sha256(b"vml/tee-key/v1" + bytes([5 << 5 | len(fields)]) + body).digest()


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def payload_case(name: str, receipt: dict[str, Any], description: bytes, gpus: list[bytes]) -> dict[str, Any]:
    certificate, said = receipt["certificate"], receipt["receipt"]
    named = hashlib.sha256(name.encode()).digest() if gpus else None
    data = bytes([certificate["algorithm"]])
    data += unhex(certificate["public_key"]) + unhex(certificate["model"]) + unhex(certificate["policy_id"])
    data += int(certificate["epoch"]).to_bytes(8, "big") + int(certificate["not_after"]).to_bytes(8, "big")
    data += hashlib.sha256(b"nonce").digest() + int(said["sequence"]).to_bytes(8, "big")
    data += int(said["issued_at"]).to_bytes(8, "big") + unhex(receipt["signature"]) + hashlib.sha256(b"onnx").digest()
    data += sized(description) if description else b""
    for part in (specs(INPUTS), specs(OUTPUTS), b'{"version":1}', b"evidence"):
        data += sized(part)
    if named is not None:
        data += named + bytes([len(gpus)]) + b"".join(map(sized, gpus))
    return {
        "name": name,
        "described": bool(description),
        "claim": said["claim"],
        "certificate_digest": hexed(certificate_digest(certificate, named)),
        "description": hexed(description),
        "gpus": [hexed(gpu) for gpu in gpus],
        "payload": hexed(data),
    }


def build() -> dict[str, dict[str, Any]]:
    """Every file that this makes, by name."""
    models = [model_case(name, change, b"file", INPUTS, OUTPUTS) for name, change in OTHERS.items()]
    models += [
        model_case("another file", {}, b"another", INPUTS, OUTPUTS),
        model_case("sides swapped", {}, b"file", OUTPUTS, INPUTS),
        model_case("inputs in another order", {}, b"file", INPUTS[::-1], OUTPUTS),
    ]
    receipts = json.loads((HERE / "receipts.json").read_text(encoding="utf-8"))["cases"]
    first = next(receipt for receipt in receipts if receipt["name"] == "secp256k1 first")
    payloads = [
        payload_case("a float run", first, described({}), []),
        payload_case("a float run beside two GPUs", first, described(OTHERS["a GPU"]), [b"first", b"second one"]),
        payload_case("an exact run beside a GPU", first, b"", [b"first"]),
    ]
    return {"float_runs.json": {"origin": ORIGIN, "generator": GENERATOR, "models": models, "payloads": payloads}}


def main() -> None:
    for name, value in build().items():
        (HERE / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
