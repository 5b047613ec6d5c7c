"""Worker processes for tests: the real one, and one with a backend that proves nothing but takes its time.

The slow backend is put into the table of backends of the worker's process, and of no other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vml.backends import BACKENDS
from vml.backends.types import Capabilities, Estimate, Keys, Progress, SetupOptions, Visibility
from vml.claim import Claim
from vml.errors import ProvingError
from vml.merkle import tensor_root, tensors_root
from vml.proof import Proof
from vml.serve import worker
from vml.serve.executor import Work

SLOW = "slow"
STEPS = 5


class SlowBackend:
    """Runs the model and signs nothing. `x[0]` says what else it does; each start is a line in the log file."""

    name = SLOW

    def capabilities(self) -> Capabilities:
        return Capabilities("cryptographic", "slow/1", ("this test",), exact=True)

    def available(self) -> None:
        return

    def estimate(self, model: Any, visibility: Visibility) -> Estimate:
        return Estimate(fits=True)

    def setup(self, model: Any, options: SetupOptions) -> Keys:
        return Keys(SLOW, "slow/1", model.commitment, b"", compiled=model)

    def prove(
        self,
        keys: Keys,
        inputs: Mapping[str, Any],
        context: bytes,
        *,
        visibility: Visibility,
        progress: Progress | None = None,
    ) -> Proof:
        model = keys.compiled
        codes = model.quantize(inputs)
        claim = Claim(
            model.commitment,
            tensors_root([tensor_root(codes[s.name]) for s in model.inputs]),
            tensors_root([tensor_root(made) for made in model.run(codes).values()]),
            context,
        )
        with Path(os.environ["VML_TEST_LOG"]).open("a") as log:
            log.write(f"{claim.digest().hex()} {os.getpid()}\n")
        self.misbehave(float(np.ravel(inputs["x"])[0]))
        for step in range(STEPS):
            assert progress is not None
            progress("waiting", step / STEPS)
            time.sleep(float(os.environ.get("VML_TEST_STEP_S", "0.004")))
        return Proof("slow/1", (claim,), {}, b"")

    def misbehave(self, what: float) -> None:
        if what == 3.5:
            os._exit(9)
        if what == 3.25:
            raise ProvingError("a value of 3.25 was not to my liking")
        if what == 3.125:
            time.sleep(60)  # without ever looking up


def run(work: Work, name: str, parent: int) -> None:
    """`vml.serve.worker.run` in a process that knows the slow backend."""
    BACKENDS[SLOW] = "tests.serve.provers:SlowBackend"
    worker.run(work, name, parent)


def crash(work: Work, name: str, parent: int) -> None:
    """A worker that cannot even begin."""
    os._exit(7)
