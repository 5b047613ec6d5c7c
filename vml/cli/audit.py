"""`vml audit`: which model decided, when, and who certified it; and that the log only grew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli.arguments import read_moment
from vml.cli.certified import Authorities, CertificateFiles, Memory, RequireRevocation, RevocationFiles, read, utc
from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, headline, table

if TYPE_CHECKING:
    from rich.console import Console

    from vml.certificates.verify import VerifiedCertificate
    from vml.client.auditing import Judge, Seen
    from vml.client.server_log import Log
    from vml.transparency.audit import Evidence
    from vml.transparency.note import VerifierKey

MAX_KEY_FILE = 4096
DIGEST = 66
NOT_SHOWN = (
    "that everybody is shown the same log: compare checkpoints with other auditors",
    "that an entry is as old as it says, but for what stood under a checkpoint that you took",
    "that the log has no second entry of the same claim, which says another time: a copy of all entries shows that",
    "that nothing else was decided about a case: which claims are its own is the server's word",
)
app = command_app()


@app.command()
def audit(
    claim: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLAIM]", help="Digest, a proof's file, or the case's text: the nonce it was asked by."
        ),
    ] = None,
    log_key: Annotated[
        str, typer.Option("--log-key", metavar="KEY|FILE", help="The log's key, as you learned it elsewhere.")
    ] = "",
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="The server that keeps the log.")
    ] = None,
    database: Annotated[str | None, typer.Option("--database", metavar="URL", help="Its database, instead.")] = None,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", metavar="FILE", help="What an earlier audit wrote, instead.")
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="0xHEX|FILE", help="What was asked under this context.")
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", metavar="FILE", help="The checkpoint you kept: the log only grew. It is renewed."),
    ] = None,
    kept_at: Annotated[
        str | None,
        typer.Option(
            "--kept-at", metavar="TIME", help="When you took that checkpoint, or the evidence: …Z or seconds."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Keep the evidence; it verifies offline.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="DIR|0xID", help="What proofs are checked with.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="DIR|0xDIGEST", help="Verifying key, as for `vml verify`.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="YAML policy for proofs; default: the strict one.")
    ] = None,
    server_key: Annotated[
        str | None, typer.Option("--server-key", metavar="0xID", help="Id of the key whose receipts are expected.")
    ] = None,
    certificate: CertificateFiles = None,
    authority: Authorities = None,
    revocations: RevocationFiles = None,
    require_revocation: RequireRevocation = False,
    revocation_memory: Memory = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find a decision in a server's log: which model made it, when, under whose certificates, and proved how.

    Everything is checked here against the log's key, which you pin: the entry stands under a signed checkpoint, and
    with --since the log only grew since the checkpoint that you kept. Without CLAIM only that is checked. With --model
    it is that model which decided. Certificates are judged for the time of the entry, which is the server's word: your
    own (--certificate) have to hold, those that the server shows are listed where an --authority of yours signed them.
    One that was revoked since counts only with --kept-at: the entry stood under your checkpoint before the revocation.
    VML_API_KEY is sent to the server where it is set.
    """
    from vml.certificates import memory
    from vml.transparency.audit import audit_entry

    out = Output(as_json, quiet)
    if (server is not None) + (database is not None) + (evidence is not None) != 1:
        raise ValueError("where is the log? give one of --server, --database and --evidence")
    if evidence is not None and (since is not None or output is not None):
        raise ValueError("--since and -o need the log itself: --server or --database")
    if claim is None and context is None and (since is None or output is not None):
        raise ValueError("which decision? give CLAIM or --context, or --since alone")
    pin = _log_key(log_key)
    certifying = certificate, authority, revocations, require_revocation, revocation_memory
    digest, wanted = _wanted(claim, context)
    kept = None if evidence is None else _evidence(evidence)
    seen = None if kept_at is None else _seen(kept_at, since, kept, pin)
    judge = _judge(model, key, policy, server_key, *certifying, seen)
    decisions: list[dict[str, Any]] = []
    held: list[VerifiedCertificate] = []
    grown = None
    with _open(server, database) as log:
        found = [kept] if kept is not None else [] if log is None else _search(log, digest, wanted)
        for each in found:
            said, certificates = judge.decision(audit_entry(each, pin, digest=digest, context=wanted), each)
            decisions.append(said)
            held += certificates
        if log is not None and since is not None:
            grown = _grown(log, pin, since, found)
    if output is not None:
        _keep(output, found)
    if revocation_memory is not None:
        memory.remember(revocation_memory, held)
    result: dict[str, Any] = {
        "audited": True,
        "log": pin.name,
        "decisions": decisions,
        "grown": grown,
        "evidence": None if output is None else str(output),
        "not_shown": list(NOT_SHOWN),
    }
    out.result(result, lambda console: _show(console, result))


