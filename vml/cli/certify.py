"""`vml certify`: an authority's word about a model, its key, and its revocation lists."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vml.cli.arguments import read_moment
from vml.cli.certified import read, utc
from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, hexed, table

if TYPE_CHECKING:
    from rich.console import Console

    from vml.certificates.revocations import Revocations
    from vml.certificates.signing import AuthorityKey
    from vml.certificates.statement import Statement

PASSWORD = "VML_KEY_PASSWORD"
DAY_S = 86400


class MainCommand(TyperGroup):
    """`vml certify MODEL …` is `vml certify model MODEL …`; a model named like a command is written ./NAME."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["model", *args]
        return super().parse_args(ctx, args)


app = command_app("""Certificates of models: MODEL signs one, key makes a key, revoke takes back, show reads.

vml certify MODEL --key FILE --issuer NAME -o FILE [--holdout FILE --labels NAME] [--scope TEXT] [--days N]
""")
app.info.cls = MainCommand
key_app = command_app("Keys of authorities.")
app.add_typer(key_app, name="key")

KeyFile = Annotated[
    Path, typer.Option("--key", metavar="FILE", help=f"The authority's private key, PEM; {PASSWORD} opens it.")
]
Chain = Annotated[
    Path | None,
    typer.Option("--chain", metavar="FILE", help="PEM certificates of an X.509 key: its own, then those above."),
]
OutFile = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write it.")]


