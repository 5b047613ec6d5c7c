"""One process of the optimistic backend's benchmark: it does one thing, and says what that took as a line of JSON.

Run by `benchmarks.dispute`; by hand: ``python -m benchmarks.dispute_process WHAT NETWORK FOLDER [--runs N]`` with WHAT

* ``compile``: the network made, written as ONNX, compiled and saved in FOLDER;
* ``overhead``: claims and published traces against bare inference, turn by turn; memory of each;
* ``disputes``: registration, bounds of steps, disputes over the first operator and over one of every primitive.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.networks import Network, lenet5, mobilenet025, resnet50
from benchmarks.sumcheck_process import peak
from benchmarks.transformers import GPT2_SMALL, transformer

WARM_UP = 3
NETWORKS: dict[str, Callable[[], Network]] = {
    "lenet5": lenet5,
    "mobilenet025": mobilenet025,
    "resnet50": resnet50,
    "transformer": partial(transformer, GPT2_SMALL),
}


def forget_peak() -> None:
    """Count the process's peak of memory anew from here. Linux: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")


def compile_network(network: Network, folder: Path) -> dict[str, Any]:
    """Write the ONNX file, compile it, save the model and one row of codes."""
    from vml.model.compiler import compile_model

    source, weights, size = folder / "model.onnx", network.weights, len(network.onnx)
    source.write_bytes(network.onnx)
    calibration, sample = network.calibration, network.sample
    del network
    forget_peak()
    started = time.perf_counter()
    model = compile_model(source, calibration=calibration)
    compile_s = time.perf_counter() - started
    compile_peak = peak()
    model.save(folder / "model.vml")
    shapes = {spec.name: spec.shape for spec in model.inputs}
    codes = model.quantize({name: rows[:1].reshape(shapes[name]) for name, rows in sample.items()})
    np.savez(folder / "codes.npz", **codes)
    computed = [node for node in model.graph.nodes if node.primitive not in ("input", "constant")]
    return {
        "weights": weights,
        "onnx_bytes": size,
        "nodes": len(model.graph.nodes),
        "operators": len(computed),
        "activations": sum(node.header.size for node in computed),
        "agreement": model.certificate.agreement,
        "compile_s": round(compile_s, 2),
        "compile_peak_bytes": compile_peak,
    }


class _Clocked:
    """An executor that says how long its own part of the last run took."""

    def __init__(self, executor: Any) -> None:
        self.graph, self.last_s, self._executor = executor.graph, 0.0, executor

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        outputs: dict[str, Any] = self._executor.run(inputs)
        self.last_s = time.perf_counter() - started
        return outputs


def overhead(folder: Path, runs: int) -> dict[str, Any]:
    """What a claim, the roots of a trace and a published trace add to an inference."""
    from vml.backends.optimistic.trace import Trace

    executor, codes, load_s = load(folder)
    clocked: Any = _Clocked(executor)
    published = [0]

    def write(_: int, data: bytes) -> None:
        published[0] += len(data)

    works: dict[str, Callable[[], object]] = {
        "inference": lambda: executor.run(codes),
        "claim": lambda: Trace(clocked, codes).claim(),
        "roots": lambda: Trace(executor, codes).roots,
        "publish": lambda: Trace(executor, codes).publish(write),
    }
    peaks = {}
    for name, work in works.items():
        for _ in range(WARM_UP):
            work()
        forget_peak()
        work()
        peaks[f"{name}_peak_bytes"] = peak()
    published[0] = 0
    works["publish"]()
    trace_bytes = published[0]
    seconds: dict[str, list[float]] = {name: [] for name in works}
    inside = []
    for turn in range(runs):
        for name in list(works) if turn % 2 else reversed(list(works)):
            started = time.perf_counter()
            works[name]()
            seconds[name].append(time.perf_counter() - started)
        inside.append(seconds["claim"][-1] / clocked.last_s - 1)
    bare = seconds["inference"]
    ratios = {name: [a / b for a, b in zip(times, bare, strict=True)] for name, times in seconds.items()}
    return {
        "load_s": round(load_s, 2),
        **{f"{name}_ms": round(statistics.median(times) * 1e3, 3) for name, times in seconds.items()},
        "claim_overhead": round(statistics.median(inside), 5),
        "claim_overhead_worst": round(max(inside), 5),
        **{f"{name}_ratio": round(statistics.median(ratios[name]), 4) for name in ("claim", "roots", "publish")},
        "trace_bytes": trace_bytes,
        **peaks,
    }


def disputes(folder: Path) -> dict[str, Any]:
    """What is registered, what a step can cost, and disputes played to the end."""
    from benchmarks.disputes import PROFILE, Match, bounds, middle_operators
    from benchmarks.step_gas import StepGas
    from vml.backends.optimistic.profiles import worst_case

    executor, codes, _ = load(folder)
    graph = executor.graph
    started = time.perf_counter()
    found = bounds(graph)
    bounds_s = time.perf_counter() - started
    dearest = max(found, key=lambda node: found[node].transaction_gas)
    worst = worst_case(graph, found[dearest].transaction_gas)
    executor.run(codes)
    forget_peak()
    longest = max(found, key=lambda node: (graph.nodes[node].primitive == "dot", found[node].terms))
    operators = sorted({min(found), *middle_operators(graph), dearest, longest})
    contract, played = StepGas(), []
    for operator in operators:
        match = Match(executor, codes, operator, found[dearest].transaction_gas)
        played.append({**match.play(), "proved_gas": match.proved_gas(contract)})
    return {
        "descriptor_bytes": sum(len(node.encode()) for node in graph.nodes),
        "bounds_s": round(bounds_s, 3),
        "dearest": {
            "operator": dearest,
            "name": graph.names[dearest],
            "primitive": graph.nodes[dearest].primitive,
            "terms": found[dearest].terms,
            "leaves": found[dearest].leaves,
            "step_gas": found[dearest].transaction_gas,
        },
        "longest": longest,
        "profile": PROFILE.name,
        "asserter_moves": worst.asserter_moves,
        "challenger_moves": worst.challenger_moves,
        "asserter_gas": worst.asserter_gas,
        "challenger_gas": worst.challenger_gas,
        "disputes": played,
        "disputes_peak_bytes": peak(),
    }


def load(folder: Path) -> tuple[Any, dict[str, Any], float]:
    """The saved model's executor, one row of codes, and the seconds it took to load and validate it."""
    from vml.model import Model

    started = time.perf_counter()
    model = Model.load(folder / "model.vml")
    load_s = time.perf_counter() - started
    with np.load(folder / "codes.npz") as codes:
        return model.executor, {name: codes[name] for name in codes.files}, load_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["compile", "disputes", "overhead"])
    parser.add_argument("network", choices=list(NETWORKS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    if given.what == "compile":
        answer = compile_network(NETWORKS[given.network](), given.folder)
    elif given.what == "overhead":
        answer = overhead(given.folder, given.runs)
    else:
        answer = disputes(given.folder)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
