"""Models: compiled here, or read from where they lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vml.backends.types import Progress

if TYPE_CHECKING:
    from vml.model import Model

ModelLike: TypeAlias = "str | os.PathLike[str] | Model"


def compile(
    model: str | os.PathLike[str] | bytes,
    *,
    calibration: Mapping[str, Any] | None = None,
    input_range: tuple[float, float] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Model:
    """Compile an ONNX model to exact integers.

    Args:
        model: path of an .onnx file, or its bytes.
        calibration: sample inputs by name, the first axis counts rows.
        input_range: (lo, hi) in units, for every input; this or `calibration` is required.
        progress: called with a stage and the fraction of it that is done.
        options: further options of `vml.model.compile_model`.

    Returns:
        The model, not yet saved.

    Raises:
        UnsupportedModel: it cannot be compiled; the message names node and operator.
        ValueError: neither calibration nor range, or an argument that does not fit the model.
        BackendUnavailable: the extra `compile` is not installed.
    """
    from vml.model import compile_model

    return compile_model(model, calibration=calibration, input_range=input_range, progress=progress, **options)


def load_model(
    model: ModelLike,
    *,
    calibration: Mapping[str, Any] | None = None,
    input_range: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Model:
    """A compiled model: as it is, from its folder, or compiled from an .onnx file on the way.

    Args:
        model: a `Model`, a compiled folder, or an .onnx file.
        calibration, input_range: for an .onnx file, one is required; for anything else they are refused.
        progress: as for `compile`.

    Raises:
        ValueError: no such kind of model, or calibration for one that is compiled already.
        UnsupportedModel: it cannot be compiled, or the folder is damaged.
    """
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if not path.exists():
            raise FileNotFoundError(2, "no such model (an .onnx file or a compiled folder)", str(path))
        if not path.is_dir():
            return compile(path, calibration=calibration, input_range=input_range, progress=progress)
    if calibration is not None or input_range is not None:
        raise ValueError("the model is compiled already; calibration and range belong to `vml compile`")
    if isinstance(model, str | os.PathLike):
        from vml.model import Model

        return Model.load(Path(model))
    return model
