"""Who asks, and what they may: API keys, bearer tokens (OIDC), certificates (TLS).

API keys are in a JSON file that holds SHA-256 of each, never the key itself; a key has 256 bits from the system, so
that its hash says nothing of it::

    {"keys": [{"name": "clinic", "sha256": "…64 hex digits", "roles": ["infer", "read"],
               "requests_per_second": 50, "burst": 100}, …]}

Roles: ``infer`` asks models and for proofs; ``read`` reads what it can name (a claim by digest, a job by id) and
has proofs verified; ``audit`` lists claims, jobs and the log; ``operate`` reads figures and cancels jobs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
import os
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vml import files, strictjson
from vml.errors import BackendUnavailable
from vml.serve.limits import Rejected
from vml.serve.settings import Access, Oidc

INFER, READ, AUDIT, OPERATE = "infer", "read", "audit", "operate"
ROLES = frozenset({INFER, READ, AUDIT, OPERATE})
KEY_PREFIX = "vml_"
MAX_FILE_BYTES = 4 << 20
MAX_CREDENTIAL = 1 << 14
MAX_NAME = 255
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA"}
)
LEEWAY_S = 30
FRESH_S, PAUSE_S = 300.0, 30.0
"""Keys of an issuer are fetched again after so long; for an unknown name, too, but no more often than that."""

_UNAUTHENTICATED = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class Principal:
    """Somebody who asks.

    Args:
        name: for quotas, and in the record of a claim; empty where nobody has to say.
        roles: what they may.
        requests_per_second, burst: of their own; None takes the server's.
    """

    name: str
    roles: frozenset[str] = ROLES
    requests_per_second: float | None = None
    burst: int | None = None


ANYBODY = Principal("")


def new_key(name: str, roles: Sequence[str], rate: float | None = None, burst: int | None = None) -> tuple[str, str]:
    """A fresh API key and its entry for the file.

    Args:
        name: of who gets it.
        roles: of `ROLES`.
        rate, burst: of its quota.

    Returns:
        The key, to be told once, and the entry as JSON.

    Raises:
        ValueError: no name, no role, or an unknown one.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    entry: dict[str, Any] = {"name": name, "sha256": _hash(key), "roles": sorted(set(roles))}
    if rate is not None:
        entry["requests_per_second"] = rate
    if burst is not None:
        entry["burst"] = burst
    _read_entry(entry)
    return key, json.dumps(entry)


def read_keys(path: str | os.PathLike[str]) -> dict[str, Principal]:
    """The principals of a key file, by SHA-256 of their keys.

    Raises:
        ValueError: not such a file.
        OSError: it cannot be read.
    """
    place = Path(path)
    data = files.read_inside(place.parent, place.name, max_bytes=MAX_FILE_BYTES)
    try:
        value = strictjson.loads(data)
        if not isinstance(value, dict) or value.keys() != {"keys"} or not isinstance(value["keys"], list):
            raise ValueError('{"keys": […]} is expected')
        entries = [_read_entry(entry) for entry in value["keys"]]
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    names, digests = {principal.name for _, principal in entries}, {digest for digest, _ in entries}
    if not entries or len(names) != len(entries) or len(digests) != len(entries):
        raise ValueError(f"{place}: no keys, or a name or key that comes twice")
    return dict(entries)


