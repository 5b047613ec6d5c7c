"""How one server runs: everything that its owner decides, read once, changed by nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from vml.backends import BACKENDS
from vml.backends.types import SetupOptions
from vml.serve.sampling import Asked, Prove, Sampling

DATABASE_FILE = "vml.db"


@dataclass(frozen=True)
class Proving:
    """Which proofs are made, and by whom.

    Args:
        backend: who proves where a request says nothing: "auto", or a name.
        backends: which may be asked for.
        prove, sample, sampling: what happens where a request says nothing.
        policies: which may be asked for.
        sync_s: an answer waits for its proof no longer.
        beacon: a chain node's URL, or a file; None leaves the server without a beacon.
        beacon_rounds: a sample is decided so many rounds after the latest known one.
        max_attempts: how often a proof is begun before its job fails.
    """

    backend: str = "auto"
    backends: frozenset[str] = frozenset(BACKENDS)
    prove: Prove = Prove.ON_DEMAND
    sample: int = 100
    sampling: Sampling = Sampling.HASH
    policies: frozenset[Prove] = frozenset(Prove)
    sync_s: float = 60.0
    beacon: str | None = None
    beacon_rounds: int = 3
    max_attempts: int = 3

    def __post_init__(self) -> None:
        unknown = ({self.backend} | self.backends) - set(BACKENDS) - {"auto"}
        if unknown:
            raise ValueError(f"unknown backend {min(unknown)!r}; known are {', '.join(sorted(BACKENDS))}")
        if self.backend != "auto" and self.backend not in self.backends:
            raise ValueError(f"the backend {self.backend} is not among those that may be asked for")
        if self.prove not in self.policies:
            raise ValueError(f"prove: {self.prove} is not among the policies that may be asked for")
        if self.sampling is Sampling.BEACON and self.beacon is None:
            raise ValueError("a sample by beacon needs a beacon: --beacon")
        if self.sample < 1 or self.beacon_rounds < 1 or self.max_attempts < 1 or self.sync_s < 0:
            raise ValueError("sample, rounds of the beacon and attempts are at least 1, times are not negative")

    @property
    def default(self) -> Asked:
        """What a request without parameters asks for."""
        return Asked(self.prove, self.sample, self.sampling)


@dataclass(frozen=True)
class Limits:
    """What one server takes on at once.

    Args:
        body_bytes: of a request.
        body_s: a request's head, and then its body, must have come after so many seconds.
        concurrent: inferences at once.
        jobs: jobs that have not ended; more are refused.
        client_jobs: of these of one client; None takes half of them where clients are told apart.
        connections: at once.
        grace_s: how long requests may go on when the server stops.
        requests_per_second, burst: of a client whose key says nothing else; None for no bound.
    """

    body_bytes: int = 64 << 20
    body_s: float = 30.0
    concurrent: int = 64
    jobs: int = 10_000
    client_jobs: int | None = None
    connections: int = 1000
    grace_s: float = 10.0
    requests_per_second: float | None = None
    burst: int = 20

    def __post_init__(self) -> None:
        counts = (self.body_bytes, self.concurrent, self.jobs, self.connections, self.burst, self.client_jobs or 1)
        if min(counts) < 1 or min(self.body_s, self.grace_s) <= 0 or (self.requests_per_second or 1) <= 0:
            raise ValueError("limits are positive")


@dataclass(frozen=True)
class Oidc:
    """Whose bearer tokens are taken.

    Args:
        issuer, audience: what a token must say.
        keys: a JWKS file, or an https:// address of one.
        algorithms: asymmetric ones only.
        roles_claim: name of the token's list of roles; without one in the token it may infer and read.
    """

    issuer: str
    audience: str
    keys: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    roles_claim: str = "roles"


@dataclass(frozen=True)
class Access:
    """Who may come in. With nothing here everybody may.

    Args:
        keys_file: API keys, see `vml.serve.auth`.
        oidc: bearer tokens.
        certificate, private_key: of the server, PEM files, for TLS.
        client_ca: PEM file; every client then needs a certificate of it.
        unsafe_open: let everybody in on an address that others reach.
    """

    keys_file: Path | None = None
    oidc: Oidc | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    client_ca: Path | None = None
    unsafe_open: bool = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("TLS takes a certificate and its private key")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("certificates of clients are asked for over TLS: give the server's own as well")

    @property
    def guarded(self) -> bool:
        """Whether a client has to show something."""
        return self.keys_file is not None or self.oidc is not None or self.client_ca is not None


@dataclass(frozen=True)
class Settings:
    """A whole server.

    Args:
        models: compiled folders by the name that clients use.
        data: folder of the server's own: key, count of receipts, and the database unless another is named.
        database: SQLAlchemy URL; None takes SQLite in `data`.
        host, port: where it listens; port 0 takes a free one.
        workers: processes that prove; 0 leaves proving to others that share the database.
        executor: "local", "ray", "ray:host:port" or "ray://host:port".
        signing_key: PEM file; None takes the environment's or that of the data folder.
        log_key: file with the key of the transparency log; None takes the environment's or that of the data folder.
        log_name: of that log, such as ``example.com/log``; None takes its key's.
        epoch: of the receipts.
        keep_inputs_s: how long inputs are kept for proofs.
        keep_outputs: outputs are kept for readers of a claim.
        options: of set-ups, by backend.
        certificates: folder of certificates and revocation lists that it shows; None shows none.
    """

    models: Mapping[str, Path]
    data: Path
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    executor: str = "local"
    proving: Proving = Proving()
    limits: Limits = Limits()
    access: Access = Access()
    signing_key: Path | None = None
    log_key: Path | None = None
    log_name: str | None = None
    epoch: int = 1
    keep_inputs_s: float = 7 * 86400.0
    keep_outputs: bool = True
    options: Mapping[str, SetupOptions] = field(default_factory=dict)
    certificates: Path | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("a server has at least one model")
        for name in self.models:
            if not 0 < len(name) <= 255 or not name.isprintable() or "/" in name or name in (".", ".."):
                raise ValueError(f"{name!r} is no name for a model: printable, without '/'")
        if self.workers < 0 or self.epoch < 1 or self.keep_inputs_s < 0:
            raise ValueError("workers and times are not negative, an epoch is at least 1")
        if self.executor not in ("local", "ray") and not self.executor.startswith("ray:"):
            raise ValueError(f"executor {self.executor!r}: local, ray, ray:host:port or ray://host:port")
        if not (is_loopback(self.host) or self.access.guarded or self.access.unsafe_open):
            raise ValueError(
                f"others reach {self.host}, and nothing says who may come in: give --keys, --oidc-… or --client-ca, "
                "or --unsafe-open to let everybody in"
            )

    @property
    def client_jobs(self) -> int | None:
        """Jobs of one client that have not ended, at most; None for no bound."""
        told_apart = self.access.keys_file is not None or self.access.oidc is not None
        return self.limits.client_jobs or (max(1, self.limits.jobs // 2) if told_apart else None)

    @property
    def url(self) -> str:
        """Of the database."""
        return self.database or f"sqlite:///{(self.data / DATABASE_FILE).absolute()}"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
