"""What simulated environments measure, unless the caller says otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from vml.tee.dcap.eventlog import read_event_log, replay
from vml.tee.evidence import Kind

PCRS = 16
SIZES: Mapping[Kind, Mapping[str, int]] = {
    Kind.SGX: {"mr_enclave": 32, "mr_signer": 32},
    Kind.TDX: {
        **dict.fromkeys(("mr_td", "mr_seam", "mr_config_id", "mr_owner", "mr_owner_config"), 48),
        **{f"rtmr{index}": 48 for index in range(4)},
    },
    Kind.SNP: {"measurement": 48, "host_data": 32, "id_key_digest": 48, "author_key_digest": 48},
    Kind.NITRO: {f"pcr{index}": 48 for index in range(PCRS)},
}
"""Names and sizes of what a caller may set, by the names that policies use."""
MAIN = {Kind.SGX: "mr_enclave", Kind.TDX: "mr_td", Kind.SNP: "measurement", Kind.NITRO: "pcr0"}
"""The measurement of the code."""
_ZERO = {
    Kind.SGX: set[str](),
    Kind.TDX: {"mr_config_id", "mr_owner", "mr_owner_config"},
    Kind.SNP: {"host_data", "id_key_digest", "author_key_digest"},
    Kind.NITRO: {f"pcr{index}" for index in range(5, PCRS)},
}


def default_measurements(kind: Kind) -> dict[str, bytes]:
    """The measurements of the image that a simulator runs; the same for every seed."""
    made = {}
    for name, size in SIZES[kind].items():
        label = f"vml/tee-sim/measurement/{kind}/{name}".encode()
        made[name] = bytes(size) if name in _ZERO[kind] else hashlib.shake_256(label).digest(size)
    return made


def complete(kind: Kind, given: Mapping[str, bytes], event_log: bytes | None = None) -> dict[str, bytes]:
    """The given measurements, and the registers that an event log gives, over the defaults.

    Raises:
        ValueError: a name that the kind does not have, a value of another size, or a register that the log gives.
        MalformedProof, EvidenceRejected: an event log that cannot be read.
    """
    if event_log is not None:
        registers = {f"rtmr{index}": value for index, value in enumerate(replay(read_event_log(event_log)))}
        twice = sorted(registers.keys() & given.keys())
        if twice:
            raise ValueError(f"the event log gives {', '.join(twice)}")
        given = {**given, **registers}
    for name, value in given.items():
        size = SIZES[kind].get(name)
        if size is None:
            raise ValueError(f"{kind} has no measurement {name!r}, only {', '.join(SIZES[kind])}")
        if len(value) != size:
            raise ValueError(f"{name} has {size} bytes, not {len(value)}")
    return {**default_measurements(kind), **given}
