"""The console: static files of this package, read once, that ask the API for everything they show."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from vml.serve.limits import Rejected

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "console"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline: a page that shows what strangers wrote runs none of it."""

FILES = {
    path.relative_to(FOLDER).as_posix(): (path.read_bytes(), TYPES[path.suffix])
    for path in sorted(FOLDER.rglob("*"))
    if path.suffix in TYPES
}
"""Every file by its name: what is not here is not served, whatever a path says."""


@router.get("/")
async def root() -> Response:
    """The console is the front page; where the server is mounted in another, it is beside this page, too."""
    return RedirectResponse("console/", 307)


@router.get("/console/{name:path}")
async def console(name: str) -> Response:
    """One file of the console."""
    found = FILES.get(name or "index.html")
    if found is None:
        raise Rejected(404, "the console has no such file")
    return Response(found[0], media_type=found[1], headers={"Content-Security-Policy": POLICY})
