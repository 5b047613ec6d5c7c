"""What running models again says of others' assertions: verdicts are kept, runs are not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from vml.backends.optimistic import moves
from vml.backends.optimistic.records import Assertion, Opening, Position
from vml.backends.optimistic.strategy import Complaint, Difference
from vml.dispute.journal import Journal
from vml.dispute.library import Library
from vml.dispute.published import refutation
from vml.dispute.store import Store
from vml.errors import OutOfRange, UnsupportedModel

RIGHT, WRONG = "right", "wrong"
RUNNING = (OSError, UnsupportedModel, OutOfRange, ValueError, KeyError, MemoryError)
"""What loading and running a model can raise."""


class Recalled:
    """A complaint that is looked up when something is asked of it: a player that waits needs no run of the model.

    Args:
        recall: finds it; None if there is nothing to complain of.
    """

    def __init__(self, recall: Callable[[], Complaint | None]) -> None:
        self._recall = recall

    @cached_property
    def _found(self) -> Complaint | None:
        return self._recall()

    def operator(self, roots: tuple[bytes, ...]) -> int | None:
        return None if self._found is None else self._found.operator(roots)

    def child(self, position: Position, children: tuple[bytes, ...]) -> int | None:
        return None if self._found is None else self._found.child(position, children)

    def element(self, position: Position, data: bytes) -> int | None:
        return None if self._found is None else self._found.element(position, data)

    def openings(self, operator: int, element: int) -> tuple[Opening, ...]:
        return () if self._found is None else self._found.openings(operator, element)


class Checker:
    """Judges assertions, each once.

    Args:
        library: the models.
        store: remembers verdicts. What was found right is not run again by a later process; what was found wrong is,
            before a bond is put on it.
        journal: told.
    """

    def __init__(self, library: Library, store: Store, journal: Journal) -> None:
        self._library, self._store, self._journal = library, store, journal
        self._verdicts = {key: verdict for key, verdict in store.verdicts().items() if verdict == RIGHT}

    def known(self, key: bytes) -> str | None:
        """What an assertion was found to be; None if it was not run."""
        return self._verdicts.get(key)

    def verdict(self, assertion: Assertion, data: Sequence[bytes]) -> str:
        """Run the model again, unless that was done.

        Args:
            data: tensor bytes of the input.

        Raises:
            OSError, UnsupportedModel, OutOfRange, ValueError, KeyError, MemoryError: it cannot be run.
        """
        key = assertion.id
        if key not in self._verdicts:
            checked = self._library.check(assertion, data)
            verdict = RIGHT if checked.complaint is None else WRONG
            level = logging.INFO if checked.complaint is None else logging.WARNING
            self._journal.say("checked", level=level, assertion=key, verdict=verdict, reason=checked.reason)
            self._journal.count("checked", verdict)
            self._store.judge(key, verdict)
            self._verdicts[key] = verdict
        return self._verdicts[key]

    def complaint(self, assertion: Assertion, data: Sequence[bytes]) -> Complaint | None:
        """What is wrong with an assertion; None if nothing is. Raises as `verdict`."""
        if self.verdict(assertion, data) == RIGHT:
            return None
        return self._library.complaint(assertion, data)

    def refutation(self, assertion: Assertion, data: Sequence[bytes], folder: Path) -> moves.Move | None:
        """The one move against a published trace. It ends disputes, too; and it may be copied, and pays the copier."""
        if not isinstance(self.complaint(assertion, data), Difference):
            return None
        model = assertion.claim.model
        mine = self._library.trace(assertion.id, model, data)
        return refutation(assertion, self._library.published(model, folder), mine)

    def forget(self, key: bytes) -> None:
        """An assertion is decided."""
        self._verdicts.pop(key, None)
        self._library.forget(key)
