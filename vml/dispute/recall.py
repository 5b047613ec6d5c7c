"""What a process remembers in bounded memory, however much others make it see."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MANY = 4096
"""Entries of what is found out again when it is forgotten."""
SAID = 1 << 16
"""Entries of what was said, and would be said again."""


class Recent(Generic[K, V]):
    """A mapping that forgets what was not used for longest.

    Args:
        size: entries that are kept.
    """

    def __init__(self, size: int = MANY) -> None:
        self.size = size
        self._items: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: K) -> V:
        self._items.move_to_end(key)
        return self._items[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        self.shrink()

    def pop(self, key: K) -> None:
        """Forget an entry, if there is one."""
        self._items.pop(key, None)

    def shrink(self) -> None:
        """Forget what is beyond the size."""
        while len(self._items) > self.size:
            self._items.popitem(last=False)


class Pauses(Generic[K]):
    """When to try again what failed: each time after twice as long.

    Args:
        clock: seconds since any fixed moment.
        first_s, last_s: the shortest pause, and the longest.
    """

    def __init__(self, clock: Callable[[], float], first_s: float = 5.0, last_s: float = 900.0) -> None:
        self._clock, self._first_s, self._last_s = clock, first_s, last_s
        self._until: Recent[K, tuple[float, float]] = Recent()

    def resting(self, key: K) -> bool:
        """Whether it is too early to try."""
        return key in self._until and self._clock() < self._until[key][0]

    def failed(self, key: K) -> float:
        """It failed (again); returns the pause."""
        pause = min(2 * self._until[key][1], self._last_s) if key in self._until else self._first_s
        self._until[key] = self._clock() + pause, pause
        return pause

    def over(self, key: K) -> None:
        """It went well, or does not matter any more."""
        self._until.pop(key)
