"""`vml tee`: attestation evidence on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli import tee_chain, tee_proposal, tee_rules
from vml.cli import tee_show as show
from vml.cli.arguments import Seed, read_moment
from vml.cli.attested import DEFAULT_SEED
from vml.cli.output import Debug, Json, Output, Quiet, command_app, hexed
from vml.cli.tee_anchors import anchors, simulator

if TYPE_CHECKING:
    from vml.tee.evidence import Evidence
from vml.tee.verified import Verified

app = command_app("""Evidence of trusted execution environments: check it, forecast its end, simulate it.

A processor says which code it runs, and its vendor says that the processor is one. Whoever holds the machine in his
hands is not covered.
""")
policy_app = command_app("""Appraisal policies: which genuine evidence is acceptable.""")
app.add_typer(policy_app, name="policy")

Evidences = Annotated[
    Path, typer.Argument(metavar="EVIDENCE", help="A folder, an *.evidence.json file, or raw bytes with --kind.")
]
Kinds = Annotated[str | None, typer.Option("--kind", metavar="KIND", help="What the raw bytes are, such as tdx.")]
CollateralPath = Annotated[
    Path | None, typer.Option("--collateral", metavar="PATH", help="Collateral to use: DCAP's JSON file, or a folder.")
]
EventLog = Annotated[Path | None, typer.Option("--event-log", metavar="FILE", help="Event log of raw TDX quotes.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="Unix seconds, or UTC as 2027-01-31T00:00:00Z; default: now."),
]
AllowSimulated = Annotated[
    bool, typer.Option("--allow-simulated", help="Trust a simulator's roots, too. Such evidence shows nothing.")
]
Nonce = Annotated[str | None, typer.Option("--nonce", metavar="HEX", help="What the attester was asked to repeat.")]
NonceSentAt = Annotated[
    str | None,
    typer.Option("--nonce-sent-at", metavar="TIME", help="When it was sent, for policies with a maximum age."),
]
PolicyFile = Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="What is acceptable.")]


@app.command()
def verify(
    evidence: Evidences,
    policy: PolicyFile = None,
    nonce: Nonce = None,
    nonce_sent_at: NonceSentAt = None,
    at: At = None,
    kind: Kinds = None,
    collateral: CollateralPath = None,
    event_log: EventLog = None,
    claims_only: Annotated[
        bool, typer.Option("--claims-only", help="Say what genuine evidence claims; whether it is acceptable is open.")
    ] = False,
    second_engine: Annotated[
        bool, typer.Option("--second-engine", help="Ask dcap-qvl about a quote as well; it decides nothing.")
    ] = False,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check evidence offline: is it genuine, and does the policy accept it?

    Everything but policy, nonce and time comes with the evidence. Without a policy nothing is accepted.
    """
    from vml.tee.appraisal import AppraisalPolicy
    from vml.tee.appraise import appraise
    from vml.tee.reasons import Reason, rejected
    from vml.tee.verify import verify_evidence

    if claims_only and (policy is not None or nonce is not None):
        raise ValueError("--claims-only judges nothing: leave out --policy and --nonce")
    if nonce_sent_at is not None and nonce is None:
        raise ValueError("--nonce-sent-at is about a nonce: give --nonce, too")
    sent_at = None if nonce_sent_at is None else read_moment(nonce_sent_at, "--nonce-sent-at")
    moment, asked = read_moment(at), None if nonce is None else _unhex(nonce, "--nonce")
    rules = None if policy is None else AppraisalPolicy.load(policy)
    found = _read(evidence, kind, collateral, event_log)
    verified = verify_evidence(found, anchors(allow_simulated, seed), moment)
    if rules is None and not claims_only:
        raise rejected(Reason.POLICY_INCOMPLETE, "genuine, and without --policy not accepted (or use --claims-only)")
    result = None if rules is None else appraise(verified, rules, moment, asked, nonce_issued_at=sent_at)
    value = _claims(verified)
    value["appraisal"] = None if result is None else result.as_json()
    value["accepted"] = None if result is None else True
    value["second_engine"] = _second(found, verified, moment, seed) if second_engine else None
    Output(as_json, quiet).result(value, lambda console: show.verdict(console, value, result))


