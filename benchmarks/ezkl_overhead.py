"""ezkl through vml against ezkl called by hand, on the same keys: what claims, checks and the worker cost.

Run: ``python -m benchmarks.ezkl_overhead [MODEL...] [--pairs N]``
By hand is ezkl's witness, prove and verify on the files vml made, in a process that has loaded ezkl. Through vml is
`prove` and `verify` in a process that has loaded vml: each starts a worker of its own, and vml checks its own proof
before handing it out. Turn by turn, so that a busy machine slows both; processor time is counted with children.
Starting the two programs, which a server does once, is measured apart.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import publish
from vml.backends.ezkl import calibration, srs
from vml.backends.ezkl.commitments import context_limbs
from vml.backends.ezkl.sample import write_input
from vml.backends.ezkl.setup import Circuit, setup
from vml.backends.types import SetupOptions

CIRCUITS = Path(__file__).resolve().parents[1] / "circuits"
MODELS = ("breast-cancer-mlp", "digits-cnn", "digits-mlp")

# Each reads a line, does one round, and prints wall and processor seconds.
ROUNDS = """
import json, resource, sys, time
def spent():
    own, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime
print("ready", flush=True)
for _ in sys.stdin:
    cpu, wall = spent(), time.perf_counter()
    round_()
    print("round", time.perf_counter() - wall, spent() - cpu, flush=True)
"""

BY_HAND = """
import sys, ezkl
folder, data, work, srs, reduced = sys.argv[1:]
def round_():
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
policy = Policy.default().relaxed(allow_unsafe_setup=True)
arrays = dict(np.load(sys.argv[2]))
def round_():
    circuit = load(Path(sys.argv[1]))
    proof, _ = prover.prove(circuit, arrays, bytes(32))
    verify(proof, ClaimExpectation(frozenset({circuit.identity})), policy, Environment())
"""


class Program:
    """A program that does rounds when it is told to."""

    def __init__(self, script: str, *arguments: str) -> None:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-c", script + ROUNDS, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._wait("ready")
        self.start_s = time.perf_counter() - started

    def _wait(self, word: str) -> list[float]:
        # ezkl prints to standard output as well.
        assert self._process.stdout is not None
        for line in self._process.stdout:
            first, *rest = line.split()[:3] or [""]
            if first == word:
                return [float(number) for number in rest]
        raise RuntimeError(f"the program ended with {self._process.wait()}")

    def round(self) -> tuple[float, float]:
        """Wall and processor seconds of one round."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        wall, cpu = self._wait("round")
        return wall, cpu

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def keys(name: str) -> Circuit:
    """The model's keys, from the cache or made now."""
    with np.load(CIRCUITS / name / "calibration.npz") as arrays:
        return setup((CIRCUITS / name / "model.onnx").read_bytes(), dict(arrays), SetupOptions())


def compare(name: str, pairs: int) -> dict[str, Any]:
    """Rounds by hand and through vml, turn by turn, on one model's keys."""
    circuit = keys(name)
    sample = CIRCUITS / name / "sample.npz"
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        work = Path(scratch)
        with np.load(sample) as arrays:
            inputs = calibration.check_inputs(circuit.statement.inputs, dict(arrays))
        tensors = [calibration.floats(inputs[t.name]) for t in circuit.statement.inputs]
        data = write_input(work / "input.json", [*tensors, context_limbs(bytes(32))])
        (work / "reduced.srs").write_bytes(srs.verifier_file(circuit.tau_g2))
        hand = Program(BY_HAND, str(circuit.folder), data, scratch, circuit.setup.path, str(work / "reduced.srs"))
        vml = Program(THROUGH_VML, str(circuit.folder), str(sample))
        hand.round()
        vml.round()
        rounds = [(hand.round(), vml.round()) for _ in range(pairs)]
        hand.close()
        vml.close()
    return {
        "log_rows": circuit.statement.log_rows,
        "pairs": pairs,
        "by_hand_s": round(statistics.median(one[0] for one, _ in rounds), 3),
        "through_vml_s": round(statistics.median(two[0] for _, two in rounds), 3),
        "ratio_median": round(statistics.median(two[0] / one[0] for one, two in rounds), 3),
        "by_hand_cpu_s": round(statistics.median(one[1] for one, _ in rounds), 3),
        "through_vml_cpu_s": round(statistics.median(two[1] for _, two in rounds), 3),
        "cpu_ratio_median": round(statistics.median(two[1] / one[1] for one, two in rounds), 3),
        "start_by_hand_s": round(hand.start_s, 3),
        "start_vml_s": round(vml.start_s, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--pairs", type=int, default=7)
    given = parser.parse_args()
    publish("ezkl_overhead", ["ezkl"], {"models": {name: compare(name, given.pairs) for name in given.models}})


if __name__ == "__main__":
    main()
