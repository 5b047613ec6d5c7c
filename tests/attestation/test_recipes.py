"""Policies and recipes: refused until filled in, good afterwards, and nothing in them by a mere tag."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from vml.tee.appraisal import AppraisalPolicy

ROOM = Path(__file__).parents[2] / "attestation"
KINDS = {"tdx": "tdx", "snp": "snp", "nitro": "nitro", "dstack": "tdx"}
PLACE = re.compile(r"FILL_IN_(?:(\d+)_BYTES|TIME|NUMBER)")


def filled(text: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1]:
            return "0x" + "5a" * int(found[1])
        return "2027-06-30T00:00:00Z" if found[0].endswith("TIME") else "3"

    return PLACE.sub(value, text)


@pytest.mark.parametrize("name", KINDS)
def test_a_policy_is_refused_until_every_place_is_filled_in(name: str) -> None:
    text = (ROOM / name / "policy.yaml").read_text(encoding="utf-8")
    places = list(PLACE.finditer(text))
    assert places
    for place in places:
        before, after = text[: place.start()], text[place.end() :]
        with pytest.raises(ValueError):
            AppraisalPolicy.from_yaml(filled(before) + place[0] + filled(after))
    policy = AppraisalPolicy.from_yaml(filled(text))
    assert policy.kinds == (KINDS[name],)
    assert policy.require_nonce
    assert not policy.allow_simulated
    assert "FILL_IN" not in filled(text).partition("\n")[2]


def test_the_compose_file_names_its_image_by_digest() -> None:
    compose = yaml.safe_load((ROOM / "dstack" / "docker-compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    assert "@sha256:" in service["image"]
    assert "FILL_IN" in service["image"]
    assert not {"environment", "env_file", "build"} & service.keys()


def test_the_image_has_no_base_of_its_own_and_fetches_nothing() -> None:
    text = (ROOM / "image" / "Dockerfile").read_text(encoding="utf-8")
    assert "\nARG BASE\nFROM ${BASE}\n" in text
    assert "--no-index" in text
    assert not re.search(r"\b(curl|wget|apt-get|git) ", text)


@pytest.mark.parametrize("name", ["init", "stage.sh"])
def test_scripts_are_of_a_shell(name: str) -> None:
    subprocess.run(["sh", "-n", str(ROOM / "image" / name)], check=True)


@pytest.mark.parametrize("name", KINDS)
def test_every_page_says_that_it_was_not_run(name: str) -> None:
    assert "**Not run on hardware" in (ROOM / name / "README.md").read_text(encoding="utf-8")
