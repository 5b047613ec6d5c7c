"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vml.backends.types import Asserting, SetupOptions, Visibility
    from vml.chain.keys import Signer
    from vml.claim import Context
    from vml.model import Model

MAX_CONTEXT_BYTES = 1 << 16

Backend = Annotated[str, typer.Option("--backend", help="Who proves: auto, or a backend's name.")]
Private = Annotated[str, typer.Option("--private", metavar="input,model", help="What the proof hides.")]
HashInput = Annotated[
    bool, typer.Option("--hash-input", help="Show a digest of the input instead of its values; it can be guessed.")
]
Calibrate = Annotated[
    Path | None, typer.Option("--calibrate", help="Sample inputs (.npz, first axis counts rows) to choose scales from.")
]
InputRange = Annotated[
    tuple[float, float] | None,
    typer.Option("--input-range", metavar="LO HI", help="Range of every input, instead of samples."),
]
Srs = Annotated[Path | None, typer.Option("--srs", help="Set-up file; default: an imported one, else a test one.")]
Game = Annotated[str | None, typer.Option("--game", metavar="ADDRESS", help="Contract of the dispute game.")]
Keystore = Annotated[
    Path | None, typer.Option("--keystore", metavar="FILE", help="Encrypted key; default: VML_PRIVATE_KEY.")
]
Seed = Annotated[str, typer.Option("--seed", metavar="TEXT", help="Whose keys the simulator's are.")]
OnChain = Annotated[
    bool, typer.Option("--on-chain", help="Keys for a contract: cheap to check, slower to prove (ezkl).")
]
MemoryLimit = Annotated[float | None, typer.Option("--memory-limit", metavar="GIB", help="Refuse to use more memory.")]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", metavar="S", help="Stop after so many seconds.")]


def read_context(text: str | None) -> tuple[bytes, Context | None]:
    """A context, from 0x and 64 hex digits or from a file with its preimage.

    Args:
        text: the option's value; None is the zero context.

    Returns:
        32 bytes, and the preimage where a file gave it.

    Raises:
        ValueError: neither such digits nor such a file.
        OSError: the file cannot be read.
    """
    from vml import strictjson
    from vml.claim import ZERO_CONTEXT, Context, parse_bytes32
    from vml.errors import MalformedProof

    if text is None:
        return ZERO_CONTEXT, None
    if not text.endswith(".json"):
        return parse_bytes32(text), None
    with Path(text).open("rb") as file:
        data = file.read(MAX_CONTEXT_BYTES + 1)
    try:
        value = strictjson.loads(data)
        # What `vml context --json` prints is accepted as it is.
        context = Context.from_json(value["preimage"] if isinstance(value, dict) and "preimage" in value else value)
    except (MalformedProof, ValueError) as error:
        raise ValueError(f"{text} is not a context: {error}") from error
    return context.commitment(), context


def read_moment(text: str | None, option: str = "--at") -> int:
    """Unix seconds of `--at` or another option; now where it is not given.

    Raises:
        ValueError: neither seconds nor a time in UTC.
    """
    from datetime import datetime

    if text is None:
        return int(time.time())
    if text.isascii() and text.isdecimal() and len(text) <= 12:
        return int(text)
    try:
        if not text.endswith("Z"):
            raise ValueError("no UTC")
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError as error:
        raise ValueError(f"{option} {text}: give unix seconds, or UTC as 2027-01-31T00:00:00Z") from error


def read_visibility(private: str, hash_input: bool) -> Visibility:
    """What the proof hides, from `--private` and `--hash-input`.

    Raises:
        ValueError: an unknown name, or the input both hashed and private.
    """
    from vml.backends.types import Visibility

    visibility = Visibility.from_private(private)
    if not hash_input:
        return visibility
    if visibility.input == "private":
        raise ValueError("the input is either --private or --hash-input")
    return Visibility(input="hashed", model=visibility.model)


def read_model(
    model: Path, calibrate: Path | None, input_range: tuple[float, float] | None, progress: Any = None
) -> Model:
    """The model a command works on: a compiled folder, or an .onnx file with samples or a range.

    Raises:
        ValueError, UnsupportedModel, OSError: as `vml.api.load_model`.
    """
    from vml import api
    from vml.arrays import load_arrays

    samples = None if calibrate is None else load_arrays(calibrate)
    return api.load_model(model, calibration=samples, input_range=input_range, progress=progress)


def read_asserting(
    game: str | None,
    chain_id: int | None,
    terms: str | None,
    asserter: str | None,
    keystore: Path | None,
    *,
    nonce: int = 0,
    commit_trace: bool = False,
) -> Asserting:
    """Where and by whom an output is asserted; signed where a key is found, and then by its account.

    Args:
        game, chain_id, terms: all, or none for a bundle that is asserted nowhere.
        asserter: address; not needed with a key.
        keystore: encrypted key; None takes the environment's, if there is one.
        nonce, commit_trace: see `vml.backends.types.Asserting`.

    Raises:
        ValueError: some of what belongs together is missing, or the key is another account's.
        BackendUnavailable: signing needs the extra ``chain``.
    """
    from vml.backends.types import Asserting
    from vml.claim import parse_address, parse_bytes32

    if game is None:
        names = ("--chain-id", "--terms", "--asserter", "--keystore")
        for name, given in zip(names, (chain_id, terms, asserter, keystore), strict=True):
            if given is not None:
                raise ValueError(f"{name} says how something is asserted: say where, with --game")
        if nonce:
            raise ValueError("--nonce tells assertions apart: say where they are made, with --game")
        return Asserting(commit_trace=commit_trace)
    if chain_id is None or terms is None:
        raise ValueError(
            "--game needs --chain-id and --terms: an assertion is good in one game, under one set of terms"
        )
    signer = find_signer(keystore)
    who = None if asserter is None else parse_address(asserter)
    if who is None:
        if signer is None:
            raise ValueError(
                "nobody asserts it: give a key (--keystore FILE or VML_PRIVATE_KEY), or --asserter ADDRESS"
            )
        who = parse_address(signer.address)
    elif signer is not None and parse_address(signer.address) != who:
        raise ValueError(f"the key is that of {signer.address}, not of --asserter {asserter}")
    return Asserting(
        chain_id=chain_id,
        game=parse_address(game),
        asserter=who,
        terms=parse_bytes32(terms),
        nonce=nonce,
        commit_trace=commit_trace,
        sign=None if signer is None else signer.sign_message,
    )


def find_signer(keystore: Path | None) -> Signer | None:
    """The account to sign with: a keystore's, or the environment's; None where there is no key.

    Raises:
        ValueError: a key or file that is none, or no password.
        BackendUnavailable: the extra ``chain`` is not installed.
    """
    import os
    import sys

    from vml.chain import keys

    return keys.find(keystore, os.environ, _ask_password if sys.stdin.isatty() else None)


def _ask_password() -> str:
    from getpass import getpass

    return getpass("password of the keystore: ")


def setup_options(
    visibility: Visibility,
    srs: Path | None,
    memory_limit: float | None,
    time_limit: float | None,
    progress: Any,
    **more: Any,
) -> SetupOptions:
    """The options of a set-up, from the shared command line options."""
    from vml.backends.types import SetupOptions

    if (memory_limit is not None and memory_limit <= 0) or (time_limit is not None and time_limit <= 0):
        raise ValueError("limits are positive")
    return SetupOptions(
        visibility=visibility,
        srs=srs,
        memory_limit_bytes=None if memory_limit is None else int(memory_limit * (1 << 30)),
        time_limit_s=time_limit,
        progress=progress,
        **more,
    )
