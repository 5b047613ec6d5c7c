"""Policy: which verified claims are good enough for this verifier.

A backend says what a proof shows and what it rests on (`VerifiedClaim`); a policy says if that is enough.
It is a list of rules, each an object with one method that returns or raises, written in Python or as YAML
(`docs/policy.md`). An empty policy refuses; unsafe test set-ups, simulated evidence and claims that may still
be disputed are refused unless the policy says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vml import policyfile
from vml.backends.types import VerifiedClaim
from vml.claim import parse_bytes32
from vml.errors import NotFinal, PolicyRejected

MIN_SECURITY_BITS = 96
"""Of the default policy: BN254, the curve that chains check cheaply, is put at about 100 bits."""


class Rule(Protocol):
    """One requirement on one verdict."""

    def check(self, verdict: VerifiedClaim) -> None:
        """Return if the verdict meets the requirement, else raise `PolicyRejected`."""


@dataclass(frozen=True)
class OneOf:
    """A field of the verdict is among accepted values.

    Args:
        rule: name of the rule in error messages.
        field: attribute of `VerifiedClaim`.
        accepted: accepted values; bytes are shown as hex.
    """

    rule: str
    field: str
    accepted: frozenset[Any]

    def check(self, verdict: VerifiedClaim) -> None:
        """Refuse any other value, and None."""
        got = getattr(verdict, self.field)
        if got not in self.accepted:
            names = ", ".join(sorted(_show(value) for value in self.accepted))
            raise PolicyRejected(self.rule, f"{_show(got)} is not accepted, only {names}")


@dataclass(frozen=True)
class MinSecurityBits:
    """The proof's security estimate is at least this many bits."""

    bits: int

    def check(self, verdict: VerifiedClaim) -> None:
        """Refuse fewer bits."""
        if verdict.security_bits < self.bits:
            raise PolicyRejected("min_security_bits", f"{verdict.security_bits} bits, at least {self.bits} wanted")


@dataclass(frozen=True)
class ContextIs:
    """Every claim is bound to one context."""

    context: bytes

    def check(self, verdict: VerifiedClaim) -> None:
        """Refuse a claim with another context."""
        for claim in verdict.claims:
            if claim.context != self.context:
                raise PolicyRejected("context", f"{_show(claim.context)}, expected {_show(self.context)}")


@dataclass(frozen=True)
class NotHidden:
    """Nothing is hidden: input, model and output can all be seen."""

    def check(self, verdict: VerifiedClaim) -> None:
        """Refuse a proof that hides something."""
        if verdict.hidden:
            raise PolicyRejected("allow_hidden", "; ".join(verdict.hidden))


@dataclass(frozen=True)
class NoUnsafeSetup:
    """Nobody is known to be able to forge proofs under this set-up."""

    def check(self, verdict: VerifiedClaim) -> None:
        """Refuse a test set-up."""
        if verdict.unsafe_setup:
            raise PolicyRejected(
                "allow_unsafe_setup",
                "the set-up was made for tests, whoever made it can forge proofs; import a ceremony file "
                "(`vml srs import`), or accept it with --allow-unsafe-setup",
            )


@dataclass(frozen=True)
class NotSimulated:
    """The evidence comes from real hardware."""

    def check(self, verdict: VerifiedClaim) -> None:
        """Refuse simulated evidence."""
        if verdict.simulated:
            raise PolicyRejected(
                "allow_simulated",
                "the evidence is simulated and shows nothing; accept it with --allow-simulated",
            )


@dataclass(frozen=True)
class IsFinal:
    """No dispute can change the result any more."""

    def check(self, verdict: VerifiedClaim) -> None:
        """Refuse a claim that may still be disputed."""
        if not verdict.final:
            raise PolicyRejected("final", "the claim may still be disputed")


def _bytes32(value: object) -> bytes:
    return value if isinstance(value, bytes) and len(value) == 32 else parse_bytes32(value)  # type: ignore[arg-type]


