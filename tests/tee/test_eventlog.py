"""Event logs and the registers they give, in both forms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.tee.forge_dcap import ANCHORS, NOW, Forgery
from vml.errors import EvidenceRejected, MalformedProof
from vml.tee import Reason, TdxClaims, verify_evidence
from vml.tee.dcap.eventlog import DSTACK_EVENT, MAX_LOG, dstack_digest, dstack_preimage, read_event_log, replay

SEPARATOR = 4
SPECIFICATION = b"Spec ID Event03\x00" + bytes(8) + (1).to_bytes(4, "little") + b"\x0c\x00\x30\x00" + b"\x02ab"


def sha384(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def u32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def first_event(specification: bytes = SPECIFICATION, event_type: int = 3) -> bytes:
    return u32(0, event_type) + bytes(20) + u32(len(specification)) + specification


def event(register: int, content: bytes, digest: bytes | None = None, event_type: int = SEPARATOR) -> bytes:
    """An event of a binary log; `register` counts from 1 for RTMR 0."""
    digest = sha384(content) if digest is None else digest
    return u32(register, event_type, 1) + b"\x0c\x00" + digest + u32(len(content)) + content


def entry(register: int, name: str, payload: bytes, /, **changes: Any) -> dict[str, Any]:
    """An event that software adds, in dstack's form."""
    digest = dstack_digest(DSTACK_EVENT, name, payload).hex()
    item = {
        "imr": register,
        "event_type": DSTACK_EVENT,
        "digest": digest,
        "event": name,
        "event_payload": payload.hex(),
    }
    return item | changes


def as_json(*items: Any) -> bytes:
    return json.dumps(list(items)).encode()


CCEL = first_event() + event(1, b"firmware") + event(1, bytes(4)) + event(3, b"kernel", b"\x07" * 48)


def test_registers_by_hand() -> None:
    events = read_event_log(CCEL)
    first = sha384(sha384(bytes(48) + sha384(b"firmware")) + sha384(bytes(4)))
    third = sha384(bytes(48) + b"\x07" * 48)
    assert replay(events) == (first, bytes(48), third, bytes(48))
    assert [(e.register, e.content, e.bound) for e in events] == [
        (0, b"firmware", True),
        (0, bytes(4), True),
        (2, b"kernel", False),
    ]
    assert replay(()) == (bytes(48),) * 4


@pytest.mark.parametrize("padding", [b"", b"\xff" * 100, bytes(100)])
def test_padding_of_the_table(padding: bytes) -> None:
    assert read_event_log(CCEL + padding) == read_event_log(CCEL)


