"""ezkl through vml against ezkl called by hand, on the same keys: what claims, checks and the worker cost.

Run: ``python -m benchmarks.ezkl_overhead [MODEL] [--pairs N]``
By hand is a fresh Python that calls ezkl's witness, prove and verify on the files vml made. Through vml is a
fresh Python that loads the keys, proves and verifies: both include starting Python, and vml's checks its own
proof before handing it out. Turn by turn, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import publish
from vml.backends.ezkl import calibration, srs
from vml.backends.ezkl.commitments import context_limbs
from vml.backends.ezkl.setup import Circuit, setup
from vml.backends.ezkl.tuner import write_input
from vml.backends.types import SetupOptions

CIRCUITS = Path(__file__).resolve().parents[1] / "circuits"

BY_HAND = """
import sys, ezkl
folder, data, work, srs, reduced = sys.argv[1:]
ezkl.gen_witness(data, folder + "/compiled", work + "/witness.json")
ezkl.prove(work + "/witness.json", folder + "/compiled", folder + "/pk", work + "/proof.json", srs)
assert ezkl.verify(work + "/proof.json", folder + "/settings.json", folder + "/vk", reduced, True)
"""

THROUGH_VML = """
import sys
from pathlib import Path
import numpy as np
from vml.backends.ezkl import prover
from vml.backends.ezkl.setup import load
from vml.backends.ezkl.verifier import verify
from vml.backends.types import ClaimExpectation, Environment
from vml.policy import Policy
circuit = load(Path(sys.argv[1]))
with np.load(sys.argv[2]) as arrays:
    proof, _ = prover.prove(circuit, dict(arrays), bytes(32))
policy = Policy.default().relaxed(allow_unsafe_setup=True)
verify(proof, ClaimExpectation(frozenset({circuit.identity})), policy, Environment())
"""


def timed(script: str, *arguments: str) -> tuple[float, float]:
    """Wall and processor seconds of a fresh Python running a script."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, "-c", script, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def keys(name: str) -> Circuit:
    """The model's keys, from the cache or made now."""
    with np.load(CIRCUITS / name / "calibration.npz") as arrays:
        return setup((CIRCUITS / name / "model.onnx").read_bytes(), dict(arrays), SetupOptions())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="digits-cnn")
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    circuit = keys(given.model)
    sample = CIRCUITS / given.model / "sample.npz"
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        work = Path(scratch)
        with np.load(sample) as arrays:
            inputs = calibration.check_inputs(circuit.statement.inputs, dict(arrays))
        tensors = [calibration.floats(inputs[t.name]) for t in circuit.statement.inputs]
        data = write_input(work / "input.json", [*tensors, context_limbs(bytes(32))])
        (work / "reduced.srs").write_bytes(srs.verifier_file(circuit.tau_g2))
        hand, vml = [], []
        for _ in range(given.pairs):
            arguments = (str(circuit.folder), data, scratch, circuit.setup.path, str(work / "reduced.srs"))
            hand.append(timed(BY_HAND, *arguments))
            vml.append(timed(THROUGH_VML, str(circuit.folder), str(sample)))
    ratios = [b[0] / a[0] for a, b in zip(hand, vml, strict=True)]
    publish(
        "ezkl_overhead",
        ["ezkl"],
        {
            "model": given.model,
            "pairs": given.pairs,
            "log_rows": circuit.statement.log_rows,
            "by_hand_s": round(statistics.median(wall for wall, _ in hand), 3),
            "through_vml_s": round(statistics.median(wall for wall, _ in vml), 3),
            "by_hand_cpu_s": round(statistics.median(cpu for _, cpu in hand), 3),
            "through_vml_cpu_s": round(statistics.median(cpu for _, cpu in vml), 3),
            "ratio_median": round(statistics.median(ratios), 3),
        },
    )


if __name__ == "__main__":
    main()
