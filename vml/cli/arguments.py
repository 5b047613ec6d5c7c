"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vml.backends.types import SetupOptions, Visibility
    from vml.claim import Context
    from vml.model import Model

MAX_CONTEXT_BYTES = 1 << 16

Backend = Annotated[str, typer.Option("--backend", help="Who proves: auto, or a backend's name.")]
Private = Annotated[str, typer.Option("--private", metavar="input,model", help="What the proof hides.")]
HashInput = Annotated[
    bool, typer.Option("--hash-input", help="Show a digest of the input instead of its values; it can be guessed.")
]
Calibrate = Annotated[
    Path | None, typer.Option("--calibrate", help="Sample inputs (.npz, first axis counts rows) to choose scales from.")
]
InputRange = Annotated[
    tuple[float, float] | None,
    typer.Option("--input-range", metavar="LO HI", help="Range of every input, instead of samples."),
]
Srs = Annotated[Path | None, typer.Option("--srs", help="Set-up file; default: an imported one, else a test one.")]
OnChain = Annotated[
    bool, typer.Option("--on-chain", help="Keys for a contract: cheap to check, slower to prove (ezkl).")
]
MemoryLimit = Annotated[float | None, typer.Option("--memory-limit", metavar="GIB", help="Refuse to use more memory.")]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", metavar="S", help="Stop after so many seconds.")]


def read_context(text: str | None) -> tuple[bytes, Context | None]:
    """A context, from 0x and 64 hex digits or from a file with its preimage.

    Args:
        text: the option's value; None is the zero context.

    Returns:
        32 bytes, and the preimage where a file gave it.

    Raises:
        ValueError: neither such digits nor such a file.
        OSError: the file cannot be read.
    """
    from vml.claim import ZERO_CONTEXT, Context, parse_bytes32
    from vml.errors import MalformedProof

    if text is None:
        return ZERO_CONTEXT, None
    if not text.endswith(".json"):
        return parse_bytes32(text), None
    with Path(text).open("rb") as file:
        data = file.read(MAX_CONTEXT_BYTES + 1)
    try:
        value = json.loads(data)
        # What `vml context --json` prints is accepted as it is.
        context = Context.from_json(value["preimage"] if isinstance(value, dict) and "preimage" in value else value)
    except (MalformedProof, RecursionError, ValueError) as error:
        raise ValueError(f"{text} is not a context: {error}") from error
    return context.commitment(), context


def read_visibility(private: str, hash_input: bool) -> Visibility:
    """What the proof hides, from `--private` and `--hash-input`.

    Raises:
        ValueError: an unknown name, or the input both hashed and private.
    """
    from vml.backends.types import Visibility

    visibility = Visibility.from_private(private)
    if not hash_input:
        return visibility
    if visibility.input == "private":
        raise ValueError("the input is either --private or --hash-input")
    return Visibility(input="hashed", model=visibility.model)


def read_model(
    model: Path, calibrate: Path | None, input_range: tuple[float, float] | None, progress: Any = None
) -> Model:
    """The model a command works on: a compiled folder, or an .onnx file with samples or a range.

    Raises:
        ValueError, UnsupportedModel, OSError: as `vml.api.load_model`.
    """
    from vml import api
    from vml.arrays import load_arrays

    samples = None if calibrate is None else load_arrays(calibrate)
    return api.load_model(model, calibration=samples, input_range=input_range, progress=progress)


def setup_options(
    visibility: Visibility,
    srs: Path | None,
    memory_limit: float | None,
    time_limit: float | None,
    progress: Any,
    **more: Any,
) -> SetupOptions:
    """The options of a set-up, from the shared command line options."""
    from vml.backends.types import SetupOptions

    if (memory_limit is not None and memory_limit <= 0) or (time_limit is not None and time_limit <= 0):
        raise ValueError("limits are positive")
    return SetupOptions(
        visibility=visibility,
        srs=srs,
        memory_limit_bytes=None if memory_limit is None else int(memory_limit * (1 << 30)),
        time_limit_s=time_limit,
        progress=progress,
        **more,
    )
