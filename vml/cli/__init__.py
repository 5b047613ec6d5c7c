"""The command line: parse, call, print. One file a command group, loaded when it is called.

`vml --help` reads the table below and loads none of the commands.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

COMMANDS: dict[str, str] = {
    "compile": "Compile an ONNX model to exact integers.",
    "setup": "Make a backend's keys for a model, or check them.",
    "prove": "Run a model on an input and prove the run.",
    "verify": "Check a proof: this model, this input, this output, this use.",
    "context": "Print the 32 bytes that bind a proof to one use.",
    "inspect": "Show what a model, key or proof is and rests on.",
    "plan": "Compare the backends for a model before anything is run.",
    "export": "Export a PyTorch module to ONNX.",
    "contract": "Contracts that check proofs: generate, deploy, verify, list.",
    "dispute": "Claims with a bond: assert, watch, challenge, status.",
    "certify": "Sign what a model is worth, for how long; take it back.",
    "audit": "Find a decision in a server's log; check that the log only grew.",
    "tee": "Evidence of trusted hardware: verify, forecast, simulate.",
    "serve": "Answer over HTTP with claims at once, and proofs behind.",
    "srs": "Import, fetch and list KZG set-up files.",
    "cache": "List and clear cached keys.",
    "demo": "Prove a digit, verify it elsewhere, fail to cheat.",
    "doctor": "Check this installation.",
}
"""Command name to help line; the command is the attribute `app` of `vml.cli.NAME`."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def build() -> Any:
    """The `vml` command, a group that loads its commands when they are called."""
    import typer
    from typer.core import TyperCommand, TyperGroup

    class LazyGroup(TyperGroup):
        """Lists commands by the table; imports one only to run it or to show its own help."""

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            if name is not None and command is not None:
                command = typer.main.get_command(import_module(f"vml.cli.{name}").app)
                command.name = name
            return name, command, rest

    app = typer.Typer(
        name="vml",
        cls=LazyGroup,
        help="Prove that this model, on this input, gave this output, and let anybody check it.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
    )

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        if version:
            from importlib.metadata import version as version_of

            typer.echo(f"vml {version_of('vml')}")
            raise typer.Exit

    group = typer.main.get_command(app)
    for name, line in COMMANDS.items():
        group.add_command(TyperCommand(name=name, help=line), name)  # type: ignore[attr-defined]
    return group


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes the process's own.

    Returns:
        The exit code: 0 done or verified, 1 verification failed, 2 usage, 3 unsupported model, 4 backend not
        available, 5 proving failed, 6 chain error, 7 not final yet, 70 a defect of vml, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = build().main(args=arguments, prog_name="vml", standalone_mode=False)
        if result == INTERRUPTED:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        from vml.cli.failure import report

        return report(error, as_json="--json" in arguments, debug="--debug" in arguments, command=arguments[:1])
    return result if isinstance(result, int) else 0
