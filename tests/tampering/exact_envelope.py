"""Ways to alter the envelope of an honest proof about the exact model, for tamper manifests."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vml.proof import Proof


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@dataclass(frozen=True)
class Alterations:
    """Each method gives a function that makes one altered proof.

    Args:
        honest: makes the honest one.
    """

    honest: Callable[[], Proof]

    def replaced(self, **change: Any) -> Callable[[], Proof]:
        """Other fields of the envelope."""
        return lambda: replace(self.honest(), **change)

    def claimed(self, name: str, value: bytes | None = None) -> Callable[[], Proof]:
        """Another field of the claim, by default one bit away."""

        def make() -> Proof:
            (claim,) = self.honest().claims
            return replace(self.honest(), claims=(replace(claim, **{name: value or flipped(getattr(claim, name))}),))

        return make

    def published(self, alter: Callable[[Any], Any]) -> Callable[[], Proof]:
        """Another public section."""

        def make() -> Proof:
            public = copy.deepcopy(dict(self.honest().public))
            alter(public)
            return replace(self.honest(), public=public)

        return make

    def entry(self, name: str, value: Any) -> Callable[[], Proof]:
        """Another field of the first output."""
        return self.published(lambda public: public["output"][0].__setitem__(name, value))

    def code(self, side: str) -> Callable[[], Proof]:
        """Another number in the second tensor of a side."""

        def alter(public: Any) -> None:
            data = bytearray(base64.b64decode(public[side][1]["codes"][0]))
            data[-1] ^= 1
            public[side][1]["codes"][0] = base64.b64encode(bytes(data)).decode()

        return self.published(alter)
