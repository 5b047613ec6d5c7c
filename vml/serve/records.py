"""What the server remembers, as plain frozen records: claims, jobs, proofs. Times are unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vml.claim import Claim


class State(StrEnum):
    """Where a job is. The last three are its ends; each accepted job reaches one of them, once."""

    WAITING = "waiting"
    """For the beacon that says whether it is one of the sample."""
    QUEUED = "queued"
    RUNNING = "running"
    PROVED = "proved"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing changes it any more."""
        return self in ENDS


MAX_PRIORITY = 1_000_000
ENDS = frozenset({State.PROVED, State.FAILED, State.CANCELLED})


@dataclass(frozen=True)
class NewJob:
    """A proof that is asked for.

    Args:
        backend: name in the table of backends.
        priority: higher comes first.
        max_attempts: how often it may be begun before it fails.
        sample: one in so many is proved, of those that a beacon chooses; 1 proves it anyhow.
        beacon_round: the beacon's round that decides, still to come when the claim was made; None where none does.
        client: name of who asks; empty where nobody has to say.

    Raises:
        ValueError: an argument out of its bounds.
    """

    backend: str
    priority: int = 0
    max_attempts: int = 3
    sample: int = 1
    beacon_round: int | None = None
    client: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.backend) <= 64:
            raise ValueError("the name of a backend has 1 to 64 characters")
        if not -MAX_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise ValueError(f"priority is within -{MAX_PRIORITY} to {MAX_PRIORITY}, not {self.priority}")
        if not 1 <= self.max_attempts <= 100:
            raise ValueError(f"a job is begun 1 to 100 times, not {self.max_attempts}")
        if not 1 <= self.sample <= 1 << 32:
            raise ValueError(f"one in {self.sample} is no sample")

    @property
    def first_state(self) -> State:
        """Where such a job begins."""
        return State.QUEUED if self.beacon_round is None or self.sample == 1 else State.WAITING


@dataclass(frozen=True)
class NewAnswer:
    """One answer of the server, to be remembered before it is sent.

    Args:
        claim: of the exact model.
        semantics: name of the arithmetic.
        model_name: under which the model was asked.
        inputs: what a proof would start from, by input name, arrays of the model's types; empty where they are
            not kept.
        outputs: what was answered, canonical JSON, for readers of the claim; empty where it is not kept.
        receipt: canonical JSON of the signed receipt; empty where nothing signs.
        job: the proof that is asked for; None for none.
        client: name of the API key that asked; empty where none is needed.
        idempotency_key: of the request; None where it has none.
        request_hash: 32-byte hash of the request, compared when its idempotency key comes again.

    Raises:
        ValueError: a text that is too long, or a proof is asked for and there is nothing to start it from.
    """

    claim: Claim
    semantics: str
    model_name: str
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    outputs: bytes = b""
    receipt: bytes = b""
    job: NewJob | None = None
    client: str = ""
    idempotency_key: str | None = None
    request_hash: bytes = b""

    def __post_init__(self) -> None:
        texts = (self.semantics, 64), (self.model_name, 255), (self.client, 255), (self.idempotency_key or "", 255)
        for value, longest in texts:
            if len(value) > longest or "\0" in value:
                raise ValueError(f"a text of at most {longest} characters was expected, without NUL")
        if self.idempotency_key is not None and len(self.request_hash) != 32:
            raise ValueError("an idempotency key comes with the 32-byte hash of its request")
        if self.job is not None and not self.inputs:
            raise ValueError("a proof starts from inputs, and none are given")


@dataclass(frozen=True)
class Recorded:
    """How an answer was remembered.

    Args:
        digest: 32-byte claim digest.
        log_index: of its entry in the transparency log; the earlier one where the same claim was made before.
        job: id of the job, the earlier one where this proof was asked for before; None for none.
        created: false where the same claim was there already.
    """

    digest: bytes
    log_index: int
    job: str | None
    created: bool


@dataclass(frozen=True)
class ClaimRecord:
    """A claim that was answered; fields as in `NewAnswer`."""

    claim: Claim
    digest: bytes
    semantics: str
    model_name: str
    created_at: float
    log_index: int
    receipt: bytes
    outputs: bytes
    client: str


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Args:
        id: 32 hex digits.
        claim: 32-byte digest of the claim that was answered.
        stage, fraction: how far the prover is, from 0.0 to 1.0.
        attempts: how often it was begun.
        worker: who runs it; empty where nobody does.
        cancel_asked: the worker is asked to stop.
        error_code: name of the class of the error it failed with; empty otherwise.
        error: the reason in plain words.
        proof_claims: 32-byte digests of the claims of its proof: the claim itself, or that of a backend with
            arithmetic of its own.
        client: who asked for it; None where several did, so that it is nobody's to cancel.
    """

    id: str
    claim: bytes
    model_name: str
    backend: str
    state: State
    priority: int
    stage: str
    fraction: float
    attempts: int
    max_attempts: int
    worker: str
    cancel_asked: bool
    created_at: float
    started_at: float | None
    finished_at: float | None
    error_code: str
    error: str
    proof_claims: tuple[bytes, ...]
    client: str | None


@dataclass(frozen=True)
class ProofRecord:
    """A proof that was made.

    Args:
        claim: 32-byte digest of the claim that was answered.
        data: the envelope's bytes.
        claims: 32-byte digests of the claims inside.
    """

    claim: bytes
    backend: str
    scheme: str
    data: bytes = field(repr=False)
    claims: tuple[bytes, ...]
    created_at: float
    job: str


@dataclass(frozen=True)
class Lease:
    """A job that one worker holds until a time, unless it keeps saying that it is alive.

    Args:
        job: id.
        token: 32 hex digits; whoever comes with another one is too late.
        until: when the lease ends.
    """

    job: str
    token: str
    until: float
    claim: Claim
    model_name: str
    backend: str
    attempt: int
    inputs: Mapping[str, Any] = field(repr=False)
