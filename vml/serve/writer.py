"""Group commit: what many requests want remembered at the same time goes to the disk at once.

A commit waits for the disk, some milliseconds whatever it holds. A thread takes what is there, commits it in one
transaction and wakes everybody; meanwhile the next group gathers. Nothing is acknowledged before it is durable.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from vml.serve.recording import Outcome
from vml.serve.records import NewAnswer, Recorded
from vml.serve.refusals import Overloaded, StoreUnavailable
from vml.serve.store import Store

_RETRY_AFTER_S = 1.0


class GroupWriter:
    """Records answers of many requests, in groups.

    Args:
        store: where.
        max_waiting: answers that may wait for their commit, at most.
        max_group: answers in one transaction, at most.
    """

    def __init__(self, store: Store, *, max_waiting: int = 1024, max_group: int = 256) -> None:
        self._store, self._max_waiting, self._max_group = store, max_waiting, max_group
        self._waiting: deque[tuple[NewAnswer, Future[Recorded]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="vml-writer", daemon=True)
        self._thread.start()

    async def record(self, answer: NewAnswer) -> Recorded:
        """Remember an answer; returns when it is durable.

        Raises:
            Overloaded: too many wait already, or there is no room for the job.
            IdempotencyConflict: its idempotency key is another request's.
            StoreUnavailable: the database does not answer.
            ValueError: the answer cannot be kept.
        """
        return await asyncio.wrap_future(self.submit(answer))

    def submit(self, answer: NewAnswer) -> Future[Recorded]:
        """Hand over an answer from any thread.

        Returns:
            What `record` returns or raises.

        Raises:
            Overloaded: too many wait already.
            StoreUnavailable: the writer is closed.
        """
        future: Future[Recorded] = Future()
        with self._changed:
            if self._closed:
                raise StoreUnavailable("the server is shutting down")
            if len(self._waiting) >= self._max_waiting:
                raise Overloaded(_RETRY_AFTER_S, f"{len(self._waiting)} answers wait to be remembered")
            self._waiting.append((answer, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Take nothing more, and return when everything that waits is durable or refused."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_group))]
            for (_, future), outcome in zip(group, self._commit([answer for answer, _ in group]), strict=True):
                # A request that was given up meanwhile wants no answer; what it asked is remembered all the same.
                if future.set_running_or_notify_cancel():
                    if isinstance(outcome, BaseException):
                        future.set_exception(outcome)
                    else:
                        future.set_result(outcome)

    def _commit(self, answers: Sequence[NewAnswer]) -> Sequence[Outcome | BaseException]:
        """Record a group; where it fails as a whole, each by itself, so that one bad answer harms no other."""
        try:
            return self._store.record_each(answers)
        except Exception as error:
            if len(answers) == 1 or isinstance(error, StoreUnavailable):
                return [error] * len(answers)
            return [self._commit([answer])[0] for answer in answers]