def _log_key(text: str) -> VerifierKey:
    from vml.transparency.note import VerifierKey

    if not text:
        raise ValueError("--log-key is missing: whose log is it? The server shows its key at /v1/log/key")
    if "+" not in text or Path(text).is_file():
        with Path(text).open("rb") as file:
            text = file.read(MAX_KEY_FILE).decode("utf-8", "replace").strip()
    return VerifierKey.parse(text)


def _judge(
    model: str | None,
    key: str | None,
    policy: Path | None,
    server_key: str | None,
    certificates: list[Path] | None,
    authorities: list[str] | None,
    revocations: list[Path] | None,
    require_revocation: bool,
    memory: Path | None,
    seen: Seen | None,
) -> Judge:
    from vml.backends.types import Environment
    from vml.certificates.authority import Authority
    from vml.certificates.memory import recall
    from vml.claim import parse_bytes32
    from vml.client.auditing import Judge
    from vml.policy import Policy

    if certificates and not authorities:
        raise ValueError("--certificate needs --authority: whose word counts is yours to say, not the certificate's")
    now = int(time.time())
    return Judge(
        model=model,
        policy=None if policy is None else Policy.load(policy),
        environment=Environment(now=now),
        key=key,
        server_key=None if server_key is None else parse_bytes32(server_key),
        authorities=[Authority.load(text) for text in authorities or ()],
        certificates=[read(path) for path in certificates or ()],
        revocations=[read(path) for path in revocations or ()],
        now=now,
        require_revocation=require_revocation,
        known_lists={} if memory is None else recall(memory),
        seen=seen,
    )


def _seen(when: str, since: Path | None, evidence: Evidence | None, pin: VerifierKey) -> Seen:
    """The checkpoint that the auditor took at a time. That the log shown now goes on from it is checked by `_grown`."""
    from vml.client.auditing import Seen
    from vml.transparency.checkpoint import LogProof, open_checkpoint

    if evidence is not None:
        note = LogProof.decode(evidence.log_proof).note
    elif since is not None and since.exists():
        note = read(since)
    else:
        raise ValueError("--kept-at says when you took the checkpoint of --since, or the --evidence: there is none")
    moment = read_moment(when, "--kept-at")
    if moment > time.time():
        raise ValueError("--kept-at is still to come")
    return Seen(open_checkpoint(note, pin).size, moment)


def _wanted(claim: str | None, context: str | None) -> tuple[bytes | None, bytes | None]:
    """The digest or the context that is asked about."""
    from vml.claim import parse_bytes32
    from vml.cli.arguments import read_context
    from vml.proof import Proof
    from vml.transparency.audit import context_of

    under = None if context is None else read_context(context)[0]
    if claim is None:
        return None, under
    if claim.startswith("0x") and len(claim) == DIGEST:
        return parse_bytes32(claim), under
    if Path(claim).is_file():
        claims = Proof.load(claim).claims
        if len(claims) != 1:
            raise ValueError(f"{claim} holds {len(claims)} claims: give the digest of one")
        return claims[0].digest(), under
    if under is not None:
        raise ValueError("a case's text stands for a context: give it or --context")
    return None, context_of(claim)


@contextmanager
def _open(server: str | None, database: str | None) -> Iterator[Log | None]:
    """The log of a server or of a database; None where there is only evidence."""
    if server is not None:
        from vml.client.server_log import ServerLog

        log: Log = ServerLog(server, os.environ.get("VML_API_KEY"))
    elif database is not None:
        from vml.serve.auditing import DatabaseLog

        log = DatabaseLog(database)
    else:
        yield None
        return
    with closing(log):
        yield log


def _search(log: Log, digest: bytes | None, context: bytes | None) -> list[Evidence]:
    """The evidence of what is asked about.

    Raises:
        LogRejected: ABSENT, the log has no entry of it; CROWDED, too many to be one case.
    """
    from vml.client.server_log import MAX_DECISIONS
    from vml.errors import LogRejected

    if digest is None and context is None:
        return []
    digests = [digest] if digest is not None else list(dict.fromkeys(log.asked_under(context or b"")))
    if len(digests) > MAX_DECISIONS:
        raise LogRejected("crowded", f"more than {MAX_DECISIONS} claims under one context: ask by the claim's digest")
    found = [each for each in map(log.evidence, digests) if each is not None]
    if not digests or len(found) != len(digests):
        what = f"the claim 0x{digest.hex()}" if digest is not None else f"the context 0x{(context or b'').hex()}"
        raise LogRejected("absent", f"the log shows no entry of {what}")
    return found


