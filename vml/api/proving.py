"""Keys and proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vml.api.models import ModelLike, load_model
from vml.api.planning import PUBLIC, choose_backend
from vml.backends import get_backend
from vml.backends.types import Keys, Progress, SetupOptions, Visibility
from vml.claim import ZERO_CONTEXT, Context

if TYPE_CHECKING:
    from vml.proof import Proof


def setup(model: ModelLike, backend: str, options: SetupOptions | None = None) -> Keys:
    """Make a backend's keys for a model, or take them from the cache.

    Args:
        model: a `Model` or a compiled folder; its identity is recorded in the folder.
        backend: name of the backend.
        options: see `SetupOptions`.

    Raises:
        ValueError: unknown backend, or an option it cannot honour.
        UnsupportedModel: the backend cannot express the model.
        ProvingError: it does not fit, or the set-up failed.
        BackendUnavailable: software is missing.
    """
    chosen = get_backend(backend)
    chosen.available()
    return chosen.setup(load_model(model), options or SetupOptions())


def prove(
    model: ModelLike,
    inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    backend: str = "auto",
    context: bytes = ZERO_CONTEXT,
    visibility: Visibility = PUBLIC,
    keys: Keys | None = None,
    options: SetupOptions | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Prove one run of a model, or a batch of runs.

    Args:
        model: a `Model` or a compiled folder.
        inputs: arrays by input name, of the model's shapes and number types; a sequence of such is a batch.
        backend: name of the backend, or "auto" for the fastest that can serve.
        context: 32 bytes the proof is bound to; zero makes it replayable on purpose.
        visibility: what the proof hides.
        keys: of an earlier `setup`; None makes them or takes them from the cache.
        options: for a set-up on the way; its visibility must be `visibility`.
        progress: called with a stage and the fraction of it that is done.

    Returns:
        The proof.

    Raises:
        ValueError: names, shapes, number types or values do not fit the model, or nothing binds what is asked.
        OutOfRange: a value is outside the range the model declares.
        ProvingError: proving failed.
        BackendUnavailable: software is missing, or no backend can serve.
    """
    compiled = load_model(model)
    batch = not isinstance(inputs, Mapping)
    if backend == "auto":
        backend = keys.backend if keys is not None else choose_backend(compiled, visibility, batch=batch).backend
    chosen = get_backend(backend)
    chosen.available()
    rows = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    require_batch(backend, batch, len(rows))
    # The model's own declared range holds for every backend: a value it was not made for is refused, not proved.
    for row in rows:
        compiled.quantize(row)
    if keys is None:
        if options is None:
            options = SetupOptions(visibility=visibility, progress=progress)
        if options.visibility != visibility:
            raise ValueError(f"the set-up options say {options.visibility}, the proof asks for {visibility}")
        keys = chosen.setup(compiled, options)
    return chosen.prove(keys, inputs, context, visibility=visibility, progress=progress)


def require_batch(backend: str, batch: bool, count: int) -> None:
    """Refuse a number of inputs that one proof of a backend cannot be about, before any work is done.

    Args:
        backend: its name.
        batch: whether several inputs were asked for, if only as a list of one.
        count: of inputs.

    Raises:
        ValueError: no input, too many, or a batch for a backend that proves one input at a time.
    """
    from vml.proof import MAX_CLAIMS

    if not 1 <= count <= MAX_CLAIMS:
        raise ValueError(f"a batch has 1 to {MAX_CLAIMS} inputs, given were {count}")
    if batch and not get_backend(backend).capabilities().batch:
        raise ValueError(f"{backend} proves one input at a time; `vml plan --batch` says who proves several")


def with_context_preimage(proof: Proof, context: Context) -> Proof:
    """The same proof, showing what its context stands for.

    Args:
        proof: every claim of it bound to `context`.
        context: the preimage.

    Raises:
        ValueError: a claim is bound to another context.
    """
    if any(claim.context != context.commitment() for claim in proof.claims):
        raise ValueError("the proof is bound to another context")
    return replace(proof, public={**proof.public, "context_preimage": context.to_json()})
