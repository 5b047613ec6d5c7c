"""What is deployed names what there is: options, extras, secrets, pages."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from vml.cli import serve as command
from vml.serve import receipts

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "docs" / "deploy" / "vml-serve.service"
CONTAINER = ROOT / "docs" / "deploy" / "Containerfile"
PAGE = ROOT / "docs" / "deploy.md"


def options() -> set[str]:
    """Every option of `vml serve`."""
    group = typer.main.get_command(command.app)
    found = getattr(group, "commands", {"": group})
    return {name for one in found.values() for parameter in one.params for name in parameter.opts}


def given(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("-")}


def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    return unit["Service"]


def test_the_unit_starts_what_there_is() -> None:
    words = shlex.split(service()["ExecStart"])
    assert words[1] == "serve"
    assert given(words) <= options()
    assert words[words.index("--data") + 1] == f"/var/lib/{service()['StateDirectory']}"


def test_the_unit_gives_it_time_to_end() -> None:
    words = shlex.split(service()["ExecStart"])
    grace = int(words[words.index("--grace") + 1])
    assert int(service()["TimeoutStopSec"]) > grace


def test_the_container_starts_what_there_is() -> None:
    (line,) = re.findall(r"^ENTRYPOINT (\[.*\])$", CONTAINER.read_text(), re.M)
    words = json.loads(line)
    assert words[1] == "serve"
    assert given(words) <= options()
    # Everybody on the network of the container reaches it.
    assert "--keys" in words
    assert "--unsafe-open" not in words


def test_the_container_installs_what_there_is() -> None:
    (extras,) = re.findall(r'"\.\[([a-z,]+)\]"', CONTAINER.read_text())
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= known.keys()
    for copied in re.findall(r"^COPY (?!--)(.*) \S+$", CONTAINER.read_text(), re.M):
        for name in copied.split():
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", [PAGE, UNIT, CONTAINER])
def test_no_secret_is_on_a_command_line(path: Path) -> None:
    text = path.read_text()
    assert "--database" not in text
    assert not re.search(r"(?i)password=|token=", text)


def test_the_page_names_variables_and_options_that_there_are() -> None:
    text = PAGE.read_text()
    assert receipts.KEY_VARIABLE in text
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert named <= options(), named - options()


def test_the_proxy_of_the_page_leaves_the_server_shut() -> None:
    """Asked under a local name and told of no proxy, a server without keys would answer everybody."""
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert "proxy_set_header Host $host;" in block
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in block