@app.command()
def forecast(
    evidence: Evidences,
    at: At = None,
    kind: Kinds = None,
    collateral: CollateralPath = None,
    event_log: EventLog = None,
    allow_simulated: AllowSimulated = False,
    seed: Seed = DEFAULT_SEED,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say when a key under this evidence ends, and what ends first. Checks that it is genuine; judges nothing."""
    from vml.tee import appraise
    from vml.tee.verify import verify_evidence

    moment = read_moment(at)
    found = _read(evidence, kind, collateral, event_log)
    verified = verify_evidence(found, anchors(allow_simulated, seed), moment)
    end = verified.not_after
    value = {
        "kind": str(verified.kind),
        "evidence_id": hexed(verified.evidence_id),
        "at": moment,
        "not_after": end,
        "limited_by": verified.limited_by or None,
        "seconds_left": None if end is None else end - moment,
        "forecast": appraise.forecast(verified, moment),
        "simulated": verified.simulated,
    }
    Output(as_json, quiet).result(value, lambda console: show.forecast(console, value))


@policy_app.command("explain")
def explain_(
    policy: Annotated[Path, typer.Argument(metavar="FILE", help="The policy, YAML.")],
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say in plain words what a policy accepts and refuses."""
    from vml.tee.appraisal import AppraisalPolicy
    from vml.tee.explain import explain

    rules = AppraisalPolicy.load(policy)
    value = {"policy_id": hexed(rules.policy_id), "kinds": list(rules.kinds), "lines": explain(rules)}
    Output(as_json, quiet).result(value, lambda console: show.lines(console, value["lines"]))


@app.command()
def simulate(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="sgx, tdx, snp or nitro.")],
    output: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="A folder, or a file whose name ends in .evidence.json.")
    ],
    fault: Annotated[
        str | None,
        typer.Option("--fault", metavar="F", help="What is wrong: debug, outofdate, revoked, expired, wrong-nonce, …"),
    ] = None,
    seed: Seed = DEFAULT_SEED,
    report_data: Annotated[
        str | None, typer.Option("--report-data", metavar="HEX", help="64 bytes to attest: key digest and nonce.")
    ] = None,
    at: At = None,
    measurement: Annotated[
        list[str] | None, typer.Option("--measurement", metavar="NAME=HEX", help="A measurement; may be repeated.")
    ] = None,
    event_log: Annotated[
        Path | None, typer.Option("--event-log", metavar="FILE", help="TDX: the registers are what this log gives.")
    ] = None,
    public_key: Annotated[
        str | None, typer.Option("--public-key", metavar="HEX", help="Nitro: the document's public key.")
    ] = None,
    quote_version: Annotated[
        int | None, typer.Option("--quote-version", metavar="N", help="TDX: 4 (default) or 5.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make evidence of a machine that does not exist, with collateral and, in a folder, the policy it meets.

    Formats and signatures are real, roots are not: it is refused wherever --allow-simulated is not given. For tests.
    """
    simulated, moment = simulator(), read_moment(at)
    data = simulated.DEFAULT_REPORT_DATA if report_data is None else _unhex(report_data, "--report-data")
    given = dict(_measurement(text) for text in measurement or ())
    log = None if event_log is None else _file(event_log)
    made = simulated.simulate(
        kind,
        report_data=data,
        seed=seed,
        at=moment,
        fault=fault,
        measurements=given,
        event_log=log,
        public_key=None if public_key is None else _unhex(public_key, "--public-key"),
        version=quote_version,
    )
    _save(made, simulated.matching_policy(kind, given, log), output)
    value = {
        "out": str(output),
        "kind": str(made.kind),
        "fault": fault,
        "refused_as": None if fault is None else str(simulated.EXPECTED[made.kind][simulated.Fault(fault)]),
        "seed": seed,
        "at": moment,
        "report_data": hexed(data),
        "nonce": hexed(data[32:]),
        "simulated": True,
    }
    Output(as_json, quiet).result(value, lambda console: show.simulated(console, value))


tee_rules.add_to(app)
tee_chain.add_to(app)
app.add_typer(tee_proposal.app, name="proposal")


def _unhex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise ValueError(f"{name} takes hexadecimal digits, two a byte") from error


def _measurement(text: str) -> tuple[str, bytes]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--measurement {text}: give NAME=HEX")
    return name, _unhex(value, f"--measurement {name}")


def _file(path: Path) -> bytes:
    from vml.tee.files import read_bytes

    return read_bytes(path)


def _read(path: Path, kind: str | None, collateral: Path | None, event_log: Path | None) -> Evidence:
    """The evidence a command works on."""
    from dataclasses import replace

    from vml.tee import files
    from vml.tee.evidence import Kind

    whole = path.is_dir() or path.name.endswith(files.SUFFIX)
    if kind is not None:
        if whole:
            raise ValueError("--kind is for raw bytes: folders and *.evidence.json files say what they are")
        return files.read_raw(Kind(kind), path, collateral, event_log)
    if not whole:
        raise ValueError(f"{path} is neither a folder nor an *.evidence.json file: say what it is, with --kind")
    if event_log is not None:
        raise ValueError("--event-log is for raw bytes: folders and *.evidence.json files hold their own")
    found = files.read(path)
    return found if collateral is None else replace(found, collateral=files.read_collateral_of(found.kind, collateral))


def _save(evidence: Evidence, policy: Any, output: Path) -> None:
    import yaml

    from vml.files import write_atomic
    from vml.tee import files

    output.parent.mkdir(parents=True, exist_ok=True)
    if output.name.endswith(files.SUFFIX):
        write_atomic(output, files.write_json(evidence))
        return
    text = yaml.safe_dump(policy.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
    files.write_folder(evidence, output, {files.POLICY: text.encode()})


def _claims(verified: Verified) -> dict[str, Any]:
    """What genuine evidence says, as JSON."""
    from dataclasses import asdict

    def shown(value: Any) -> Any:
        if isinstance(value, bytes):
            return hexed(value)
        if isinstance(value, dict):
            return {name: shown(item) for name, item in value.items()}
        return [shown(item) for item in value] if isinstance(value, tuple | list) else value

    tcb = getattr(verified, "tcb", None)
    return {
        "genuine": True,
        "kind": str(verified.kind),
        "simulated": verified.simulated,
        "evidence_id": hexed(verified.evidence_id),
        "at": verified.at,
        "not_after": verified.not_after,
        "limited_by": verified.limited_by or None,
        "measurements": shown(dict(verified.measurements)),
        "debug": verified.debug,
        "tcb": None if tcb is None else shown(asdict(tcb)),
        "platform_id": shown(verified.platform_id),
        "report_data": hexed(verified.report_data),
        "bound_digest": shown(verified.bound_digest),
        "nonce": shown(verified.nonce),
        "physical_adversary": "not covered",
    }


def _second(evidence: Evidence, verified: Verified, at: int, seed: str) -> dict[str, Any]:
    """What dcap-qvl says, and how that differs."""
    from vml.tee.dcap.second import disagreement, second_opinion
    from vml.tee.verified import SgxClaims, TdxClaims

    if not isinstance(verified, SgxClaims | TdxClaims):
        raise ValueError("--second-engine is about quotes of SGX and TDX")
    opinion = second_opinion(evidence, at, simulator().intel_root(seed) if verified.simulated else None)
    return {
        "engine": "dcap-qvl",
        "status": opinion.status or None,
        "refused": opinion.error or None,
        "disagreement": disagreement(verified, opinion) or None,
    }
