"""What is deployed, as a file: written before anything is sent, so that an interrupted deployment goes on.

Canonical JSON (RFC 8785), replaced whole::

    {"chain_id":"1","contracts":{"router":{"address":"0x…","code_hash":"0x…","transaction":"0x…"},…},
     "deployer":"0x…","format":"vml-deployment/1","genesis":"0x…","model":{…},
     "pending":{"step":"router","transaction":{…}},"steps":{"route":"0x…",…}}

``pending`` holds a signed transaction and no key: whoever reads it can only do what was to be done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vml import canonical, files
from vml.chain.transactions import Pending
from vml.claim import checksum_address, parse_address, parse_bytes32

FILE = "deployment.json"
FORMAT = "vml-deployment/1"
MAX_BYTES = 1 << 20
_FIELDS = {"format", "chain_id", "genesis", "deployer", "contracts", "steps", "model", "pending"}
_NAME = re.compile(r"[a-z_]{1,32}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}")


@dataclass(frozen=True)
class Placed:
    """A contract on the chain.

    Args:
        address: with checksum.
        code_hash: keccak-256 of its code.
        transaction: that created it, 0x hex; None where it was there before, or somebody resent it.
    """

    address: str
    code_hash: bytes
    transaction: str | None


@dataclass
class Deployment:
    """A deployment, as far as it got.

    Args:
        chain_id, genesis: which chain; test nodes share ids, so the hash of block 0 tells them apart.
        deployer: who sends.
        contracts: by name: registry, router, adapter, verifier, vka.
        steps: transaction of every other step that was taken, by name; None where it had been done before.
        model: model, key, scheme, selector, vk_digest: 0x hex and texts.
        pending: step and transaction that was signed and is not known to be final.
    """

    chain_id: int
    genesis: str
    deployer: str
    contracts: dict[str, Placed] = field(default_factory=dict)
    steps: dict[str, str | None] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    pending: tuple[str, Pending] | None = None

    def to_json(self) -> dict[str, Any]:
        """As the file holds it."""
        return {
            "format": FORMAT,
            "chain_id": str(self.chain_id),
            "genesis": self.genesis,
            "deployer": self.deployer,
            "contracts": {
                name: {
                    "address": placed.address,
                    "code_hash": "0x" + placed.code_hash.hex(),
                    "transaction": placed.transaction,
                }
                for name, placed in self.contracts.items()
            },
            "steps": dict(self.steps),
            "model": dict(self.model),
            "pending": self.pending and {"step": self.pending[0], "transaction": self.pending[1].to_json()},
        }

    def save(self, path: Path) -> None:
        """Write the file, all or nothing.

        Raises:
            OSError: it cannot be written.
        """
        files.write_atomic(path, canonical.encode(self.to_json()))


def load(path: Path) -> Deployment | None:
    """Read a deployment file; None where there is none yet.

    Raises:
        ValueError: it is damaged, or of another version.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    try:
        return _read(canonical.decode(data, max_bytes=MAX_BYTES))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} is no deployment file that this version of vml wrote ({error}); name another one with --resume"
        ) from None


def _read(value: Any) -> Deployment:
    if not isinstance(value, dict) or value.get("format") != FORMAT or value.keys() != _FIELDS:
        raise ValueError("another format")
    if not _NUMBER.fullmatch(value["chain_id"]):
        raise ValueError("chain_id is no number")
    names = [*value["contracts"], *value["steps"]]
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("a step has a strange name")
    contracts = {
        name: Placed(_address(item["address"]), parse_bytes32(item["code_hash"]), _hash(item["transaction"]))
        for name, item in value["contracts"].items()
    }
    model = value["model"]
    if not isinstance(model, dict) or not all(isinstance(text, str) for text in model.values()):
        raise ValueError("model is not made of texts")
    waiting = value["pending"]
    pending = None if waiting is None else (str(waiting["step"]), Pending.from_json(waiting["transaction"]))
    return Deployment(
        chain_id=int(value["chain_id"]),
        genesis="0x" + parse_bytes32(value["genesis"]).hex(),
        deployer=_address(value["deployer"]),
        contracts=contracts,
        steps={name: _hash(item) for name, item in value["steps"].items()},
        model=model,
        pending=pending,
    )


def _address(text: str) -> str:
    return checksum_address(parse_address(text))


def _hash(text: str | None) -> str | None:
    return None if text is None else "0x" + parse_bytes32(text).hex()
