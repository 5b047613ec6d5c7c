"""The tables of the server's database: SQLite and PostgreSQL alike.

Digests are 32 bytes, times unix seconds. A claim is one row and one log entry however often it is answered; a proof
is one row a claim and backend. A job is of the client who asked for it, of nobody (NULL) where several did. Its lease
is a token: a worker whose token is no longer the row's is too late.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    desc,
)

metadata = MetaData()

schema = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))
"""One row: the version of these tables."""

claims = Table(
    "claims",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("model", LargeBinary(32), nullable=False),
    Column("input", LargeBinary(32), nullable=False),
    Column("output", LargeBinary(32), nullable=False),
    Column("context", LargeBinary(32), nullable=False),
    Column("semantics", String(64), nullable=False),
    Column("model_name", String(255), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("log_index", BigInteger, nullable=False, unique=True),
    Column("receipt", LargeBinary, nullable=False),
    Column("outputs", LargeBinary, nullable=False),
    Column("client", String(255), nullable=False),
    Index("claims_of_model", "model", "log_index"),
    Index("claims_of_name", "model_name", "log_index"),
    Index("claims_of_context", "context", "log_index"),
)

inputs = Table(
    "inputs",
    metadata,
    Column("claim", LargeBinary(32), ForeignKey(claims.c.digest), primary_key=True),
    Column("arrays", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False, index=True),
)
"""What a proof starts from: an .npz without pickled objects."""

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("claim", LargeBinary(32), ForeignKey(claims.c.digest), nullable=False),
    Column("model_name", String(255), nullable=False),
    Column("backend", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("stage", String(64), nullable=False),
    Column("fraction", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("worker", String(255), nullable=False),
    Column("lease_token", String(32), nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("cancel_asked", Boolean, nullable=False),
    Column("sample", BigInteger, nullable=False),
    Column("beacon_round", BigInteger),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("error_code", String(64), nullable=False),
    Column("error", Text, nullable=False),
    Column("proof_claims", LargeBinary, nullable=False),
    Column("client", String(255)),
    UniqueConstraint("claim", "backend", name="one_job_a_claim_and_backend"),
    Index("jobs_in_line", "state", desc("priority"), "created_at", "id"),
    Index("jobs_leased", "state", "lease_until"),
    Index("jobs_by_age", "created_at"),
    Index("jobs_ended", "state", "finished_at"),
)

signers = Table(
    "signers",
    metadata,
    Column("key_id", LargeBinary(32), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("folder", String(32), nullable=False),
)
"""In which data folder the receipts of a key and epoch are counted."""

proofs = Table(
    "proofs",
    metadata,
    Column("claim", LargeBinary(32), ForeignKey(claims.c.digest), primary_key=True),
    Column("backend", String(64), primary_key=True),
    Column("scheme", String(255), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("claims", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("job", String(32), nullable=False),
)

proved = Table(
    "proved",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("claim", LargeBinary(32), primary_key=True),
    Column("backend", String(64), primary_key=True),
    ForeignKeyConstraint(["claim", "backend"], ["proofs.claim", "proofs.backend"]),
)
"""Which proof is about a claim: the answered one, or that of a backend with arithmetic of its own."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("client", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("claim", LargeBinary(32), nullable=False),
    Column("job", String(32)),
    Column("created_at", Float, nullable=False, index=True),
)

log_entries = Table(
    "log_entries",
    metadata,
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("claim", LargeBinary(32), nullable=False, unique=True),
    Column("data", LargeBinary, nullable=False),
)

log_nodes = Table(
    "log_nodes",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
)
"""The root of every full range of the log, by `vml.transparency.tree.position`."""

log_checkpoints = Table(
    "log_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
)