Bytes32 = Annotated[bytes, BeforeValidator(_bytes32)]
NonEmpty = Field(default=None, min_length=1)


class Policy(BaseModel):
    """What a verifier accepts; every field that is given must be met.

    Args:
        backends: accepted backend names.
        assurance: accepted kinds of assurance.
        semantics: accepted arithmetics.
        min_security_bits: fewest bits of security.
        setups: accepted 32-byte set-up ids; a proof without a set-up is refused then.
        verifying_keys: accepted 32-byte digests of verifying keys.
        engines: accepted proof software, such as "ezkl 23.0.5".
        context: 32 bytes every claim must be bound to.
        all_of: policies that must each be met by some proof of the same claims.
        any_of: policies of which at least one must be met.
        rules: further rules, from Python only.
        allow_unsafe_setup: accept a test set-up whose maker can forge proofs.
        allow_simulated: accept simulated evidence.
        allow_hidden: accept proofs that hide the input or the model.
        require_final: refuse a claim that may still be disputed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    version: Literal[1] = 1
    backends: frozenset[str] | None = NonEmpty
    assurance: frozenset[Literal["cryptographic", "economic", "hardware", "recomputed"]] | None = NonEmpty
    semantics: frozenset[str] | None = NonEmpty
    min_security_bits: Annotated[int, Field(ge=1, le=512)] | None = None
    setups: frozenset[Bytes32] | None = NonEmpty
    verifying_keys: frozenset[Bytes32] | None = NonEmpty
    engines: frozenset[str] | None = NonEmpty
    context: Bytes32 | None = None
    all_of: tuple[Policy, ...] | None = NonEmpty
    any_of: tuple[Policy, ...] | None = NonEmpty
    rules: tuple[Any, ...] | None = NonEmpty
    allow_unsafe_setup: bool = False
    allow_simulated: bool = False
    allow_hidden: bool = True
    require_final: bool = True

    @classmethod
    def default(cls) -> Policy:
        """The policy of a verifier who states none: at least 96 bits, everything unsafe refused."""
        return cls(min_security_bits=MIN_SECURITY_BITS)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy file.

        Args:
            path: YAML, at most 1 MiB, fields as in `Policy`; 32-byte values as 0x and 64 hex digits.

        Raises:
            ValueError: not YAML, an unknown field, a value out of range; the message names the field.
            OSError: the file cannot be read.
        """
        return cls.from_yaml(policyfile.load(path), name=str(path))

    @classmethod
    def from_yaml(cls, data: bytes | str, *, name: str = "policy") -> Policy:
        """Read a policy from YAML text; see `load`."""
        value = policyfile.parse(data, name)
        if "rules" in value:
            raise ValueError(f"{name}: rules are Python objects and cannot come from a file")
        return policyfile.validated(cls, value, name)

    def requirements(self) -> tuple[Rule, ...]:
        """The rules that a single proof must meet, in the order they are checked."""
        named = (
            ("backends", "backend", self.backends),
            ("assurance", "assurance", self.assurance),
            ("semantics", "semantics", self.semantics),
            ("setups", "setup_id", self.setups),
            ("verifying_keys", "vk_digest", self.verifying_keys),
            ("engines", "engine", self.engines),
        )
        rules: list[Rule] = [OneOf(rule, field, accepted) for rule, field, accepted in named if accepted is not None]
        if self.min_security_bits is not None:
            rules.append(MinSecurityBits(self.min_security_bits))
        if self.context is not None:
            rules.append(ContextIs(self.context))
        return (*rules, *(self.rules or ()))

    def guards(self) -> tuple[Rule, ...]:
        """The rules that hold unless this policy relaxes them."""
        guards: list[Rule] = []
        if not self.allow_unsafe_setup:
            guards.append(NoUnsafeSetup())
        if not self.allow_simulated:
            guards.append(NotSimulated())
        if not self.allow_hidden:
            guards.append(NotHidden())
        if self.require_final:
            guards.append(IsFinal())
        return tuple(guards)

    @property
    def vouched_setups(self) -> frozenset[bytes]:
        """Every set-up this policy names, also in the policies inside: the verifier vouches for them."""
        children = (*(self.all_of or ()), *(self.any_of or ()))
        return frozenset(self.setups or ()).union(*(child.vouched_setups for child in children))

    @property
    def vouched_keys(self) -> frozenset[bytes]:
        """Every verifying key this policy names, also in the policies inside."""
        children = (*(self.all_of or ()), *(self.any_of or ()))
        return frozenset(self.verifying_keys or ()).union(*(child.vouched_keys for child in children))

    @property
    def is_empty(self) -> bool:
        """Whether the policy requires nothing; such a policy refuses."""
        return not self.requirements() and self.all_of is None and self.any_of is None

    def relaxed(self, *, allow_unsafe_setup: bool = False, allow_simulated: bool = False) -> Policy:
        """The same policy, accepting more.

        Args:
            allow_unsafe_setup, allow_simulated: true accepts it here and in every policy inside.

        Raises:
            ValueError: the policy states the opposite in so many words.
        """
        update: dict[str, Any] = {}
        for name, allow in (("allow_unsafe_setup", allow_unsafe_setup), ("allow_simulated", allow_simulated)):
            if allow and name in self.model_fields_set and not getattr(self, name):
                raise ValueError(f"the policy says {name}: false, so it cannot be allowed from outside")
            if allow:
                update[name] = True
        for name in ("all_of", "any_of"):
            children: tuple[Policy, ...] | None = getattr(self, name)
            if children is not None:
                update[name] = tuple(
                    child.relaxed(allow_unsafe_setup=allow_unsafe_setup, allow_simulated=allow_simulated)
                    for child in children
                )
        return self.model_copy(update=update)

    def check(self, *verdicts: VerifiedClaim) -> None:
        """Accept the verdicts, or raise.

        Args:
            verdicts: one or more verdicts on the *same* claims. A single proof must meet all rules at one
                level; the policies of `all_of` may be met by different proofs.

        Raises:
            PolicyRejected: the rule that no proof meets.
        """
        # Step 1: something was proved, and something is required.
        if not verdicts:
            raise PolicyRejected("proofs", "there is no proof to accept")
        if self.is_empty:
            raise PolicyRejected("empty", "an empty policy accepts nothing; state at least one requirement")

        # Step 2: different claims never mix.
        digests = {tuple(claim.digest() for claim in verdict.claims) for verdict in verdicts}
        if len(digests) != 1:
            raise PolicyRejected("same_claim", "the proofs are about different claims")

        # Step 3: the proofs that meet every rule of this level.
        accepted = _meeting((*self.requirements(), *self.guards()), verdicts)

        # Step 4: policies inside, over those proofs only.
        for child in self.all_of or ():
            child.check(*accepted)
        if self.any_of is not None:
            _any_of(self.any_of, accepted)


def _meeting(rules: Iterable[Rule], verdicts: Sequence[VerifiedClaim]) -> tuple[VerifiedClaim, ...]:
    """The verdicts that meet all rules; if there is none, the refusal of the first verdict is raised."""
    rules = tuple(rules)
    accepted: list[VerifiedClaim] = []
    refusals: list[PolicyRejected | NotFinal] = []
    for verdict in verdicts:
        try:
            for rule in rules:
                rule.check(verdict)
        except (PolicyRejected, NotFinal) as error:
            refusals.append(error)
        else:
            accepted.append(verdict)
    if not accepted:
        raise refusals[0]
    return tuple(accepted)


def _any_of(children: Sequence[Policy], verdicts: Sequence[VerifiedClaim]) -> None:
    refusals: list[str] = []
    for child in children:
        try:
            child.check(*verdicts)
        except (PolicyRejected, NotFinal) as error:
            refusals.append(str(error))
        else:
            return
    raise PolicyRejected("any_of", "; ".join(refusals))


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