def test_a_long_log() -> None:
    """Four mebibytes of small events take time in proportion."""
    one = event(1, b"")
    log = first_event() + one * ((MAX_LOG - 100) // len(one))
    assert len(read_event_log(log)) > 60_000


def test_what_extends_nothing() -> None:
    """Events about MRTD and events that say so are no entries."""
    idle = event(0, b"td") + event(2, b"idle", event_type=3)
    assert read_event_log(CCEL + idle) == read_event_log(CCEL)


TWO = SPECIFICATION[:24] + u32(2) + b"\x0b\x00\x20\x00\x0c\x00\x30\x00\x00"


def test_several_algorithms() -> None:
    both = u32(4, SEPARATOR, 2) + b"\x0b\x00" + bytes(32) + b"\x0c\x00" + sha384(b"x") + u32(1) + b"x"
    (only,) = read_event_log(first_event(TWO) + both)
    assert (only.register, only.digest) == (3, sha384(b"x"))


WRONG_TABLES = {
    "empty": b"",
    "nothing known": b"x" * 200,
    "first event of another type": first_event(event_type=4),
    "specification of another name": first_event(b"Spec ID Event02\x00" + SPECIFICATION[16:]),
    "specification with bytes behind": first_event(SPECIFICATION + b"x"),
    "specification cut": first_event(SPECIFICATION[:-1]),
    "specification without SHA-384": first_event(SPECIFICATION.replace(b"\x0c\x00\x30\x00", b"\x0b\x00\x20\x00")),
    "specification of many algorithms": first_event(SPECIFICATION[:24] + u32(1 << 31)),
    "event cut": CCEL[:-1],
    "event of register 5": CCEL + event(5, b""),
    "event of an unknown algorithm": CCEL + u32(1, SEPARATOR, 1) + b"\x0b\x00" + bytes(32) + u32(0),
    "event of two digests": CCEL + u32(1, SEPARATOR, 2) + (b"\x0c\x00" + bytes(48)) * 2 + u32(0),
    "event of one digest twice": first_event(TWO) + u32(1, SEPARATOR, 2) + (b"\x0c\x00" + bytes(48)) * 2 + u32(0),
    "event without a digest": CCEL + u32(1, SEPARATOR, 0) + u32(0),
    "text behind": CCEL + b"x",
    "text behind padding": CCEL + bytes(100) + b"x",
    "an event behind padding": CCEL + b"\xff" * 8 + event(1, b"late"),
    "too long": CCEL + bytes(MAX_LOG),
}


@pytest.mark.parametrize("log", WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_malformed_tables(log: bytes) -> None:
    with pytest.raises(MalformedProof):
        read_event_log(log)


def test_the_list_form() -> None:
    boot = {"imr": 0, "event_type": 1, "digest": sha384(b"a").hex(), "event": "", "event_payload": "61"}
    events = read_event_log(as_json(boot, entry(3, "app-id", b"\x01\x02"), boot | {"event_payload": "62"}))
    assert [(e.register, e.name, e.content, e.bound) for e in events] == [
        (0, "", b"a", True),
        (3, "app-id", b"\x01\x02", True),
        (0, "", b"b", False),
    ]
    assert events[1].digest == sha384(b"\x01\x00\x00\x08:app-id:\x01\x02")


def test_a_digest_that_software_leaves_out() -> None:
    """It follows from the content; a firmware event's does not and has to be there."""
    left_out, given = (read_event_log(as_json(entry(3, "a", b"1", **c))) for c in ({"digest": ""}, {}))
    assert left_out == given
    with pytest.raises(MalformedProof):
        read_event_log(as_json(entry(3, "a", b"1", digest="", event_type=1)))


def test_a_genuine_event() -> None:
    """As published with a dstack attestation: an app id and its digest."""
    payload = bytes.fromhex("5b979a9a745405d4de53aae0e2c3a09d24b174a3")
    assert dstack_digest(DSTACK_EVENT, "app-id", payload).hex() == (
        "785954615488bc4e84475a787aa55ba46443b3f47f649790847a2d3c9009c5004793c0c710ceecd117a2702d68353d79"
    )


def test_an_events_content_is_its_digests() -> None:
    """What software adds is trusted for its content, so the digest has to be made of it."""
    for changes in ({"event_payload": "ff"}, {"event": "other"}, {"digest": "00" * 48}):
        with pytest.raises(EvidenceRejected) as refused:
            read_event_log(as_json(entry(3, "app-id", b"\x01", **changes)))
        assert refused.value.reason == Reason.EVENT_LOG_MISMATCH


PUBLISHED = b'{"name":"compose-hash","payload":"abcd","type":134217729}'
"""dstack's own example of what the second form digests."""


def second(register: int, name: str, payload: bytes, /, **changes: Any) -> dict[str, Any]:
    """An event that software adds, in the second form."""
    digest = dstack_digest(DSTACK_EVENT, name, payload, 2).hex()
    return entry(register, name, payload, **{"digest": digest, "version": 2, **changes})


def test_the_second_form_of_what_software_adds() -> None:
    assert dstack_preimage(DSTACK_EVENT, "compose-hash", b"\xab\xcd", 2) == PUBLISHED
    shown = second(3, "compose-hash", b"\xab\xcd", preimage=PUBLISHED.hex())
    left_out = second(3, "compose-hash", b"\xab\xcd", digest="")
    for item in (shown, left_out, second(3, "compose-hash", b"\xab\xcd")):
        (event,) = read_event_log(as_json(item))
        assert (event.register, event.event_type, event.name) == (3, DSTACK_EVENT, "compose-hash")
        assert (event.digest, event.content, event.bound) == (sha384(PUBLISHED), b"\xab\xcd", True)
    first_form = dstack_preimage(DSTACK_EVENT, "a", b"1")
    assert len(read_event_log(as_json(entry(3, "a", b"1", preimage=first_form.hex()), shown))) == 2


def test_names_of_the_second_form() -> None:
    """There a colon, a quotation mark or a line end of a name makes an event of its own; surrogates are no text."""
    names = ("e:f", 'a","payload":"00', "a\nb", "ä\u2028")
    events = read_event_log(as_json(*(second(3, name, b"") for name in names)))
    assert [event.name for event in events] == list(names)
    assert len({event.digest for event in events}) == len(names)
    with pytest.raises(MalformedProof):
        read_event_log(as_json(second(3, "e", b"", event="\ud800")))


def test_an_event_of_one_form_is_not_one_of_the_other() -> None:
    one, other = entry(3, "app-id", b"\x01"), second(3, "app-id", b"\x01")
    wrong = [
        one | {"version": 2},
        {**other, "digest": one["digest"]},
        {name: value for name, value in other.items() if name != "version"},
        other | {"event_payload": "02"},
        other | {"event": "app-ie"},
        second(3, "compose-hash", b"\xab\xcd", preimage=PUBLISHED[:-1].hex()),
        second(3, "compose-hash", b"\xab\xcd", preimage=(PUBLISHED + b" ").hex()),
        one | {"preimage": ""},
    ]
    for item in wrong:
        with pytest.raises(EvidenceRejected) as refused:
            read_event_log(as_json(item))
        assert refused.value.reason == Reason.EVENT_LOG_MISMATCH


def test_names_that_stand_twice() -> None:
    """Readers differ in which of two values counts, so there is no good one."""
    text = as_json(entry(3, "app-id", b"\x01")).replace(b'"imr": 3', b'"imr": 2, "imr": 3')
    assert text.count(b'"imr"') == 2
    with pytest.raises(MalformedProof, match="twice"):
        read_event_log(text)


FIRMWARE = {"imr": 0, "event_type": 1, "digest": "00" * 48, "event": "", "event_payload": ""}
WRONG_ENTRIES: list[Any] = [
    *(entry(3, "e", b"", version=value) for value in (0, 1, 3, "2", True, 2.0, None)),
    *(second(3, "e", b"", preimage=value) for value in ("0", 5, None, "0x")),
    second(3, "e", b"", hash_input=""),
    FIRMWARE | {"version": 2},
    FIRMWARE | {"preimage": ""},
    *({name: value for name, value in entry(3, "e", b"").items() if name != missing} for missing in entry(3, "e", b"")),
    None,
    [],
    {},
    entry(3, "e", b"", more=1),
    *(entry(3, "e", b"", imr=value) for value in (-1, 4, True, "3", 1.0)),
    *(entry(3, "e", b"", event_type=value) for value in (-1, 1 << 32, True, "1")),
    *(entry(1, "e", b"", event_type=value, digest="00" * 48) for value in (-1, 1 << 32, True, "1")),
    *(entry(3, "e", b"", digest=value) for value in ("00" * 47, "0", "zz" * 48, 5, "0x" + "00" * 47)),
    *(entry(3, "e", b"", event_payload=value) for value in ("0", None, "0 ")),
    entry(3, "e", b"", event=None),
    entry(3, "e", b"", event="\ud800"),
    entry(3, "e", b"", event_type=1),
    entry(3, "e:f", b""),
]


@pytest.mark.parametrize("item", WRONG_ENTRIES, ids=str)
def test_malformed_entries(item: Any) -> None:
    with pytest.raises(MalformedProof):
        read_event_log(as_json(item))


@pytest.mark.parametrize("log", [b"[", b"[1]x", b"[" * 100_000, b"[\xff]"])
def test_malformed_lists(log: bytes) -> None:
    with pytest.raises(MalformedProof):
        read_event_log(log)


@pytest.mark.parametrize(
    "log", [CCEL, as_json(entry(3, "app-id", b"\x01"), second(3, "k", b"\x02"), entry(1, "x", b""))]
)
def test_a_quote_with_its_log(log: bytes) -> None:
    events = read_event_log(log)
    registers = replay(events)
    quoted = Forgery(body={328: b"".join(registers)}, event_log=log)
    found = verify_evidence(quoted.evidence(), ANCHORS, NOW)
    assert isinstance(found, TdxClaims)
    assert found.events == events
    assert found.rtmr == registers
    for register in range(4):
        other = replace(quoted, body={328: b"".join(registers), 328 + 48 * register: b"\xee"})
        with pytest.raises(EvidenceRejected) as refused:
            verify_evidence(other.evidence(), ANCHORS, NOW)
        assert refused.value.reason == Reason.EVENT_LOG_MISMATCH
