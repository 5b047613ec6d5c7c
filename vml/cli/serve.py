"""`vml serve`: an inference server whose answers carry claims, receipts and proofs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.core import TyperGroup

from vml.cli import arguments as args
from vml.cli.attested import DEFAULT_SEED, read_attesting
from vml.cli.output import Debug, Json, Output, Quiet, headline, hexed
from vml.errors import BackendUnavailable

if TYPE_CHECKING:
    from vml.backends.types import SetupOptions
    from vml.serve.settings import Access, Proving

DATABASE_VARIABLE = "VML_SERVE_DATABASE"


class _Group(TyperGroup):
    """`vml serve MODEL...` serves; `vml serve key …` is about keys. A folder of that name is ./key."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Send what names no other command to the one that serves."""
        if not args or args[0] not in self.commands:
            args = ["models", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Group, add_completion=False, rich_markup_mode=None)
key_app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Keys of clients.")
app.add_typer(key_app, name="key")


@app.command("models")
def serve(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Compiled folders: DIR, or NAME=DIR.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The server's own folder.")] = Path("vml-serve"),
    database: Annotated[
        str | None,
        typer.Option(
            "--database", metavar="URL", help="sqlite:////path or postgresql://…; with a password: VML_SERVE_DATABASE."
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prove; 0: none here.")] = 1,
    executor: Annotated[
        str, typer.Option("--executor", help="Who proves: local, ray, ray:HOST:PORT, ray://HOST:PORT.")
    ] = "local",
    backend: args.Backend = "auto",
    backends: Annotated[
        str | None, typer.Option("--backends", metavar="A,B", help="Backends that may be asked for; default: all.")
    ] = None,
    prove: Annotated[
        str, typer.Option("--prove", help="Where a request says nothing: never, on-demand, sample, always, sync.")
    ] = "on-demand",
    policies: Annotated[
        str | None, typer.Option("--policies", metavar="A,B", help="What requests may say for prove; default: all.")
    ] = None,
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=1, help="One answer in N is proved.")] = 100,
    sampling: Annotated[str, typer.Option("--sampling", help="What chooses the sample: hash or beacon.")] = "hash",
    beacon_rpc: Annotated[
        str | None, typer.Option("--beacon-rpc", metavar="URL", help="Chain node whose blocks are the beacon.")
    ] = None,
    beacon_file: Annotated[
        Path | None, typer.Option("--beacon-file", metavar="FILE", help="Beacon: lines of a number and 0x…32 bytes.")
    ] = None,
    beacon_rounds: Annotated[int, typer.Option("--beacon-rounds", min=1, help="Rounds until a sample is decided.")] = 3,
    sync_timeout: Annotated[float, typer.Option("--sync-timeout", metavar="S", help="Longest wait for a proof.")] = 60,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="API keys (`vml serve key new`).")] = None,
    oidc_issuer: Annotated[str | None, typer.Option("--oidc-issuer", metavar="URL", help="Of bearer tokens.")] = None,
    oidc_audience: Annotated[str | None, typer.Option("--oidc-audience", help="That tokens must name.")] = None,
    oidc_keys: Annotated[
        str | None, typer.Option("--oidc-keys", metavar="FILE|URL", help="JWKS of the issuer: a file, or https://….")
    ] = None,
    oidc_algorithms: Annotated[
        str, typer.Option("--oidc-algorithms", metavar="A,B", help="Of tokens; asymmetric ones.")
    ] = "RS256,ES256",
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="PEM", help="Certificate for TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="PEM", help="Its private key.")] = None,
    client_ca: Annotated[
        Path | None, typer.Option("--client-ca", metavar="PEM", help="Clients need a certificate of this authority.")
    ] = None,
    unsafe_open: Annotated[
        bool, typer.Option("--unsafe-open", help="Let everybody in, on any address and under any name.")
    ] = False,
    signing_key: Annotated[
        Path | None, typer.Option("--signing-key", metavar="PEM", help="Of receipts; default: VML_SERVE_KEY, or made.")
    ] = None,
    log_key: Annotated[
        Path | None, typer.Option("--log-key", metavar="FILE", help="Of the log; default: VML_LOG_KEY, or made.")
    ] = None,
    log_name: Annotated[
        str | None, typer.Option("--log-name", metavar="NAME", help="Of the log, such as example.com/log.")
    ] = None,
    epoch: Annotated[int, typer.Option("--epoch", min=1, help="Of the receipts' key.")] = 1,
    keep_inputs: Annotated[
        float, typer.Option("--keep-inputs", metavar="HOURS", min=0, help="Inputs are kept for proofs so long.")
    ] = 168,
    keep_outputs: Annotated[
        bool, typer.Option("--keep-outputs/--forget-outputs", help="Keep outputs for readers of a claim.")
    ] = True,
    certificates: Annotated[
        Path | None, typer.Option("--certificates", metavar="DIR", help="Certificates of models to show.")
    ] = None,
    max_body: Annotated[float, typer.Option("--max-body", metavar="MIB", help="Largest request.")] = 64,
    max_jobs: Annotated[int, typer.Option("--max-jobs", min=1, help="Proofs that may wait.")] = 10_000,
    max_client_jobs: Annotated[
        int | None, typer.Option("--max-client-jobs", min=1, help="Of one client; default: half, with keys or tokens.")
    ] = None,
    max_concurrent: Annotated[int, typer.Option("--max-concurrent", min=1, help="Inferences at once.")] = 64,
    max_connections: Annotated[int, typer.Option("--max-connections", min=1, help="Connections at once.")] = 1000,
    rate: Annotated[float | None, typer.Option("--rate", metavar="N", help="Requests a second of one client.")] = None,
    burst: Annotated[int, typer.Option("--burst", min=1, help="Requests of one client at once.")] = 20,
    slow: Annotated[float, typer.Option("--slow", metavar="S", help="A request must have come by then.")] = 30,
    grace: Annotated[float, typer.Option("--grace", metavar="S", help="For requests and jobs at the end.")] = 10,
    log: Annotated[str, typer.Option("--log", metavar="text|json", help="How the log is written.")] = "text",
    game: args.Game = None,
    chain_id: Annotated[int | None, typer.Option("--chain-id", metavar="N", help="Chain of --game.", min=1)] = None,
    terms: Annotated[str | None, typer.Option("--terms", metavar="0xDIGEST", help="Terms that --game offers.")] = None,
    asserter: Annotated[str | None, typer.Option("--asserter", metavar="ADDRESS", help="Who asserts.")] = None,
    keystore: args.Keystore = None,
    attester: Annotated[str | None, typer.Option("--attester", metavar="URL", help="Who runs and signs (tee).")] = None,
    simulate: Annotated[
        str | None, typer.Option("--simulate", metavar="KIND", help="Simulated evidence (tee), which shows nothing.")
    ] = None,
    seed: args.Seed = DEFAULT_SEED,
    on_chain: args.OnChain = False,
    srs: args.Srs = None,
    memory_limit: args.MemoryLimit = None,
    time_limit: args.TimeLimit = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Serve models over HTTP (Open Inference Protocol v2): every answer carries a claim and a receipt at once.

    Proofs are made behind it, by worker processes, as --prove or a request says. The server listens for this machine
    only, unless it knows who may come in. `vml serve key new NAME` makes a key for a client.
    """
    with _extra():
        from vml.serve import logs, process
        from vml.serve.app import create_app
        from vml.serve.sampling import Prove, Sampling
        from vml.serve.settings import Limits, Settings
    out = Output(as_json, quiet)
    _word("--log", log, ("text", "json"))
    tokens = (oidc_issuer, oidc_audience, oidc_keys, oidc_algorithms)
    settings = Settings(
        models=_models(models),
        data=data,
        database=_database(database, os.environ),
        host=host,
        port=port,
        workers=workers,
        executor=executor,
        proving=_proving(
            backend,
            backends,
            policies,
            prove=Prove(_word("--prove", prove, tuple(Prove))),
            sample=sample,
            sampling=Sampling(_word("--sampling", sampling, tuple(Sampling))),
            sync_s=sync_timeout,
            beacon=_beacon(beacon_rpc, beacon_file),
            beacon_rounds=beacon_rounds,
        ),
        limits=Limits(
            body_bytes=int(max_body * (1 << 20)),
            body_s=slow,
            concurrent=max_concurrent,
            jobs=max_jobs,
            client_jobs=max_client_jobs,
            connections=max_connections,
            grace_s=grace,
            requests_per_second=rate,
            burst=burst,
        ),
        access=_access(keys, tokens, tls_cert, tls_key, client_ca, unsafe_open),
        signing_key=signing_key,
        log_key=log_key,
        log_name=log_name,
        epoch=epoch,
        keep_inputs_s=keep_inputs * 3600,
        keep_outputs=keep_outputs,
        certificates=certificates,
        options=_options(
            srs=srs,
            on_chain=on_chain,
            memory_limit=memory_limit,
            time_limit=time_limit,
            asserting=args.read_asserting(game, chain_id, terms, asserter, keystore),
            attesting=None
            if attester is None and simulate is None
            else read_attesting(attester, simulate, None, seed, "tee"),
        ),
    )
    application = create_app(settings)
    listening = process.listen(host, port)
    logs.begin(as_json=log == "json", quiet=quiet)

    def started() -> None:
        server = application.state.server
        value = {
            "url": process.url_of(settings, listening),
            "models": {name: served.version for name, served in server.models.items()},
            "key_id": hexed(server.signer.key_id),
            "pid": os.getpid(),
        }
        out.result(value, lambda console: headline(console, "serving", f"{value['url']} (receipts: {value['key_id']})"))
        # Whoever started it reads this through a pipe.
        print(end="", flush=True)

    with listening:
        asyncio.run(process.serve(application, settings, listening, started))


@key_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Of who gets it: stands in records and quotas.")],
    role: Annotated[
        list[str] | None, typer.Option("--role", help="infer, read, audit, operate; may be repeated.")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", metavar="N", help="Requests a second.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", metavar="N", help="Requests at once.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make an API key. It is shown this once; the entry, which holds only its hash, goes into the file of --keys."""
    import json

    with _extra():
        from vml.serve.auth import INFER, READ, new_key
    key, entry = new_key(name, role or [INFER, READ], rate, burst)
    value = {"key": key, "entry": json.loads(entry)}
    Output(as_json, quiet).result(value, lambda console: console.print(f"key    {key}\nentry  {entry}"))


