"""From a PyTorch module to an ONNX file that answers as the module does.

`vml export SCRIPT.py:FACTORY -o MODEL.onnx` calls FACTORY without arguments. FACTORY returns `(module,
example_inputs)` or `(module, example_inputs, options)`: `example_inputs` is a tensor, a tuple of tensors,
or a dict of tensors by input name in the order `forward` takes them; `options` may hold `input_names`,
`output_names` and `opset`. The traced graph is compared with the module on the example and on variations
of it, because tracing freezes Python control flow that depends on values.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

from vml.errors import BackendUnavailable, UnsupportedModel
from vml.files import write_atomic

DEFAULT_OPSET = 17
# Float kernels of torch and onnxruntime differ in summation order; a wrong graph differs by far more.
RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-4
VARIATIONS = 3
OPTIONS = frozenset({"input_names", "output_names", "opset"})


@dataclass(frozen=True)
class ExportedModel:
    """An ONNX model and how it compares with the module it came from.

    Attributes:
        onnx: the serialised model.
        sha256: lower-case hexadecimal digest of `onnx`.
        opset: ONNX operator set.
        inputs: shape of each input by name.
        outputs: names, in order.
        max_difference: largest absolute difference between onnxruntime and torch on all compared inputs.
        notes: what the tracer warned about; the comparison did not find it to matter.
    """

    onnx: bytes
    sha256: str
    opset: int
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    max_difference: float
    notes: tuple[str, ...]


def export_factory(script: str, factory: str, output: Path) -> ExportedModel:
    """Load a script, call its factory, export the module and write the ONNX file in one step.

    Args:
        script: path of a Python file; its folder is importable while it runs.
        factory: name of a callable in it that takes no arguments.
        output: file to write; it is replaced whole or left alone.

    Returns:
        What was written.

    Raises:
        ValueError: no such file or name, or the factory returned something else.
        BackendUnavailable: torch is not installed.
        UnsupportedModel: torch cannot export the module, or the graph does not answer as the module does.
    """
    _torch()
    with _loaded(Path(script)) as loaded:
        make = getattr(loaded, factory, None)
        if not callable(make):
            raise ValueError(f"{script} has no callable {factory!r}")
        try:
            made = make()
        except Exception as error:
            raise ValueError(f"{script}:{factory} failed: {type(error).__name__}: {error}") from error
        if not isinstance(made, tuple) or len(made) not in (2, 3):
            raise ValueError(f"{script}:{factory} must return (module, example_inputs[, options])")
        options = made[2] if len(made) == 3 else {}
        if not isinstance(options, Mapping) or set(options) - OPTIONS:
            raise ValueError(f"{script}:{factory}: options may only hold {sorted(OPTIONS)}, got {options!r}")
        exported = export_module(made[0], made[1], **options)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, exported.onnx)
    return exported


def export_module(
    module: Any,
    example_inputs: Any,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset: int = DEFAULT_OPSET,
) -> ExportedModel:
    """Trace a module in evaluation mode and check the graph against it.

    Args:
        module: a `torch.nn.Module`; its mode is restored afterwards.
        example_inputs: a tensor, a tuple of tensors, or a dict of tensors by input name; they fix the shapes.
        input_names: one name an input; `input`, or `input_0`, `input_1` and so on by default.
        output_names: one name an output; `output`, or `output_0` and so on by default.
        opset: ONNX operator set.

    Returns:
        The model as bytes, with the largest difference seen.

    Raises:
        ValueError: not a module, no tensors, or a wrong number of names.
        BackendUnavailable: torch is not installed.
        UnsupportedModel: torch cannot export the module, or the graph does not answer as the module does.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"expected a torch.nn.Module, got {type(module).__name__}")
    tensors, names = _inputs(torch, example_inputs, input_names)
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            try:
                expected = _outputs(torch, module, tensors)
            except (RuntimeError, TypeError, IndexError) as error:
                raise ValueError(f"the module does not run on the example: {error}") from error
            results = _names(output_names, len(expected), "output")
            raw, notes = _trace(torch, module, tensors, names, results, opset)
            difference = _compare(torch, module, raw, names, tensors)
    finally:
        module.train(was_training)
    return ExportedModel(
        onnx=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        opset=opset,
        inputs={name: tuple(tensor.shape) for name, tensor in zip(names, tensors, strict=True)},
        outputs=tuple(results),
        max_difference=difference,
        notes=notes,
    )


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise BackendUnavailable("exporting from PyTorch needs torch: pip install 'vml[torch]'") from error
    return torch


