"""What Intel says about platforms and quoting enclaves: TCB info and enclave identity, signed JSON objects.

A signature covers the exact bytes of the object, so they are kept as they came and read only after it was checked.
Fields that this file does not know are left alone, since Intel adds some at times; known ones have to be there.

Source: Intel, "Provisioning Certification Service API version 4", TCB info version 3 and enclave identity version 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from vml import strictjson
from vml.tee.evidence import DcapCollateral
from vml.tee.reasons import malformed
from vml.tee.verified import TcbStatus
from vml.tee.x509 import unix

MAX_JSON = 1 << 20
COMPONENTS = 16
LEVEL_STATUSES = frozenset(TcbStatus) - {
    TcbStatus.TD_RELAUNCH_ADVISED,
    TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
}
TEXTS = frozenset(
    {"tcb_info", "tcb_info_issuer_chain", "qe_identity", "qe_identity_issuer_chain", "pck_crl_issuer_chain"}
)

T = TypeVar("T")
Item = Mapping[str, Any]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Level:
    """One TCB level: what it asks for, and how current that is.

    `sgx` and `tdx` are security versions a platform needs at least, 16 each where given; `svn` is the version of the
    PCE (platform levels) or of the enclave or module.
    """

    svn: int
    sgx: tuple[int, ...]
    tdx: tuple[int, ...]
    date: int
    status: TcbStatus
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """A TDX module Intel names: signer (48 bytes), attributes and their mask (8 each), levels newest first.

    `name` is "TDX_NN", or empty for the module of platforms without numbered ones.
    """

    name: str
    mr_signer: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """TCB levels of one family of platforms, newest first. Times are unix seconds."""

    issued: int
    next_update: int
    fmspc: bytes
    pce_id: bytes
    evaluation_data_number: int
    levels: tuple[Level, ...]
    modules: tuple[ModuleIdentity, ...]


@dataclass(frozen=True, slots=True)
class EnclaveIdentity:
    """The quoting enclave: what its report has to say under the masks, and levels newest first."""

    issued: int
    next_update: int
    evaluation_data_number: int
    misc_select: bytes
    misc_select_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[Level, ...]


class _Unreadable(ValueError):
    """What is wrong with a JSON object, by the name of its field."""


def _object(data: bytes, what: str) -> Item:
    """A JSON object without repeated names."""

    if len(data) > MAX_JSON:
        raise malformed(what, f"{len(data)} bytes, at most {MAX_JSON}")
    try:
        found = strictjson.loads(data)
    except ValueError as error:
        raise malformed(what, str(error)) from error
    if not isinstance(found, dict):
        raise malformed(what, "not a JSON object")
    return found


def _get(item: Item, name: str, kind: type[T]) -> T:
    value = item.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Unreadable(name)
    return value


def _bytes(item: Item, name: str, size: int) -> bytes:
    value = _get(item, name, str)
    if len(value) != 2 * size or not _HEX.fullmatch(value):
        raise _Unreadable(name)
    return bytes.fromhex(value)


def _number(item: Item, name: str, bound: int = 0xFFFF) -> int:
    value = _get(item, name, int)
    if not 0 <= value <= bound:
        raise _Unreadable(name)
    return value


def _time(item: Item, name: str) -> int:
    value = _get(item, name, str)
    if not _TIME.fullmatch(value):
        raise _Unreadable(name)
    return unix(datetime.fromisoformat(value))


def _objects(item: Item, name: str) -> list[Item]:
    values = _get(item, name, list)
    if not all(isinstance(value, dict) for value in values):
        raise _Unreadable(name)
    return values


def _strings(item: Item, name: str) -> tuple[str, ...]:
    values = _get(item, name, list) if name in item else []
    if not all(isinstance(value, str) for value in values):
        raise _Unreadable(name)
    return tuple(values)


def _components(tcb: Item, name: str) -> tuple[int, ...]:
    found = tuple(_number(component, "svn", 0xFF) for component in _objects(tcb, name))
    if len(found) != COMPONENTS:
        raise _Unreadable(name)
    return found


def _level(item: Item, versions: Callable[[Item], tuple[int, tuple[int, ...], tuple[int, ...]]]) -> Level:
    svn, sgx, tdx = versions(_get(item, "tcb", dict))
    status, date = TcbStatus(_get(item, "tcbStatus", str)), _time(item, "tcbDate")
    if status not in LEVEL_STATUSES:
        raise _Unreadable("tcbStatus")
    return Level(svn, sgx, tdx, date, status, _strings(item, "advisoryIDs"))


def _enclave_levels(item: Item) -> tuple[Level, ...]:
    return tuple(_level(level, lambda tcb: (_number(tcb, "isvsvn"), (), ())) for level in _objects(item, "tcbLevels"))


def _module(item: Item, name: str, levels: tuple[Level, ...]) -> ModuleIdentity:
    signer, attributes = _bytes(item, "mrsigner", 48), _bytes(item, "attributes", 8)
    return ModuleIdentity(name, signer, attributes, _bytes(item, "attributesMask", 8), levels)


def _modules(item: Item) -> tuple[ModuleIdentity, ...]:
    listed = [
        _module(entry, _get(entry, "id", str).upper(), _enclave_levels(entry))
        for entry in (_objects(item, "tdxModuleIdentities") if "tdxModuleIdentities" in item else [])
    ]
    return (_module(_get(item, "tdxModule", dict), "", ()), *listed)


def _read(data: bytes, what: str, read: Callable[[Item], T]) -> T:
    item = _object(data, what)
    try:
        return read(item)
    except (ValueError, OverflowError) as error:
        raise malformed(what, f"field {error}") from error


def read_tcb_info(data: bytes, *, tdx: bool) -> TcbInfo:
    """Read TCB info for SGX or for TDX.

    Raises:
        MalformedProof: not such an object, or one for the other.
    """

    def read(item: Item) -> TcbInfo:
        if item.get("id") != ("TDX" if tdx else "SGX") or item.get("version") != 3 or item.get("tcbType") != 0:
            raise _Unreadable("id, version or tcbType")

        def versions(tcb: Item) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
            sgx = _components(tcb, "sgxtcbcomponents")
            return _number(tcb, "pcesvn"), sgx, _components(tcb, "tdxtcbcomponents") if tdx else ()

        return TcbInfo(
            issued=_time(item, "issueDate"),
            next_update=_time(item, "nextUpdate"),
            fmspc=_bytes(item, "fmspc", 6),
            pce_id=_bytes(item, "pceId", 2),
            evaluation_data_number=_number(item, "tcbEvaluationDataNumber", 0xFFFFFFFF),
            levels=tuple(_level(level, versions) for level in _objects(item, "tcbLevels")),
            modules=_modules(item) if tdx else (),
        )

    return _read(data, "TCB info", read)


def read_enclave_identity(data: bytes, *, tdx: bool) -> EnclaveIdentity:
    """Read the identity of the quoting enclave for SGX or for TDX.

    Raises:
        MalformedProof: not such an object, or one for the other.
    """

    def read(item: Item) -> EnclaveIdentity:
        if item.get("id") != ("TD_QE" if tdx else "QE") or item.get("version") != 2:
            raise _Unreadable("id or version")
        return EnclaveIdentity(
            issued=_time(item, "issueDate"),
            next_update=_time(item, "nextUpdate"),
            evaluation_data_number=_number(item, "tcbEvaluationDataNumber", 0xFFFFFFFF),
            misc_select=_bytes(item, "miscselect", 4),
            misc_select_mask=_bytes(item, "miscselectMask", 4),
            attributes=_bytes(item, "attributes", 16),
            attributes_mask=_bytes(item, "attributesMask", 16),
            mr_signer=_bytes(item, "mrsigner", 32),
            isv_prod_id=_number(item, "isvprodid"),
            levels=_enclave_levels(item),
        )

    return _read(data, "enclave identity", read)


# The names of the JSON form that collateral is passed around in, by the field they fill.
JSON_NAMES = {
    "tcb_info": "tcb_info",
    "tcb_info_signature": "tcb_info_signature",
    "tcb_info_chain": "tcb_info_issuer_chain",
    "qe_identity": "qe_identity",
    "qe_identity_signature": "qe_identity_signature",
    "qe_identity_chain": "qe_identity_issuer_chain",
    "pck_crl": "pck_crl",
    "pck_crl_chain": "pck_crl_issuer_chain",
    "root_crl": "root_ca_crl",
}


def read_collateral(data: bytes) -> DcapCollateral:
    """Collateral in the JSON form of DCAP tools: texts as they are, lists and signatures as hex.

    Raises:
        MalformedProof: another form, a missing or an unknown name.
    """

    def read(item: Item) -> DcapCollateral:
        if set(item) != set(JSON_NAMES.values()):
            raise _Unreadable(f"names {sorted(set(item) ^ set(JSON_NAMES.values()))}")
        found = {}
        for field, name in JSON_NAMES.items():
            text = _get(item, name, str)
            if name not in TEXTS and not _HEX.fullmatch(text):
                raise _Unreadable(name)
            found[field] = text.encode() if name in TEXTS else bytes.fromhex(text)
        return DcapCollateral(**found)

    return _read(data, "collateral", read)


def write_collateral(collateral: DcapCollateral) -> bytes:
    """The JSON form that `read_collateral` reads. ValueError where a text is not UTF-8."""
    texts = {
        name: value.decode() if name in TEXTS else value.hex()
        for name, value in ((name, getattr(collateral, field)) for field, name in JSON_NAMES.items())
    }
    return json.dumps(texts, ensure_ascii=False, sort_keys=True).encode()
