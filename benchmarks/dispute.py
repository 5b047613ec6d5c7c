"""The optimistic backend: what a claim adds to an inference, what a trace costs, and disputes played to the end.

Run: ``python -m benchmarks.dispute [--only NETWORK ...] [--runs N]``; writes ``results/dispute.json``.
Each network is made, compiled, measured and disputed in processes of their own (`benchmarks.dispute_process`), so that
memory is that of the one thing. A claim is compared with the inference inside it, and with bare inferences turn by
turn, so that a busy machine disturbs both. With ``--only`` nothing is written, and what was measured is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.dispute_process import NETWORKS
from benchmarks.machine import publish

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vml", "numpy", "numba", "onnx", "onnxruntime")
CLAIM_OVERHEAD_TARGET = 0.03
ASSERTER_MOVES_TARGET = 6
STEP_GAS_TARGET = 1_500_000
WEIGHTS_TARGET = 100_000_000
MEMORY_TARGET = 24 << 30


def process(what: str, network: str, folder: Path, runs: int) -> dict[str, Any]:
    """Run `benchmarks.dispute_process` and read its answer."""
    command = [sys.executable, "-m", "benchmarks.dispute_process", what, network, str(folder), "--runs", str(runs)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measure(network: str, runs: int) -> dict[str, Any]:
    """Everything about one network."""
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        folder = Path(scratch)
        compiled = process("compile", network, folder, runs)
        return {
            **compiled,
            "overhead": process("overhead", network, folder, runs),
            **process("disputes", network, folder, runs),
        }


def targets(networks: dict[str, Any]) -> list[dict[str, Any]]:
    """What was aimed at, and what came out."""
    large = networks["transformer"]
    longest = {
        name: next(
            row["proved_gas"] for row in networks[name]["disputes"] if row["operator"] == networks[name]["longest"]
        )
        for name in ("lenet5", "resnet50")
    }
    rows = [
        ("resnet50", "claim_overhead", networks["resnet50"]["overhead"]["claim_overhead"], CLAIM_OVERHEAD_TARGET),
        *((name, "proved_gas", gas, STEP_GAS_TARGET) for name, gas in longest.items()),
        ("transformer", "peak_bytes", max(large["compile_peak_bytes"], large["disputes_peak_bytes"]), MEMORY_TARGET),
        *((name, "asserter_moves", row["asserter_moves"], ASSERTER_MOVES_TARGET) for name, row in networks.items()),
    ]
    found = [
        {"network": network, "what": what, "measured": measured, "target": target, "met": measured <= target}
        for network, what, measured, target in rows
    ]
    weights = large["weights"]
    reach = {"network": "transformer", "what": "weights", "measured": weights, "target": WEIGHTS_TARGET}
    return [*found, {**reach, "met": weights >= WEIGHTS_TARGET}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), help="print these, write nothing")
    parser.add_argument("--runs", type=int, default=15, help="turns of inference, claim, roots and trace")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    measured = {}
    for name in given.only or NETWORKS:
        print(f"# {name}", file=sys.stderr, flush=True)
        measured[name] = measure(name, given.runs)
    if given.only:
        print(json.dumps(measured, indent=2))
        return
    result = {"runs": given.runs, "load_average": round(load, 2), "networks": measured, "targets": targets(measured)}
    publish("dispute", PACKAGES, result)


if __name__ == "__main__":
    main()
