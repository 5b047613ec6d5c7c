"""What the command line costs before it does anything: whole processes, by wall and processor time.

Run: ``python -m benchmarks.cli_startup``. Writes ``results/cli_startup.json``. The proof that is verified is made
first, of ``circuits/breast-cancer-mlp``, in a folder of its own.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import publish

ROOT = Path(__file__).resolve().parents[1]
CIRCUIT = ROOT / "circuits" / "breast-cancer-mlp"
REPEATS = 15
LIMITS_S = {"help": 0.4, "verify": 1.5}


def timed(arguments: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Medians and best of several runs of one command, in seconds."""
    wall, cpu = [], []
    for _ in range(REPEATS):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(arguments, env=environment, cwd=ROOT, check=True, capture_output=True)
        wall.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "wall_s": round(statistics.median(wall), 3),
        "best_wall_s": round(min(wall), 3),
        "cpu_s": round(statistics.median(cpu), 3),
    }


def measure(work: Path) -> dict[str, Any]:
    """Every case, after a proof has been made."""
    environment = {**os.environ, "VML_CACHE_DIR": str(work / "cache")}
    vml = [sys.executable, "-m", "vml"]
    folder, proof = str(work / "model.vml"), str(work / "run.proof.json")
    samples, sample = str(CIRCUIT / "calibration.npz"), str(CIRCUIT / "sample.npz")
    for arguments in (
        ["compile", str(CIRCUIT / "model.onnx"), "-o", folder, "--calibrate", samples],
        ["prove", folder, sample, "-o", proof, "--backend", "ezkl"],
    ):
        subprocess.run([*vml, *arguments], env=environment, cwd=ROOT, check=True, capture_output=True)
    cases = {
        "python": [sys.executable, "-c", "pass"],
        "help": [*vml, "--help"],
        "verify": [*vml, "verify", proof, "--model", folder, "--allow-unsafe-setup", "--json"],
    }
    measured = {name: timed(arguments, environment) for name, arguments in cases.items()}
    load = round(os.getloadavg()[0], 1)
    return {
        "repeats": REPEATS,
        "load_average": load,
        "proof_bytes": Path(proof).stat().st_size,
        "limits_s": LIMITS_S,
        "cases": measured,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        measured = measure(Path(work))
    publish("cli_startup", ["vml", "typer", "numpy", "pydantic", "ezkl"], measured)


if __name__ == "__main__":
    main()
