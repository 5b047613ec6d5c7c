"""Float runs of the shipped models: which settings change a bit, how large a proof is, how long each end takes.

Run: ``python -m benchmarks.tee_float``
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from vml.arrays import load_arrays
from vml.backends.tee.inside import run
from vml.backends.tee.session import FloatModel
from vml.backends.tee.simulated import simulated_key
from vml.backends.tee.verifier import verify
from vml.backends.types import TEE_ANCHORS, TEE_NONCE, TEE_POLICIES, Attesting, ClaimExpectation, Environment
from vml.claim import ZERO_CONTEXT
from vml.model.importer import import_model
from vml.policy import Policy
from vml.tee_sim import anchors, matching_policy

CIRCUITS = Path(__file__).parents[1] / "circuits"
AT, NONCE, REPEATS, ROWS = 1_800_000_000, b"\x5a" * 32, 20, 20
SETTINGS = {"as described": ("ORT_DISABLE_ALL", 1), "2 threads": ("ORT_DISABLE_ALL", 2)}
SETTINGS |= {"basic optimisation": ("ORT_ENABLE_BASIC", 1), "all optimisations": ("ORT_ENABLE_ALL", 1)}


def main() -> None:
    print("| model | other bits with | proof | run and sign | verify |")
    print("|---|---|---|---|---|")
    for folder in sorted(path for path in CIRCUITS.iterdir() if (path / "model.onnx").is_file()):
        source = import_model(folder / "model.onnx").proto.SerializeToString(deterministic=True)
        changed = ", ".join(bits_that_change(source)) or "none of these"
        print(f"| {folder.name} | {changed} | {' | '.join(costs(source, folder / 'sample.npz'))} |")


def bits_that_change(source: bytes) -> list[str]:
    """Settings under which random rows give other bits than under the first."""
    found = {name: outputs(source, *setting) for name, setting in SETTINGS.items()}
    return [name for name, digest in found.items() if digest != found["as described"]]


def outputs(source: bytes, level: str, threads: int) -> str:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.use_deterministic_compute = True
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    rng, state = np.random.default_rng(0), hashlib.sha256()
    for _ in range(ROWS):
        row = {item.name: rng.normal(size=item.shape).astype(np.float32) for item in session.get_inputs()}
        for array in session.run(None, row):
            state.update(array.tobytes())
    return state.hexdigest()


def costs(source: bytes, sample: Path) -> list[str]:
    model, inputs = FloatModel(source), load_arrays(sample)
    key, attestation = simulated_key(
        model.program.identity, Attesting(simulate="tdx", seed="bench", at=AT, nonce=NONCE), NONCE
    )
    proof = run(model, key, attestation, inputs, ZERO_CONTEXT, AT)
    pins: dict[str, Any] = {TEE_POLICIES: (matching_policy("tdx"),), TEE_ANCHORS: anchors("bench"), TEE_NONCE: NONCE}
    expected, environment = ClaimExpectation(frozenset({model.program.identity})), Environment(now=AT, pins=pins)
    policy = Policy.default().relaxed(allow_simulated=True)
    return [
        f"{len(proof.to_bytes()) / 1024:.1f} KiB",
        f"{milliseconds(lambda: run(model, key, attestation, inputs, ZERO_CONTEXT, AT)):.1f} ms",
        f"{milliseconds(lambda: verify(proof, expected, policy, environment)):.1f} ms",
    ]


def milliseconds(work: Callable[[], object]) -> float:
    """The median of processor time, which other work on the machine does not add to."""
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        taken.append(1e3 * (time.process_time() - started))
    return statistics.median(taken)


if __name__ == "__main__":
    main()
