"""Running a generated test through the compiler, and what must come out: the same codes, or a bounded error.

Exact operators: the output's codes are onnxruntime's result on the numbers that the input codes stand for. Their
float inputs share one declared range, so that they share one scale and nothing needs rounding.

Bounded operators: the largest difference from the generated test's own output, as a fraction of the largest absolute
value of that output. It includes the rounding of the inputs to 16-bit codes.
"""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnx import numpy_helper

from tests.parity.onnx_bounds import BOUNDS, EXACT
from tests.parity.onnx_cases import EXCLUDED, Arrays, Case, collect, widened
from vml.errors import VmlError
from vml.model.compiled import Model
from vml.model.compiler import compile_model

OLDER_OPSETS = (9, 11, 12, 17)
"""Opsets to which cases are converted where slow tests run."""

CONVERSION_ERRORS = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
    RuntimeError,
)

INTERPRETED_STEPS = 20_000
"""Cases of at most this many elementary steps are also run by the interpreter; the others only where slow tests run."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        case: which. exact: codes were compared, else ``error`` was bounded.
        error: fraction of the output's range; 0 for an exact case that agrees.
        problem: empty where all is well.
    """

    case: Case
    exact: bool
    error: float
    problem: str


def exclusion(case: Case) -> str | None:
    """The pattern that excludes a case, if any."""
    return next((pattern for pattern in EXCLUDED if fnmatch.fnmatchcase(case.name.split("/")[0], pattern)), None)


def is_exact(case: Case) -> bool:
    tensors = [*case.inputs.values(), *case.expected.values()]
    return BOUNDS[case.operator] is EXACT or all(np.asarray(t).dtype.kind in "iub" for t in tensors)


def _shared_range(case: Case) -> dict[str, tuple[float, float]]:
    """One symmetric range for every float input, which covers the bound ones too."""
    floats = {n: a for n, a in case.inputs.items() if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
    bound = [numpy_helper.to_array(tensor) for tensor in case.model.graph.initializer]
    every = [*floats.values(), *(a for a in bound if a.dtype.kind == "f")]
    reach = max((float(np.abs(a).max(initial=0)) for a in every), default=0.0) or 1.0
    return dict.fromkeys(floats, (-reach, reach))


def compiled(case: Case) -> Model:
    """The case as a model, calibrated with its own inputs."""
    rows = {name: [array] if array is None else np.asarray(array)[None] for name, array in case.inputs.items()}
    ranges = _shared_range(case) if is_exact(case) else None
    return compile_model(case.model.SerializeToString(), calibration=rows, input_range=ranges or None)


def interpreter_steps(model: Model) -> int:
    """How much the interpreter has to do."""
    total = 0
    for node in model.graph.nodes:
        inner = [*node.attributes.get("contract", ()), *node.attributes.get("reduced", ())]
        total += node.header.size * math.prod(inner) * node.attributes.get("length", 1)
    return total


def onnxruntime_outputs(model: onnx.ModelProto, feeds: Arrays) -> Arrays:
    """What onnxruntime makes of a case on float32 inputs, by output name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(widened(model).SerializeToString(), options, ["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def _oracle(case: Case, model: Model, codes: Arrays) -> Arrays:
    """onnxruntime on the numbers the input codes stand for."""
    feeds = {
        s.name: (codes[s.name] / float(s.scale) if "float" in s.onnx_dtype else codes[s.name]).astype(s.onnx_dtype)
        for s in model.inputs
    }
    return onnxruntime_outputs(case.model, feeds)


def older(case: Case) -> list[Case]:
    """The case at the OLDER_OPSETS to which onnx can convert it as one node, with onnxruntime's outputs."""
    found = []
    for opset in OLDER_OPSETS:
        if opset < case.opset:
            try:
                model = onnx.version_converter.convert_version(case.model, opset)
                onnx.checker.check_model(model, full_check=True)
            except CONVERSION_ERRORS:
                continue  # that opset has no such operator, type or attribute
            if len(model.graph.node) == 1:
                same = case.operator == "Cast"  # its results have the float type that an attribute names
                expected = case.expected if same else onnxruntime_outputs(model, case.inputs)
                found.append(replace(case, model=model, opset=opset, expected=expected))
    return found


def _differing(case: Case, model: Model, codes: Arrays, got: Arrays) -> str:
    """Exact comparison: which output differs, or nothing."""
    wanted = _oracle(case, model, codes)
    for spec in model.outputs:
        exact = np.asarray(wanted[spec.name], dtype=np.float64) * float(spec.scale)
        whole = np.asarray(wanted[spec.name]) if spec.scale == 1 and "float" not in spec.onnx_dtype else np.rint(exact)
        if not np.array_equal(whole, got[spec.name]):
            return f"output {spec.name!r} has other codes"
    return ""


def _error(case: Case, found: Mapping[str, np.ndarray]) -> float:
    """Largest difference of any output as a fraction of that output's largest absolute value."""
    worst = 0.0
    for name, wanted in case.expected.items():
        reference = np.asarray(wanted, dtype=np.float64)
        difference = np.abs(found[name].astype(np.float64) - reference).max()
        worst = max(worst, float(difference) / (float(np.abs(reference).max()) or 1.0))
    return worst


def run(case: Case, every_step: bool = False) -> Outcome:
    """Compile a case, run it, compare. ``every_step``: interpret it however long that takes."""
    exact = is_exact(case)
    model = compiled(case)
    codes = model.quantize(case.inputs)
    got = model.run(codes)
    for spec in model.outputs:
        if spec.shape != np.asarray(case.expected[spec.name]).shape:
            return Outcome(case, exact, math.inf, f"shape {spec.shape}")
    if every_step or interpreter_steps(model) <= INTERPRETED_STEPS:
        slow = model.run_exact(codes)
        if any(not np.array_equal(got[name], slow[name]) for name in slow):
            return Outcome(case, exact, math.inf, "the interpreter and the executor disagree")
    if exact:
        problem = _differing(case, model, codes, got)
        return Outcome(case, True, math.inf if problem else 0.0, problem)
    error, bound = _error(case, model.dequantize(got)), BOUNDS[case.operator].error
    return Outcome(case, False, error, "" if error <= bound else f"error {error:.3g}, the bound is {bound:.3g}")


@functools.cache
def outcomes(operator: str) -> tuple[Outcome, ...]:
    """Every case of an operator that is not excluded."""
    found = []
    for case in collect():
        if case.operator == operator and exclusion(case) is None:
            try:
                found.append(run(case))
            except (VmlError, ValueError) as error:
                found.append(Outcome(case, is_exact(case), math.inf, f"{type(error).__name__}: {error}"))
    return tuple(found)