@contextmanager
def _extra() -> Iterator[None]:
    """Say which extra is missing, instead of which module."""
    try:
        yield
    except ImportError as error:
        raise BackendUnavailable(f"{error.name or error} is missing: pip install 'vml[serve]'") from error


def _models(texts: Sequence[str]) -> dict[str, Path]:
    """Folders by name."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        name = name if equals else path.absolute().name.removesuffix(".vml")
        if name in found:
            raise ValueError(f"two models have the name {name!r}: give NAME=DIR")
        found[name] = path
    return found


def _database(text: str | None, environment: Mapping[str, str]) -> str | None:
    """The database's URL; one with a password never stands on a command line, where others can read it."""
    if text is None:
        return environment.get(DATABASE_VARIABLE) or None
    _refuse_secret("--database", text, DATABASE_VARIABLE)
    return text


def _refuse_secret(option: str, url: str, variable: str | None = None) -> None:
    try:
        secret = urlsplit(url).password is not None
    except ValueError:
        secret = True
    if secret:
        way = "leave it out" if variable is None else f"put it into the environment, {variable}"
        raise ValueError(f"{option} holds a password, and others can read a command line: {way}")


def _beacon(rpc: str | None, file: Path | None) -> str | None:
    if rpc is not None and file is not None:
        raise ValueError("a server has one beacon: --beacon-rpc or --beacon-file")
    if rpc is not None:
        if not rpc.startswith(("http://", "https://")):
            raise ValueError("--beacon-rpc is an http:// or https:// address")
        _refuse_secret("--beacon-rpc", rpc)
        return rpc
    return None if file is None else str(file)


