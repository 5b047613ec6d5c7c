"""What holds for every command: help, exit codes, JSON, errors, speed of start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from vml import errors
from vml.cli import COMMANDS, failure
from vml.cli.output import printable, seconds, size

ROOT = Path(__file__).parents[2]
HEAVY = {"numpy", "pydantic", "yaml", "rich", "onnx", "ezkl", "numba"}


def test_help_lists_every_command_and_loads_none(vml: Callable[..., Any]) -> None:
    done = vml("--help")
    assert done.code == 0
    for name, line in COMMANDS.items():
        assert f"  {name}" in done.out
        assert line in done.out
    code = "import sys; from vml.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    modules = set(json.loads(run.stderr.replace("'", '"')))
    assert not modules & HEAVY
    assert not {module for module in modules if module.startswith("vml.cli.")}


def leaves(command: Any) -> list[Any]:
    """A command, or all commands of a group and of the groups inside."""
    inner = getattr(command, "commands", None)
    return [command] if inner is None else [leaf for item in inner.values() for leaf in leaves(item)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_the_common_options(name: str, vml: Callable[..., Any]) -> None:
    done = vml(name, "--help")
    assert done.code == 0
    commands = typer.main.get_command(import_module(f"vml.cli.{name}").app)
    for inner in leaves(commands):
        options = {option for parameter in inner.params for option in parameter.opts}
        assert {"--json", "--quiet", "--debug"} <= options, inner.name
        assert inner.help


def test_no_arguments_show_help(vml: Callable[..., Any]) -> None:
    assert "Commands:" in (vml().out + vml().err)


def test_version(vml: Callable[..., Any]) -> None:
    assert vml("--version").out.startswith("vml ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vrify"], "Did you mean 'verify'"),
        (["verify"], "Missing argument 'PROOF'"),
        (["verify", "x"], "Missing option '--model'"),
        (["context", "--chain", "x"], "--chain"),
        (["compile", "--nonsense"], "--nonsense"),
        (["srs", "nothing"], "No such command"),
    ],
)
def test_usage_errors_end_with_2(arguments: list[str], words: str, vml: Callable[..., Any]) -> None:
    done = vml(*arguments)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    done = vml(*arguments, "--json")
    assert done.code == 2
    assert words in done.json["error"]["message"]


EXITS: dict[BaseException, int] = {
    errors.MalformedProof("x"): 1,
    errors.ClaimMismatch("model", 1, 2): 1,
    errors.ProofRejected("16", 1, 2): 1,
    errors.EvidenceRejected("x"): 1,
    errors.CertificateRejected("x"): 1,
    errors.LogRejected("x"): 1,
    errors.ServerError("x"): 4,
    errors.PolicyRejected("x"): 1,
    ValueError("x"): 2,
    TypeError("x"): 2,
    FileNotFoundError(2, "no such file", "x"): 2,
    errors.UnsupportedModel("x"): 3,
    errors.UnsupportedOperator([errors.OperatorProblem("n", "If", 17, "h")]): 3,
    errors.BackendUnavailable("x"): 4,
    errors.ProvingError("x"): 5,
    errors.OutOfRange("x", (0, 1), 5.0, "0..1"): 5,
    MemoryError(): 5,
    errors.ChainError("x"): 6,
    errors.NotFinal(17): 7,
    RuntimeError("x"): 70,
    KeyboardInterrupt(): 130,
}


@pytest.mark.parametrize("error", EXITS, ids=lambda error: type(error).__name__)
def test_exit_codes(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.report(error, as_json=True, debug=False, command=["prove"]) == EXITS[error]
    captured = capsys.readouterr()
    value = json.loads(captured.out)["error"]
    assert (value["type"], value["exit_code"]) == (type(error).__name__, EXITS[error]) or EXITS[error] == 130
    assert value["message"]
    assert captured.err.strip()
    assert "Traceback" not in captured.err


def test_every_error_class_is_in_the_list() -> None:
    tried = {type(error) for error in EXITS}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.VmlError):
            assert value in tried or value.__subclasses__(), value


def test_errors_carry_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.details(errors.ClaimMismatch("model", "a", "b")) | {"field": "model", "expected": "a"} == (
        failure.details(errors.ClaimMismatch("model", "a", "b"))
    )
    problem = errors.OperatorProblem("n", "If", 17, "unroll it")
    assert failure.details(errors.UnsupportedOperator([problem]))["problems"] == [
        {"node": "n", "op": "If", "opset": 17, "hint": "unroll it"}
    ]
    assert failure.details(errors.OutOfRange("x", 3, 5.0, "0..1"))["index"] == [3]
    assert failure.details(errors.NotFinal(17))["until"] == 17


def test_debug_shows_where(vml: Callable[..., Any]) -> None:
    assert "Traceback" not in vml("verify", "/no/such", "--model", "0x12").err
    assert "Traceback" in vml("verify", "/no/such", "--model", "0x12", "--debug").err


def test_a_defect_is_called_one(monkeypatch: pytest.MonkeyPatch, vml: Callable[..., Any]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr("vml.claim.Context.commitment", broken)
    address, word = "0x" + "11" * 20, "0x" + "22" * 32
    common = ["--contract", address, "--request", word, "--payee", address, "--expiry", "1"]
    done = vml("context", "--requester", address, "--chain", "1", *common)
    assert done.code == 70
    assert "defect" in done.err
    assert "--debug" in done.err


def test_an_interrupt_is_told_apart(monkeypatch: pytest.MonkeyPatch, vml: Callable[..., Any]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vml.api.compile", interrupted)
    done = vml("compile", "m.onnx", "-o", "out.vml", "--json")
    assert done.code == 130
    assert done.json["error"]["type"] == "Interrupted"


def test_hostile_text_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[31mb\nc\u202ed\r") == "a\\x1b[31mb\nc\\u202ed\\r"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "unknown"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB"), (5 << 40, "5120 GiB")],
)
def test_sizes(value: int | None, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "unknown"), (0.123, "0.12 s"), (9.6, "9.6 s"), (65.2, "65 s"), (600, "10 min")]
)
def test_durations(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_run_as_a_module() -> None:
    command = [sys.executable, "-m", "vml", "verify", "/no/such/proof", "--model", "0x" + "00" * 32, "--json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert json.loads(run.stdout)["verified"] is False
