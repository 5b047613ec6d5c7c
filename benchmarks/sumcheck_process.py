"""One process of the native prover's benchmark: it does one thing, and says what that took as a line of JSON.

Run by `benchmarks.sumcheck`; by hand: ``python -m benchmarks.sumcheck_process WHAT MODEL CACHE [options]`` with WHAT

* ``plan``: what `vml plan` predicts, before anything else has run;
* ``setup``: keys, made anew every time;
* ``prove``: proofs with the keys in CACHE, of the rows in ``--rows``, written to ``--proof``;
* ``verify``: the proof in ``--proof``.

The first run of each is reported apart: it loads compiled kernels, or compiles them. Memory is the process's peak.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BACKEND = "sumcheck"


class Phases:
    """Seconds by stage, from a progress callback."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "start", time.perf_counter()

    def __call__(self, stage: str, _: float) -> None:
        if stage != self._stage:
            self.close()
            self._stage = stage

    def close(self) -> None:
        """Count the stage that is running."""
        now = time.perf_counter()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._since = now


def timed(
    run: Callable[[Callable[[str, float], None]], Any], runs: int, rank: float = 0.5
) -> tuple[dict[str, Any], Any]:
    """The first run apart, then the median of ``runs`` more, with its stages; and the last result.

    Args:
        rank: 0 shows the stages of the fastest run in place of the median's.
    """
    measured = []
    for _ in range(1 + runs):
        phases, cpu, wall = Phases(), time.process_time(), time.perf_counter()
        result = run(phases)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        phases.close()
        measured.append((wall, cpu, phases.seconds))
    first, rest = measured[0], sorted(measured[1:], key=lambda one: one[0])
    median = rest[(len(rest) - 1) // 2] if rest else first
    shown = rest[int((len(rest) - 1) * rank)] if rest else first
    return {
        "first_s": round(first[0], 4),
        "median_s": round(median[0], 4),
        "best_s": round(rest[0][0] if rest else first[0], 4),
        "median_cpu_s": round(median[1], 4),
        "phases_s": {stage: round(seconds, 4) for stage, seconds in shown[2].items() if seconds >= 5e-5},
    }, result


def plan(given: argparse.Namespace) -> dict[str, Any]:
    """What the backend predicts for one proof."""
    from vml.backends import get_backend
    from vml.backends.sumcheck.setup import model_circuit
    from vml.backends.sumcheck.work import work_of
    from vml.backends.types import Visibility
    from vml.model import Model

    model = Model.load(given.model)
    work = work_of(model_circuit(model, given.batch))
    estimates: list[float] = []
    for _ in range(2):
        started = time.perf_counter()
        estimate = get_backend(BACKEND).estimate(model, Visibility())
        estimates.append(round(time.perf_counter() - started, 3))
    return {
        "first_s": estimates[0],
        "again_s": estimates[1],
        "fits": estimate.fits,
        "reasons": list(estimate.reasons),
        "prove_s": round(estimate.prove_s, 4),
        "setup_s": round(estimate.setup_s, 4),
        "memory_bytes": estimate.memory_bytes,
        "proof_bytes": estimate.proof_bytes,
        "sizes": dict(work.sizes),
    }


def setup(given: argparse.Namespace) -> dict[str, Any]:
    """Keys, each time into an empty cache; those of the last run stay in CACHE."""
    from vml import api
    from vml.backends.types import SetupOptions

    model = api.load_model(given.model)

    def run(progress: Callable[[str, float], None]) -> Any:
        with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
            return api.setup(model, BACKEND, SetupOptions(cache_dir=Path(scratch), progress=progress))

    measured, _ = timed(run, given.runs)
    keys = api.setup(model, BACKEND, SetupOptions(cache_dir=given.cache))
    return {**measured, "verifying_key_bytes": len(keys.verifying_key), "peak_bytes": peak()}


def prove(given: argparse.Namespace) -> dict[str, Any]:
    """Proofs of the first ``--batch`` rows, with keys from CACHE."""
    import numpy as np

    from vml import api
    from vml.backends.types import SetupOptions

    started = time.perf_counter()
    model = api.load_model(given.model)
    keys = api.setup(model, BACKEND, SetupOptions(cache_dir=given.cache))
    load_s = time.perf_counter() - started
    with np.load(given.rows) as arrays:
        rows = [{name: arrays[name][k] for name in arrays.files} for k in range(given.batch)]
    inputs = rows[0] if given.batch == 1 else rows

    def run(progress: Callable[[str, float], None]) -> Any:
        return api.prove(model, inputs, backend=BACKEND, keys=keys, progress=progress)

    measured, proof = timed(run, given.runs)
    data = proof.to_bytes()
    given.proof.write_bytes(data)
    return {
        "load_s": round(load_s, 3),
        **measured,
        "payload_bytes": len(proof.payload),
        "proof_bytes": len(data),
        "peak_bytes": peak(),
    }


def verify(given: argparse.Namespace) -> dict[str, Any]:
    """One proof, from its bytes to a verdict."""
    import vml
    from vml import api
    from vml.backends.types import Environment, SetupOptions
    from vml.keccak import keccak256

    model = api.load_model(given.model)
    keys = api.setup(model, BACKEND, SetupOptions(cache_dir=given.cache))
    data, digest = given.proof.read_bytes(), keccak256(keys.verifying_key)

    def run(_: Callable[[str, float], None]) -> Any:
        return vml.verify(data, model=keys.model, key=digest, environment=Environment(model=model))

    measured, verdict = timed(run, given.runs)
    del measured["phases_s"]
    return {**measured, "security_bits": verdict.security_bits, "engine": verdict.engine, "peak_bytes": peak()}


def peak() -> int:
    """The most memory this program has held, in bytes (getrusage would count the parent it was forked from)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


WHAT = {"plan": plan, "setup": setup, "prove": prove, "verify": verify}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=sorted(WHAT))
    parser.add_argument("model", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--proof", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    json.dump(WHAT[given.what](given), sys.stdout)


if __name__ == "__main__":
    main()
