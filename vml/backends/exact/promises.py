"""What backends about the exact model refuse alike: hiding, options that mean nothing, keys of another backend."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import TYPE_CHECKING, NoReturn

from vml.backends.types import Keys, SetupOptions, Visibility
from vml.errors import UnsupportedModel

if TYPE_CHECKING:
    from vml.model import Model

PUBLIC = Visibility()
ALWAYS = frozenset({"visibility", "cache_dir", "progress"})
"""Options that every backend takes; `refuse_hiding` has the first."""


def refuse_hiding(visibility: Visibility, why: str) -> None:
    """Refuse to promise what the backend does not keep.

    Raises:
        ValueError: anything is to be hidden; `why` it cannot be.
    """
    if visibility != PUBLIC:
        raise ValueError(f"{visibility} cannot be had: {why}; leave --private out, or take --backend ezkl")


def refuse_options(options: SetupOptions, backend: str, taken: Collection[str] = ()) -> None:
    """Refuse options of a set-up that mean nothing to a backend: whatever differs from its default.

    Args:
        backend: its name.
        taken: fields of `SetupOptions` that it honours, besides `ALWAYS`.

    Raises:
        ValueError: naming the first that it does not.
    """
    for field in fields(SetupOptions):
        if field.name not in ALWAYS and field.name not in taken and getattr(options, field.name) != field.default:
            raise ValueError(f"{backend} runs the compiled model as it is: {field.name} means nothing")


def require_inputs(model: Model) -> None:
    """Raise UnsupportedModel where a claim would be about no input."""
    if not model.inputs:
        raise UnsupportedModel("the model has no input, so there is nothing that a claim could be about")


def model_of(keys: Keys, backend: str) -> Model:
    """The model that keys were made for. Raises ValueError for keys of another backend, or that have lost it."""
    model: Model | None = keys.compiled
    if keys.backend != backend or model is None:
        raise ValueError(f"these are not {backend} keys, or they have lost their model: make them with setup")
    return model


def refuse_source(backend: str) -> NoReturn:
    """An .onnx file has no identity here: the integers follow from its calibration, too. Raises ValueError."""
    raise ValueError(
        f"the {backend} claim is about the exact integer model, which an .onnx file alone does not give: "
        "use the compiled folder, or its 0x commitment"
    )
