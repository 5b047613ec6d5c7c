"""Event logs of TDX, and what replaying them gives.

Firmware and operating system extend four run-time registers, RTMR 0 to 3, which begin as zeros: a register becomes
SHA-384(register || digest). A log lists the digests, and what they were made from. Two forms are read:

* **CCEL**: the binary table of the firmware (TCG's crypto-agile form; measurement register n + 1 is RTMR n, 0 is MRTD).
* **JSON**: dstack's list of ``{"imr", "event_type", "digest", "event", "event_payload"}``. Events that software adds
  (type 0x08000001) have a digest that follows from the rest, and may be left out: SHA-384(type || ":" || event || ":"
  || payload), type in four bytes little endian; with ``"version": 2`` SHA-384 of the canonical JSON (RFC 8785)
  ``{"name", "payload", "type"}``, payload in hex. They may show that text besides, in hex as ``preimage``.

Replaying shows that the digests are the measured ones. It says nothing about the content of an event unless its digest
is that content's, which `LogEvent.bound` tells: many firmware events carry something else than what was digested.

Source: TCG, "PC Client Platform Firmware Profile", section 10; UEFI, "Confidential Computing"; dstack, "cc-eventlog".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from vml import canonical, strictjson
from vml.tee.reasons import Reason, malformed, rejected
from vml.tee.verified import LogEvent

MAX_LOG = 1 << 22
REGISTERS = 4
DIGEST = 48
DSTACK_EVENT = 0x08000001
NO_ACTION = 3
SHA384 = 0x000C
JSON_NAMES = {"imr", "event_type", "digest", "event", "event_payload"}
DSTACK_NAMES = {"version", "preimage"}
"""Of events that software adds, where they are there."""

_SPEC_ID = b"Spec ID Event03\x00"
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)


def read_event_log(data: bytes) -> tuple[LogEvent, ...]:
    """Every event that extends a register, in order. A log that begins with ``[`` is JSON.

    Raises:
        MalformedProof: neither form.
        EvidenceRejected: EVENT_LOG_MISMATCH where an event's digest has to be its content's and is not.
    """
    if len(data) > MAX_LOG:
        raise malformed("event log", f"{len(data)} bytes, at most {MAX_LOG}")
    return _read_json(data) if data[:1] == b"[" else _read_ccel(data)


def replay(events: Iterable[LogEvent]) -> tuple[bytes, bytes, bytes, bytes]:
    """The four registers after these events, 48 bytes each."""
    registers = [bytes(DIGEST)] * REGISTERS
    for event in events:
        registers[event.register] = hashlib.sha384(registers[event.register] + event.digest).digest()
    return registers[0], registers[1], registers[2], registers[3]


def dstack_preimage(event_type: int, name: str, payload: bytes, version: int = 1) -> bytes:
    """What the digest of an event that software adds is made of.

    Args:
        version: 1, where a colon in the name makes another event's bytes; 2, where every event has its own.

    Raises:
        ValueError: the name is not text.
    """
    if version == 1:
        return event_type.to_bytes(4, "little") + b":" + name.encode() + b":" + payload
    return canonical.encode({"name": name, "payload": payload.hex(), "type": event_type})


def dstack_digest(event_type: int, name: str, payload: bytes, version: int = 1) -> bytes:
    """The digest of an event that software adds: SHA-384 of `dstack_preimage`, 48 bytes."""
    return hashlib.sha384(dstack_preimage(event_type, name, payload, version)).digest()


def _read_json(data: bytes) -> tuple[LogEvent, ...]:
    try:
        items = strictjson.loads(data)
    except ValueError as error:
        raise malformed("event log", str(error)) from error
    # What begins with [ is a list.
    return tuple(_json_event(item) for item in items)


def _json_event(item: Any) -> LogEvent:
    if not isinstance(item, dict) or not set(item) >= JSON_NAMES:
        raise malformed("event log", f"an entry without {', '.join(sorted(JSON_NAMES))}")
    register, event_type, name = item["imr"], item["event_type"], item["event"]
    if type(register) is not int or not 0 <= register < REGISTERS:
        raise malformed("event log", "imr is no register")
    if type(event_type) is not int or not 0 <= event_type < 1 << 32 or not isinstance(name, str):
        raise malformed("event log", "event_type or event")
    if set(item) - JSON_NAMES - (DSTACK_NAMES if event_type == DSTACK_EVENT else set()):
        raise malformed("event log", f"unknown fields of event {name!r}")
    digest, content = _hex(item["digest"]), _hex(item["event_payload"])
    if len(digest) != DIGEST and not (event_type == DSTACK_EVENT and not digest):
        raise malformed("event log", f"a digest of {len(digest)} bytes")
    if event_type == DSTACK_EVENT:
        return _dstack_event(item, digest, content)
    # Software's register: a digest names its event in dstack's forms alone.
    if register == REGISTERS - 1:
        raise malformed("event log", f"event {name!r} of RTMR 3 is not named by its digest")
    return LogEvent(register, event_type, digest, name, content, hashlib.sha384(content).digest() == digest)


def _dstack_event(item: dict[str, Any], digest: bytes, content: bytes) -> LogEvent:
    """An event that software adds: its digest, where there is one, and its preimage are what the rest gives."""
    register, name, version = item["imr"], item["event"], 1
    if "version" in item:
        version = item["version"]
        # Version 1 is not written: it would be a second way to say the same.
        if type(version) is not int or version != 2:
            raise malformed("event log", f"event {name!r} of another version than 1, unsaid, and 2")
    # In the first form the first colon ends the name: another name and content would have the same digest.
    if version == 1 and register == REGISTERS - 1 and ":" in name:
        raise malformed("event log", f"event {name!r} of RTMR 3 is not named by its digest")
    try:
        preimage = dstack_preimage(DSTACK_EVENT, name, content, version)
    except ValueError as error:
        raise malformed("event log", "an event's name is not text") from error
    expected = hashlib.sha384(preimage).digest()
    if digest not in (b"", expected) or ("preimage" in item and _hex(item["preimage"]) != preimage):
        raise rejected(Reason.EVENT_LOG_MISMATCH, f"the digest of event {name!r} is not its content's")
    return LogEvent(register, DSTACK_EVENT, expected, name, content, True)


def _hex(text: Any) -> bytes:
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise malformed("event log", "a field that is not hex")
    return bytes.fromhex(text)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise malformed("event log", "cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")


def _read_ccel(data: bytes) -> tuple[LogEvent, ...]:
    reader = _Reader(data)
    _, event_type, _ = reader.uint(4), reader.uint(4), reader.take(20)
    sizes = _algorithms(reader.take(reader.uint(4)))
    if event_type != NO_ACTION:
        raise malformed("event log", "the first event is not the specification's")
    events: list[LogEvent] = []
    while reader.at < len(data):
        if set(data[reader.at : reader.at + 8]) in ({0x00}, {0xFF}):
            if len(set(data[reader.at :])) > 1:
                raise malformed("event log", "something behind the padding")
            break
        register, event_type = reader.uint(4), reader.uint(4)
        count = reader.uint(4)
        digests = dict(_digest(reader, sizes) for _ in range(count))
        content = reader.take(reader.uint(4))
        if register > REGISTERS or SHA384 not in digests or len(digests) != count:
            raise malformed("event log", f"an event of register {register} without one digest for each algorithm")
        # MRTD is not extended by events, and neither is any register by events that say so.
        if register and event_type != NO_ACTION:
            bound = hashlib.sha384(content).digest() == digests[SHA384]
            events.append(LogEvent(register - 1, event_type, digests[SHA384], "", content, bound))
    return tuple(events)


def _digest(reader: _Reader, sizes: dict[int, int]) -> tuple[int, bytes]:
    algorithm = reader.uint(2)
    if algorithm not in sizes:
        raise malformed("event log", f"a digest of the unknown algorithm {algorithm:#x}")
    return algorithm, reader.take(sizes[algorithm])


def _algorithms(specification: bytes) -> dict[int, int]:
    """Digest sizes by algorithm, from the log's first event."""
    reader = _Reader(specification)
    if reader.take(len(_SPEC_ID)) != _SPEC_ID:
        raise malformed("event log", "neither CCEL nor a JSON list")
    reader.take(8)
    sizes = {reader.uint(2): reader.uint(2) for _ in range(reader.uint(4))}
    reader.take(reader.uint(1))
    if sizes.get(SHA384) != DIGEST or reader.at != len(specification):
        raise malformed("event log", "a specification without SHA-384")
    return sizes
