"""The native prover: set-up, proof, verification, memory and size on every network, growth, batches, first run.

Run: ``python -m benchmarks.sumcheck [NETWORK ...] [--runs N]``; writes ``results/sumcheck.json``.
Every figure comes from a process of its own (`benchmarks.sumcheck_process`): prediction, set-up, proof and
verification each start fresh, so that memory is that of the one thing and nothing is warm that a user would find cold.
Kernels are compiled and cached before, except for the first-run figure, which starts from an empty cache.
With networks named, only these are measured and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import publish
from benchmarks.networks import GROWTH, NETWORKS, Network
from vml.model.compiler import compile_model

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 2, 4, 8, 16, 32)
TARGETS: dict[str, dict[str, float]] = {
    "lenet5": {"prove_s": 1.0, "peak_bytes": 500e6, "setup_s": 2.0, "verify_s": 0.10, "proof_bytes": 350e3},
    "dense4m": {"prove_s": 4.0},
    "resnet8": {"prove_s": 5.0},
    "mobilenet025": {"prove_s": 5.0},
}
FIRST_RUN_TARGET_S = 40.0
PACKAGES = ("vml", "numpy", "numba")


def process(what: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run `benchmarks.sumcheck_process` and read its answer; ``process_s`` is the whole process."""
    command = [sys.executable, "-m", "benchmarks.sumcheck_process", what, *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, check=True, stdout=subprocess.PIPE, text=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return {**answer, "process_s": round(time.perf_counter() - started, 2)}


class Prepared:
    """A compiled network in a folder, with rows to prove and a cache for its keys."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        folder.mkdir()
        started = time.perf_counter()
        model = compile_model(network.onnx, calibration=network.calibration)
        self.compile_s = time.perf_counter() - started
        model.save(folder / "model.vml")
        self.activations = sum(node.header.size for node in model.graph.nodes if node.primitive != "constant")
        name, sample = next(iter(network.sample.items()))
        shape = (-1, *model.inputs[0].shape)
        rows = np.concatenate([sample.reshape(shape), network.calibration[name].reshape(shape)])
        np.savez(folder / "rows.npz", **{name: rows})

    def run(self, what: str, runs: int, batch: int = 1, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One process on this network."""
        return process(
            what,
            self.folder / "model.vml",
            self.folder / "cache",
            *("--rows", self.folder / "rows.npz", "--proof", self.folder / "proof.json"),
            *("--runs", str(runs), "--batch", str(batch)),
            environment=environment,
        )


def measure(prepared: Prepared, runs: int) -> dict[str, Any]:
    """Everything about one network."""
    predicted = prepared.run("plan", 0)
    setup = prepared.run("setup", min(runs, 3))
    prove = prepared.run("prove", runs)
    verify = prepared.run("verify", runs)
    result = {
        "weights": prepared.network.weights,
        "activations": prepared.activations,
        "compile_s": round(prepared.compile_s, 2),
        "sizes": predicted.pop("sizes"),
        "predicted": predicted,
        "setup": setup,
        "prove": prove,
        "verify": verify,
    }
    figures = figures_of(result)
    result["prediction_error"] = {
        name: round(predicted[name] / figures[measured] - 1, 3)
        for name, measured in (
            ("prove_s", "prove_s"),
            ("setup_s", "setup_s"),
            ("memory_bytes", "peak_bytes"),
            ("proof_bytes", "proof_bytes"),
        )
    }
    return result


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """What targets are about, of one network."""
    return {
        "setup_s": result["setup"]["median_s"],
        "prove_s": result["prove"]["median_s"],
        "verify_s": result["verify"]["median_s"],
        "proof_bytes": result["prove"]["proof_bytes"],
        "peak_bytes": max(result["prove"]["peak_bytes"], result["setup"]["peak_bytes"]),
    }


def growth(networks: Mapping[str, Any]) -> dict[str, Any]:
    """Slopes of log seconds over log (weights + activations), over all dense networks and over the last decade."""
    rows = [networks[f"mlp_{weights}"] for weights in GROWTH]
    sizes = [math.log(row["weights"] + row["activations"]) for row in rows]

    def slopes(seconds: list[float]) -> dict[str, float]:
        logs = [math.log(s) for s in seconds]
        last = (logs[-1] - logs[-2]) / (sizes[-1] - sizes[-2])
        return {"slope": round(float(np.polyfit(sizes, logs, 1)[0]), 3), "last_decade": round(last, 3)}

    return {
        "numbers": [row["weights"] + row["activations"] for row in rows],
        **{
            f"{what}_s": {"seconds": [row[what]["median_s"] for row in rows]}
            | slopes([row[what]["median_s"] for row in rows])
            for what in ("setup", "prove", "verify")
        },
        "proof_bytes": [row["prove"]["proof_bytes"] for row in rows],
    }


def batches(prepared: Prepared, runs: int) -> list[dict[str, Any]]:
    """Seconds and bytes an inference, by batch size."""
    rows = []
    for batch in BATCHES:
        prove, verify = prepared.run("prove", runs, batch), prepared.run("verify", runs, batch)
        rows.append(
            {
                "batch": batch,
                "prove_s": prove["median_s"],
                "verify_s": verify["median_s"],
                "proof_bytes": prove["proof_bytes"],
                "peak_bytes": prove["peak_bytes"],
                "prove_s_each": round(prove["median_s"] / batch, 4),
                "verify_s_each": round(verify["median_s"] / batch, 4),
                "bytes_each": round(prove["proof_bytes"] / batch),
            }
        )
        show("batch", rows[-1])
    return rows


def first_run(prepared: Prepared) -> dict[str, Any]:
    """A first set-up and proof where no kernel has been compiled, and the same again with the kernels cached."""
    with tempfile.TemporaryDirectory(prefix="vml-bench-kernels-") as empty:
        whole = {}
        for when in ("empty", "cached"):
            environment = {"NUMBA_CACHE_DIR": empty}
            steps = [prepared.run(what, 0, environment=environment) for what in ("setup", "prove")]
            whole[when] = round(sum(step["process_s"] for step in steps), 2)
    return {
        "network": prepared.network.name,
        "empty_cache_s": whole["empty"],
        "cached_s": whole["cached"],
        "extra_s": round(whole["empty"] - whole["cached"], 2),
        "target_s": FIRST_RUN_TARGET_S,
    }


def targets(networks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each target with what was measured; where it is missed, the longest stages."""
    rows = []
    for name, wanted in TARGETS.items():
        if name not in networks:
            continue
        figures = figures_of(networks[name])
        for what, target in wanted.items():
            row = {"network": name, "what": what, "measured": figures[what], "target": target}
            row["met"] = figures[what] <= target
            stage = what.removesuffix("_s")
            if not row["met"] and stage in ("prove", "setup"):
                phases = networks[name][stage]["phases_s"]
                row["where"] = dict(sorted(phases.items(), key=lambda item: -item[1])[:3])
            rows.append(row)
    return rows


def show(name: str, row: Mapping[str, Any]) -> None:
    """A line for whoever waits."""
    print(f"{name}: {json.dumps(row)}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", choices=[[], *NETWORKS], default=[])
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        measured: dict[str, Any] = {}
        kept: dict[str, Prepared] = {}
        for name in given.networks or NETWORKS:
            kept[name] = Prepared(NETWORKS[name](), Path(scratch) / name)
            if not measured:  # compiles kernels that are not cached yet
                kept[name].run("setup", 0)
                kept[name].run("prove", 0)
            measured[name] = measure(kept[name], given.runs)
            show(name, measured[name])
        result: dict[str, Any] = {
            "runs": given.runs,
            "load_average": load,
            "networks": measured,
            "targets": targets(measured),
        }
        if not given.networks:
            result["growth"] = growth(measured)
            result["batches"] = {"network": "lenet5", "rows": batches(kept["lenet5"], given.runs)}
            result["first_run"] = first_run(kept["lenet5"])
    if given.networks:
        print(json.dumps(result, indent=2))
    else:
        publish("sumcheck", PACKAGES, result)


if __name__ == "__main__":
    main()
