"""The forms of answers, for the OpenAPI document, and what every route may refuse with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

HEX32 = "^0x[0-9a-f]{64}$"


class Strict(BaseModel):
    """A form without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid")


class Refusal(Strict):
    """Every error there is."""

    error: str


class Tensor(Strict):
    """What a model takes or gives."""

    name: str
    datatype: str
    shape: list[int]


class ServerMetadata(Strict):
    """Of the protocol; `parameters` say whose receipts the server gives."""

    name: str
    version: str
    extensions: list[str]
    parameters: dict[str, str | int | bool]


class ModelMetadata(Strict):
    """Of the protocol; the one version is the model's commitment."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    parameters: dict[str, str | int | bool]


class Live(Strict):
    live: bool


class ModelReady(Strict):
    name: str
    ready: bool


class ModelView(Strict):
    """A model that is served."""

    name: str
    model: str = Field(pattern=HEX32)
    semantics: str
    backend: str | None
    ready: bool
    run_seconds: float
    inputs: list[Tensor]
    outputs: list[Tensor]


class Models(Strict):
    models: list[ModelView]
    backends: list[str]
    prove: str
    policies: list[str]


class ClaimFields(Strict):
    model: str = Field(pattern=HEX32)
    input: str = Field(pattern=HEX32)
    output: str = Field(pattern=HEX32)
    context: str = Field(pattern=HEX32)


class Output(Strict):
    """An output: its codes, and the numbers they stand for."""

    name: str
    dtype: str
    scale: list[str]
    shape: list[int]
    codes: list[int]
    values: list[float]


class JobView(Strict):
    """A job as it stands."""

    id: str
    claim: str = Field(pattern=HEX32)
    model_name: str
    backend: str
    state: str
    priority: int
    stage: str
    fraction: float
    attempts: int
    max_attempts: int
    cancel_asked: bool
    created_at: float
    started_at: float | None
    finished_at: float | None
    error_code: str
    error: str
    proof_claims: list[str]
    max_difference: float | None
    proof: str | None


class ClaimView(Strict):
    """A claim that was answered."""

    digest: str = Field(pattern=HEX32)
    claim: ClaimFields
    model_name: str
    semantics: str
    created_at: float
    log_index: int
    receipt: dict[str, Any] | None
    outputs: list[Output]
    jobs: list[JobView]


class ClaimRow(Strict):
    """A claim in a list."""

    digest: str = Field(pattern=HEX32)
    claim: ClaimFields
    model_name: str
    semantics: str
    created_at: float
    log_index: int
    client: str


class Claims(Strict):
    claims: list[ClaimRow]
    total: int
    next: int | None


class Jobs(Strict):
    jobs: list[JobView]
    counts: dict[str, int]


class AskForProof(Strict):
    """Who is to prove, and how soon: 1 comes first, 100 last."""

    backend: str | None = None
    priority: int = Field(default=50, ge=0, le=100)


class Verdict(Strict):
    """As `vml verify --json`, with the same in plain words."""

    verified: bool
    backend: str | None
    scheme: str | None
    assurance: str | None
    semantics: str | None
    claims: list[dict[str, str]]
    security_bits: int | None
    hidden: list[str]
    revealed: list[str]
    trusted: list[str]
    simulated: bool | None
    unsafe_setup: bool | None
    final: bool | None
    setup_id: str | None
    vk_digest: str | None
    engine: str | None
    remarks: list[str]
    certificates: list[dict[str, Any]]
    error: dict[str, Any] | None
    explanation: list[str]


REASONS = {
    400: "Not a request that is understood",
    401: "An API key or a token is needed",
    403: "Not allowed",
    404: "There is no such thing",
    405: "Not with this method",
    408: "The request did not come in time",
    409: "It contradicts what is there",
    413: "Too large",
    415: "A body of another type",
    422: "A value out of range, or a field that is unknown or of another form",
    429: "Too much at once: come back after Retry-After seconds",
    500: "A defect of the server",
    503: "Not now: come back after Retry-After seconds",
}


ALWAYS = (400, 403, 500, 503)
"""Whatever is asked: no HTTP, not this machine's name, a defect, too many connections."""


def refusals(*more: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its `responses`: those that every guarded route has, and more.

    Args:
        more: further status codes.
    """
    return public_refusals(401, 422, 429, *more)


def public_refusals(*more: int) -> dict[int | str, dict[str, Any]]:
    """The same of a route that asks nobody who they are."""
    return {code: {"model": Refusal, "description": REASONS[code]} for code in sorted({*ALWAYS, *more})}
