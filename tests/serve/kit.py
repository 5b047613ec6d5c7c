"""Answers to record, a clock to turn, and what a worker would hand in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from vml.claim import ZERO_CONTEXT, Claim
from vml.merkle import tensor_root, tensors_root
from vml.proof import Proof
from vml.serve.records import Job, Lease, NewAnswer, NewJob
from vml.serve.store import Store

BACKEND = "sumcheck"


class Clock:
    """Unix seconds that pass when they are told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def claim_of(number: int, context: bytes = ZERO_CONTEXT) -> Claim:
    """A claim that differs for every number."""
    tail = number.to_bytes(31, "big")
    return Claim(b"\x01" * 32, b"\x02" + tail, b"\x03" + tail, context)


def answer(number: int, job: NewJob | None = None, **others: Any) -> NewAnswer:
    """An answer that differs for every number."""
    fields: dict[str, Any] = {
        "semantics": "vml-int/1",
        "model_name": "digits",
        "inputs": {"x": np.array([number, 0.5])},
        "outputs": b"[]",
    }
    return NewAnswer(claim_of(number), job=job, **{**fields, **others})


def asked(number: int, **job: Any) -> NewAnswer:
    """An answer whose proof is asked for."""
    return answer(number, NewJob(job.pop("backend", BACKEND), **job))


def real_answer(model: Any, inputs: dict[str, Any], name: str, job: NewJob | None, **others: Any) -> NewAnswer:
    """What the server would record of a run of a compiled model."""
    codes = model.quantize(inputs)
    made = model.run(codes)
    roots = [
        tensors_root([tensor_root(values[spec.name]) for spec in specs])
        for values, specs in ((codes, model.inputs), (made, model.outputs))
    ]
    claim = Claim(model.commitment, *roots, others.pop("context", ZERO_CONTEXT))
    return NewAnswer(claim, "vml-int/1", name, inputs=inputs, job=job, **others)


def proof_of(lease: Lease) -> Proof:
    """Something that has a proof's form."""
    return Proof("sumcheck/1", (lease.claim,), {}, b"proof")


def taken(store: Store, worker: str = "w", seconds: float = 30.0, **others: Any) -> Lease:
    """The lease of a job that is there to be taken."""
    lease = store.lease(worker, seconds=seconds, **others)
    assert lease is not None
    return lease


def the(store: Store, id: str | None) -> Job:
    """A job that is there."""
    job = store.job(str(id))
    assert job is not None
    return job


def ids(store: Store, *answers: NewAnswer) -> list[str]:
    """Record answers; the ids of their jobs."""
    return [str(recorded.job) for recorded in store.record(answers)]


def until(condition: Callable[[], Any], patience_s: float = 30.0) -> None:
    """Wait until something is so."""
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)


def tiny_inputs(first: float, rest: float = 1.0) -> dict[str, Any]:
    """Inputs of the tiny model."""
    return {"x": np.array([[first, rest, -2.0, 0.25]], np.float32)}
