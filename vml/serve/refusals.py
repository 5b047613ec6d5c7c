"""What the store answers when it cannot do as it is asked."""

from __future__ import annotations

from vml.errors import ProvingError, VmlError


class StoreUnavailable(VmlError):
    """The database does not answer, is full, or broke off: nothing is known to be remembered. Ask again later.

    Args:
        message: what happened, in words.
        passes: the same may go well a moment later.
    """

    def __init__(self, message: str, *, passes: bool = False) -> None:
        self.passes = passes
        super().__init__(message)


class Overloaded(VmlError):
    """More is asked for than is done; nothing of this was remembered.

    Args:
        retry_after_s: seconds after which there should be room.
        what: that is full, in words.
    """

    def __init__(self, retry_after_s: float, what: str) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{what}; come back in {retry_after_s:.0f} s")


class IdempotencyConflict(VmlError):
    """Another request was sent under this idempotency key before."""


class InputsNotKept(VmlError):
    """The inputs of this claim are not kept, or not any more: nothing can be proved from them."""


class LeaseLost(VmlError):
    """The worker came too late: its job was given to somebody else, or has ended."""


class JobCancelled(VmlError):
    """Somebody asked the worker to stop."""


class TimeLimit(ProvingError):
    """An attempt took longer than it may."""
