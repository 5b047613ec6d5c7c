"""Policies: strict by default, an empty one refuses, different claims never mix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vml.backends.types import VerifiedClaim
from vml.claim import ZERO_CONTEXT, Claim
from vml.errors import PolicyRejected
from vml.policy import MIN_SECURITY_BITS, Policy

SETUP, KEY = b"\x05" * 32, b"\x06" * 32
CLAIM = Claim(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, ZERO_CONTEXT)
VERDICT = VerifiedClaim(
    claims=(CLAIM,),
    backend="ezkl",
    scheme="ezkl/23.0.5/kzg-bn254",
    assurance="cryptographic",
    semantics="ezkl-fixed-point/23.0.5",
    security_bits=100,
    setup_id=SETUP,
    vk_digest=KEY,
    engine="ezkl 23.0.5",
)
OTHER = replace(VERDICT, backend="sumcheck", scheme="sumcheck/1", setup_id=None, vk_digest=None, engine="vml 1")


def refused(policy: Policy, *verdicts: VerifiedClaim) -> str:
    with pytest.raises(PolicyRejected) as caught:
        policy.check(*verdicts)
    return caught.value.rule


def test_default_accepts_a_sound_verdict() -> None:
    Policy.default().check(VERDICT)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"unsafe_setup": True}, "allow_unsafe_setup"),
        ({"simulated": True}, "allow_simulated"),
        ({"final": False}, "final"),
        ({"security_bits": MIN_SECURITY_BITS - 1}, "min_security_bits"),
    ],
)
def test_default_is_strict(change: dict[str, Any], rule: str) -> None:
    assert refused(Policy.default(), replace(VERDICT, **change)) == rule


def test_flags_relax_one_thing_each() -> None:
    unsafe, simulated = replace(VERDICT, unsafe_setup=True), replace(VERDICT, simulated=True)
    relaxed = Policy.default().relaxed(allow_unsafe_setup=True)
    relaxed.check(unsafe)
    assert refused(relaxed, simulated) == "allow_simulated"
    relaxed = Policy.default().relaxed(allow_simulated=True)
    relaxed.check(simulated)
    assert refused(relaxed, unsafe) == "allow_unsafe_setup"


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy.from_yaml(""),
        Policy.from_yaml("{}"),
        Policy.from_yaml("version: 1"),
        Policy(allow_unsafe_setup=True, allow_simulated=True, require_final=False),
        Policy(allow_hidden=False),
    ],
)
def test_an_empty_policy_refuses(policy: Policy) -> None:
    assert refused(policy, VERDICT) == "empty"


@pytest.mark.parametrize("name", ["all_of", "any_of"])
def test_an_empty_policy_inside_refuses(name: str) -> None:
    inside: Any = {name: (Policy(),)}
    assert refused(Policy(**inside), VERDICT) in ("empty", "any_of")


def test_nothing_proved_is_refused() -> None:
    assert refused(Policy.default()) == "proofs"


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("backends", {"ezkl", "tee"}, {"tee"}),
        ("assurance", {"cryptographic"}, {"hardware"}),
        ("semantics", {"ezkl-fixed-point/23.0.5"}, {"vml-int/1"}),
        ("min_security_bits", 100, 101),
        ("setups", {SETUP}, {KEY}),
        ("verifying_keys", {KEY}, {SETUP}),
        ("engines", {"ezkl 23.0.5"}, {"ezkl 23.0.4"}),
        ("context", ZERO_CONTEXT, b"\x01" * 32),
    ],
)
def test_every_requirement_is_checked(field: str, good: Any, bad: Any) -> None:
    frozen = [frozenset(value) if isinstance(value, set) else value for value in (good, bad)]
    Policy(**{field: frozen[0]}).check(VERDICT)
    assert refused(Policy(**{field: frozen[1]}), VERDICT) == field


def test_every_field_of_a_policy_is_tried_here() -> None:
    tried = {
        "backends",
        "assurance",
        "semantics",
        "min_security_bits",
        "setups",
        "verifying_keys",
        "engines",
        "context",
    }
    other = {"version", "all_of", "any_of", "rules"}
    guards = {"allow_unsafe_setup", "allow_simulated", "allow_hidden", "require_final"}
    assert set(Policy.model_fields) == tried | other | guards


@pytest.mark.parametrize("field", ["setups", "verifying_keys"])
def test_a_proof_without_the_pinned_thing_is_refused(field: str) -> None:
    pinned: Any = {field: frozenset({SETUP})}
    assert refused(Policy(**pinned), replace(VERDICT, setup_id=None, vk_digest=None)) == field


def test_every_claim_of_a_batch_has_the_context() -> None:
    batch = replace(VERDICT, claims=(CLAIM, replace(CLAIM, context=b"\x09" * 32)))
    assert refused(Policy(context=ZERO_CONTEXT), batch) == "context"


def test_hidden_parts_can_be_refused() -> None:
    hidden = replace(VERDICT, hidden=("input: salted",))
    Policy.default().check(hidden)
    assert refused(Policy(min_security_bits=1, allow_hidden=False), hidden) == "allow_hidden"


def test_finality_can_be_waived() -> None:
    Policy(min_security_bits=1, require_final=False).check(replace(VERDICT, final=False))


class Odd:
    def check(self, verdict: VerifiedClaim) -> None:
        if verdict.security_bits % 2 == 0:
            raise PolicyRejected("odd")


def test_rules_from_python() -> None:
    assert refused(Policy(rules=(Odd(),)), VERDICT) == "odd"
    Policy(rules=(Odd(),)).check(replace(VERDICT, security_bits=101))


def test_all_of_may_be_met_by_different_proofs_of_one_claim() -> None:
    both = Policy(all_of=(Policy(backends=frozenset({"ezkl"})), Policy(backends=frozenset({"sumcheck"}))))
    both.check(VERDICT, OTHER)
    assert refused(both, VERDICT) == "backends"
    assert refused(both, OTHER) == "backends"


def test_any_of_needs_one() -> None:
    either = Policy(any_of=(Policy(backends=frozenset({"tee"})), Policy(backends=frozenset({"sumcheck"}))))
    either.check(OTHER)
    either.check(VERDICT, OTHER)
    assert refused(either, VERDICT) == "any_of"


def test_one_proof_meets_all_rules_of_a_level() -> None:
    policy = Policy(backends=frozenset({"sumcheck"}), engines=frozenset({"ezkl 23.0.5"}))
    assert refused(policy, VERDICT, OTHER) in ("backends", "engines")


@pytest.mark.parametrize("field", ["model", "input", "output", "context"])
def test_different_claims_never_mix(field: str) -> None:
    change: Any = {field: b"\x0f" * 32}
    moved = replace(OTHER, claims=(replace(CLAIM, **change),))
    assert refused(Policy.default(), VERDICT, moved) == "same_claim"
    assert refused(Policy.default(), VERDICT, replace(OTHER, claims=(CLAIM, CLAIM))) == "same_claim"


def test_an_unsafe_proof_beside_a_safe_one_does_no_harm() -> None:
    Policy.default().check(replace(VERDICT, unsafe_setup=True), OTHER)


def test_an_allowance_inside_does_not_reach_outside() -> None:
    policy = Policy(any_of=(Policy(backends=frozenset({"ezkl"}), allow_unsafe_setup=True),))
    assert refused(policy, replace(VERDICT, unsafe_setup=True)) == "allow_unsafe_setup"
    policy.relaxed(allow_unsafe_setup=True).check(replace(VERDICT, unsafe_setup=True))


def test_relaxing_reaches_inside() -> None:
    policy = Policy(all_of=(Policy(backends=frozenset({"ezkl"})),))
    policy.relaxed(allow_unsafe_setup=True).check(replace(VERDICT, unsafe_setup=True))


def test_a_policy_that_says_no_cannot_be_relaxed() -> None:
    for text in ("min_security_bits: 1\nallow_unsafe_setup: false", "all_of: [{allow_unsafe_setup: false}]"):
        with pytest.raises(ValueError, match="allow_unsafe_setup"):
            Policy.from_yaml(text).relaxed(allow_unsafe_setup=True)
    Policy.from_yaml("min_security_bits: 1\nallow_unsafe_setup: false").relaxed(allow_simulated=True)


def test_yaml_with_everything(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f"""\
version: 1
backends: [ezkl]
assurance: [cryptographic]
semantics: ["ezkl-fixed-point/23.0.5"]
min_security_bits: 100
setups: [0x{SETUP.hex()}]
verifying_keys: ["0x{KEY.hex()}"]
engines: [ezkl 23.0.5]
context: 0x{ZERO_CONTEXT.hex()}
allow_unsafe_setup: false
allow_simulated: false
allow_hidden: false
require_final: true
all_of:
  - backends: [ezkl]
  - any_of:
      - backends: [tee]
      - min_security_bits: 90
