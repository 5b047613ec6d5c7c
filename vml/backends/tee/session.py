"""onnxruntime inside: a model's own ONNX file, hashed, then run; and the description of what runs it.

Whoever verifies loads none of this.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vml.arrays import check_arrays
from vml.backends.tee.engines import FLOAT, Program
from vml.backends.tee.floats import FloatSpec, Runtime
from vml.backends.tee.onnxfile import require_whole
from vml.errors import BackendUnavailable, ProvingError, UnsupportedModel
from vml.model.importer import edges_of

Array = np.ndarray[Any, np.dtype[Any]]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
PROVIDERS: Mapping[str, Mapping[str, str]] = {CPU: {}, CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}
"""Execution providers by name, with the options that they are given."""
CONFIG: Mapping[str, str] = {
    "session.load_model_format": "ONNX",
    "session.model_external_initializers_file_folder_path": "/dev/null/",
}
"""Session options by name: no other format is looked for, and what `require_whole` should have missed lies in a folder
that cannot be, for /dev/null is none."""
CPU_INFO = Path("/proc/cpuinfo")
INSTRUCTIONS = ("sse", "avx", "fma", "f16c", "amx", "asimd", "sve", "sme", "bf16", "i8mm", "fphp")
"""How the flags of processors begin that kernels are chosen by."""


class FloatModel:
    """An ONNX file, hashed, in a session of onnxruntime.

    Args:
        source: the file's bytes: static shapes, as `vml.model` imports them, and what `require_whole` takes.
        provider: a key of `PROVIDERS`. What it lacks, the processor runs.
        threads: inside an operator.
        devices: what else the provider computes on, as words: the GPUs and their driver.

    Raises:
        UnsupportedModel: not such a file; onnxruntime does not take it.
        BackendUnavailable: onnxruntime is not installed, or lacks the provider.
        ValueError: no such provider, or number of threads.
    """

    def __init__(self, source: bytes, provider: str = CPU, threads: int = 1, devices: Sequence[str] = ()) -> None:
        digest = hashlib.sha256(source).digest()
        inputs, outputs = float_specs(source)
        self._session, runtime = _session(source, provider, threads, devices)
        self.program = Program(FLOAT, digest, runtime.encode(), inputs, outputs)

    def evaluate(self, taken: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, from inputs by name.

        Raises:
            ValueError: inputs of other names, shapes or types, or with NaN.
            ProvingError: onnxruntime fails, or gives something else than the file says.
        """
        for spec in self.program.inputs:
            array = taken[spec.name]
            if array.shape != spec.shape or array.dtype.name != spec.dtype:
                raise ValueError(f"{spec.name!r} is {spec.dtype} {spec.shape}, given were {array.dtype} {array.shape}")
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise ValueError(f"{spec.name!r} holds NaN, which is not a value that can be committed to")
        try:
            made = self._session.run([spec.name for spec in self.program.outputs], dict(taken))
        except Exception as error:  # onnxruntime's errors share no base class
            raise ProvingError(f"onnxruntime cannot run the model: {_line(error)}") from error
        for spec, array in zip(self.program.outputs, made, strict=True):
            if array.shape != spec.shape or array.dtype.name != spec.dtype:
                raise ProvingError(f"{spec.name!r} came out as {array.dtype} {array.shape}, not as the file says")
        return {spec.name: array for spec, array in zip(self.program.outputs, made, strict=True)}


def float_specs(source: bytes) -> tuple[tuple[FloatSpec, ...], tuple[FloatSpec, ...]]:
    """Inputs and outputs of an imported ONNX file. onnxruntime is not needed.

    Args:
        source: the file's bytes.

    Raises:
        UnsupportedModel: not such a file, or one that `require_whole` refuses.
        BackendUnavailable: onnx is not installed.
    """
    try:
        given, made = ([FloatSpec(edge.name, edge.dtype, edge.shape) for edge in side] for side in edges_of(source))
    except ValueError as error:
        raise UnsupportedModel(str(error)) from error
    require_whole(source)
    if not given:
        raise UnsupportedModel("the model has no input, so there is nothing that a claim could be about")
    return tuple(given), tuple(made)


def float_program(source: bytes, description: bytes) -> Program:
    """An ONNX file under a runtime that is described: what its identity hashes. Raises as `float_specs`."""
    inputs, outputs = float_specs(source)
    return Program(FLOAT, hashlib.sha256(source).digest(), description, inputs, outputs)


def float_inputs(source: bytes, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """The user's arrays in the file's own number types.

    Args:
        source: the file's bytes.
        inputs: by name, of the file's shapes.

    Raises:
        ValueError: another name, shape or kind of number.
        UnsupportedModel: as `float_specs`.
    """
    specs, _ = float_specs(source)
    check_arrays(inputs, specs)
    return {spec.name: np.asarray(inputs[spec.name]) for spec in specs}


def _session(source: bytes, provider: str, threads: int, devices: Sequence[str]) -> tuple[Any, Runtime]:
    if provider not in PROVIDERS:
        raise ValueError(f"no execution provider {provider!r}, only {', '.join(PROVIDERS)}")
    if threads < 1:
        raise ValueError("at least one thread")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable("the float engine needs onnxruntime: pip install 'vml[compile]'") from error
    if provider not in onnxruntime.get_available_providers():
        raise BackendUnavailable(f"this build of onnxruntime has no {provider}")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    for name, value in CONFIG.items():
        options.add_session_config_entry(name, value)
    try:
        session = onnxruntime.InferenceSession(source, options, providers=[(provider, dict(PROVIDERS[provider]))])
    except Exception as error:  # as above
        raise UnsupportedModel(f"onnxruntime cannot load the model: {_line(error)}") from error
    session.disable_fallback()
    names, held = session.get_providers(), session.get_provider_options()
    if names[0] != provider:
        raise BackendUnavailable(f"onnxruntime fell back to {names[0]}: {provider} does not work here")
    runtime = Runtime(
        version=onnxruntime.__version__,
        build=onnxruntime.get_build_info(),
        providers=tuple((name, {key: str(value) for key, value in held[name].items()}) for name in names),
        optimization="disabled",
        threads=(threads, 1),
        deterministic=True,
        machine=(*machine(), *devices),
        config=CONFIG,
    )
    return session, runtime


def machine(cpu_info: Path = CPU_INFO) -> tuple[str, ...]:
    """The processor, as far as kernels are chosen by it: architecture, then the flags of `INSTRUCTIONS`, sorted."""
    try:
        lines = cpu_info.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    flags = next(
        (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))), []
    )
    return (platform.machine(), *sorted({flag for flag in flags if flag.startswith(INSTRUCTIONS) or "bf16" in flag}))


def _line(error: Exception) -> str:
    """The first line of a library's words."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