def _grown(log: Log, pin: VerifierKey, since: Path, found: list[Evidence]) -> dict[str, Any]:
    """Check that the log only grew since the kept checkpoint, and that every checkpoint just shown is of that log."""
    from vml.files import write_atomic
    from vml.transparency.audit import audit_growth
    from vml.transparency.checkpoint import LogProof, open_checkpoint

    def size(note: bytes) -> int:
        return open_checkpoint(note, pin).size

    kept, newest = read(since) if since.exists() else None, log.checkpoint()
    if kept is not None and size(kept) > size(newest):
        audit_growth(kept, newest, [], pin)
    notes = [newest, *(LogProof.decode(each.log_proof).note for each in found)]
    chain = sorted(dict.fromkeys(notes if kept is None else [kept, *notes]), key=size)
    for earlier, later in pairwise(chain):
        proof = log.consistency(size(earlier), size(later)) if size(earlier) < size(later) else []
        audit_growth(earlier, later, proof, pin)
    write_atomic(since, chain[-1])
    return {
        "first": None if kept is None else size(kept),
        "second": size(chain[-1]),
        "checkpoint": str(since),
    }


def _keep(path: Path, found: list[Evidence]) -> None:
    from vml.files import write_atomic
    from vml.transparency.audit import Evidence

    if len(found) != 1:
        raise ValueError(f"{len(found)} decisions were found: -o keeps one, give its digest")
    data = found[0].to_bytes()
    Evidence.from_bytes(data)  # what cannot be read again is not kept as if it could
    write_atomic(path, data)


def _evidence(path: Path) -> Evidence:
    from vml.transparency.audit import MAX_EVIDENCE_BYTES, Evidence

    with path.open("rb") as file:
        return Evidence.from_bytes(file.read(MAX_EVIDENCE_BYTES + 1))


def _show(console: Console, result: dict[str, Any]) -> None:
    grown, decisions = result["grown"], result["decisions"]
    headline(console, "audited", f"the log {result['log']}")
    if grown is not None and grown["first"] is None:
        headline(console, "kept", f"its checkpoint of {grown['second']} entries; nothing older was known", "yellow")
    elif grown is not None:
        console.print(f"from {grown['first']} to {grown['second']} entries it only grew")
    for each in decisions:
        rows = table("", "")
        add(rows, "claim", each["digest"])
        add(rows, "model", f"{each['claim']['model']} ({each['model_name']}, {each['semantics']})")
        add(rows, "decided", f"{utc(each['created_at'])}, {each['time']}")
        add(rows, "log entry", f"{each['log_index']} of {each['log_size']}")
        add(rows, "receipt", _receipt(each["receipt"]))
        add(rows, "proof", _proof(each["proof"]))
        for certificate in each["certificates"]:
            add(rows, "certified by", f"{certificate['issuer']} ({certificate['authority']})")
            for measure in certificate["accuracy"]:
                what = f"{measure['metric']} of {measure['output']}: {measure['value']} on {measure['rows']} rows"
                add(rows, "accuracy", f"{what}, against {measure['reference']}")
            add(rows, "valid", f"{utc(certificate['not_before'])} to {utc(certificate['not_after'])}")
            add(rows, "judged", f"for {utc(certificate['judged_for'])}, {certificate['time']}")
            add(rows, "revocation", certificate["remark"])
        if not each["certificates"]:
            add(rows, "certified by", "nobody whose word counts here")
        for reason in each["certificates_refused"]:
            add(rows, "refused", reason)
        for remark in each["remarks"]:
            add(rows, "remark", remark)
        console.print(rows)
    if decisions:
        console.print("Not shown:", *(f"- {each}" for each in result["not_shown"]), sep="\n")
    if result["evidence"] is not None:
        console.print(f"evidence: {result['evidence']}")


def _receipt(said: dict[str, Any] | None) -> str:
    if said is None:
        return "none"
    pinned = "the pinned key" if said["pinned"] else "a key that nobody pinned"
    return f"number {said['sequence']} of {pinned} {said['key_id']}"


def _proof(said: dict[str, Any] | None) -> str:
    if said is None:
        return "none: the server's word, and its receipt"
    if not said["verified"]:
        return f"{said['backend']}, {said['why']}"
    return f"{said['backend']}, {said['assurance']}, {said['security_bits']} bits, about {said['about']}"
