"""What a certificate says, and its one encoding: canonical JSON, ``vml-model-certificate/1``.

    {"accuracy": [...], "identities": [...], "issuer", "not_after", "not_before",
     "scope": {"contexts": [...], "text"}, "serial", "subject"}

An EIP-712 key signs ``ModelCertificate(string issuer,bytes32 serial,bytes32[] models,string scope,uint64 notBefore,
uint64 notAfter,bytes32 body)`` under the domain ``{name: "vml certificates", version: "1"}``: ``models`` are the
identities in their order, ``body`` is the keccak-256 of the canonical bytes. A wallet shows what matters, the hash
covers all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vml import canonical
from vml.certificates import reading
from vml.certificates.envelope import Signable, Signature, decode, encode
from vml.errors import MalformedProof
from vml.keccak import keccak256

FORMAT = "vml-model-certificate/1"
MAX_BYTES = 1 << 18
MAX_IDENTITIES = 64
MAX_MEASURES = 64
MAX_CONTEXTS = 256

SHARES = ("accuracy", "agreement")
"""Metrics that say how many of the rows were right."""

EXACT = "exact"
"""In place of a backend: the exact integer model itself, which several backends prove; its scheme is the semantics."""

CERTIFICATE_TYPE = (
    b"ModelCertificate(string issuer,bytes32 serial,bytes32[] models,string scope,"
    b"uint64 notBefore,uint64 notAfter,bytes32 body)"
)


@dataclass(frozen=True, order=True)
class CertifiedIdentity:
    """One identity of a model: what its proofs claim.

    Args:
        model: 32 bytes.
        backend: whose; `EXACT` for the exact integer model.
        scheme: of the backend's proofs; for `EXACT` the semantics.
    """

    model: bytes
    backend: str
    scheme: str

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {"backend": self.backend, "model": reading.hexed(self.model), "scheme": self.scheme}

    @classmethod
    def from_json(cls, value: object) -> CertifiedIdentity:
        """Read what `to_json` wrote. MalformedProof for anything else."""
        found = reading.record("an identity", value, ("backend", "model", "scheme"))
        backend, scheme = reading.text("backend", found["backend"]), reading.text("scheme", found["scheme"])
        return cls(reading.bytes32("model", found["model"]), backend, scheme)


@dataclass(frozen=True, order=True)
class Accuracy:
    """One thing that was measured.

    Args:
        metric: its name, such as "accuracy" or "agreement".
        output: of which output of the model.
        reference: what it was compared with, such as "labels" or "float model".
        value: exact, a decimal number or a fraction.
        rows: how many rows were compared.
        dataset: 32-byte SHA-256 that names the data.
        command: what measured it, in words.
    """

    metric: str
    output: str
    reference: str
    value: str
    rows: int
    dataset: bytes
    command: str

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {**vars(self), "dataset": reading.hexed(self.dataset)}

    @classmethod
    def from_json(cls, value: object) -> Accuracy:
        """Read what `to_json` wrote. MalformedProof for anything else."""
        found = reading.record("a measure", value, tuple(cls.__dataclass_fields__))
        made = cls(
            metric=reading.text("metric", found["metric"]),
            output=reading.text("output", found["output"]),
            reference=reading.text("reference", found["reference"]),
            value=reading.number("value", found["value"]),
            rows=reading.integer("rows", found["rows"]),
            dataset=reading.bytes32("dataset", found["dataset"]),
            command=reading.text("command", found["command"], most=reading.MAX_TEXT),
        )
        if made.rows < 1:
            raise MalformedProof("a measure is of at least one row")
        if made.metric in SHARES and not 0 <= Fraction(made.value) <= 1:
            raise MalformedProof(f"{made.metric} is a share: from 0 to 1")
        return made

    def of(self) -> tuple[str, str, str, bytes]:
        """What was measured, on which data; one certificate gives one value of it."""
        return self.metric, self.output, self.reference, self.dataset


@dataclass(frozen=True)
class Scope:
    """What the model is certified for: in words, and for which contexts (32 bytes each; none given is any)."""

    text: str
    contexts: tuple[bytes, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {"contexts": [reading.hexed(context) for context in self.contexts], "text": self.text}

    @classmethod
    def from_json(cls, value: object) -> Scope:
        """Read what `to_json` wrote. MalformedProof for anything else."""
        found = reading.record("scope", value, ("contexts", "text"))
        contexts = found["contexts"]
        contexts = reading.items("contexts", contexts, lambda c: reading.bytes32("a context", c), 0, MAX_CONTEXTS)
        reading.ordered("contexts", contexts)
        return cls(reading.text("scope", found["text"], most=reading.MAX_TEXT, least=0, lines=True), contexts)


@dataclass(frozen=True)
class Statement:
    """What an authority says of one model.

    Args:
        issuer: the authority's name.
        serial: 32 bytes, another one in each of its certificates.
        subject: the model's name.
        identities: in rising order, at least one.
        accuracy: in rising order; none where nothing was measured.
        not_before, not_after: first and last unix second at which it holds.
        scope: what for.
    """

    issuer: str
    serial: bytes
    subject: str
    identities: tuple[CertifiedIdentity, ...]
    accuracy: tuple[Accuracy, ...]
    not_before: int
    not_after: int
    scope: Scope

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "accuracy": [each.to_json() for each in self.accuracy],
            "identities": [each.to_json() for each in self.identities],
            "issuer": self.issuer,
            "not_after": self.not_after,
            "not_before": self.not_before,
            "scope": self.scope.to_json(),
            "serial": reading.hexed(self.serial),
            "subject": self.subject,
        }

    @classmethod
    def from_json(cls, value: object) -> Statement:
        """Read what `to_json` wrote. MalformedProof for anything else."""
        found = reading.record("the certificate", value, tuple(cls.__dataclass_fields__))
        identities = reading.items("identities", found["identities"], CertifiedIdentity.from_json, 1, MAX_IDENTITIES)
        accuracy = reading.items("accuracy", found["accuracy"], Accuracy.from_json, 0, MAX_MEASURES)
        reading.ordered("identities", identities)
        reading.ordered("measures", accuracy)
        if len({each.of() for each in accuracy}) != len(accuracy):
            raise MalformedProof("two values of one metric, of the same output and data")
        made = cls(
            issuer=reading.name("issuer", found["issuer"]),
            serial=reading.bytes32("serial", found["serial"]),
            subject=reading.name("subject", found["subject"]),
            identities=identities,
            accuracy=accuracy,
            not_before=reading.integer("not_before", found["not_before"]),
            not_after=reading.integer("not_after", found["not_after"]),
            scope=Scope.from_json(found["scope"]),
        )
        if made.not_before > made.not_after:
            raise MalformedProof("a certificate ends before it begins")
        return made

    def signable(self) -> Signable:
        """What its signature covers."""
        body = canonical.encode(self.to_json())
        words = (
            keccak256(CERTIFICATE_TYPE),
            keccak256(self.issuer.encode()),
            self.serial,
            keccak256(b"".join(identity.model for identity in self.identities)),
            keccak256(self.scope.text.encode()),
            self.not_before.to_bytes(32, "big"),
            self.not_after.to_bytes(32, "big"),
            keccak256(body),
        )
        return Signable(b"vml/model-certificate/v1", self.issuer, body, keccak256(b"".join(words)))


@dataclass(frozen=True)
class Certificate:
    """A statement and its signature."""

    statement: Statement
    signature: Signature

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return encode(FORMAT, "certificate", self.statement.to_json(), self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Certificate:
        """Read a certificate; nothing in it is known to be true before `vml.certificates.verify`.

        Raises:
            MalformedProof: not the canonical encoding of a certificate.
        """
        value, signature = decode(data, FORMAT, "certificate", MAX_BYTES)
        return cls(Statement.from_json(value), signature)
