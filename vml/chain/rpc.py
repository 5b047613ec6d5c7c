"""JSON-RPC with patience and suspicion: bounded retries, and no answer is believed before it is read.

A node may be slow, gone, behind, or lying. What can be checked is checked here and in `vml.chain.client`; a node that
lies about everything in one consistent way cannot be told from a chain, so use one you trust, or ask two.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from vml.chain import abi
from vml.errors import ChainError

ATTEMPTS = 5
FIRST_PAUSE_S = 0.25
MAX_ANSWER_DIGITS = 16 << 20
TOO_MANY = (-32005, -32029)
"""Codes with which nodes ask for patience."""

_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_FOUND = re.compile(r"0x[0-9a-fA-F]{8,}")


class Provider(Protocol):
    """What answers: a provider of web3.py, or `vml.chain.embedded.EmbeddedChain`."""

    def make_request(self, method: Any, params: Any) -> Any:
        """Send one request and return the JSON-RPC answer."""


class Refused(ChainError):
    """The node answered with an error.

    Args:
        method: that was asked.
        code: JSON-RPC's.
        reason: the node's words.
        data: what a contract reverted with; None where the node gave none.
    """

    def __init__(self, method: str, code: int, reason: str, data: bytes | None) -> None:
        self.method, self.code, self.reason, self.data = method, code, reason, data
        super().__init__(f"the node refused {method}: {reason} (code {code})")


class Unanswered(ChainError):
    """The node did not answer, however often it was asked."""


class Rpc:
    """Requests to one node.

    Args:
        provider: of web3.py, or an embedded chain.
        name: of the node, for messages.
        attempts: how often a request is sent before giving up.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        provider: Provider,
        name: str,
        *,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._provider, self._attempts, self._sleep = provider, attempts, sleep

    def ask(self, method: str, *params: Any) -> Any:
        """Ask, again and again with growing pauses while there is no answer.

        Sending a signed transaction twice is harmless: it is the same transaction.

        Raises:
            Refused: the node answered with an error.
            Unanswered: no answer, or not one of JSON-RPC.
        """
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._provider.make_request(method, list(params))
            except Exception as error:  # every provider has its own ways to say that nobody answered
                problem = type(error).__name__  # its words may quote the address, which may hold a secret
                continue
            if not isinstance(answer, Mapping) or ("result" in answer) == (answer.get("error") is not None):
                problem = "the answer is not one of JSON-RPC"
                continue
            failed = answer.get("error")
            if failed is None:
                return answer["result"]
            refused = _refused(method, failed)
            if refused.code not in TOO_MANY:
                raise refused
            problem = refused.reason
        raise Unanswered(
            f"{self.name} did not answer {method}, asked {self._attempts} times: {problem}; check the address and the "
            "connection, then run the same command again: it goes on where it stopped"
        )

    def number(self, method: str, *params: Any) -> int:
        """Ask for a number."""
        return quantity(self.ask(method, *params), method)

    def data(self, method: str, *params: Any) -> bytes:
        """Ask for bytes."""
        return octets(self.ask(method, *params), method)


def http(url: str, *, timeout_s: float = 30.0) -> Provider:
    """A provider for an http:// or https:// address.

    Raises:
        ValueError: another kind of address.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError("a node's JSON-RPC address begins with http:// or https://")
    from web3 import HTTPProvider

    # Retries are counted in one place: above.
    provider: Provider = HTTPProvider(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)
    return provider


def node_name(url: str) -> str:
    """An address without what may be secret in it: access keys are often part of path, query or user name."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")


def quantity(value: Any, what: str) -> int:
    """A number as JSON-RPC writes it, 0 <= n < 2^256.

    Raises:
        ChainError: something else.
    """
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return int(value, 16)
    raise ChainError(f"the node answered {what} with {str(value)[:60]!r}, which is no number")


def octets(value: Any, what: str, length: int | None = None) -> bytes:
    """Bytes as JSON-RPC writes them, of a fixed length where one is given.

    Raises:
        ChainError: something else.
    """
    text = value if isinstance(value, str) else ""
    if len(text) <= MAX_ANSWER_DIGITS and _HEX.fullmatch(text):
        data = bytes.fromhex(text[2:])
        if length is None or len(data) == length:
            return data
    need = "bytes" if length is None else f"{length} bytes"
    raise ChainError(f"the node answered {what} with {str(value)[:60]!r}, which is not {need}")


def record(value: Any, what: str) -> Mapping[str, Any]:
    """An object.

    Raises:
        ChainError: something else.
    """
    if isinstance(value, Mapping):
        return value
    raise ChainError(f"the node answered {what} with {str(value)[:60]!r}, which is no object")