@contextmanager
def _loaded(script: Path) -> Iterator[ModuleType]:
    """The script as a module, its folder on the import path for as long as the block runs."""
    if not script.is_file():
        raise ValueError(f"{script} is not a file")
    spec = importlib.util.spec_from_file_location(f"vml_export_{script.stem}", script)
    if spec is None or spec.loader is None:
        raise ValueError(f"{script} is not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    folder = str(script.resolve().parent)
    sys.path.insert(0, folder)
    # Dataclasses and pickling look their module up by name.
    sys.modules[spec.name] = loaded
    try:
        try:
            spec.loader.exec_module(loaded)
        except Exception as error:
            raise ValueError(f"{script} cannot be loaded: {type(error).__name__}: {error}") from error
        yield loaded
    finally:
        sys.path.remove(folder)
        del sys.modules[spec.name]


def _names(given: Sequence[str] | None, count: int, stem: str) -> list[str]:
    default = [stem] if count == 1 else [f"{stem}_{index}" for index in range(count)]
    names = default if given is None else list(given)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"{count} distinct {stem} names are needed, got {names}")
    return names


def _inputs(torch: Any, example: Any, input_names: Sequence[str] | None) -> tuple[tuple[Any, ...], list[str]]:
    if isinstance(example, Mapping):
        if input_names is not None:
            raise ValueError("example_inputs has names already: input_names cannot be given too")
        tensors, input_names = tuple(example.values()), list(example)
    else:
        tensors = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise ValueError("example_inputs must be a tensor, a tuple of tensors or a dict of tensors by name")
    return tensors, _names(input_names, len(tensors), "input")


def _outputs(torch: Any, module: Any, tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    result = module(*tensors)
    outputs = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    if not all(isinstance(tensor, torch.Tensor) for tensor in outputs):
        raise UnsupportedModel("the module must return a tensor or a tuple of tensors")
    return outputs


def _trace(
    torch: Any, module: Any, tensors: tuple[Any, ...], names: list[str], results: list[str], opset: int
) -> tuple[bytes, tuple[str, ...]]:
    import onnx

    buffer = BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # The TorchScript exporter: it needs no further package and writes plain operators.
            torch.onnx.export(
                module,
                tensors,
                buffer,
                dynamo=False,
                opset_version=opset,
                input_names=names,
                output_names=results,
            )
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UnsupportedModel(f"torch cannot export this module: {reason}") from error
    notes = tuple(
        str(warning.message).splitlines()[0]
        for warning in caught
        if not issubclass(warning.category, DeprecationWarning)
    )
    model = onnx.load_model_from_string(buffer.getvalue())
    unused = set(names) - {name for node in model.graph.node for name in node.input}
    if unused:
        raise UnsupportedModel(f"the module does not use these inputs: {sorted(unused)}")
    for node in model.graph.node:
        node.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True), notes


def _compare(torch: Any, module: Any, raw: bytes, names: list[str], tensors: tuple[Any, ...]) -> float:
    """Largest difference between graph and module on the example and its variations, or an error."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for trial in range(1 + VARIATIONS):
        varied = tensors if trial == 0 else tuple(_vary(torch, tensor, trial) for tensor in tensors)
        feeds = {name: tensor.detach().cpu().numpy() for name, tensor in zip(names, varied, strict=True)}
        answers = session.run(None, feeds)
        for index, (got, tensor) in enumerate(zip(answers, _outputs(torch, module, varied), strict=True)):
            expected = tensor.detach().cpu().numpy()
            if got.shape != expected.shape or not np.allclose(
                got, expected, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE, equal_nan=True
            ):
                what = "the example" if trial == 0 else "a variation of the example"
                raise UnsupportedModel(
                    f"output {index} of the traced graph differs from the module's on {what}; "
                    "control flow that depends on values cannot be traced: write it with torch.where"
                )
            if expected.size:
                gap = np.abs(got.astype(np.float64) - expected.astype(np.float64))
                worst = max(worst, float(np.nanmax(gap, initial=0.0)))
    return worst


def _vary(torch: Any, tensor: Any, seed: int) -> Any:
    """Another input of the same kind: floats move by their own spread, everything else is shuffled."""
    generator = torch.Generator().manual_seed(seed)
    if tensor.is_floating_point():
        values = tensor.detach().to("cpu", torch.float64)
        spread = float(values.std(correction=0)) or 1.0
        moved = values + spread * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return moved.to(tensor.dtype)
    flat = tensor.detach().reshape(-1)
    return flat[torch.randperm(flat.numel(), generator=generator)].reshape(tensor.shape)
