"""Figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vml.serve.auth import OPERATE
from vml.serve.metrics import CONTENT_TYPE
from vml.serve.routes import shapes
from vml.serve.server import principal_of, server_of

router = APIRouter()


@router.get(
    "/metrics",
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **shapes.refusals(),
    },
)
async def metrics(request: Request) -> Response:
    """Requests, answers, jobs, times."""
    principal_of(request, OPERATE)
    return Response(server_of(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE})
