"""The tuner against ezkl's own calibration on shipped models: cost, error, and measured time of real proofs.

Run: ``python -m benchmarks.ezkl_autotune [MODEL ...]``
Both start from the same wrapped graph, the same calibration rows and the same test set-up. The tuner is asked
twice: to stay within ezkl's own error (as accurate and cheaper), and within 2 % of the largest output. Keys and
proofs are made for each, unless that would take more than 5 GiB of memory: then the cost is only predicted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import publish
from vml import cache
from vml.backends.ezkl import calibration, srs
from vml.backends.ezkl.circuit import RunArgs
from vml.backends.ezkl.process import Engine
from vml.backends.ezkl.tuner import Tuned, Tuner
from vml.backends.ezkl.wrapper import Wrapped, wrap
from vml.backends.types import Visibility

CIRCUITS = Path(__file__).resolve().parents[1] / "circuits"
MODELS = ("breast-cancer-mlp", "digits-mlp", "digits-cnn", "lenet5")
ROWS = 8
LARGEST_PROOF_BYTES = 5 << 30


def proved(engine: Engine, work: Path, model: Path, tuned: Tuned, row: str) -> dict[str, Any]:
    """Make keys and one proof; return what they took."""
    paths = {name: str(work / name) for name in ("settings", "compiled", "vk", "pk", "witness", "proof")}
    setup = srs.make_test_setup(tuned.run_args.logrows, cache.folder())
    engine.call("gen_settings", model=str(model), settings=paths["settings"], run_args=tuned.run_args.to_json())
    engine.call("compile", model=str(model), compiled=paths["compiled"], settings=paths["settings"])
    engine.peak_bytes = 0
    started = time.perf_counter()
    engine.call("setup", compiled=paths["compiled"], vk=paths["vk"], pk=paths["pk"], srs=setup.path)
    setup_s = time.perf_counter() - started
    started = time.perf_counter()
    engine.call("witness", data=row, compiled=paths["compiled"], witness=paths["witness"])
    engine.call(
        "prove",
        witness=paths["witness"],
        compiled=paths["compiled"],
        pk=paths["pk"],
        proof=paths["proof"],
        srs=setup.path,
    )
    return {
        "setup_s": round(setup_s, 2),
        "prove_s": round(time.perf_counter() - started, 2),
        "peak_bytes": engine.peak_bytes,
        "key_bytes": Path(paths["pk"]).stat().st_size,
        "verifying_key_bytes": Path(paths["vk"]).stat().st_size,
    }


def row_of(tuned: Tuned, seconds: float) -> dict[str, Any]:
    """What was chosen, as JSON."""
    arguments = tuned.run_args
    return {
        "input_scale": arguments.input_scale,
        "param_scale": arguments.param_scale,
        "scale_rebase_multiplier": arguments.scale_rebase_multiplier,
        "decomp_base": arguments.decomp_base,
        "decomp_legs": arguments.decomp_legs,
        "num_inner_cols": arguments.num_inner_cols,
        "log_rows": tuned.cost.log_rows,
        "blocks": tuned.cost.blocks,
        "rows": tuned.cost.rows,
        "predicted_key_bytes": tuned.cost.key_bytes,
        "predicted_memory_bytes": tuned.cost.memory_bytes,
        "error": tuned.error,
        "search_s": round(seconds, 1),
    }


def compare(name: str) -> dict[str, Any]:
    """One model: ezkl's default, the tuner within its error, the tuner within 2 %."""
    source = (CIRCUITS / name / "model.onnx").read_bytes()
    wrapped: Wrapped = wrap(source, Visibility())
    with np.load(CIRCUITS / name / "calibration.npz") as arrays:
        rows = calibration.rows_of(wrapped.inputs, dict(arrays), ROWS)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        work = Path(scratch)
        model = work / "model.onnx"
        model.write_bytes(wrapped.onnx)
        sample = calibration.make_sample(source, wrapped.inputs, rows, 0, work)
        allowed: float | None = None
        for kind in ("ezkl_default", "tuned_same_error", "tuned_2_percent"):
            with Engine() as engine:
                tuner = Tuner(engine, model, sample, RunArgs(), work)
                started = time.perf_counter()
                if kind == "ezkl_default":
                    tuned = tuner.default()
                    allowed = tuned.error
                else:
                    tuned = tuner.search(allowed if kind == "tuned_same_error" else None)
                result[kind] = row_of(tuned, time.perf_counter() - started)
                if tuned.cost.memory_bytes <= LARGEST_PROOF_BYTES:
                    result[kind] |= proved(engine, work, model, tuned, sample.files[0])
        result["largest_output"] = sample.spread
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    given = parser.parse_args()
    measured = {name: compare(name) for name in given.models}
    publish("ezkl_autotune", ["ezkl", "onnxruntime"], {"rows": ROWS, "models": measured})


if __name__ == "__main__":
    main()
