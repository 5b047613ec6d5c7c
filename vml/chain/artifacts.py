"""Our own contracts as they ship: ABI and bytecode, compiled beforehand, so that nobody needs Node or a compiler.

``vml/chain/data/NAME.json`` holds ``abi``, ``bytecode``, ``source`` and ``compiler`` of one contract.
``make contracts`` writes them, and a test compiles the sources again and compares.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

DATA = "data"


@dataclass(frozen=True)
class Artifact:
    """A compiled contract.

    Args:
        name: of the contract.
        abi: as the compiler writes it.
        bytecode: what creates it; constructor arguments follow.
    """

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes


def names() -> tuple[str, ...]:
    """The contracts that ship, by name."""
    entries = resources.files(__package__).joinpath(DATA).iterdir()
    return tuple(sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json")))


@cache
def load(name: str) -> Artifact:
    """One of the contracts that ship.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in names():
        raise KeyError(f"no contract {name!r} ships with vml, only {', '.join(names())}")
    text = resources.files(__package__).joinpath(DATA, f"{name}.json").read_text(encoding="utf-8")
    value = json.loads(text)
    return Artifact(name, tuple(value["abi"]), bytes.fromhex(value["bytecode"][2:]))


@cache
def errors() -> tuple[dict[str, Any], ...]:
    """Every custom error of every contract that ships."""
    return tuple(entry for name in names() for entry in load(name).abi if entry["type"] == "error")