def reverted(refused: Refused, what: str, errors: Iterable[Mapping[str, Any]]) -> ChainError:
    """What a refusal means: the contract's own error by name, or the node's words."""
    if refused.data is None:
        return ChainError(f"{what}: {explain(refused.reason)}")
    why = abi.decode_revert(refused.data, errors)
    remedy = REMEDIES.get(why.name or "")
    text = f"{what}: the contract refused: {why}" + (f"; {remedy}" if remedy else "")
    return ChainError(text, error=why.name, arguments=why.arguments)


REMEDIES = {
    "RouteUnknown": "the router has no route for this scheme: deploy its adapter (vml contract deploy --router)",
    "RouteIsFrozen": "the route was frozen for good; no proof of this scheme is accepted by this router again",
    "RouteIsRemoved": "the route was removed for good; no proof of this scheme is accepted by this router again",
    "RouteExists": "the scheme has a route already",
    "ModelUnknown": "nobody registered this key: check --key, or deploy (vml contract deploy)",
    "ModelIsDeprecated": "the model's owner deprecated it; its proofs are no longer accepted",
    "BackendNotEnabled": "the model's owner did not enable this scheme for it",
    "BackendEquivocated": "somebody proved two outputs for one input; the backend is shut off for this model",
    "OwnableUnauthorizedAccount": "only the router's owner may do that",
    "NotModelOwner": "only who registered the model may do that",
    "KeyUnknown": "the key was not admitted there under the rules that the model's owner accepts: vml tee admit",
    "KeyIsRevoked": "the key was revoked for good: attest and admit another one",
    "KeyIsExpired": "the key ended: admit it again with new evidence (vml tee renew), or attest another one",
    "EpochRotated": "the model's owner accepts keys of a later epoch only",
    "ModeRefused": "the model's owner does not accept keys that came in this way",
    "SimulatedEvidence": "simulated evidence counts on the chain ids of test nodes only",
    "NotLater": "the key lasts as long already: renew it with newer evidence",
    "AdmissionIsExpired": "the attestors' signatures are over their deadline: have them sign again",
    "NotAnAttestor": "who signed is not in the rules, or signed for another chain, contract or key",
    "BlockUnknown": "the block is too old, a contract knows the last 256: ask the attester with a newer one's nonce",
    "BackendsAreLocked": "the owner locked the model's backends: register the model from another account",
}
"""What to do about errors of our contracts."""

_ADVICE = (
    (("insufficient funds",), "the account cannot pay for it: send it some of the chain's coin"),
    (("out of gas", "gas required exceeds", "outofgas"), "it ran out of gas: the work is larger than the limit"),
    (("nonce too low",), "the account has used this nonce for another transaction: run the command again"),
    (("nonce too high", "nonce gap"), "an earlier transaction of the account is missing: wait, or send that one first"),
    (("replacement transaction underpriced", "already imported"), "another transaction waits with the same nonce"),
    (("chain id", "chainid"), "the transaction is for another chain: check --rpc and the deployment file"),
    (("code size", "codesize", "initcode"), "the contract's code is over the chain's limit"),
    (("oversized data", "size limit", "too large"), "the transaction is larger than nodes pass on"),
    (("max fee per gas less than block base fee", "underpriced"), "the chain's fee rose meanwhile: run it again"),
)


def explain(reason: str) -> str:
    """A node's words, with what to do where that is known."""
    lowered = reason.lower()
    for words, advice in _ADVICE:
        if any(word in lowered for word in words):
            return f"{advice} (the node said: {reason[:200]})"
    return f"the node said: {reason[:300]}"


def _refused(method: str, error: Any) -> Refused:
    """Read an error object; nodes put a revert's data in several places."""
    if not isinstance(error, Mapping):
        return Refused(method, 0, str(error)[:300], None)
    code = error.get("code")
    message = str(error.get("message", ""))[:500]
    found = error.get("data")
    for _ in range(3):
        if isinstance(found, Mapping):
            found = found.get("data", found.get("originalError"))
    text = found if isinstance(found, str) and len(found) <= MAX_ANSWER_DIGITS else ""
    if text and not _HEX.fullmatch(text):
        inside = _FOUND.search(text)
        text = inside[0] if inside and len(inside[0]) % 2 == 0 else ""
    revert = bytes.fromhex(text[2:]) if text else None
    if revert is None and "revert" in message.lower() and method in ("eth_call", "eth_estimateGas"):
        revert = b""
    return Refused(method, code if isinstance(code, int) else 0, message, revert)
