"""Certificates of the models: the files of the owner's folder, as they are. Who reads them verifies them.

Nothing is verified here: which authorities count is not the server's to say.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from vml.certificates.revocations import FORMAT as LIST_FORMAT
from vml.certificates.revocations import MAX_BYTES, Revocations, SignedRevocations
from vml.certificates.statement import Certificate
from vml.errors import MalformedProof
from vml.files import read_inside
from vml.serve.auth import READ
from vml.serve.routes import shapes
from vml.serve.server import principal_of, server_of

router = APIRouter(prefix="/v1")
MAX_FILES = 256
log = logging.getLogger("vml.serve")


class Measure(shapes.Strict):
    """What was measured, on which data."""

    metric: str
    output: str
    reference: str
    value: str
    rows: int
    dataset: str
    command: str


class CertificateView(shapes.Strict):
    """What a certificate says, unverified; `file` is the certificate itself, base64."""

    issuer: str
    subject: str
    serial: str
    models: list[str]
    accuracy: Measure | None
    measures: list[Measure]
    not_before: int
    not_after: int
    scope: str
    contexts: list[str]
    signed_as: str
    revoked: bool
    file: str


class ListView(shapes.Strict):
    """What a revocation list says, unverified; `file` is the list itself, base64."""

    issuer: str
    number: int
    next_update: int
    file: str


class Certificates(shapes.Strict):
    """Everything the server's owner shows. Nothing of it is verified here."""

    certificates: list[CertificateView]
    revocations: list[ListView]


@router.get("/certificates", response_model=Certificates, responses=shapes.refusals())
async def certificates(request: Request) -> Response:
    """Certificates and revocation lists, as files: `vml verify --certificate` checks one for a proof."""
    principal_of(request, READ)
    folder = server_of(request).settings.certificates
    return JSONResponse(await asyncio.to_thread(_shown, folder))


def _shown(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {"certificates": [], "revocations": []}
    found: list[tuple[Certificate, bytes]] = []
    lists: list[tuple[Revocations, bytes]] = []
    for path in sorted(folder.glob("*.json"))[:MAX_FILES]:
        try:
            data = read_inside(folder, path.name, max_bytes=MAX_BYTES)
            if f'"format":"{LIST_FORMAT}"'.encode() in data[:64]:
                lists.append((SignedRevocations.from_bytes(data).revocations, data))
            else:
                found.append((Certificate.from_bytes(data), data))
        except (MalformedProof, OSError, ValueError):
            log.warning("not a certificate", extra={"fields": {"file": path.name}})
    return {
        "certificates": [_certificate(each, data, [said for said, _ in lists]) for each, data in found],
        "revocations": [
            {"issuer": said.issuer, "number": said.number, "next_update": said.next_update, "file": _text(data)}
            for said, data in lists
        ],
    }


def _certificate(certificate: Certificate, data: bytes, lists: list[Revocations]) -> dict[str, Any]:
    said = certificate.statement
    shown, measures = said.to_json(), [each.to_json() for each in said.accuracy]
    return {
        **{name: shown[name] for name in ("issuer", "subject", "serial", "not_before", "not_after")},
        "models": [identity["model"] for identity in shown["identities"]],
        "accuracy": measures[0] if measures else None,
        "measures": measures,
        "scope": said.scope.text,
        "contexts": shown["scope"]["contexts"],
        "signed_as": certificate.signature.kind,
        "revoked": any(each.issuer == said.issuer and each.find(said.serial) is not None for each in lists),
        "file": _text(data),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
