"""The process on a node that holds one model's keys and proves with them, one job at a time.

It answers with plain bytes, texts and numbers. An error is an answer, too: what an exception of a node would unpickle
to is none of the caller's business.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vml.ray.kit import OPENINGS, Kit, require_version

if TYPE_CHECKING:
    from vml.backends.types import Keys
    from vml.model import Model

Failure = tuple[str, str]
"""Name of an error's class, and its message."""


class KeyHolder:
    """Loads a kit once, and proves until it is stopped. Two methods may run at a time: `prove` and `status`.

    Args:
        threads: cores it may use.
    """

    def __init__(self, threads: int) -> None:
        import ray

        # Read when vml.threads is loaded, which happens later.
        os.environ["VML_THREADS"] = str(threads)
        self._node = str(ray.get_runtime_context().get_node_id())
        self._stage, self._fraction = "starting", 0.0
        self._held: tuple[Kit, Model, Keys] | None = None

    def ready(self, kit: Kit) -> dict[str, Any]:
        """Load a kit: ``{"node", "pid", "failure"}``."""
        return self._said(self._attempt(lambda: self._load(kit)))

    def status(self) -> dict[str, Any]:
        """How far the job is: ``{"node", "pid", "stage", "fraction"}``."""
        return {"node": self._node, "pid": os.getpid(), "stage": self._stage, "fraction": self._fraction}

    def prove(
        self, kit: Kit, inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]], context: bytes
    ) -> dict[str, Any]:
        """Prove one input, or several in one proof.

        Args:
            kit: as for `ready`; a process that was started again has lost it.
            inputs: arrays by name.
            context: 32 bytes.

        Returns:
            ``{"node", "pid", "seconds", "failure", "proof", "opening"}``: the envelope's bytes, and the bytes that
            open a hidden input, which are then nowhere else on the node; empty with a failure.
        """
        started = time.monotonic()
        made = [b"", b""]

        def work() -> None:
            made[:] = self._prove(kit, inputs, context)

        self._stage, self._fraction = "proving", 0.0
        said = self._said(self._attempt(work))
        return {**said, "seconds": time.monotonic() - started, "proof": made[0], "opening": made[1]}

    def _load(self, kit: Kit) -> tuple[Kit, Model, Keys]:
        if self._held is None:
            self._stage, self._fraction = "loading the keys", 0.0
            require_version(kit)
            model = kit.unpack_model()
            self._held = kit, model, kit.unpack_keys(model)
        return self._held

    def _prove(
        self, kit: Kit, inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]], context: bytes
    ) -> tuple[bytes, bytes]:
        from vml import api

        def tell(stage: str, fraction: float) -> None:
            self._stage, self._fraction = stage, fraction

        kit, model, keys = self._load(kit)
        proof = api.prove(
            model,
            inputs,
            backend=keys.backend,
            context=context,
            visibility=kit.visibility,
            keys=keys,
            progress=tell,
        )
        opening = b""
        if keys.directory is not None and len(proof.claims) == 1:
            kept = keys.directory / OPENINGS / f"0x{proof.claims[0].digest().hex()}.json"
            if kept.is_file():
                opening = kept.read_bytes()
                kept.unlink()
        return proof.to_bytes(), opening

    def _said(self, failure: Failure | None) -> dict[str, Any]:
        return {"node": self._node, "pid": os.getpid(), "failure": failure}

    @staticmethod
    def _attempt(work: Callable[[], object]) -> Failure | None:
        try:
            work()
        except Exception as error:
            return type(error).__name__, str(error)
        return None
