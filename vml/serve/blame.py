"""Why a job failed, in words that show nothing of its inputs; and whether another attempt may go better."""

from __future__ import annotations

import re

from vml.errors import (
    BackendUnavailable,
    ChainError,
    ClaimMismatch,
    OutOfRange,
    UnsupportedModel,
    VmlError,
)
from vml.serve.refusals import InputsNotKept, JobCancelled, TimeLimit

_HOPELESS = (UnsupportedModel, OutOfRange, ClaimMismatch, InputsNotKept, TimeLimit, ValueError, TypeError)
"""The same model, input and limits will fail again, whoever tries."""

_SPOKEN = (UnsupportedModel, BackendUnavailable, ChainError, ClaimMismatch, InputsNotKept, JobCancelled, TimeLimit)
"""Their words are about models, software, chains and digests, numbers included."""

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\w.+-]*|nan\b|inf\b)", re.IGNORECASE)


def blame(error: Exception) -> tuple[str, str]:
    """What is remembered of an error.

    Returns:
        (name of its class, the reason in at most 500 characters).
    """
    words = " ".join(str(error).replace("\0", "").split())
    if isinstance(error, OSError) and error.strerror:
        words = error.strerror
    if not isinstance(error, _SPOKEN):
        words = _NUMBER.sub("…", words[:2000])  # any number may be one of the inputs
    return type(error).__name__[:64], words[:500] or "no words"


def worth_retrying(error: Exception) -> bool:
    """Whether another attempt, perhaps elsewhere, may go better."""
    return isinstance(error, VmlError | OSError | MemoryError | RuntimeError) and not isinstance(error, _HOPELESS)
