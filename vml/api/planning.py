"""Which backend can serve, at what cost, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vml.backends import BACKENDS, get_backend
from vml.backends.types import Capabilities, Estimate, Visibility
from vml.errors import BackendUnavailable, UnsupportedModel

if TYPE_CHECKING:
    from vml.model import Model

PUBLIC = Visibility()


@dataclass(frozen=True)
class Option:
    """One backend beside the others: what it can do, what one model would cost, whether it can serve.

    Args:
        backend: its name.
        capabilities: what it can do at all.
        estimate: predicted cost; None where the backend was not asked.
        serves: whether it can prove this model, with this visibility, here.
        why: the reasons, either way; never empty.
    """

    backend: str
    capabilities: Capabilities
    estimate: Estimate | None
    serves: bool
    why: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """The backend that was picked, the reason, and the others that were considered."""

    backend: str
    why: str
    options: tuple[Option, ...]


def plan(model: Model, visibility: Visibility = PUBLIC, *, batch: bool = False) -> tuple[Option, ...]:
    """Ask every backend what proving this model would take, before anything is run.

    Args:
        model: the compiled model.
        visibility: what the proof must hide.
        batch: several inputs in one proof.

    Returns:
        One option a backend: those that serve first, of these those that prove, the fastest of them first.
    """
    options = [_option(name, model, visibility, batch) for name in BACKENDS]
    return tuple(sorted(options, key=_rank))


def picked(options: tuple[Option, ...]) -> Option | None:
    """The option that "auto" takes: the fastest that serves with a proof. A bond or hardware in place of one
    is asked for by name.

    Args:
        options: as `plan` gives them.

    Returns:
        None where no proof can be made.
    """
    return next((option for option in options if option.serves and _proves(option)), None)


def _proves(option: Option) -> bool:
    return option.capabilities.assurance == "cryptographic"


WITHOUT = {"economic": "with a bond", "hardware": "with attested hardware"}
"""What stands in for a proof, by assurance."""


def without(options: tuple[Option, ...]) -> dict[str, list[str]]:
    """The backends that serve with something else than a proof, by assurance (the keys of `WITHOUT`)."""
    names = {how: [o.backend for o in options if o.serves and o.capabilities.assurance == how] for how in WITHOUT}
    return {how: found for how, found in names.items() if found}


def choose_backend(model: Model, visibility: Visibility = PUBLIC, *, batch: bool = False) -> Choice:
    """Pick the fastest backend that can serve with a proof, and say why.

    Raises:
        BackendUnavailable: none can; the message gives each one's reason.
    """
    options = plan(model, visibility, batch=batch)
    best = picked(options)
    if best is None:
        reasons = "; ".join(f"{option.backend}: {', '.join(option.why)}" for option in options)
        others = [f"{WITHOUT[how]}: --backend {' or '.join(names)}" for how, names in without(options).items()]
        ask = f" Without a proof, {'; '.join(others)}." if others else ""
        raise BackendUnavailable(f"no backend can prove this model here.{ask} {reasons}")
    rest = [option for option in options if option is not best]
    others = [f"{option.backend} cannot ({option.why[0]})" for option in rest if not option.serves]
    slower = [f"{option.backend} is slower" for option in rest if option.serves and _proves(option)]
    why = ", ".join([*best.why, *slower, *others])
    return Choice(best.backend, why, options)


def _option(name: str, model: Model, visibility: Visibility, batch: bool) -> Option:
    """Ask one backend."""
    backend = get_backend(name)
    able = backend.capabilities()
    refusals = []
    if visibility.input not in able.inputs:
        refusals.append(f"cannot make the input {visibility.input}")
    if visibility.model not in able.models:
        refusals.append(f"cannot make the model {visibility.model}")
    if batch and not able.batch:
        refusals.append("proves one input at a time")
    try:
        backend.available()
    except BackendUnavailable as error:
        refusals.append(str(error))
    if refusals:
        return Option(name, able, None, False, tuple(refusals))
    try:
        estimate = backend.estimate(model, visibility)
    except UnsupportedModel as error:
        return Option(name, able, None, False, (str(error),))
    if not estimate.fits:
        return Option(name, able, estimate, False, estimate.reasons or ("does not fit",))
    why = "fits" if estimate.prove_s is None else f"fits, about {estimate.prove_s:.2g} s a proof"
    return Option(name, able, estimate, True, (why, *estimate.reasons))


def _rank(option: Option) -> tuple[bool, bool, float, str]:
    """What options are ordered by."""
    return not option.serves, not _proves(option), _seconds(option), option.backend


def _seconds(option: Option) -> float:
    """Seconds for a proof, the unknown last."""
    known = option.estimate is not None and option.estimate.prove_s is not None
    return option.estimate.prove_s if known else float("inf")  # type: ignore[union-attr,return-value]
