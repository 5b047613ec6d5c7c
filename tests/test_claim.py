"""The claim, its context, and how both are read: against EIP-712 and EIP-55, and with hostile values."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vml.claim import ZERO_CONTEXT, Claim, Context, checksum_address, parse_address, parse_bytes32
from vml.errors import MalformedProof
from vml.keccak import keccak256

ZERO_ADDRESS = "0x" + "00" * 20

# Source: EIP-55, "Test Cases".
EIP55 = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]

# ---- EIP-712, written down from its text: encodeType, encodeData, hashStruct, with nested structs

Types = dict[str, list[tuple[str, str]]]


def encode_type(name: str, types: Types) -> str:
    seen: set[str] = set()

    def visit(struct: str) -> None:
        for kind, _ in types[struct]:
            if kind in types and kind not in seen:
                seen.add(kind)
                visit(kind)

    visit(name)
    return "".join(
        f"{struct}({','.join(f'{kind} {member}' for kind, member in types[struct])})"
        for struct in [name, *sorted(seen - {name})]
    )


def hash_struct(name: str, values: dict[str, Any], types: Types) -> bytes:
    words = [keccak256(encode_type(name, types).encode())]
    for kind, member in types[name]:
        value = values[member]
        if kind in types:
            words.append(hash_struct(kind, value, types))
        elif kind == "string":
            words.append(keccak256(value.encode()))
        elif kind == "bytes32":
            words.append(value)
        else:
            words.append((int(value, 16) if kind == "address" else value).to_bytes(32, "big"))
    return keccak256(b"".join(words))


def eip712_digest(name: str, values: dict[str, Any], types: Types, domain: dict[str, Any]) -> bytes:
    return keccak256(b"\x19\x01" + hash_struct("EIP712Domain", domain, types) + hash_struct(name, values, types))


VML_TYPES: Types = {
    "EIP712Domain": [("string", "name"), ("string", "version")],
    "Claim": [(kind, name) for kind in ("bytes32",) for name in ("model", "input", "output", "context")],
    "Context": [
        ("address", "requester"),
        ("uint256", "chainId"),
        ("address", "contract"),
        ("bytes32", "requestId"),
        ("address", "payee"),
        ("uint64", "expiry"),
    ],
}


def test_the_encoder_of_this_test_gives_eip712s_own_example() -> None:
    """Source: EIP-712, "Example", the signed mail from Cow to Bob."""
    types: Types = {
        "EIP712Domain": [
            ("string", "name"),
            ("string", "version"),
            ("uint256", "chainId"),
            ("address", "verifyingContract"),
        ],
        "Person": [("string", "name"), ("address", "wallet")],
        "Mail": [("Person", "from"), ("Person", "to"), ("string", "contents")],
    }
    domain = {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    }
    mail = {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    }
    expected = "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    assert eip712_digest("Mail", mail, types, domain).hex() == expected


bytes32 = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20).map(checksum_address)
claims = st.builds(Claim, bytes32, bytes32, bytes32, bytes32)
contexts = st.builds(
    Context, addresses, st.integers(0, 2**256 - 1), addresses, bytes32, addresses, st.integers(0, 2**64 - 1)
)


@given(claim=claims)
def test_digest_is_eip712(claim: Claim) -> None:
    domain = {"name": "vml", "version": "1"}
    assert claim.digest() == eip712_digest("Claim", dataclasses.asdict(claim), VML_TYPES, domain)


@given(context=contexts)
def test_commitment_is_eip712(context: Context) -> None:
    values = dataclasses.asdict(context)
    values["chainId"], values["requestId"] = values.pop("chain_id"), values.pop("request_id")
    assert context.commitment() == hash_struct("Context", values, VML_TYPES)


@given(claim=claims, field=st.sampled_from(("model", "input", "output", "context")), bit=st.integers(0, 255))
def test_every_bit_of_every_field_is_in_the_digest(claim: Claim, field: str, bit: int) -> None:
    flipped = int.from_bytes(getattr(claim, field), "big") ^ 1 << bit
    assert dataclasses.replace(claim, **{field: flipped.to_bytes(32, "big")}).digest() != claim.digest()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requester", EIP55[4]),
        ("chain_id", 1),
        ("contract", EIP55[4]),
        ("request_id", b"\0" * 31 + b"\1"),
        ("payee", EIP55[4]),
        ("expiry", 1),
    ],
)
def test_every_field_is_in_the_context(field: str, value: object) -> None:
    zero = Context(ZERO_ADDRESS, 0, ZERO_ADDRESS, bytes(32), ZERO_ADDRESS, 0)
    assert dataclasses.replace(zero, **{field: value}).commitment() != zero.commitment() != ZERO_CONTEXT


@given(claim=claims, context=contexts)
def test_json_round_trip(claim: Claim, context: Context) -> None:
    assert Claim.from_json(claim.to_json()) == claim
    assert Context.from_json(context.to_json()) == context


# ---- what callers must not pass


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33)])
def test_claim_fields_are_32_bytes(value: bytes) -> None:
    with pytest.raises(ValueError, match="model must be 32 bytes"):
        Claim(value, bytes(32), bytes(32), bytes(32))


@pytest.mark.parametrize("value", [None, "0x" + "00" * 32, 0, bytearray(32), memoryview(bytes(32))])
def test_claim_fields_are_bytes(value: Any) -> None:
    with pytest.raises(TypeError, match="context must be bytes"):
        Claim(bytes(32), bytes(32), bytes(32), value)


@pytest.mark.parametrize("address", EIP55)
def test_addresses_of_eip55(address: str) -> None:
    assert checksum_address(parse_address(address)) == checksum_address(parse_address(address.lower()))
    assert parse_address("0x" + address[2:].upper()) == parse_address(address.lower())
    assert checksum_address(parse_address(address)).lower() == address.lower()
    if address[2:] not in (address[2:].lower(), address[2:].upper()):
        assert checksum_address(parse_address(address)) == address


@pytest.mark.parametrize("address", EIP55[4:])
def test_one_wrong_case_is_refused(address: str) -> None:
    for at, digit in enumerate(address[2:], start=2):
        if digit.isalpha():
            with pytest.raises(ValueError, match="EIP-55 checksum"):
                parse_address(address[:at] + digit.swapcase() + address[at + 1 :])


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("requester", "0x" + "00" * 19, ValueError),
        ("requester", "00" * 20, ValueError),
        ("contract", "0X" + "00" * 20, ValueError),
        ("payee", " 0x" + "00" * 20, ValueError),
        ("payee", "0x" + "00" * 20 + "\n", ValueError),
        ("payee", bytes(20), TypeError),
        ("chain_id", -1, ValueError),
        ("chain_id", 2**256, ValueError),
        ("chain_id", True, TypeError),
        ("chain_id", 1.0, TypeError),
        ("expiry", -1, ValueError),
        ("expiry", 2**64, ValueError),
        ("expiry", "0", TypeError),
        ("request_id", bytes(31), ValueError),
        ("request_id", "0x" + "00" * 32, TypeError),
    ],
)
def test_context_fields_have_types_and_ranges(field: str, value: Any, error: type[Exception]) -> None:
    zero = Context(ZERO_ADDRESS, 0, ZERO_ADDRESS, bytes(32), ZERO_ADDRESS, 0)
    with pytest.raises(error):
        dataclasses.replace(zero, **{field: value})


# ---- hostile values

DIGIT_LOOKALIKES = "\u0660\uff10\U0001d7ce"
texts = st.text(alphabet=st.sampled_from("0123456789abcdefABCDEFxX_ \n\0+-" + DIGIT_LOOKALIKES), max_size=70)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.text(max_size=70),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=7),
    max_leaves=12,
)


@given(value=json_values | st.binary(max_size=70))
def test_parse_bytes32_raises_only_what_it_says(value: Any) -> None:
    try:
        parsed = parse_bytes32(value)
    except (TypeError, ValueError):
        return
    assert value.lower() == "0x" + parsed.hex()


@given(digest=bytes32)
def test_parse_bytes32_reads_either_case(digest: bytes) -> None:
    assert parse_bytes32("0x" + digest.hex()) == parse_bytes32("0x" + digest.hex().upper()) == digest


@given(value=json_values)
def test_from_json_raises_only_malformed_proof(value: object) -> None:
    for reader in (Claim.from_json, Context.from_json):
        with pytest.raises(MalformedProof):
            reader(value)


@given(claim=claims, field=st.sampled_from(("model", "input", "output", "context", "extra")), value=json_values)
def test_a_claim_has_one_encoding(claim: Claim, field: str, value: object) -> None:
    record: dict[str, object] = {**claim.to_json(), field: value}
    try:
        read = Claim.from_json(record)
    except MalformedProof:
        return
    assert read.to_json() == record


@given(
    context=contexts,
    field=st.sampled_from(("requester", "chainId", "contract", "requestId", "payee", "expiry", "extra")),
    value=json_values | st.integers(0, 2**70).map(str) | st.integers(0, 2**70).map(lambda n: f"0{n}"),
)
def test_a_context_has_one_encoding(context: Context, field: str, value: object) -> None:
    record: dict[str, object] = {**context.to_json(), field: value}
    try:
        read = Context.from_json(record)
    except MalformedProof:
        return
    assert read.to_json() == record


@pytest.mark.parametrize("field", ["model", "input", "output", "context"])
def test_a_missing_field_is_refused(field: str) -> None:
    record = Claim(*[bytes(32)] * 4).to_json()
    del record[field]
    with pytest.raises(MalformedProof, match="exactly the fields"):
        Claim.from_json(record)


def test_upper_case_hex_is_another_encoding() -> None:
    record = Claim(*[b"\xab" * 32] * 4).to_json()
    record["model"] = "0x" + "AB" * 32
    with pytest.raises(MalformedProof, match="lower-case"):
        Claim.from_json(record)


@pytest.mark.parametrize(
    "value", ["00", "01", "-1", "+1", "1_0", " 1", str(2**256), "9" * 5000, DIGIT_LOOKALIKES, 1, True, None, [1]]
)
def test_integers_are_canonical_decimals(value: object) -> None:
    record = Context(ZERO_ADDRESS, 1, ZERO_ADDRESS, bytes(32), ZERO_ADDRESS, 0).to_json()
    record["chainId"] = value
    with pytest.raises(MalformedProof, match="chainId"):
        Context.from_json(record)