class Guard:
    """Tells who asks.

    Args:
        access: how the server is guarded.

    Raises:
        ValueError: a file that is none, or an algorithm that is not asymmetric.
        OSError: a file cannot be read.
        BackendUnavailable: PyJWT is not installed.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._keys = {} if access.keys_file is None else read_keys(access.keys_file)
        self._tokens = None if access.oidc is None else _Tokens(access.oidc)

    async def principal(self, headers: Mapping[str, str]) -> Principal:
        """Who sends these headers.

        Args:
            headers: by lower-case name: ``authorization: Bearer …`` or ``x-api-key: …``.

        Raises:
            Rejected: 401, nobody who is known.
        """
        if self._access.client_ca is not None and self._tokens is None and not self._keys:
            return Principal("tls", frozenset({INFER, READ, AUDIT, OPERATE}))
        if not self._access.guarded:
            return ANYBODY
        credential = headers.get("x-api-key", "")
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if not credential and scheme.lower() == "bearer":
            credential = value.strip()
        if not credential or len(credential) > MAX_CREDENTIAL:
            raise Rejected(401, "an API key or bearer token is needed", headers=_UNAUTHENTICATED)
        if self._tokens is not None and credential.count(".") == 2 and not credential.startswith(KEY_PREFIX):
            return await self._tokens.principal(credential)
        return self._of_key(credential)

    def _of_key(self, credential: str) -> Principal:
        """All keys are compared, each in constant time: how long it takes says nothing."""
        digest, found = _hash(credential), None
        for known, principal in self._keys.items():
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            raise Rejected(401, "this API key is not known", headers=_UNAUTHENTICATED)
        return found


class _Tokens:
    """Bearer tokens of one issuer."""

    def __init__(self, oidc: Oidc) -> None:
        try:
            import jwt
        except ImportError as error:
            raise BackendUnavailable(f"{error.name} is missing: pip install 'vml[serve]'") from error
        if not oidc.algorithms or not set(oidc.algorithms) <= ASYMMETRIC:
            raise ValueError(f"algorithms of tokens are among {', '.join(sorted(ASYMMETRIC))}")
        self._oidc = oidc
        self._set: Any = None
        self._client: Any = None
        self._asked_at, self._lock = -math.inf, threading.Lock()
        if oidc.keys.startswith("https://"):
            self._client = jwt.PyJWKClient(oidc.keys, cache_jwk_set=False, timeout=10)
        elif "://" in oidc.keys:
            raise ValueError("keys of tokens come from a file, or from an https:// address")
        else:
            place = Path(oidc.keys)
            data = files.read_inside(place.parent, place.name, max_bytes=MAX_FILE_BYTES)
            try:
                self._set = jwt.PyJWKSet.from_json(data.decode())
            except (ValueError, jwt.PyJWTError) as error:
                raise ValueError(f"{place} is no JWKS: {error}") from None

    async def principal(self, token: str) -> Principal:
        """Whose token it is.

        Raises:
            Rejected: 401.
        """
        import jwt

        try:
            claims = await asyncio.to_thread(self._claims, token) if self._client else self._claims(token)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            raise Rejected(401, "this token is not accepted", headers=_UNAUTHENTICATED) from None
        roles = claims.get(self._oidc.roles_claim, [INFER, READ])
        if not isinstance(roles, list):
            raise Rejected(401, "this token's roles are no list", headers=_UNAUTHENTICATED)
        subject = claims["sub"]
        name = f"oidc:{subject}"  # no name of an API key
        if not isinstance(subject, str) or not subject or not subject.isprintable() or len(name) > MAX_NAME:
            raise Rejected(401, "this token's subject is no name, or too long", headers=_UNAUTHENTICATED)
        return Principal(name, ROLES & {role for role in roles if isinstance(role, str)})

    def _claims(self, token: str) -> dict[str, Any]:
        import jwt

        header = jwt.get_unverified_header(token)
        if header.get("alg") not in self._oidc.algorithms:
            raise jwt.InvalidAlgorithmError("not one of the accepted ones")
        key = self._key(str(header.get("kid")))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(self._oidc.algorithms),
            audience=self._oidc.audience,
            issuer=self._oidc.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims

    def _key(self, name: str) -> Any:
        """The issuer's key of this name. Made-up names do not make the server ask the issuer again and again."""
        if self._client is not None:
            with self._lock:
                age = time.monotonic() - self._asked_at
                known = self._set is not None and name in {key.key_id for key in self._set.keys}
                if age > FRESH_S or (not known and age > PAUSE_S):
                    self._asked_at = time.monotonic()
                    self._set = self._client.get_jwk_set(refresh=True)
        found = self._set[name]
        if found.public_key_use not in (None, "sig"):
            raise KeyError(name)
        return found


def require(principal: Principal, role: str) -> None:
    """Refuse who may not.

    Raises:
        Rejected: 403.
    """
    if role not in principal.roles:
        raise Rejected(403, f"this takes the role {role!r}")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _read_entry(entry: Any) -> tuple[str, Principal]:
    if not isinstance(entry, dict) or not {"name", "sha256", "roles"} <= entry.keys():
        raise ValueError("a key has a name, sha256 and roles")
    unknown = entry.keys() - {"name", "sha256", "roles", "requests_per_second", "burst"}
    if unknown:
        raise ValueError(f"a key has no {min(unknown)!r}")
    name, digest, roles = entry["name"], entry["sha256"], entry["roles"]
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError(f"a key's name is a text of 1 to {MAX_NAME} characters")
    if name.startswith("oidc:"):
        raise ValueError("names that begin with oidc: are those of tokens")
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"{name}: sha256 is 64 lower-case hex digits")
    if not isinstance(roles, list) or not roles or not all(isinstance(role, str) and role in ROLES for role in roles):
        raise ValueError(f"{name}: roles are among {', '.join(sorted(ROLES))}")
    rate, burst = entry.get("requests_per_second"), entry.get("burst")
    if rate is not None and (type(rate) not in (int, float) or not 0 < rate < 1e9):
        raise ValueError(f"{name}: requests_per_second is a positive number")
    if burst is not None and (type(burst) is not int or not 0 < burst < 1 << 31):
        raise ValueError(f"{name}: burst is a positive whole number")
    return digest, Principal(name, frozenset(roles), rate, burst)
