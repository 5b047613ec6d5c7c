"""Every error vml raises on purpose.

::

    VmlError
    ├─ UnsupportedModel ── UnsupportedOperator(problems: node, op, opset, hint)
    ├─ BackendUnavailable        names the extra to install
    ├─ ProvingError ── OutOfRange(node, index, value, bound)
    ├─ ChainError                with the decoded custom error
    ├─ ServerError(status)       an inference server refused, or does not answer
    └─ VerificationError
       ├─ MalformedProof
       ├─ ClaimMismatch(field, expected, got)
       ├─ ProofRejected(step, expected, got)
       ├─ EvidenceRejected(reason)
       ├─ CertificateRejected(reason)
       ├─ LogRejected(reason)
       ├─ NotFinal(until)
       └─ PolicyRejected(rule)

A caller's mistake is ``ValueError`` or ``TypeError``. Hostile bytes raise only ``VerificationError``.
Every class carries the process exit code the command line answers with (``docs/cli.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


class VmlError(Exception):
    """Base of everything vml raises on purpose."""

    exit_code: ClassVar[int] = 2


class UnsupportedModel(VmlError):
    """The model cannot be compiled, and the message says why and what to do."""

    exit_code = 3


@dataclass(frozen=True)
class OperatorProblem:
    """One node that cannot be lowered: where it is, what it is, and what could be done."""

    node: str
    op: str
    opset: int
    hint: str

    def __str__(self) -> str:
        return f"node {self.node!r}: operator {self.op} (opset {self.opset}): {self.hint}"


class UnsupportedOperator(UnsupportedModel):
    """One or several nodes have no lowering; all of them are listed at once."""

    def __init__(self, problems: Sequence[OperatorProblem]) -> None:
        self.problems = tuple(problems)
        noun = "node is" if len(self.problems) == 1 else "nodes are"
        lines = "\n  ".join(str(problem) for problem in self.problems)
        super().__init__(f"{len(self.problems)} {noun} not supported:\n  {lines}")


class BackendUnavailable(VmlError):
    """A backend's software is not installed or cannot run here."""

    exit_code = 4


class ProvingError(VmlError):
    """Running or proving failed."""

    exit_code = 5


class OutOfRange(ProvingError):
    """A value lies outside the range the model declares for it."""

    def __init__(self, node: str, index: tuple[int, ...] | int, value: object, bound: object, hint: str = "") -> None:
        self.node, self.index, self.value, self.bound = node, index, value, bound
        super().__init__(f"{node}[{index}] = {value} is outside {bound}" + (f"; {hint}" if hint else ""))


class ChainError(VmlError):
    """A chain call failed: what happened and what to do.

    Args:
        message: that, in words.
        error: name of the contract's own error, where it gave one.
        arguments: of that error, by name; bytes as 0x hex.
    """

    exit_code = 6

    def __init__(
        self, message: str, *, error: str | None = None, arguments: Mapping[str, object] | None = None
    ) -> None:
        self.error, self.arguments = error, dict(arguments or {})
        super().__init__(message)


class ServerError(VmlError):
    """An inference server refused, does not answer, or does not speak its protocol.

    Args:
        message: that, in words.
        status: HTTP status of the refusal; None where there was none.
    """

    exit_code = 4

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class VerificationError(VmlError):
    """The proof does not verify. The only family hostile bytes can raise."""

    exit_code = 1


class MalformedProof(VerificationError):
    """The bytes are not a canonical vml proof."""


class ClaimMismatch(VerificationError):
    """A field of the claim is not what was expected."""

    def __init__(self, field: str, expected: object, got: object) -> None:
        self.field, self.expected, self.got = field, expected, got
        super().__init__(f"claim field {field!r}: expected {expected}, got {got}")


class ProofRejected(VerificationError):
    """A numbered verification step failed."""

    def __init__(self, step: str, expected: object = None, got: object = None) -> None:
        self.step, self.expected, self.got = step, expected, got
        detail = "" if expected is None and got is None else f": expected {expected}, got {got}"
        super().__init__(f"step {step}{detail}")


class EvidenceRejected(VerificationError):
    """Attestation evidence is not genuine or not acceptable."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


class CertificateRejected(VerificationError):
    """A model's certificate or a revocation list is not genuine, not of this authority, or not in force."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"certificate, {reason}: {detail}" if detail else f"certificate, {reason}")


class LogRejected(VerificationError):
    """A transparency log does not hold what it should, changed what it held, or is signed by another key."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"log, {reason}: {detail}" if detail else f"log, {reason}")


class NotFinal(VerificationError):
    """The claim may still be disputed, or nothing shows that it cannot.

    Args:
        until: unix time before which it cannot become final; None where that is not known.
        detail: why, and what to do.
    """

    exit_code = 7

    def __init__(self, until: int | None, detail: str = "") -> None:
        self.until = until
        head = "not final" if until is None else f"not final before unix time {until}"
        super().__init__(f"{head}: {detail}" if detail else head)


class PolicyRejected(VerificationError):
    """The proof may be sound, but the policy does not accept it."""

    def __init__(self, rule: str, detail: str = "") -> None:
        self.rule = rule
        super().__init__(f"policy rule {rule!r}" + (f": {detail}" if detail else ""))