""")
    policy = Policy.load(path)
    policy.check(VERDICT)
    assert policy.setups == {SETUP}
    assert refused(policy, OTHER) == "backends"


BAD_YAML = {
    "a list": "[1]",
    "a word": "x",
    "unknown field": "backend: [ezkl]",
    "a field twice": "backends: [ezkl]\nbackends: [tee]",
    "not a list": "backends: ezkl",
    "an empty list": "backends: []",
    "a number as a name": "backends: [1]",
    "text as a number": 'min_security_bits: "96"',
    "yes is not true": "allow_unsafe_setup: yes",
    "zero bits": "min_security_bits: 0",
    "a short digest": "setups: [0x12]",
    "a digest without 0x": f"setups: [{'00' * 32}]",
    "another version": "version: 2",
    "rules": "rules: [1]",
    "unknown assurance": "assurance: [magic]",
    "an alias": "engines: &a [x]\nsemantics: *a",
    "a python object": "!!python/object/apply:os.getcwd []",
    "a set": "backends: !!set {ezkl}",
    "binary": "backends: [!!binary AAAA]",
    "a timestamp": "backends: [!!timestamp 2026-01-01]",
    "a text that says so": "backends: [!!str ezkl]",
    "a list that says so": "backends: !!seq [ezkl]",
    "a policy that says so": "!!map {}",
    "a tag that chooses nothing": "backends: [! ezkl]",
    "a number in base 60": f"min_security_bits: !!int '{'9:' * 400_000}9'",
    "a fraction beyond all": f"min_security_bits: !!float '{'9:' * 1000}9.0'",
    "a time that is none": "min_security_bits: !!timestamp x",
    "a long word": f"backends: [{'e' * 70_000}]",
    "a long name": f"{'e' * 70_000}: [ezkl]",
    "deep": "all_of: " + "[" * 200 + "]" * 200,
    "a number as a key": "1: 2",
    "a list as a key": "? [a]\n: b",
    "two documents": "backends: [ezkl]\n---\nbackends: [tee]",
    "half a document": "backends: [ezkl",
    "a tab": "backends:\n\t- ezkl",
    "all_of of nothing": "all_of: []",
    "an unknown field inside": "all_of: [{backend: [ezkl]}]",
}


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML.keys())
def test_a_bad_file_is_a_clear_mistake(text: str) -> None:
    with pytest.raises(ValueError, match="policy"):
        Policy.from_yaml(text)


def test_a_mistake_names_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_security_bits: lots")
    with pytest.raises(ValueError, match=r"mine\.yaml.*min_security_bits"):
        Policy.load(path)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ValueError, match="larger"):
        Policy.load(path)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Policy.default().allow_unsafe_setup = True  # type: ignore[misc]


def test_set_ups_named_anywhere_are_vouched_for() -> None:
    inside = Policy(any_of=(Policy(setups=frozenset({KEY})), Policy(all_of=(Policy(setups=frozenset({SETUP})),))))
    assert inside.vouched_setups == {KEY, SETUP}
    assert Policy(setups=frozenset({SETUP})).vouched_setups == {SETUP}
    assert Policy.default().vouched_setups == frozenset()
