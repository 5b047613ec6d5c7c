"""Putting contracts on a chain in steps that can be repeated: what every deployment has in common.

Each step asks the chain first. A transaction is written down signed before it is sent, and sent again as it is after an
interruption: it has one nonce, so it happens once. What a creation must leave is known beforehand, from running its
constructor in the embedded EVM, and compared with what the node shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vml.chain import abi, artifacts
from vml.chain.client import Chain
from vml.chain.deployment import Deployment, Placed, load
from vml.chain.embedded import EmbeddedChain
from vml.chain.transactions import CODE_LIMIT, Failed, NotTaken, Pending, Receipt, Replaced, created_at
from vml.claim import checksum_address
from vml.errors import ChainError
from vml.keccak import keccak256

ROUTER, REGISTRY = "VmlRouter", "ModelRegistry"
ROUTE_UNKNOWN, ROUTE_ACTIVE = 0, 1
MAX_NONCES = 1 << 17
"""Of so many transactions of an account it is looked up which created a contract; one takes 60 microseconds."""


@dataclass(frozen=True)
class Wishes:
    """What is up to whoever deploys.

    Args:
        router: use this one and its registry, instead of new ones.
        verifier: use this generated verifier, which is there already.
        guardian: who may freeze routes besides the owner; None is the deployer.
        uri: where the model is described.
    """

    router: str | None = None
    verifier: str | None = None
    guardian: str | None = None
    uri: str = ""


class Steps:
    """One deployment on one chain.

    Args:
        chain: with an account that sends.
        file: that remembers; None keeps nothing, for the embedded EVM.
        say: told what is being done.

    Raises:
        ChainError: nobody can sign, or the file is about another chain or account.
        ValueError: the file is damaged.
    """

    def __init__(self, chain: Chain, file: Path | None = None, say: Callable[[str], None] | None = None) -> None:
        self.chain, self._file, self._say = chain, file, say or (lambda text: None)
        if chain.sender is None:
            raise ChainError(
                "nobody can sign: give --keystore FILE, or a key in VML_PRIVATE_KEY (never on the command line)"
            )
        self.sender = chain.sender
        genesis = chain.genesis()
        found = None if file is None else load(file)
        if found is not None:
            _require_same(found, chain, genesis, self.sender, file)
        self.state = found or Deployment(chain.chain_id, genesis, self.sender)

    # ---- steps -----------------------------------------------------------------------------------------------------

    def _router(self, wishes: Wishes) -> tuple[str, str]:
        chain, router = self.chain, artifacts.load(ROUTER)
        if wishes.router:
            registry = abi_address(chain.call(wishes.router, router.abi, "registry"))
            return self._adopt("registry", registry), self._adopt("router", wishes.router)
        registry = self._create("registry", artifacts.load(REGISTRY), [], {})
        places = {registry: chain.code(registry)}
        guardian = wishes.guardian or self.sender
        made = self._create("router", router, [self.sender, guardian, registry], places)
        self._require_own(made)
        return registry, made

    def _route_of(self, router: str, selector: bytes) -> tuple[str, bool]:
        verifier, state = self.chain.call(router, artifacts.load(ROUTER).abi, "routes", selector)
        if state not in (ROUTE_UNKNOWN, ROUTE_ACTIVE):
            raise ChainError(
                f"the router at {router} has shut the route 0x{selector.hex()} for good: deploy a router of your own"
            )
        return abi_address(verifier), state == ROUTE_ACTIVE

    def _begin(self, model: bytes, scheme: str) -> bytes:
        """See that the file is about this model, and finish what an earlier run signed.

        Returns:
            The scheme's selector.
        """
        self._require_model({"model": "0x" + model.hex(), "scheme": scheme})
        self._finish_pending()
        return keccak256(scheme.encode())[:4]

    def _admit(
        self,
        places: tuple[str, str, str],
        model: bytes,
        selector: bytes,
        metadata: bytes,
        vk_digest: bytes,
        uri: str,
    ) -> Deployment:
        """Route, model and backend: from here on proofs of the scheme speak for the model.

        Args:
            places: addresses of registry, router and adapter.
        """
        registry, router, adapter = places
        router_abi, registry_abi = artifacts.load(ROUTER).abi, artifacts.load(REGISTRY).abi
        self._act("route", lambda: self._routed(router, selector, adapter), router, router_abi, "addRoute", adapter)
        key = keccak256(abi.encode(["address", "bytes32"], [self.sender, model]))
        entry = (model, bytes(32), vk_digest, selector, uri)
        self._act("model", lambda: self._registered(registry, key), registry, registry_abi, "registerModel", entry)
        self._act(
            "backend",
            lambda: self._enabled(registry, key, selector, metadata),
            registry,
            registry_abi,
            "setBackend",
            *(key, selector, metadata, vk_digest),
        )
        self.state.model |= {
            "key": "0x" + key.hex(),
            "selector": "0x" + selector.hex(),
            "vk_digest": "0x" + vk_digest.hex(),
        }
        self._save()
        return self.state

    def _routed(self, router: str, selector: bytes, adapter: str) -> bool:
        return self._route_of(router, selector) == (adapter, True)

    def _registered(self, registry: str, key: bytes) -> bool:
        try:
            _, deprecated, _ = self.chain.call(registry, artifacts.load(REGISTRY).abi, "getModel", number(key))
        except ChainError as error:
            if error.error == "ModelNotFound":
                return False
            raise
        if deprecated:
            raise ChainError(f"this account deprecated the model's entry 0x{key.hex()} for good: use another account")
        return True

    def _enabled(self, registry: str, key: bytes, selector: bytes, metadata: bytes) -> bool:
        found = self.chain.call(registry, artifacts.load(REGISTRY).abi, "backend", key, selector)
        return bool(found == (metadata, True))

    def _act(
        self,
        step: str,
        done: Callable[[], bool],
        to: str,
        contract: abi.Abi,
        name: str,
        *arguments: Any,
        value: int = 0,
    ) -> None:
        """Call a function unless what it does is done, and see that it was. `value` in wei goes with the call."""
        if done():
            self.state.steps.setdefault(step, None)
            return
        pending = self._sign(step, to, abi.encode_call(contract, name, arguments), contract, value)
        receipt = self._send(step, pending, contract)
        if not done():
            raise ChainError(
                f"{name} succeeded in {receipt.hash}, and the chain does not show it: the node lies or lags"
            )
        self.state.steps[step] = receipt.hash
        self._save()

    def _create(
        self, name: str, artifact: artifacts.Artifact, arguments: Sequence[Any], places: Mapping[str, bytes]
    ) -> str:
        """Create a contract of ours, of which the embedded EVM says what code it will have."""
        creation = artifact.bytecode + abi.encode_constructor(artifact.abi, arguments)
        return self._create_code(
            name, creation, lambda at: keccak256(self._code(artifact, arguments, places, at)), artifact.abi
        )

    def _code(
        self,
        artifact: artifacts.Artifact,
        arguments: Sequence[Any],
        places: Mapping[str, bytes],
        at: str | None = None,
    ) -> bytes:
        creation = artifact.bytecode + abi.encode_constructor(artifact.abi, arguments)
        return code_of(self.chain.chain_id, self.sender, creation, places, at)

    def _builtin(self) -> dict[str, bytes]:
        """What the chain has of its own that constructors ask about, in the code of the embedded EVM."""
        return {}

    def _create_code(
        self, name: str, creation: bytes, expected_at: Callable[[str], bytes], contract: abi.Abi = ()
    ) -> str:
        """Create a contract unless it is there, and see that its code is the expected one.

        Args:
            expected_at: the digest of the code at an address.
        """
        if name in self.state.contracts:
            return self._kept(name, expected_at(self.state.contracts[name].address))
        pending = self._sign(name, None, creation, contract)
        expected = expected_at(pending.creates or "")
        try:
            receipt = self._send(name, pending, contract)
        except Replaced:
            # By the same creation, signed by an earlier run: then the contract is where it has to be.
            if not self.chain.code(pending.creates or ""):
                raise
            return self._place(name, pending.creates or "", expected, None)
        return self._place(name, receipt.contract or "", expected, receipt.hash)

    def _kept(self, name: str, expected: bytes | None = None) -> str:
        """A contract of the file, whose word alone is worth nothing."""
        placed = self.state.contracts[name]
        if expected is not None and placed.code_hash != expected:
            raise ChainError(
                f"the deployment file has another {name} than the one to deploy: it was generated again, or by "
                "another version of vml; name a new file with --resume"
            )
        self.chain.require_code(placed.address, placed.code_hash)
        return placed.address

    def _require_own(self, router: str) -> None:
        """A router's owner and guardian are in its storage, of which its code says nothing: who created it does.

        Raises:
            ChainError: somebody else did.
        """
        count = min(self.chain.rpc.number("eth_getTransactionCount", self.sender, "latest"), MAX_NONCES)
        if not any(created_at(self.sender, nonce) == router for nonce in reversed(range(count))):
            raise ChainError(
                f"the router {router} of the deployment file was not created by {self.sender}: give --router to use "
                "somebody else's, or name a new file with --resume"
            )

    def _place(self, name: str, address: str, code_hash: bytes | None, transaction: str | None) -> str:
        found = self.chain.require_code(address, code_hash)
        self.state.contracts[name] = Placed(address, found, transaction)
        self._save()
        return address

    def _adopt(self, name: str, address: str, code_hash: bytes | None = None) -> str:
        """Use a contract that was there before."""
        kept = self.state.contracts.get(name)
        if kept is not None and kept.address != address:
            raise ChainError(f"the deployment file has another {name}, {kept.address}: name a new file with --resume")
        return self._kept(name, code_hash) if kept else self._place(name, address, code_hash, None)

    # ---- sending ---------------------------------------------------------------------------------------------------

    def _sign(self, step: str, to: str | None, data: bytes, contract: abi.Abi, value: int = 0) -> Pending:
        self._say(f"{step}: signing")
        return self.chain.prepare(to, data, value=value, errors=contract)

    def _send(self, step: str, pending: Pending, contract: abi.Abi) -> Receipt:
        """Write down, send, wait, strike out. What cannot be final any more is forgotten; what may be is kept."""
        if pending.raw:
            self.state.pending = step, pending
            self._save()
        try:
            sent = self.chain.broadcast(pending)
            self._say(f"{step}: sent {sent.hash}, waiting for {self.chain.limits.confirmations} confirmations")
            receipt = self.chain.wait(sent, contract)
        except (Failed, NotTaken, Replaced):
            self._forget()
            raise
        self.state.pending = None
        return receipt

    def _finish_pending(self) -> None:
        """See to a transaction that an earlier run signed: it happens once, whoever sends it."""
        if self.state.pending is None:
            return
        step, pending = self.state.pending
        if pending.sender != self.sender:
            raise ChainError(f"the deployment file waits for a transaction of {pending.sender}, not of {self.sender}")
        self._say(f"{step}: an earlier run signed {pending.hash}")
        try:
            receipt = self._send(step, pending, ())
        except Replaced:
            # The account's owner may have sent the same again for a higher fee: then the contract is there.
            if pending.creates is None or not self.chain.code(pending.creates):
                raise
            self._recover(step, pending, None)
            return
        if pending.creates is None:
            self.state.steps[step] = receipt.hash
            self._save()
        else:
            self._recover(step, pending, receipt.hash)

    def _recover(self, step: str, pending: Pending, transaction: str | None) -> None:
        places = {placed.address: self.chain.code(placed.address) for placed in self.state.contracts.values()}
        places |= self._builtin()
        code = code_of(self.chain.chain_id, pending.sender, pending.data, places, pending.creates)
        self._place(step, pending.creates or "", keccak256(code), transaction)

    def _forget(self) -> None:
        self.state.pending = None
        self._save()

    def _save(self) -> None:
        if self._file is not None:
            self.state.save(self._file)

    def _require_model(self, wanted: dict[str, str]) -> None:
        kept = self.state.model
        for name, value in wanted.items():
            if kept.setdefault(name, value) != value:
                raise ChainError(
                    f"the deployment file is about {name} {kept[name]}, the folder about {value}: name a new file "
                    "with --resume"
                )


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a deployment file: two deployments at once would do everything twice.

    Raises:
        ChainError: another process has it.
    """
    import filelock

    try:
        with filelock.FileLock(file.with_name(f".{file.name}.lock"), timeout=0):
            yield
    except filelock.Timeout:
        raise ChainError(f"another process deploys with {file}: wait for it") from None


