"""Whether an answer is proved: what a request may ask for, and how one in N is chosen.

An answer is one of the sample of N when

    int(keccak256("vml/serve-sample/v1" || value || claim digest)) mod N = 0

with ``value`` empty (``sampling: "hash"``), or the value of a public beacon in a round that was still to come when the
claim was recorded (``sampling: "beacon"``). By hash the server knows which answers will be proved before it gives
them: that finds accidents, and no liar. By beacon it has committed itself before anybody could know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vml.claim import ZERO_CONTEXT, parse_bytes32
from vml.keccak import keccak256
from vml.transparency.audit import context_of

SAMPLE_TAG = b"vml/serve-sample/v1"
MAX_NONCE_BYTES = 256
MAX_SAMPLE = 1 << 32
PRIORITIES = 100
DEFAULT_PRIORITY = 50
MAX_TIMEOUT_US = 3_600_000_000


class Prove(StrEnum):
    """When a proof is made."""

    NEVER = "never"
    """Not at all: the input is not kept."""
    ON_DEMAND = "on-demand"
    """When somebody asks for it while the input is kept."""
    SAMPLE = "sample"
    """For one answer in N, and on demand."""
    ALWAYS = "always"
    SYNC = "sync"
    """Always, and the answer waits for it."""


class Sampling(StrEnum):
    """What chooses the sample."""

    HASH = "hash"
    BEACON = "beacon"


class Refused(ValueError):
    """A parameter of a request that the server does not take; the message says which and why."""


@dataclass(frozen=True)
class Asked:
    """What a request asks for besides its tensors.

    Args:
        prove, sample, sampling: see this module.
        backend: who proves; None takes the server's choice for the model.
        context: 32 bytes that the claim is bound to.
        priority: of the job, higher comes first.
        timeout_s: how long an answer waits for its proof; None takes the server's bound.
        binary: outputs are wanted as binary data unless they say otherwise.
    """

    prove: Prove
    sample: int
    sampling: Sampling
    backend: str | None = None
    context: bytes = ZERO_CONTEXT
    priority: int = 0
    timeout_s: float | None = None
    binary: bool = False


def chosen(digest: bytes, sample: int, value: bytes = b"") -> bool:
    """Whether a claim is one of the sample.

    Args:
        digest: 32-byte digest of the claim.
        sample: one in so many, at least 1.
        value: of the beacon; empty for a sample by hash.
    """
    return int.from_bytes(keccak256(SAMPLE_TAG + value + digest), "big") % sample == 0


def nonce_context(nonce: str) -> bytes:
    """The context that a nonce stands for: keccak256("vml/serve-nonce/v1" || UTF-8 of the text).

    Raises:
        Refused: an empty text, or one of more than 256 bytes.
    """
    try:
        data = nonce.encode()
    except UnicodeEncodeError:
        raise Refused("nonce: a text that is no Unicode") from None
    if not 0 < len(data) <= MAX_NONCE_BYTES:
        raise Refused(f"nonce: a text of 1 to {MAX_NONCE_BYTES} bytes")
    return context_of(nonce)


def read_parameters(given: object, default: Asked) -> Asked:
    """What the parameters of a request ask for.

    Args:
        given: from anyone; None where there are none.
        default: of the server.

    Raises:
        Refused: an unknown parameter, or a value that it cannot have.
    """
    if given is None:
        return default
    if not isinstance(given, dict):
        raise Refused("parameters are an object")
    unknown = given.keys() - _PARAMETERS
    if unknown:
        raise Refused(f"unknown parameter {min(map(str, unknown))[:64]!r}; there are {', '.join(sorted(_PARAMETERS))}")
    prove = _word(given, "prove", Prove, default.prove)
    sampled = "sample" in given or "sampling" in given
    if sampled and prove is not Prove.SAMPLE:
        if "prove" in given:
            raise Refused("sample and sampling belong to prove: sample")
        prove = Prove.SAMPLE
    if "context" in given and "nonce" in given:
        raise Refused("context and nonce: the claim is bound to one of them")
    return Asked(
        prove=prove,
        sample=_number(given, "sample", 1, MAX_SAMPLE, default.sample),
        sampling=_word(given, "sampling", Sampling, default.sampling),
        backend=_text(given, "backend") or default.backend,
        context=_context(given, default.context),
        priority=DEFAULT_PRIORITY - (_number(given, "priority", 0, PRIORITIES, 0) or DEFAULT_PRIORITY),
        timeout_s=_timeout(given, default.timeout_s),
        binary=_flag(given, "binary_data_output"),
    )


def _context(given: Mapping[str, Any], default: bytes) -> bytes:
    nonce, text = _text(given, "nonce"), _text(given, "context")
    if nonce is not None:
        return nonce_context(nonce)
    if text is None:
        return default
    try:
        return parse_bytes32(text)
    except ValueError as error:
        raise Refused(f"context: {error}") from None


def _timeout(given: Mapping[str, Any], default: float | None) -> float | None:
    """Triton's own parameter, in microseconds."""
    if "timeout" not in given:
        return default
    return _number(given, "timeout", 0, MAX_TIMEOUT_US, 0) / 1e6


def _word(given: Mapping[str, Any], name: str, words: Any, default: Any) -> Any:
    value = given.get(name, default)
    if not isinstance(value, str) or value not in tuple(words):
        raise Refused(f"{name} is one of {', '.join(words)}")
    return words(value)


def _number(given: Mapping[str, Any], name: str, lo: int, hi: int, default: int) -> int:
    value = given.get(name, default)
    if type(value) is not int or not lo <= value <= hi:
        raise Refused(f"{name} is a whole number from {lo} to {hi}")
    return value


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(f"{name} is a text")
    return value


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if type(value) is not bool:
        raise Refused(f"{name} is true or false")
    return value


_PARAMETERS = frozenset(
    {"prove", "sample", "sampling", "backend", "context", "nonce", "priority", "timeout", "binary_data_output"}
)
