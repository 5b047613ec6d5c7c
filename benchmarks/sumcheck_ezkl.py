"""The native prover and ezkl side by side: LeNet-5, the same ONNX file, rows and input, in one run.

Run: ``python -m benchmarks.sumcheck_ezkl [--pairs N] [--default]``; writes ``results/sumcheck_ezkl.json``.
ezkl proves a circuit of the same file as vml tunes it: the cheapest run arguments whose error on the calibration
rows is no larger than that of ezkl's own calibration. With ``--default`` it also proves once with its own calibration,
as somebody gets it who calls ezkl by hand (minutes, and about 11 GB of memory); without, an earlier such figure is not
kept. Proofs are made turn by turn, with both programs loaded. ezkl's set-up is key generation alone: its search for
run arguments is stated apart, and a structured reference string, which it needs besides, is made beforehand. Memory
is that of a process that proves and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import publish
from benchmarks.networks import Network, lenet5
from benchmarks.sumcheck import Prepared
from vml import api, cache
from vml.backends.ezkl import calibration, srs
from vml.backends.ezkl.circuit import RunArgs
from vml.backends.ezkl.process import Engine
from vml.backends.ezkl.tuner import Tuned, Tuner
from vml.backends.ezkl.wrapper import wrap
from vml.backends.types import Environment, SetupOptions, Visibility
from vml.keccak import keccak256

ROWS = 8
FILES = ("settings", "compiled", "vk", "pk", "witness", "proof")
Round = tuple[float, float, int]
"""Seconds to prove, seconds to verify, bytes of the proof."""


class Native:
    """The network under the native prover, warm."""

    def __init__(self, network: Network, inputs: dict[str, Any], work: Path) -> None:
        alone = Prepared(network, work / "alone")
        alone.run("setup", 0)
        self.peak_bytes = alone.run("prove", 0)["peak_bytes"]
        self.model = api.compile(network.onnx, calibration=network.calibration)
        api.setup(self.model, "sumcheck", SetupOptions(cache_dir=work / "warm"))
        started = time.perf_counter()
        self.keys = api.setup(self.model, "sumcheck", SetupOptions(cache_dir=work / "keys"))
        self.setup_s = time.perf_counter() - started
        self._inputs, self._digest = inputs, keccak256(self.keys.verifying_key)
        self.round()

    def round(self) -> Round:
        started = time.perf_counter()
        proof = api.prove(self.model, self._inputs, backend="sumcheck", keys=self.keys).to_bytes()
        proved = time.perf_counter()
        api.verify(proof, model=self.keys.model, key=self._digest, environment=Environment(model=self.model))
        return proved - started, time.perf_counter() - proved, len(proof)


class Ezkl:
    """The same file under ezkl: keys are made here, a round is witness, proof and verification."""

    def __init__(self, engine: Engine, model: Path, tuned: Tuned, row: str, work: Path) -> None:
        work.mkdir()
        self._engine, self._row = engine, row
        self._paths = paths = {name: str(work / name) for name in FILES}
        self._srs = srs.make_test_setup(tuned.run_args.logrows, cache.folder()).path
        engine.call("gen_settings", model=str(model), settings=paths["settings"], run_args=tuned.run_args.to_json())
        engine.call("compile", model=str(model), compiled=paths["compiled"], settings=paths["settings"])
        engine.peak_bytes = 0
        started = time.perf_counter()
        engine.call("setup", compiled=paths["compiled"], vk=paths["vk"], pk=paths["pk"], srs=self._srs)
        self.setup_s = time.perf_counter() - started

    def round(self) -> Round:
        paths, call = self._paths, self._engine.call
        started = time.perf_counter()
        call("witness", data=self._row, compiled=paths["compiled"], witness=paths["witness"])
        files = {name: paths[name] for name in ("witness", "compiled", "pk", "proof")}
        call("prove", srs=self._srs, **files)
        proved = time.perf_counter()
        holds = call("verify", proofs=[paths["proof"]], settings=paths["settings"], vk=paths["vk"], srs=self._srs)
        if holds != [True]:
            raise RuntimeError("ezkl does not accept its own proof")
        return proved - started, time.perf_counter() - proved, Path(paths["proof"]).stat().st_size


def summary(setup_s: float, rounds: list[Round], peak_bytes: int, **more: Any) -> dict[str, Any]:
    """Medians of rounds."""
    return {
        "setup_s": round(setup_s, 3),
        "prove_s": round(statistics.median(one[0] for one in rounds), 3),
        "verify_s": round(statistics.median(one[1] for one in rounds), 4),
        "proof_bytes": rounds[-1][2],
        "peak_bytes": peak_bytes,
        **more,
    }


def beside(engine: Engine, native: Native, peer: Ezkl, pairs: int, **more: Any) -> dict[str, Any]:
    """Rounds turn by turn: the native prover's and ezkl's figures, and the ratio of neighbouring proofs."""
    rounds = [(native.round(), peer.round()) for _ in range(pairs)]
    return {
        "pairs": pairs,
        "sumcheck": summary(native.setup_s, [one for one, _ in rounds], native.peak_bytes),
        "ezkl": summary(peer.setup_s, [two for _, two in rounds], engine.peak_bytes, **more),
        "times_faster": round(statistics.median(two[0] / one[0] for one, two in rounds), 1),
    }


def compare(network: Network, pairs: int, default: bool) -> dict[str, Any]:
    """Both provers on one network."""
    wrapped = wrap(network.onnx, Visibility())
    rows = calibration.rows_of(wrapped.inputs, network.calibration, ROWS)
    result: dict[str, Any] = {"model": network.name, "runs": {}}
    with tempfile.TemporaryDirectory(prefix="vml-bench-") as scratch:
        work = Path(scratch)
        model = work / "model.onnx"
        model.write_bytes(wrapped.onnx)
        sample = calibration.make_sample(network.onnx, wrapped.inputs, rows, 0, work)
        native = Native(network, rows[0], work)
        result["sumcheck_error"] = max(one.calibration.max_error for one in native.model.certificate.differences)
        allowed = 0.0
        for kind in ("ezkl_default", "tuned"):
            with Engine() as engine:
                started = time.perf_counter()
                tuner = Tuner(engine, model, sample, RunArgs(), work)
                tuned = tuner.default() if kind == "ezkl_default" else tuner.search(allowed)
                search_s = time.perf_counter() - started
                allowed = tuned.error
                more = {"error": tuned.error, "log_rows": tuned.cost.log_rows, "search_s": round(search_s, 1)}
                if kind == "tuned" or default:
                    peer = Ezkl(engine, model, tuned, sample.files[0], work / kind)
                    count = pairs if kind == "tuned" else 1
                    result["runs"][kind] = beside(engine, native, peer, count, **more)
                else:
                    result["runs"][kind] = {"ezkl": more}
                print(f"{kind}: {json.dumps(result['runs'][kind])}", file=sys.stderr, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--default", action="store_true", help="prove with ezkl's own calibration too")
    given = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    measured = compare(lenet5(), given.pairs, given.default)
    packages = ["ezkl", "numba", "numpy", "onnxruntime", "vml"]
    publish("sumcheck_ezkl", packages, {"load_average": load, **measured})


if __name__ == "__main__":
    main()
