"""An EVM in this process that answers JSON-RPC requests: a chain without a node.

pyrevm executes; accounts, blocks, receipts and logs are kept here. One transaction is one block. Nobody pays for gas
and every account may send: there is nothing to protect.

**Which rules**: Cancun's, whatever later forks changed. There is no P-256 precompile, no BLS12-381, no floor for
calldata (EIP-7623) and no cap per transaction (EIP-7825): what it accepts, today's mainnet accepts unless it hits a
later limit, but its gas figures are not today's. pyrevm takes any fork's name without complaint; the one used is
written here and nowhere else.

Source: the Ethereum JSON-RPC specification (ethereum/execution-apis).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pyrevm

from vml.claim import checksum_address
from vml.keccak import keccak256

FORK = "cancun"
RULES = "cancun, embedded"
CHAIN_ID = 31337
BLOCK_GAS = 60_000_000
BLOCK_SECONDS = 12
GENESIS_TIME = 1_700_000_000
ACCOUNT = checksum_address(keccak256(b"vml embedded account")[12:])
"""The account that sends where none is named."""
RICH = 10**24

NO_CODE = keccak256(b"")
_CODE_PADDING = 33
"""pyrevm answers analysed code, with so many zero bytes behind it."""
_REVERT = re.compile(r"^Revert \{ gas_used: \d+, output: (0x[0-9a-f]*) \}$")

REVERTED, SERVER, UNSUPPORTED, INVALID = 3, -32000, -32601, -32602


class _Refused(Exception):
    """A request that gets a JSON-RPC error."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(message)


