"""The embedded EVM behind web3.py's provider interface.

::

    from web3 import Web3
    from vml.chain.provider import EmbeddedProvider

    w3 = Web3(EmbeddedProvider())
"""

from __future__ import annotations

from typing import Any

from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from vml.chain.embedded import CHAIN_ID, GENESIS_TIME, RULES, EmbeddedChain


class EmbeddedProvider(JSONBaseProvider):  # type: ignore[misc]  # web3 is not read by the type checker
    """A chain of its own in this process.

    Args:
        chain_id: what CHAINID and eth_chainId answer.
        timestamp: of the first block, unix time in seconds.
    """

    rules = RULES

    def __init__(self, chain_id: int = CHAIN_ID, timestamp: int = GENESIS_TIME) -> None:
        super().__init__()
        self.chain = EmbeddedChain(chain_id, timestamp)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer a JSON-RPC request."""
        answer = self.chain.make_request(method, params)
        answer["id"] = next(self.request_counter)
        return answer

    def is_connected(self, show_traceback: bool = False) -> bool:
        """Always."""
        return True
