"""The contract ABI: calls, answers, custom errors and events, by the entries a compiler writes.

Source: the Contract ABI Specification of Solidity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from vml.keccak import keccak256

Abi: TypeAlias = Sequence[Mapping[str, Any]]

PANICS = {
    0x01: "an assertion failed",
    0x11: "arithmetic overflowed",
    0x12: "division by zero",
    0x21: "no such member of an enumeration",
    0x32: "an index is out of range",
    0x41: "too much memory",
    0x51: "an internal function was not set",
}
_STRING_ERROR: Mapping[str, Any] = {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]}
_PANIC: Mapping[str, Any] = {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]}


@dataclass(frozen=True)
class Revert:
    """Why a contract refused.

    Args:
        name: of the custom error; ``Error`` or ``Panic`` of the language's own; None where it cannot be told.
        arguments: by name, or by position where they have none; bytes as 0x hex.
        data: what the contract returned.
    """

    name: str | None
    arguments: Mapping[str, Any]
    data: bytes

    def __str__(self) -> str:
        if self.name is None:
            return f"unknown error 0x{self.data[:64].hex()}" if self.data else "no reason given"
        if self.name == "Error":
            return repr(self.arguments.get("message"))
        if self.name == "Panic":
            code = self.arguments.get("code")
            return f"panic {code:#x}: {PANICS.get(code, 'unknown')}" if isinstance(code, int) else "panic"
        shown = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.name}({shown})"


def type_of(parameter: Mapping[str, Any]) -> str:
    """The canonical type of a parameter, tuples spelled out."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    members = ",".join(type_of(member) for member in parameter["components"])
    return f"({members}){kind.removeprefix('tuple')}"


def signature(entry: Mapping[str, Any]) -> str:
    """``name(type,…)`` of a function, error or event."""
    return f"{entry['name']}({','.join(type_of(item) for item in entry['inputs'])})"


def selector(entry: Mapping[str, Any]) -> bytes:
    """The first 4 bytes of keccak-256 of the signature."""
    return _hash(signature(entry))[:4]


def topic(entry: Mapping[str, Any]) -> bytes:
    """keccak-256 of an event's signature."""
    return _hash(signature(entry))


def function(abi: Abi, name: str) -> Mapping[str, Any]:
    """The function of that name, or of that whole signature where several share the name.

    Raises:
        KeyError: none, or several.
    """
    found = [entry for entry in abi if entry["type"] == "function" and name in (entry["name"], signature(entry))]
    if len(found) != 1:
        raise KeyError(f"{len(found)} functions are named {name!r}")
    return found[0]


def encode_call(abi: Abi, name: str, arguments: Sequence[Any]) -> bytes:
    """Calldata of a function call.

    Raises:
        KeyError: no such function.
        ValueError: the arguments are not of its types.
    """
    entry = function(abi, name)
    return selector(entry) + encode([type_of(item) for item in entry["inputs"]], arguments)


def encode_constructor(abi: Abi, arguments: Sequence[Any]) -> bytes:
    """Constructor arguments, as they follow the bytecode.

    Raises:
        ValueError: they are not of its types.
    """
    inputs: Sequence[Mapping[str, Any]]
    inputs = next((entry["inputs"] for entry in abi if entry["type"] == "constructor"), ())
    return encode([type_of(item) for item in inputs], arguments)


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """Values in the standard encoding.

    Raises:
        ValueError: a value is not of its type.
    """
    from eth_abi import encode as encode_
    from eth_abi.exceptions import EncodingError

    if len(types) != len(values):
        raise ValueError(f"{len(types)} arguments are needed, {len(values)} were given")
    try:
        return bytes(encode_(types, values))
    except (EncodingError, TypeError) as error:
        raise ValueError(str(error)) from error


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Values from the standard encoding.

    Raises:
        ValueError: it is none.
    """
    from eth_abi import decode as decode_
    from eth_abi.exceptions import DecodingError

    try:
        return tuple(decode_(types, data))
    except (DecodingError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def decode_result(abi: Abi, name: str, data: bytes) -> Any:
    """What a function returned: one value bare, several as a tuple, none as None.

    Raises:
        KeyError: no such function.
        ValueError: not an answer of it.
    """
    values = decode([type_of(item) for item in function(abi, name)["outputs"]], data)
    return values if len(values) > 1 else values[0] if values else None


def decode_revert(data: bytes, errors: Iterable[Mapping[str, Any]] = ()) -> Revert:
    """Name what a contract reverted with; whatever the bytes, this does not raise."""
    for entry in (_STRING_ERROR, _PANIC, *errors):
        if len(data) < 4 or selector(entry) != data[:4]:
            continue
        try:
            values = decode([type_of(item) for item in entry["inputs"]], data[4:])
        except ValueError:
            return Revert(entry["name"], {}, data)
        names = [item["name"] or str(index) for index, item in enumerate(entry["inputs"])]
        return Revert(entry["name"], {name: shown(value) for name, value in zip(names, values, strict=True)}, data)
    return Revert(None, {}, data)


def decode_logs(abi: Abi, logs: Iterable[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The events among a receipt's logs that this ABI knows: name and arguments; indexed dynamic ones as their hash.

    Raises:
        ValueError: a log is not what its event says.
    """
    events = {topic(entry): entry for entry in abi if entry["type"] == "event"}
    found = []
    for log in logs:
        topics = [bytes.fromhex(item[2:]) for item in log["topics"]]
        entry = events.get(topics[0]) if topics else None
        if entry is None:
            continue
        indexed = [item for item in entry["inputs"] if item["indexed"]]
        plain = [item for item in entry["inputs"] if not item["indexed"]]
        if len(indexed) != len(topics) - 1:
            raise ValueError(f"an event {entry['name']} with {len(topics) - 1} indexed arguments")
        values = dict(zip((i["name"] for i in plain), decode([type_of(i) for i in plain], _data(log)), strict=True))
        for item, word in zip(indexed, topics[1:], strict=True):
            kind = type_of(item)
            dynamic = kind in ("string", "bytes") or kind[0] == "(" or kind[-1] == "]"
            values[item["name"]] = word if dynamic else decode([kind], word)[0]
        found.append((entry["name"], values))
    return found


def shown(value: Any) -> Any:
    """A decoded value as JSON can hold it: bytes as 0x hex, tuples as lists."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple | list):
        return [shown(item) for item in value]
    return value


def _data(log: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(str(log["data"])[2:])


@cache
def _hash(text: str) -> bytes:
    return keccak256(text.encode("ascii"))