def _proving(backend: str, backends: str | None, policies: str | None, **more: Any) -> Proving:
    from vml.backends import BACKENDS
    from vml.serve.sampling import Prove
    from vml.serve.settings import Proving

    names = frozenset(BACKENDS) if backends is None else frozenset(_list(backends))
    words = (
        frozenset(Prove)
        if policies is None
        else frozenset(Prove(_word("--policies", text, tuple(Prove))) for text in _list(policies))
    )
    return Proving(backend=backend, backends=names, policies=words, **more)


def _access(
    keys: Path | None,
    tokens: tuple[str | None, str | None, str | None, str],
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    unsafe_open: bool,
) -> Access:
    from vml.serve.settings import Access, Oidc

    issuer, audience, jwks, algorithms = tokens
    oidc = None
    if issuer is not None or audience is not None or jwks is not None:
        if issuer is None or audience is None or jwks is None:
            raise ValueError("tokens take --oidc-issuer, --oidc-audience and --oidc-keys together")
        oidc = Oidc(issuer, audience, jwks, tuple(_list(algorithms)))
    return Access(
        keys_file=keys,
        oidc=oidc,
        certificate=tls_cert,
        private_key=tls_key,
        client_ca=client_ca,
        unsafe_open=unsafe_open,
    )


def _options(
    *,
    srs: Path | None,
    on_chain: bool,
    memory_limit: float | None,
    time_limit: float | None,
    asserting: Any,
    attesting: Any,
) -> dict[str, SetupOptions]:
    """Options of set-ups by backend: each gets what is its own; limits are everybody's."""
    from vml.backends import BACKENDS
    from vml.backends.types import Asserting, Visibility

    own: dict[str, dict[str, Any]] = {
        "ezkl": {"on_chain": on_chain},
        "optimistic": {} if asserting == Asserting() else {"asserting": asserting},
        "tee": {} if attesting is None else {"attesting": attesting},
    }
    return {
        name: args.setup_options(
            Visibility(), srs if name == "ezkl" else None, memory_limit, time_limit, None, **own.get(name, {})
        )
        for name in BACKENDS
    }


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _word(option: str, text: str, words: Sequence[str]) -> str:
    if text not in words:
        raise ValueError(f"{option} is one of {', '.join(words)}, not {text!r}")
    return text
