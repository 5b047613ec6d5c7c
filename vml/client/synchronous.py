"""The client that blocks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from vml.claim import ZERO_CONTEXT, parse_bytes32
from vml.client import flow, session
from vml.client.exchange import Flow, Reply, Request, drive
from vml.client.flow import Answer, Pending

if TYPE_CHECKING:
    from vml.api.models import ModelLike
    from vml.backends.types import Environment
    from vml.policy import Policy

T = TypeVar("T")


class Client:
    """Asks one model of one server, and returns what it has verified.

    Args:
        url: ``http://host:port`` or ``https://host:port``.
        model: what answers must be about: a commitment (``0x…`` or 32 bytes), a compiled folder, or a `Model`.
        name: of the model on the server; None takes the folder's name.
        key: the verifying key's digest, or a folder of ``vml setup -o``, where the backend asks for one and the model
            is a commitment only.
        policy: what is good enough; None takes `Policy.default()`.
        environment: chain and pins, where the backend asks for them; its `now`, where it has one, stands still.
        server_key: id of the key whose receipts are expected, ``0x…`` or 32 bytes; None looks at no receipt.
        api_key: None takes the environment variable ``VML_API_KEY``, where there is one.
        timeout_s: for a whole call, proving included.

    Raises:
        ValueError: options that do not fit together.
        BackendUnavailable: the extra ``client`` is not installed.
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
        self._http = library.Client(base_url=self._session.url, headers=self._session.headers, timeout=timeout_s)

    def infer(
        self,
        inputs: Mapping[str, Any],
        *,
        backend: str | None = None,
        context: bytes | None = None,
        **parameters: str | int | bool,
    ) -> Answer:
        """Run the model on an input, have the run proved, verify the proof.

        Args:
            inputs: arrays by name, of the model's shapes and number types.
            backend: who proves; None leaves it to the server.
            context: 32 bytes the claim is bound to; None takes fresh ones, so that no earlier answer serves.
            parameters: further ones of the request, such as ``priority``.

        Raises:
            VerificationError: the answer is not what was asked for, or its proof does not show it.
            ProvingError: the server could not prove it.
            ServerError: refused, unreachable, too late, or no server of vml.
        """
        named = {**({"backend": backend} if backend else {}), **parameters}
        return self._drive(
            flow.infer(self._session.name, inputs, self._session.trust, parameters=named, context=context)
        )

    def ask(
        self, inputs: Mapping[str, Any], *, context: bytes | None = None, **parameters: str | int | bool
    ) -> Pending:
        """Run the model on an input and take the server's word for it, with its claim; see `infer` and `prove`."""
        return self._drive(
            flow.ask(self._session.name, inputs, self._session.trust, parameters=parameters, context=context)
        )

    def prove(self, pending: Pending, *, backend: str | None = None) -> Answer:
        """The verified form of an answer: waits for its proof, or asks `backend` for one where none was asked for.

        Raises:
            ValueError: no proof was asked for, and no backend is named.
            VerificationError, ProvingError, ServerError: as `infer`.
        """
        if not pending.job and backend is not None:
            pending = self._drive(flow.demand(pending, backend))
        return self._drive(flow.prove(pending, self._session.trust, backend))

    def check(
        self,
        claim: str | bytes,
        inputs: Mapping[str, Any],
        *,
        backend: str,
        context: bytes = ZERO_CONTEXT,
        outputs: Mapping[str, Any] | None = None,
        max_difference: float = 0.0,
    ) -> Answer:
        """Have a claim proved that came in the header ``Vml-Claim`` of another server's answer, and compare.

        Args:
            claim: digest, ``0x…`` or 32 bytes.
            inputs: what was asked, by name, of the model's shapes and number types.
            backend: who proves.
            context: 32 bytes that the claim must be bound to; zero where the request named none.
            outputs: what was answered, by name; None compares nothing.
            max_difference: how far an output may be from what the proof shows.

        Raises:
            ClaimMismatch: the claim is about something else, or an output is further off.
            VerificationError, ProvingError, ServerError: as `infer`.
        """
        digest = parse_bytes32(claim) if isinstance(claim, str) else claim
        return self._drive(
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

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _drive(self, steps: Flow[T]) -> T:
        end = time.monotonic() + self._session.timeout_s

        def left() -> float:
            seconds = end - time.monotonic()
            if seconds <= 0:
                raise session.too_late(self._session)
            return seconds

        return drive(steps, lambda request: self._send(request, left()), lambda wait: time.sleep(min(wait, left())))

    def _send(self, request: Request, timeout_s: float) -> Reply:
        end = time.monotonic() + timeout_s
        try:
            with self._http.stream(
                request.method,
                request.path,
                content=request.body or None,
                headers=dict(request.headers),
                timeout=timeout_s,
            ) as answer:
                body = session.Body(request, answer.headers)
                for part in answer.iter_raw():
                    body.add(part)
                    # The library's own limit is for each part: a server that drips would hold the caller for ever.
                    if time.monotonic() > end:
                        raise session.too_late(self._session)
                return body.reply(answer.status_code, answer.headers)
        except self._errors as error:
            raise session.unanswered(self._session, error) from error
