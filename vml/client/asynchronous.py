"""The client that awaits; alike `vml.client.Client` otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from vml.claim import ZERO_CONTEXT, parse_bytes32
from vml.client import flow, session
from vml.client.exchange import Flow, Reply, Request, Wait
from vml.client.flow import Answer, Pending

if TYPE_CHECKING:
    from vml.api.models import ModelLike
    from vml.backends.types import Environment
    from vml.policy import Policy

T = TypeVar("T")


class AsyncClient:
    """As `Client`, for asyncio. Proofs are verified in a thread, so that the loop goes on.

    Args and Raises: as `Client`.
    """

    def __init__(
        self,
        url: str,
        *,
        model: ModelLike | bytes,
        name: str | None = None,
        key: Any = None,
        policy: Policy | None = None,
        environment: Environment | None = None,
        server_key: str | bytes | None = None,
        api_key: str | None = None,
        timeout_s: float = 600.0,
    ) -> None:
        self._session = session.open_session(url, model, name, key, policy, environment, server_key, api_key, timeout_s)
        library = session.httpx()
        self._errors = library.HTTPError
        self._http = library.AsyncClient(base_url=self._session.url, headers=self._session.headers, timeout=timeout_s)

    async def infer(
        self,
        inputs: Mapping[str, Any],
        *,
        backend: str | None = None,
        context: bytes | None = None,
        **parameters: str | int | bool,
    ) -> Answer:
        """As `Client.infer`."""
        named = {**({"backend": backend} if backend else {}), **parameters}
        return await self._drive(
            flow.infer(self._session.name, inputs, self._session.trust, parameters=named, context=context)
        )

    async def ask(
        self, inputs: Mapping[str, Any], *, context: bytes | None = None, **parameters: str | int | bool
    ) -> Pending:
        """As `Client.ask`."""
        return await self._drive(
            flow.ask(self._session.name, inputs, self._session.trust, parameters=parameters, context=context)
        )

    async def prove(self, pending: Pending, *, backend: str | None = None) -> Answer:
        """As `Client.prove`."""
        if not pending.job and backend is not None:
            pending = await self._drive(flow.demand(pending, backend))
        return await self._drive(flow.prove(pending, self._session.trust, backend))

    async def check(
        self,
        claim: str | bytes,
        inputs: Mapping[str, Any],
        *,
        backend: str,
        context: bytes = ZERO_CONTEXT,
        outputs: Mapping[str, Any] | None = None,
        max_difference: float = 0.0,
    ) -> Answer:
        """As `Client.check`."""
        digest = parse_bytes32(claim) if isinstance(claim, str) else claim
        return await self._drive(
            flow.check(
                digest,
                inputs,
                self._session.trust,
                backend=backend,
                context=context,
                outputs=outputs,
                max_difference=max_difference,
            )
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _drive(self, steps: Flow[T]) -> T:
        try:
            async with asyncio.timeout(self._session.timeout_s):
                return await self._steps(steps)
        except TimeoutError:
            raise session.too_late(self._session) from None

    async def _steps(self, steps: Flow[T]) -> T:
        reply: Reply | None = None
        while True:
            step = await asyncio.to_thread(_next, steps, reply)
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                reply = None
            elif isinstance(step, Request):
                reply = await self._send(step)
            else:
                result: T = step.value
                return result

    async def _send(self, request: Request) -> Reply:
        try:
            async with self._http.stream(
                request.method, request.path, content=request.body or None, headers=dict(request.headers)
            ) as answer:
                body = session.Body(request, answer.headers)
                async for part in answer.aiter_raw():
                    body.add(part)
                return body.reply(answer.status_code, answer.headers)
        except self._errors as error:
            raise session.unanswered(self._session, error) from error


class _End:
    """A flow's result."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _next(steps: Flow[T], reply: Reply | None) -> Request | Wait | _End:
    """One step; StopIteration cannot leave a thread."""
    try:
        return steps.send(reply)
    except StopIteration as end:
        return _End(end.value)
