"""Fits the unit costs that `vml plan` predicts the native prover with.

Run on an idle machine: ``python -m benchmarks.sumcheck_costs [--runs N]``; writes ``vml/backends/sumcheck/costs.json``.
Networks of many shapes, and batches, are set up and proved; each group of stages that the prover reports is fitted by
non-negative least squares of relative errors to the counts of `vml.backends.sumcheck.work`. The fastest of a few runs
counts, so that other work on the machine disturbs little. The error of the fit is printed; that of predictions is for
`benchmarks.sumcheck` to say, which measures in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.machine import describe
from benchmarks.networks import CIRCUITS, NETWORKS, mlp
from benchmarks.sumcheck import Prepared
from benchmarks.sumcheck_process import timed
from vml import api
from vml.backends.sumcheck import estimate
from vml.backends.sumcheck.setup import model_circuit
from vml.backends.sumcheck.work import work_of
from vml.backends.types import SetupOptions
from vml.model.compiler import compile_model

TARGET = Path(estimate.__file__).with_name(estimate.COSTS)
GROUPS = {
    "start": "run",
    "running the model": "run",
    "committing": "commit",
    "lookups": "commit",
    "products": "products",
    "opening": "open",
}
"""Stage that the prover reports to the group it is fitted in; an unknown one is an error."""
PARTS = {"run": ("run",), "commit": ("commit", "lookups"), "products": ("products",), "open": ("open", "encode")}
"""Stages of `work` in each group."""
SHIPPED = ("breast-cancer-mlp", "digits-cnn", "digits-transformer")
SIZES = (30_000, 300_000, 2_000_000)
BATCHES = {"lenet5": (1, 3, 8), "digits-cnn": (1, 16), "mlp_100000": (1, 32)}

Sample = tuple[dict[str, dict[str, int]], dict[str, float]]
"""Counts by stage, with the set-up's as one; seconds by group."""


def shipped(name: str) -> tuple[bytes, dict[str, Any]]:
    folder = CIRCUITS / name
    with np.load(folder / "calibration.npz") as rows:
        return (folder / "model.onnx").read_bytes(), dict(rows)


def sources() -> dict[str, Callable[[], tuple[bytes, dict[str, Any]]]]:
    """Everything that is measured, by name."""

    def of(make: Callable[[], Any]) -> Callable[[], tuple[bytes, dict[str, Any]]]:
        def source() -> tuple[bytes, dict[str, Any]]:
            network = make()
            return network.onnx, network.calibration

        return source

    found: dict[str, Any] = {name: of(make) for name, make in NETWORKS.items()}
    found |= {f"mlp_{size}": of(lambda size=size: mlp(size)) for size in SIZES}
    found |= {name: (lambda name=name: shipped(name)) for name in SHIPPED}
    return found


def samples(source: tuple[bytes, dict[str, Any]], batches: tuple[int, ...], runs: int) -> list[Sample]:
    """Counts and seconds of one network's set-up and proofs."""
    found = []
    model = compile_model(source[0], calibration=source[1])
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        options = SetupOptions(cache_dir=Path(scratch), check=True)  # made anew, whatever the cache holds
        setup, keys = timed(lambda progress: api.setup(model, "sumcheck", options), runs)
        for batch in batches:
            rows = [
                {s.name: source[1][s.name][k % len(source[1][s.name])].reshape(s.shape) for s in model.inputs}
                for k in range(batch)
            ]
            inputs: Any = rows[0] if batch == 1 else rows
            prove, _ = timed(
                lambda progress, inputs=inputs: api.prove(
                    model, inputs, backend="sumcheck", keys=keys, progress=progress
                ),
                runs,
            )
            spent = {"setup": setup["median_s"]} if batch == 1 else {}
            for stage, seconds in prove["phases_s"].items():
                spent[GROUPS[stage]] = spent.get(GROUPS[stage], 0.0) + seconds
            work = work_of(model_circuit(model, batch))
            found.append(({"setup": dict(work.setup), **{s: dict(c) for s, c in work.prove.items()}}, spent))
    return found


def fit(measured: list[Sample], group: str, stages: tuple[str, ...]) -> tuple[dict[str, dict[str, float]], list[float]]:
    """Nanoseconds by stage and name, and the relative error at every sample."""
    rows = [(counts, spent[group]) for counts, spent in measured if group in spent]
    names = [(stage, name) for stage in stages for name in rows[0][0][stage]] + [(stages[0], "always")]
    matrix = np.array([[counts[s].get(n, 1) if n != "always" else 1 for s, n in names] for counts, _ in rows], float)
    seconds = np.array([spent for _, spent in rows])
    relative = matrix / seconds[:, None]
    scale = relative.max(axis=0) + (relative.max(axis=0) == 0)
    found = nnls(relative / scale, np.ones(len(rows)))[0] / scale
    costs: dict[str, dict[str, float]] = {stage: {"always": 0.0} for stage in stages}
    for (stage, name), cost in zip(names, found, strict=True):
        costs[stage][name] = float(f"{cost * 1e9:.4g}")
    return costs, [round(float(error), 3) for error in relative @ found - 1]


def process_bytes() -> int:
    """Memory of a process that proves something tiny, less what is counted for that."""
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        tiny = Prepared(mlp(min(SIZES)), Path(scratch) / "tiny")
        tiny.run("setup", 0)
        peak = tiny.run("prove", 2)["peak_bytes"]
        model = api.load_model(tiny.folder / "model.vml")
    work = work_of(model_circuit(model, 1))
    return int(peak - max(work.setup_bytes, work.prove_bytes) - estimate.constant_bytes(model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="write samples here, or read them where the file exists")
    given = parser.parse_args()
    if given.keep and given.keep.exists():
        speeds, named = json.loads(given.keep.read_text())
    else:
        speeds, named = [], []
        for name, source in sources().items():
            speeds.append(estimate.measure_speeds())
            for batch, sample in zip(
                BATCHES.get(name, (1,)), samples(source(), BATCHES.get(name, (1,)), given.runs), strict=True
            ):
                named.append([f"{name} x {batch}", sample])
                print(f"{name} x {batch}: {sample[1]}", file=sys.stderr, flush=True)
        if given.keep:
            given.keep.write_text(json.dumps([speeds, named]))
    measured = [sample for _, sample in named]
    costs: dict[str, Any] = {}
    for group, stages in {"setup": ("setup",), **PARTS}.items():
        found, errors = fit(measured, group, stages)
        costs |= found
        print(f"{group}: errors of the fit from {min(errors):+.0%} to {max(errors):+.0%}", file=sys.stderr)
    typical = {name: round(float(np.median([speed[name] for speed in speeds])), 3) for name in estimate.SPEEDS}
    value = {
        "machine": describe(["numba", "numpy"]),
        "speeds_ns": typical,
        "process_bytes": process_bytes(),
        "ns": costs,
    }
    TARGET.write_text(json.dumps(value, indent=2) + "\n")
    print(json.dumps(value, indent=2))


if __name__ == "__main__":
    main()