@app.command()
def model(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="A compiled folder.")],
    key: KeyFile,
    output: OutFile,
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="NAME", help="The authority's name; of X.509 keys their own.")
    ] = None,
    chain: Chain = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="NAME", help="The model's name; default: the folder's.")
    ] = None,
    holdout: Annotated[
        list[Path] | None,
        typer.Option("--holdout", metavar="FILE", help="Rows to measure the exact model on; may be repeated."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="NAME", help="The array of those files to compare with.")
    ] = None,
    scope: Annotated[str, typer.Option("--scope", metavar="TEXT", help="What it is certified for.")] = "",
    for_context: Annotated[
        list[str] | None,
        typer.Option("--for-context", metavar="0xHEX", help="Only claims of this context; may be repeated."),
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First second; default: now. Unix seconds or UTC, …Z.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Last second.")] = None,
    days: Annotated[int, typer.Option("--days", metavar="N", help="Instead of --until.", min=1)] = 365,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Sign a certificate: every identity of a compiled folder, how good the model is, until when, and for what.

    Accuracy is measured here with --holdout, by running the exact model; without it, it is what certificate.json of the
    folder says of the integer model against the float model. The certificate says which.
    """
    from vml import api
    from vml.certificates import measure
    from vml.certificates.statement import Certificate, Scope, Statement
    from vml.claim import parse_bytes32
    from vml.files import require_writable, write_atomic
    from vml.model import Model

    require_writable(output)
    if labels is not None and not holdout:
        raise ValueError("--labels says what of a file is compared: give the file, with --holdout")
    begins = read_moment(valid_from, "--from")
    signer = _key(key, chain)
    compiled, out = Model.load(path), Output(as_json, quiet)
    with out.progress() as progress:
        accuracy = (
            tuple(sorted({m for file in holdout for m in measure.measured(compiled, file, labels, progress=progress)}))
            if holdout
            else measure.stated(compiled)
        )
    statement = Statement(
        issuer=_issuer(issuer, signer),
        serial=secrets.token_bytes(32),
        subject=subject or path.resolve().name.removesuffix(".vml"),
        identities=api.identities_of(compiled),
        accuracy=accuracy,
        not_before=begins,
        not_after=begins + days * DAY_S if until is None else read_moment(until, "--until"),
        scope=Scope(scope, tuple(sorted(set(map(parse_bytes32, for_context or ()))))),
    )
    data = signer.certificate(statement).to_bytes()
    _refuse_own(lambda: Certificate.from_bytes(data))
    write_atomic(output, data)
    result = {"certificate": str(output), "authority": _authority(signer), **statement.to_json()}
    out.result(result, lambda console: _show_statement(console, statement, _authority(signer)))


@key_app.command("new")
def new_key(
    output: OutFile,
    kind: Annotated[str, typer.Option("--kind", metavar="ed25519|eip712", help="What it signs with.")] = "ed25519",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make an authority's key: a PEM file only its owner reads, encrypted where VML_KEY_PASSWORD is set.

    Prints what verifiers pin, and writes it beside the key as FILE.pub. X.509 keys come from whoever certifies them.
    """
    from vml.certificates import signing
    from vml.files import require_writable, write_atomic

    require_writable(output)
    if output.exists():
        raise FileExistsError(17, "a key is not overwritten", str(output))
    pem, key = signing.new_key(kind, _password())
    write_atomic(output, pem, mode=0o600)
    public = output.with_name(output.name + ".pub")
    write_atomic(public, f"{key.authority}\n".encode())
    encrypted = _password() is not None
    result = {"key": str(output), "public": str(public), "authority": str(key.authority), "encrypted": encrypted}
    Output(as_json, quiet).result(result, lambda console: console.print(str(key.authority)))


@app.command()
def revoke(
    key: KeyFile,
    output: OutFile,
    certificates: Annotated[
        list[str] | None, typer.Argument(metavar="[CERTIFICATE|0xSERIAL]...", help="What no longer holds.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="NAME", help="The authority's name; of X.509 keys their own.")
    ] = None,
    chain: Chain = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="The last list; none only for the first one.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")] = "",
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From when on; default: now.")] = None,
    days: Annotated[int, typer.Option("--days", metavar="N", help="Until the next list is due.", min=1)] = 30,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Sign the next revocation list: what the last one said, and these certificates. Without any it is only renewed."""
    from vml.certificates.revocations import Revocations, Revoked, SignedRevocations
    from vml.certificates.statement import Certificate
    from vml.claim import parse_bytes32
    from vml.files import require_writable, write_atomic

    require_writable(output)
    signer, now = _key(key, chain), int(time.time())
    name = _issuer(issuer, signer)
    last = None if list_file is None else SignedRevocations.from_bytes(read(list_file))
    if last is not None:
        _require_own(signer, name, last, now)
    entries = {} if last is None else {each.serial: each for each in last.revocations.revoked}
    begins = now if since is None else read_moment(since, "--since")
    for item in certificates or ():
        serial = parse_bytes32(item) if item.startswith("0x") else None
        if serial is None:
            found = Certificate.from_bytes(read(Path(item))).statement
            if found.issuer != name:
                raise ValueError(f"{item} is a certificate of {found.issuer!r}, not of {name!r}")
            serial = found.serial
        entries.setdefault(serial, Revoked(serial, begins, reason))
    number = 1 if last is None else last.revocations.number + 1
    made = Revocations(name, number, now, now + days * DAY_S, tuple(entries[serial] for serial in sorted(entries)))
    data = signer.revocations(made).to_bytes()
    _refuse_own(lambda: SignedRevocations.from_bytes(data))
    write_atomic(output, data)
    result = {"revocations": str(output), "authority": _authority(signer), **made.to_json()}
    Output(as_json, quiet).result(result, lambda console: _show_list(console, made))


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate or a revocation list.")],
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what a certificate or a list says. Nothing is verified: `vml verify --certificate` does that."""
    from vml.certificates import revocations
    from vml.certificates.revocations import SignedRevocations
    from vml.certificates.statement import Certificate

    data, out = read(path), Output(as_json, quiet)
    if f'"format":"{revocations.FORMAT}"'.encode() in data[:64]:
        listed = SignedRevocations.from_bytes(data)
        value = {"kind": "revocations", "verified": None, "signed_as": listed.signature.kind}
        value |= listed.revocations.to_json()
        out.result(value, lambda console: _show_list(console, listed.revocations))
        return
    found = Certificate.from_bytes(data)
    kind = found.signature.kind
    value = {"kind": "certificate", "verified": None, "signed_as": kind, **found.statement.to_json()}
    out.result(value, lambda console: _show_statement(console, found.statement, f"{kind}, not verified"))


def _key(path: Path, chain: Path | None) -> AuthorityKey:
    from vml.certificates.signing import load_key
    from vml.tee.x509 import pem_blocks

    certificates = () if chain is None else pem_blocks(read(chain))
    return load_key(read(path), certificates, _password())


def _password() -> bytes | None:
    text = os.environ.get(PASSWORD)
    return text.encode() if text else None


def _issuer(given: str | None, key: AuthorityKey) -> str:
    """The authority's name: of an X.509 key the one it is certified for, else the given one."""
    certified = key.common_name()
    name = certified if given is None else given
    if name is None:
        raise ValueError("whose certificate is it? give the authority's name, with --issuer")
    if certified is not None and certified != name:
        raise ValueError(f"the key is certified for {certified!r}, not for {name!r}")
    return name


def _authority(key: AuthorityKey) -> str:
    return "x509" if key.authority is None else str(key.authority)


def _require_own(key: AuthorityKey, name: str, last: Any, now: int) -> None:
    """Refuse to go on from a list of somebody else: it would be signed anew as one's own."""
    from vml.certificates.signatures import check_signature

    if last.revocations.issuer != name:
        raise ValueError(f"the last list is {last.revocations.issuer!r}'s, not {name!r}'s")
    if key.authority is not None:
        check_signature(key.authority, last.revocations.signable(), last.signature, now)


def _refuse_own(decode: Any) -> None:
    """What is written has to be readable: a text that is too long is the caller's mistake."""
    from vml.errors import MalformedProof

    try:
        decode()
    except MalformedProof as error:
        raise ValueError(str(error)) from error


def _show_statement(console: Console, statement: Statement, authority: str) -> None:
    rows = table("", "")
    add(rows, "issuer", f"{statement.issuer} ({authority})")
    add(rows, "subject", statement.subject)
    add(rows, "serial", hexed(statement.serial))
    for identity in statement.identities:
        add(rows, f"{identity.backend} model", f"{hexed(identity.model)} under {identity.scheme}")
    for each in statement.accuracy:
        said = f"{each.value} on {each.rows} rows of {hexed(each.dataset)}, against {each.reference}"
        add(rows, f"{each.metric} of {each.output}", f"{said}; {each.command}")
    add(rows, "valid", f"{utc(statement.not_before)} to {utc(statement.not_after)}")
    add(rows, "scope", statement.scope.text or "not said")
    if statement.scope.contexts:
        add(rows, "contexts", "\n".join(map(hexed, statement.scope.contexts)))
    console.print(rows)


def _show_list(console: Console, listed: Revocations) -> None:
    rows = table("", "")
    add(rows, "issuer", listed.issuer)
    add(rows, "number", str(listed.number))
    add(rows, "good", f"{utc(listed.issued_at)} to {utc(listed.next_update)}")
    for each in listed.revoked:
        add(rows, "revoked", f"{hexed(each.serial)} from {utc(each.revoked_at)}: {each.reason or 'no reason given'}")
    console.print(rows)
