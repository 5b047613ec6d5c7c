"""What checking attestation evidence takes: genuine evidence of every kind, a receipt, and loading the code.

Run: ``VML_VECTORS=FOLDER python -m benchmarks.tee``. Writes ``results/tee.json``. The folder holds public evidence
(``tee/MANIFEST.json``), which is no part of the project. The cases take turns, so that other work shows in all of them.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.cli_startup import timed
from benchmarks.machine import publish
from vml.tee import (
    AzureCollateral,
    Evidence,
    Kind,
    NvidiaCollateral,
    SnpCollateral,
    TrustAnchors,
    verify_evidence,
)
from vml.tee.azure.evidence import read_vtpm_evidence
from vml.tee.binding import Algorithm, KeyCertificate, Receipt, public_key_of, sign_receipt, verify_receipt
from vml.tee.dcap.collateral import read_collateral

RUNS = 200
LIMIT_MS = 8.0
RECEIPT_LIMIT_MS = 1.0
IMPORT_LIMIT_S = 0.3
IMPORTS = ("vml.tee", "vml.tee.appraise", "vml.backends.tee.verifier")
CASES = (
    *("sgx-v3-hello", "tdx-v4-uptodate", "tdx-v5-uptodate", "snp-milan-virtee", "nitro-dstack-2025-12"),
    *("nvidia-h100-545", "azure-snp-vtpm-v2"),
)
AIMED = {"sgx", "tdx", "snp", "nitro", "nvidia"}
IN_2025, IN_2026 = 1_748_736_000, 1_767_225_600


class Vectors:
    """The folder of genuine evidence."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.items = {item["id"]: item for item in json.loads((root / "MANIFEST.json").read_text())["vectors"]}

    def file(self, item: dict[str, Any], part: str) -> bytes:
        """The item's one file with `part` in its name."""
        path: str = next(file["path"] for file in item["files"] if part in file["path"])
        return (self.root / path).read_bytes()

    def evidence(self, name: str) -> tuple[Evidence, int]:
        """The evidence of an item, and a time at which it is to be checked."""
        item = self.items[name]
        if item["kind"] in ("sgx", "tdx"):
            data, collateral = self.file(item, ".bin"), (self.root / item["collateral"]).read_bytes()
            data = data[: len(data) - item["fields"]["trailing_bytes"]]
            return Evidence(Kind(item["kind"]), data, read_collateral(collateral)), item["verify_at"]["unix"]
        if item["kind"] == "snp":
            chain = SnpCollateral(self.file(item, "vcek.der"), self.file(item, "ask_ark"))
            return Evidence(Kind.SNP, self.file(item, "report"), chain), IN_2025
        if item["kind"] == "nitro":
            return Evidence(Kind.NITRO, self.file(item, "")), item["verify_at"]["unix"]
        if item["kind"] == "azure-vtpm":
            data = self.file(item, "evidence")
            vek = read_vtpm_evidence(data).vek
            assert vek is not None
            ark = (self.root / "roots" / "amd_milan.ask_ark.pem").read_bytes()
            return Evidence(Kind.AZURE, data, AzureCollateral(SnpCollateral(vek, ark))), IN_2026
        manifests = self.file(item, "driver_rim"), self.file(item, "vbios_rim")
        report = bytes.fromhex(self.file(item, "report").decode().strip())
        return Evidence(Kind.NVIDIA, report, NvidiaCollateral(self.file(item, "certchain"), *manifests)), IN_2025


def receipts() -> dict[str, Callable[[], object]]:
    """The check of one receipt, for each kind of key."""
    made: dict[str, Callable[[], object]] = {}
    for algorithm, curve in ((Algorithm.SECP256K1, ec.SECP256K1()), (Algorithm.P256, ec.SECP256R1())):
        key = ec.generate_private_key(curve)
        certificate = KeyCertificate(algorithm, public_key_of(key), bytes(32), bytes(32), 1, IN_2026)
        receipt = Receipt(bytes(32), certificate.key_id, 1, 1, IN_2025)
        signature = sign_receipt(receipt, algorithm, key)
        made[algorithm.name.lower()] = partial(verify_receipt, receipt, signature, certificate)
    return made


def turns(cases: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Medians of `RUNS` turns, in milliseconds of wall and processor time."""
    wall: dict[str, list[float]] = {name: [] for name in cases}
    cpu: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(RUNS + 3):
        for name, check in cases.items():
            begun, used = time.perf_counter(), time.process_time()
            check()
            if turn >= 3:
                wall[name].append(time.perf_counter() - begun)
                cpu[name].append(time.process_time() - used)
    return {
        name: {
            "median_ms": round(1e3 * statistics.median(wall[name]), 3),
            "best_ms": round(1e3 * min(wall[name]), 3),
            "median_cpu_ms": round(1e3 * statistics.median(cpu[name]), 3),
        }
        for name in cases
    }


def main() -> None:
    """Measure and write the result."""
    named = os.environ.get("VML_VECTORS")
    if named is None:
        sys.exit("set VML_VECTORS to a folder of genuine evidence")
    load, anchors = round(os.getloadavg()[0], 1), TrustAnchors.vendors()
    vectors = Vectors(Path(named) / "tee")
    checks: dict[str, Callable[[], object]] = {}
    for name in CASES:
        evidence, at = vectors.evidence(name)
        checks[name] = partial(verify_evidence, evidence, anchors, at)
    found = turns(checks)
    for name, row in found.items():
        aimed = str(vectors.evidence(name)[0].kind) in AIMED
        found[name] = {**row, **({"limit_ms": LIMIT_MS} if aimed else {})}
    measured = {
        "runs": RUNS,
        "load_average": load,
        "evidence": found,
        "receipts": {name: {**row, "limit_ms": RECEIPT_LIMIT_MS} for name, row in turns(receipts()).items()},
        "imports": {
            name: {**timed([sys.executable, "-c", f"import {name}"], dict(os.environ)), "limit_s": IMPORT_LIMIT_S}
            for name in IMPORTS
        },
    }
    publish("tee", ["vml", "cryptography", "cbor2", "lxml", "signxml", "pydantic"], measured)


if __name__ == "__main__":
    main()
