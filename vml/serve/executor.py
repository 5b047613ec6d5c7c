"""Who makes the proofs: one protocol for processes of this machine and for many machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from vml.backends.types import SetupOptions


@dataclass(frozen=True)
class Work:
    """What workers need to know.

    Args:
        url: of the database.
        models: compiled folders by the name that clients use.
        options: of set-ups, by backend: limits of memory and time are among them.
        backends: names of those they can do; None for all.
        lease_s: a worker that is silent for so long loses its job.
        poll_s: how often an idle worker looks for a job.
        retry_s: pause before a job's second attempt.
        time_limit_s: the longest that one attempt may take; None for no limit.
        cancel_s: a prover that was asked to stop and does not look up for so long is killed.
        threads: of each worker; 0 shares the cores among the workers.
        niceness: added to the workers', so that answers come first.
    """

    url: str = field(repr=False)
    models: Mapping[str, str]
    options: Mapping[str, SetupOptions] = field(default_factory=dict)
    backends: tuple[str, ...] | None = None
    lease_s: float = 30.0
    poll_s: float = 0.2
    retry_s: float = 1.0
    time_limit_s: float | None = None
    cancel_s: float = 30.0
    threads: int = 0
    niceness: int = 10


class Executor(Protocol):
    """Takes jobs from the store and proves them, until it is stopped."""

    def start(self) -> None:
        """Begin; returns at once."""

    def stop(self, grace_s: float) -> None:
        """Take no new job, let those that run end for a while, then hand them back. Blocks.

        Args:
            grace_s: how long they may still run.
        """

    def describe(self) -> dict[str, Any]:
        """For figures and the console: at least ``kind`` (text), ``workers`` and ``alive`` (counts)."""
