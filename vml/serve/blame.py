"""Why a job failed, in words that show nothing of its inputs; and whether another attempt may go better."""

from __future__ import annotations

from vml.errors import (
    BackendUnavailable,
    ChainError,
    ClaimMismatch,
    OutOfRange,
    ProvingError,
    UnsupportedModel,
    VmlError,
)
from vml.serve.refusals import InputsNotKept, JobCancelled

_HOPELESS = (UnsupportedModel, OutOfRange, ClaimMismatch, InputsNotKept, ValueError, TypeError)
"""The same model and the same input will fail again, whoever tries."""

_SPOKEN = (UnsupportedModel, BackendUnavailable, ChainError, ClaimMismatch, InputsNotKept, JobCancelled)
"""Their words are about models, software, chains and digests."""

_INSTEAD: tuple[tuple[type[Exception], str], ...] = (
    (OutOfRange, "a value is outside the range that the model declares"),
    (ProvingError, "proving failed"),
    (ValueError, "the inputs or the options do not fit the model or the backend"),
    (TypeError, "the inputs or the options do not fit the model or the backend"),
    (MemoryError, "the machine has too little memory"),
    (OSError, "the operating system refused something"),
)
"""Their own words may quote inputs."""


def blame(error: Exception) -> tuple[str, str]:
    """What is remembered of an error.

    Returns:
        (name of its class, the reason in at most 500 characters).
    """
    words = next((words for kind, words in _INSTEAD if isinstance(error, kind)), "an error nobody expected")
    if isinstance(error, _SPOKEN):
        words = " ".join(str(error).replace("\0", "").split())
    elif isinstance(error, OSError) and error.strerror:
        words = f"the operating system refused something: {error.strerror}"
    return type(error).__name__[:64], words[:500]


def worth_retrying(error: Exception) -> bool:
    """Whether another attempt, perhaps elsewhere, may go better."""
    return isinstance(error, VmlError | OSError | MemoryError | RuntimeError) and not isinstance(error, _HOPELESS)
