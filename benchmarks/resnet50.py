"""The executor against onnxruntime on a graph of ResNet-50's size.

Run: ``python -m benchmarks.resnet50 [--pairs N]``; writes ``results/resnet50.json``.
The onnx package ships the graph with constant weights: it serves for timing, and says nothing about accuracy.
Both run on as many threads as there are cores, turn by turn in one process, so that a busy machine disturbs
both; the figure is the median of the ratios of neighbouring runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from benchmarks.machine import publish
from vml.model.compiler import compile_model

MODEL = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"
SHAPE = (1, 3, 224, 224)
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="runs of each, turn by turn")
    pairs = parser.parse_args().pairs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    image = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)

    start = time.perf_counter()
    model = compile_model(MODEL, calibration={name: image})
    compile_s = time.perf_counter() - start
    codes = model.quantize({name: image})

    ours, theirs, our_cpu, their_cpu = [], [], [], []
    for turn in range(WARM_UP + pairs):
        start, start_cpu = time.perf_counter(), time.process_time()
        session.run(None, {name: image})
        middle, middle_cpu = time.perf_counter(), time.process_time()
        model.run(codes)
        end, end_cpu = time.perf_counter(), time.process_time()
        if turn >= WARM_UP:
            theirs.append(middle - start)
            ours.append(end - middle)
            their_cpu.append(middle_cpu - start_cpu)
            our_cpu.append(end_cpu - middle_cpu)
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    publish(
        "resnet50",
        ["numpy", "numba", "onnx", "onnxruntime"],
        {
            "model": MODEL.name,
            "pairs": pairs,
            "threads": options.intra_op_num_threads,
            "compile_s": round(compile_s, 2),
            "onnxruntime_ms": round(statistics.median(theirs) * 1e3, 2),
            "executor_ms": round(statistics.median(ours) * 1e3, 2),
            "onnxruntime_cpu_ms": round(statistics.median(their_cpu) * 1e3, 2),
            "executor_cpu_ms": round(statistics.median(our_cpu) * 1e3, 2),
            "ratio_median": round(statistics.median(ratios), 3),
            "ratio_best": round(min(ratios), 3),
            "ratio_worst": round(max(ratios), 3),
        },
    )


if __name__ == "__main__":
    main()