def code_of(chain_id: int, sender: str, creation: bytes, places: Mapping[str, bytes], at: str | None = None) -> bytes:
    """The code that a creation will leave, found out by running it in the embedded EVM.

    Args:
        places: contracts that its constructor asks, by address.
        at: its own address; None where its constructor does not read it.

    Raises:
        ChainError: it fails, or the code is over the limit.
    """
    try:
        # The EVM here holds smaller chain ids than there may be; TeeVerifier's is the only constructor that reads it.
        code = EmbeddedChain(min(chain_id, 2**64 - 1)).creates(sender, creation, places, at)
    except ValueError as error:
        raise ChainError(f"the contract cannot be created: {error}") from None
    if len(code) > CODE_LIMIT:
        raise ChainError(f"it would have {len(code)} bytes of code, a contract may have {CODE_LIMIT} (EIP-170)")
    return code


def number(key: bytes) -> int:
    """A registry's key as ERC-7992's model id."""
    return int.from_bytes(key, "big")


def abi_address(text: str) -> str:
    """An address as the decoder gives it, with its checksum."""
    return checksum_address(bytes.fromhex(text[2:]))


def _require_same(found: Deployment, chain: Chain, genesis: str, sender: str, file: Path | None) -> None:
    if found.chain_id != chain.chain_id:
        raise ChainError(
            f"{file} is about chain {found.chain_id} and the node is on chain {chain.chain_id}: give the right --rpc, "
            "or another file with --resume"
        )
    if found.genesis != genesis:
        raise ChainError(
            f"{file} is about another chain with the same id {chain.chain_id} (its first block differs; a test node "
            "that was started anew?): name a new file with --resume"
        )
    if found.deployer != sender:
        raise ChainError(f"{file} was begun by {found.deployer}, this key is {sender}'s: use that account's key")