class EmbeddedChain:
    """A chain of its own. `vml.chain.provider` puts it behind web3.py.

    Args:
        chain_id: what CHAINID and eth_chainId answer.
        timestamp: of the first block, unix time in seconds.
    """

    def __init__(self, chain_id: int = CHAIN_ID, timestamp: int = GENESIS_TIME) -> None:
        cfg = pyrevm.CfgEnv(chain_id=chain_id)
        self._chain_id, self._number, self._time = chain_id, 0, timestamp
        world = pyrevm.Env(cfg=cfg, block=self._block_env())
        self._evm: Any = pyrevm.EVM(env=world, gas_limit=2**62, spec_id=FORK.upper())
        self._nonces: dict[str, int] = {}
        self._funded: set[str] = set()
        self._receipts: dict[str, dict[str, Any]] = {}
        self._transactions: dict[str, dict[str, Any]] = {}
        self._blocks: list[dict[str, Any]] = []
        self._seal([])
        self._fund(ACCOUNT)

    def make_request(self, method: str, params: Any) -> dict[str, Any]:
        """Answer a JSON-RPC request: an object with ``result`` or with ``error``."""
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": 0}
        handler = self._handlers().get(method)
        try:
            if handler is None:
                raise _Refused(UNSUPPORTED, f"the embedded EVM does not answer {method}")
            answer["result"] = handler(*(params or []))
        except _Refused as refused:
            error: dict[str, Any] = {"code": refused.code, "message": refused.message}
            if refused.data is not None:
                error["data"] = refused.data
            answer["error"] = error
        except (KeyError, IndexError, TypeError, ValueError) as error_:
            answer["error"] = {"code": INVALID, "message": f"{method}: {error_}"}
        return answer

    def creates(self, sender: str, creation: bytes, places: Mapping[str, bytes], at: str | None = None) -> bytes:
        """The code that a creation leaves among contracts that are put in their places, without storage.

        Args:
            at: the address at which it does; None where no constructor asks.

        Raises:
            ValueError: the constructor fails.
        """
        # So many creations later no address is taken by one of the places.
        self._nonces[_address(sender)] = 1 << 48
        for address, code in places.items():
            self._evm.insert_account_info(address, pyrevm.AccountInfo(nonce=1, code=code))
        try:
            if at is None:
                return self._code(checksum_address(self._execute(_address(sender), None, creation, 0, BLOCK_GAS)))
            # No creation chooses its address; but run as a contract's code, it returns there what it would leave.
            self._evm.insert_account_info(at, pyrevm.AccountInfo(nonce=1, code=creation))
            return self._execute(_address(sender), at, b"", 0, BLOCK_GAS)
        except RuntimeError as error:
            raise ValueError(f"the constructor fails: {str(error)[:200]}") from None

    def _handlers(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "web3_clientVersion": lambda: f"vml/{RULES}/pyrevm",
            "net_version": lambda: str(self._chain_id),
            "eth_chainId": lambda: hex(self._chain_id),
            "eth_blockNumber": lambda: hex(self._number),
            "eth_syncing": lambda: False,
            "eth_accounts": lambda: [ACCOUNT],
            "eth_gasPrice": lambda: "0x0",
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "eth_getBalance": lambda address, block="latest": hex(self._evm.get_balance(_address(address))),
            "eth_getCode": lambda address, block="latest": "0x" + self._code(_address(address)).hex(),
            "eth_getStorageAt": self._storage,
            "eth_getTransactionCount": lambda address, block="latest": hex(self._nonces.get(_address(address), 0)),
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_sendTransaction": self._send,
            "eth_sendRawTransaction": self._send_raw,
            "eth_getTransactionReceipt": lambda digest: self._receipts.get(digest),
            "eth_getTransactionByHash": lambda digest: self._transactions.get(digest),
            "eth_getBlockByNumber": lambda number, full=False: self._block(number),
            "eth_getBlockByHash": lambda digest, full=False: next(
                (block for block in self._blocks if block["hash"] == digest), None
            ),
            "eth_getLogs": self._logs,
            "evm_increaseTime": self._advance,
            "evm_mine": lambda: self._seal([]) or "0x0",
        }

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _code(self, address: str) -> bytes:
        info = self._evm.basic(address)
        if bytes(info.code_hash or b"") in (bytes(32), NO_CODE, b""):
            return b""
        code = bytes(info.code or b"")
        real = code[:-_CODE_PADDING] if len(code) >= _CODE_PADDING else code
        # The hash tells whether the padding was there.
        return real if real and keccak256(real) == bytes(info.code_hash) else code

    def _storage(self, address: str, slot: str, block: str = "latest") -> str:
        return "0x" + int(self._evm.storage(_address(address), int(slot, 16))).to_bytes(32, "big").hex()

    def _block(self, number: str) -> dict[str, Any] | None:
        named = {"earliest": 0, "latest": self._number, "pending": self._number, "safe": self._number}
        index = named.get(number, self._number if number == "finalized" else -1)
        index = int(number, 16) if index < 0 else index
        return self._blocks[index] if index < len(self._blocks) else None

    def _logs(self, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        first = int((self._block(wanted.get("fromBlock", "latest")) or {"number": "0x0"})["number"], 16)
        last = int((self._block(wanted.get("toBlock", "latest")) or {"number": hex(self._number)})["number"], 16)
        addresses = wanted.get("address")
        chosen = None if addresses is None else {_address(a) for a in _many(addresses)}
        topics = wanted.get("topics") or []
        return [
            log
            for receipt in self._receipts.values()
            for log in receipt["logs"]
            if first <= int(log["blockNumber"], 16) <= last
            and (chosen is None or log["address"] in chosen)
            and len(topics) <= len(log["topics"])
            and all(t is None or log["topics"][i] in _many(t) for i, t in enumerate(topics))
        ]

    def _call(self, transaction: Mapping[str, Any], block: str = "latest", *overrides: Any) -> str:
        sender, to, data, value, gas = self._fields(transaction)
        self._fund(sender)
        before = self._evm.snapshot()
        try:
            return "0x" + self._execute(sender, to, data, value, gas).hex()
        except RuntimeError as error:
            raise _explained(error) from None
        finally:
            self._evm.revert(before)

    def _estimate(self, transaction: Mapping[str, Any], block: str = "latest") -> str:
        sender, to, data, value, gas = self._fields(transaction)
        self._fund(sender)
        low, high = 20_999, gas

        def suffices(limit: int) -> bool:
            before = self._evm.snapshot()
            try:
                self._execute(sender, to, data, value, limit)
            except RuntimeError as error:
                if limit == gas:
                    raise _explained(error) from None
                return False
            finally:
                self._evm.revert(before)
            return True

        suffices(gas)
        # What was used is a first guess; refunds and the 63/64 rule can ask for more.
        low = max(low, self._evm.result.gas_used - 1)
        while high - low > max(1, low // 1000):
            middle = min((low + high) // 2, low + low // 8 + 1)
            low, high = (low, middle) if suffices(middle) else (middle, high)
        return hex(high)

    # ---- sending ---------------------------------------------------------------------------------------------------

    def _send(self, transaction: Mapping[str, Any]) -> str:
        sender, to, data, value, gas = self._fields(transaction)
        nonce = self._nonces.get(sender, 0)
        if "nonce" in transaction and _integer(transaction["nonce"]) != nonce:
            self._refuse_nonce(_integer(transaction["nonce"]), nonce)
        words = [sender.encode(), nonce.to_bytes(8, "big"), self._chain_id.to_bytes(32, "big"), data]
        return self._mine(sender, to, data, value, gas, "0x" + keccak256(b"".join(words)).hex())

    def _send_raw(self, raw: str) -> str:
        from eth_account import Account
        from eth_account.typed_transactions.typed_transaction import TypedTransaction
        from hexbytes import HexBytes

        blob = _bytes(raw)
        digest = "0x" + keccak256(blob).hex()
        if digest in self._transactions:
            raise _Refused(SERVER, "already known")
        if not blob or blob[0] not in (1, 2):
            raise _Refused(SERVER, "the embedded EVM takes typed transactions only (EIP-1559, EIP-2930)")
        fields = TypedTransaction.from_bytes(HexBytes(blob)).as_dict()
        if fields["chainId"] != self._chain_id:
            raise _Refused(SERVER, f"invalid chain id: the transaction is for {fields['chainId']}")
        sender = Account.recover_transaction(raw)
        nonce = self._nonces.get(sender, 0)
        if fields["nonce"] != nonce:
            self._refuse_nonce(fields["nonce"], nonce)
        to = _address(fields["to"]) if fields["to"] else None
        return self._mine(sender, to, bytes(fields["data"]), fields["value"], fields["gas"], digest)

    @staticmethod
    def _refuse_nonce(got: int, expected: int) -> None:
        word = "low" if got < expected else "high: there is no queue here"
        raise _Refused(SERVER, f"nonce too {word}: {got}, expected {expected}")

    def _mine(self, sender: str, to: str | None, data: bytes, value: int, gas: int, digest: str) -> str:
        self._fund(sender)
        self._number, self._time = self._number + 1, self._time + BLOCK_SECONDS
        self._evm.set_block_env(self._block_env())
        nonce = self._nonces.get(sender, 0)
        failed = None
        try:
            answer = self._execute(sender, to, data, value, gas)
        except RuntimeError as error:
            failed, answer = error, b""
            if str(error).startswith("Initial gas"):
                self._number, self._time = self._number - 1, self._time - BLOCK_SECONDS
                raise _explained(error) from None
        result = self._evm.result
        logs = [] if failed else [(log.address, log.topics, log.data[1]) for log in result.logs]
        used = result.gas_used
        self._nonces[sender] = nonce + 1
        self._set_nonce(sender, nonce + 1)
        created = checksum_address(answer) if to is None and not failed else None
        if created is not None:
            self._nonces[created] = 1
        block = self._seal([digest], used)
        place = {
            "transactionHash": digest,
            "transactionIndex": "0x0",
            "blockHash": block["hash"],
            "blockNumber": block["number"],
        }
        self._transactions[digest] = {
            "hash": digest,
            "from": sender,
            "to": to,
            "nonce": hex(nonce),
            "value": hex(value),
            "gas": hex(gas),
            "input": "0x" + data.hex(),
            "type": "0x2",
            "gasPrice": "0x0",
            "chainId": hex(self._chain_id),
            "transactionIndex": "0x0",
            "blockHash": block["hash"],
            "blockNumber": block["number"],
        }
        self._receipts[digest] = {
            **place,
            "from": sender,
            "to": to,
            "status": "0x0" if failed else "0x1",
            "contractAddress": created,
            "gasUsed": hex(used),
            "cumulativeGasUsed": hex(used),
            "effectiveGasPrice": "0x0",
            "type": "0x2",
            "logsBloom": "0x" + "00" * 256,
            "logs": [
                {
                    **place,
                    "address": checksum_address(bytes.fromhex(address[2:])),
                    "topics": list(topics),
                    "data": "0x" + bytes(body).hex(),
                    "logIndex": hex(index),
                    "removed": False,
                }
                for index, (address, topics, body) in enumerate(logs)
            ],
        }
        return digest

    # ---- within ----------------------------------------------------------------------------------------------------

    def _execute(self, sender: str, to: str | None, data: bytes, value: int, gas: int) -> bytes:
        """What a call returned, or the address of the contract that was created."""
        self._evm.reset_transient_storage()
        if to is None:
            # A new account's address follows from its creator's nonce, which pyrevm counts by creations alone.
            self._set_nonce(sender, self._nonces.get(sender, 0))
            return bytes.fromhex(self._evm.deploy(sender, data, value=value, gas=gas)[2:])
        return bytes(self._evm.message_call(sender, to, calldata=data, value=value, gas=gas))

    def _fields(self, transaction: Mapping[str, Any]) -> tuple[str, str | None, bytes, int, int]:
        sender = _address(transaction.get("from") or ACCOUNT)
        to = transaction.get("to")
        data = _bytes(transaction.get("input", transaction.get("data", "0x")))
        value = _integer(transaction.get("value", 0))
        gas = min(_integer(transaction.get("gas", BLOCK_GAS)), BLOCK_GAS)
        return sender, _address(to) if to else None, data, value, gas

    def _fund(self, address: str) -> None:
        """Every account is rich from the start."""
        if address not in self._funded:
            self._funded.add(address)
            self._evm.set_balance(address, self._evm.get_balance(address) + RICH)

    def _set_nonce(self, address: str, nonce: int) -> None:
        """Of an account without code: only such send."""
        info = self._evm.basic(address)
        if info.nonce != nonce:
            changed = pyrevm.AccountInfo(balance=info.balance, nonce=nonce)  # type: ignore[call-arg]  # its stub lags
            self._evm.insert_account_info(address, changed)

    def _block_env(self) -> Any:
        return pyrevm.BlockEnv(number=self._number, timestamp=self._time, basefee=0, gas_limit=BLOCK_GAS)

    def _advance(self, seconds: int | str) -> str:
        self._time += _integer(seconds)
        return hex(self._time)

    def _seal(self, transactions: list[str], used: int = 0) -> dict[str, Any]:
        """Append the block that the clock stands at."""
        if len(self._blocks) > self._number:
            self._number, self._time = self._number + 1, self._time + BLOCK_SECONDS
            self._evm.set_block_env(self._block_env())
        parent = self._blocks[-1]["hash"] if self._blocks else "0x" + "00" * 32
        text = f"{parent}{self._number}{self._time}{transactions}{self._chain_id}"
        block = {
            "number": hex(self._number),
            "hash": "0x" + keccak256(text.encode()).hex(),
            "parentHash": parent,
            "timestamp": hex(self._time),
            "transactions": transactions,
            "gasUsed": hex(used),
            "gasLimit": hex(BLOCK_GAS),
            "baseFeePerGas": "0x0",
            "miner": "0x" + "00" * 20,
            "extraData": "0x",
        }
        self._blocks.append(block)
        return block


def _explained(error: RuntimeError) -> _Refused:
    text = str(error)
    reverted = _REVERT.match(text)
    if reverted:
        return _Refused(REVERTED, "execution reverted", reverted[1])
    if "OutOfGas" in text or "CallGasCostMoreThanGasLimit" in text:
        return _Refused(SERVER, "out of gas")
    if "CreateContractSizeLimit" in text:
        return _Refused(SERVER, "max code size exceeded")
    return _Refused(SERVER, text[:300])


def _address(value: Any) -> str:
    raw = value if isinstance(value, bytes) else bytes.fromhex(str(value)[2:])
    if len(raw) != 20:
        raise ValueError(f"{value!r} is not an address")
    return checksum_address(raw)


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else bytes.fromhex(str(value)[2:])


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else int(str(value), 16)


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
