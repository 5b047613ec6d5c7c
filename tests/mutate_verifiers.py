"""Deletes each check of each verifier in turn and sees whether a test notices. Run by ``make check``.

Run: ``python -m tests.mutate_verifiers [--only GLOB] [--list] [--jobs N]``

A verifier is a numbered list of steps: a comment ``# step N: ...`` starts a block that lasts to the next such
comment or the end of its function. Taken out one at a time, in a copy of the package:

* a condition that raises (``if ...: raise``): its test becomes ``False``, as if the check had been forgotten;
  of ``a or b`` each part is dropped by itself;
* a raise that stands alone, or a call made for its effect alone in a step: it becomes ``pass``;
* a handler that turns one error into another: it lets the first error through;
* whatever the table `REWRITTEN` says.

What raises a `VerificationError`, or becomes one, counts in every function of these files, tagged or not.
Statements that define names used later are left alone. A step without anything to take out is an error: its
number promises a check. Each mutant runs the quick tests of its file, which must fail. Tests that take far longer than
they do without the mutation have noticed it, too: a reader without its check for the end never ends.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import io
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The tests that must notice, by file. A file with steps that is missing here is an error.
QUICK_TESTS = {
    "vml/api/verifying.py": ("tests/test_api.py",),
    "vml/backends/optimistic/chain_record.py": ("tests/backends/optimistic/test_bundle_verifier.py",),
    "vml/backends/optimistic/payload.py": ("tests/backends/optimistic/test_bundle_payload.py",),
    "vml/backends/optimistic/signature.py": ("tests/backends/optimistic/test_bundle_signature.py",),
    "vml/backends/optimistic/verifier.py": ("tests/backends/optimistic/test_bundle_verifier.py",),
    "vml/backends/optimistic/step.py": ("tests/backends/optimistic/test_dispute_lists.py",),
    "vml/client/flow.py": ("tests/client/test_client_flow.py",),
    "vml/client/reading.py": ("tests/client/test_client_flow.py",),
    "vml/client/receipts.py": ("tests/client/test_client_receipts.py",),
    "vml/backends/exact/specs.py": ("tests/backends/sumcheck/test_payload.py",),
    "vml/backends/exact/statement.py": ("tests/backends/exact/test_statement.py",),
    "vml/backends/ezkl/payload.py": ("tests/tampering/test_ezkl_statement.py", "tests/backends/ezkl/test_bytes.py"),
    "vml/backends/ezkl/statement.py": ("tests/tampering/test_ezkl_statement.py",),
    "vml/backends/ezkl/verifier.py": (
        "tests/tampering/test_schemes.py",
        "tests/backends/ezkl/test_attacks.py",
        "tests/backends/ezkl/test_ezkl_forgeries.py",
    ),
    "vml/backends/sumcheck/fractions/verifier.py": ("tests/backends/sumcheck/test_fractions.py",),
    "vml/backends/sumcheck/key.py": ("tests/backends/sumcheck/test_key.py",),
    "vml/backends/sumcheck/linear.py": ("tests/tampering/test_sumcheck_lies.py",),
    "vml/backends/sumcheck/opening/columns.py": ("tests/backends/sumcheck/test_opening.py",),
    "vml/backends/sumcheck/opening/verifier.py": ("tests/backends/sumcheck/test_opening.py",),
    "vml/backends/sumcheck/payload.py": ("tests/backends/sumcheck/test_payload.py",),
    "vml/backends/sumcheck/products/verifier.py": ("tests/backends/sumcheck/test_products.py",),
    "vml/backends/sumcheck/rounds.py": (
        "tests/backends/sumcheck/test_fractions.py",
        "tests/backends/sumcheck/test_products.py",
    ),
    "vml/backends/sumcheck/verifier.py": (
        "tests/backends/sumcheck/test_verifier.py",
        "tests/tampering/test_sumcheck_transcript.py",
    ),
    "vml/backends/tee/engines.py": ("tests/backends/tee/test_floats.py",),
    "vml/backends/tee/floats.py": ("tests/backends/tee/test_floats.py",),
    "vml/backends/tee/payload.py": ("tests/backends/tee/test_signed_payload.py", "tests/backends/tee/test_floats.py"),
    "vml/backends/tee/verifier.py": (
        "tests/backends/tee/test_signed_verifier.py",
        "tests/backends/tee/test_float_runs.py",
        "tests/backends/tee/test_gpu_runs.py",
    ),
    "vml/canonical.py": ("tests/test_proof.py",),
    "vml/certificates/chain.py": ("tests/certificates/test_certificate_x509.py",),
    "vml/certificates/envelope.py": ("tests/certificates/test_certificate_format.py",),
    "vml/certificates/reading.py": ("tests/certificates/test_certificate_format.py",),
    "vml/certificates/revocations.py": ("tests/certificates/test_certificate_format.py",),
    "vml/certificates/signatures.py": (
        "tests/certificates/test_certificate_verify.py",
        "tests/certificates/test_certificate_x509.py",
    ),
    "vml/certificates/statement.py": ("tests/certificates/test_certificate_format.py",),
    "vml/certificates/verify.py": ("tests/certificates/test_certificate_verify.py",),
    "vml/chain/tee_evidence.py": ("tests/chain/test_tee_endorsement.py",),
    "vml/claim.py": ("tests/test_claim.py",),
    "vml/client/auditing.py": ("tests/client/test_client_auditing.py",),
    "vml/merkle.py": ("tests/test_merkle.py",),
    "vml/policy.py": ("tests/test_policy.py",),
    "vml/proof.py": ("tests/test_proof.py", "tests/tampering/test_envelope_kinds.py"),
    "vml/tee/azure/evidence.py": ("tests/tee/test_azure_forgeries.py",),
    "vml/tee/azure/hcl.py": ("tests/tee/test_azure_forgeries.py",),
    "vml/tee/azure/texts.py": ("tests/tee/test_azure_forgeries.py",),
    "vml/tee/azure/tpm.py": ("tests/tee/test_azure_forgeries.py",),
    "vml/tee/azure/verify.py": ("tests/tee/test_azure_forgeries.py",),
    "vml/tee/appraisal.py": ("tests/tee/test_appraise.py", "tests/tee/test_appraisal_policy.py"),
    "vml/tee/appraise.py": ("tests/tee/test_appraise.py", "tests/tee/test_appraisal_policy.py"),
    "vml/tee/binding.py": ("tests/tee/test_binding.py",),
    "vml/tee/dcap/collateral.py": ("tests/tee/test_dcap_forgeries.py", "tests/tee/test_dcap_fuzz.py"),
    "vml/tee/dcap/eventlog.py": ("tests/tee/test_eventlog.py",),
    "vml/tee/dcap/pck.py": ("tests/tee/test_dcap_forgeries.py",),
    "vml/tee/dcap/quote.py": ("tests/tee/test_dcap_forgeries.py",),
    "vml/tee/dcap/tcb.py": ("tests/tee/test_dcap_forgeries.py",),
    "vml/tee/dcap/verify.py": ("tests/tee/test_dcap_forgeries.py",),
    "vml/tee/gpus.py": ("tests/tee/test_gpus.py",),
    "vml/tee/files.py": ("tests/tee_sim/test_evidence_files.py",),
    "vml/tee/nitro/cbor.py": ("tests/tee/test_nitro_forgeries.py",),
    "vml/tee/nitro/document.py": ("tests/tee/test_nitro_forgeries.py",),
    "vml/tee/nitro/verify.py": ("tests/tee/test_nitro_forgeries.py",),
    "vml/tee/nvidia/rim.py": ("tests/tee/test_nvidia_forgeries.py",),
    "vml/tee/nvidia/verify.py": ("tests/tee/test_nvidia_forgeries.py",),
    "vml/tee/snp/endorsement.py": ("tests/tee/test_snp_forgeries.py",),
    "vml/tee/snp/report.py": ("tests/tee/test_snp_forgeries.py",),
    "vml/tee/snp/verify.py": ("tests/tee/test_snp_forgeries.py",),
    "vml/transparency/audit.py": ("tests/transparency/test_log_audit.py",),
    "vml/transparency/checkpoint.py": ("tests/transparency/test_log_notes.py",),
    "vml/transparency/note.py": ("tests/transparency/test_log_notes.py",),
    "vml/transparency/tree.py": ("tests/transparency/test_log_tree.py",),
    "vml/tee/x509.py": ("tests/tee/test_x509.py", "tests/tee/test_dcap_forgeries.py"),
}

# Steps that compute instead of raising, and how to leave them out: (file, text, text instead).
REWRITTEN = (
    (
        "vml/policy.py",
        "accepted = _meeting((*self.requirements(), *self.guards()), verdicts)",
        "accepted = tuple(verdicts)",
    ),
    ("vml/api/verifying.py", "public_input=input,", "public_input=None,"),
    (
        "vml/tee/nvidia/rim.py",
        "chain = check_chain(_certificates(root, name), anchors, (Family.NVIDIA_RIM,), Reason.RIM_CHAIN, links=links)",
        "chain = Chain(tuple(_certificates(root, name)), anchors.roots[-1])",
    ),
    ("vml/tee/nvidia/rim.py", "signed = _signed(data, chain.leaf, at, name)", "signed = root"),
    (
        "vml/tee/nvidia/verify.py",
        "matched = _compare(report.blocks, driver, vbios)",
        "matched = len(driver.measurements) + len(vbios.measurements)",
    ),
    ("vml/api/verifying.py", "public_output=output,", "public_output=None,"),
    (
        "vml/certificates/verify.py",
        "authority = _signer(found, authorities, at)",
        "authority = tuple(authorities)[0]",
    ),
    (
        "vml/certificates/verify.py",
        "about = tuple(_identity(statement, claim) for claim in claims)",
        "about = statement.identities[:1]",
    ),
    ("vml/api/verifying.py", "context=context,", "context=decoded.claims[0].context,"),
    # What both sides make: left out, the honest prover leaves it out too, and only a liar shows that it is missing.
    (
        "vml/backends/sumcheck/linear.py",
        'LinearClaim("lookup numerators", tuple(above), sub(numerator, public_above))',
        'LinearClaim("lookup numerators", (), ZERO)',
    ),
    (
        "vml/backends/sumcheck/linear.py",
        'LinearClaim("lookup denominators", tuple(below), sub(denominator, add(public_below, unused)))',
        'LinearClaim("lookup denominators", (), ZERO)',
    ),
    ("vml/backends/sumcheck/linear.py", "return made[0], made[1]", "return made[0], made[0]"),
    ("vml/backends/sumcheck/linear.py", "return made[0], made[1]", "return made[1], made[1]"),
    (
        "vml/backends/sumcheck/linear.py",
        "claims.append(LinearClaim(constraint.source.name, tuple(terms), neg(add(public, product))))",
        "claims.append(LinearClaim(constraint.source.name, (), ZERO))",
    ),
    (
        "vml/backends/sumcheck/linear.py",
        'claims.append(LinearClaim("boundary", (Term(ONE, read, weights),), weighted_sum(codes, weights)))',
        'claims.append(LinearClaim("boundary", (), ZERO))',
    ),
    (
        "vml/backends/sumcheck/opening/verifier.py",
        "claim = add(claim, dot(level1.weights, values))",
        "values.clear()",
    ),
    (
        "vml/backends/sumcheck/opening/verifier.py",
        "claim = add(claim, dot(level2.weights, [dot(combination, entries) for entries in proof.level2_columns]))",
        "combination.clear()",
    ),
    (
        "vml/backends/sumcheck/verifier.py",
        "claims += linear.fraction_claims(arrangement, alpha, beta, sums.point, sums.numerator, sums.denominator)",
        "pass",
    ),
    ("vml/backends/sumcheck/verifier.py", "claims += shape.claims(product.point, product.a, product.b)", "pass"),
    (
        "vml/backends/sumcheck/verifier.py",
        "claims += linear.constraint_claims(arrangement, point, shapes, body.products.values)",
        "pass",
    ),
    ("vml/backends/sumcheck/verifier.py", "claims += linear.boundary_claims(arrangement, point, tensors)", "pass"),
    # A policy that the proof brings itself.
    (
        "vml/backends/tee/verifier.py",
        "rules = accepted_policy(run, environment)",
        "rules = read_policy(run.policy)",
    ),
    # GPUs that nobody appraised, and a runtime that is whatever the proof's bytes are.
    (
        "vml/backends/tee/verifier.py",
        "accepted = [appraise(gpu, rules, at, challenge, nonce_issued_at=sent_at) for gpu in gpus]",
        "accepted = []",
    ),
    ("vml/backends/tee/verifier.py", "described = engine.lines(run.description)", "described = ()"),
    # A chain nobody checked, and a key of any curve.
    (
        "vml/tee/nitro/verify.py",
        "chain = check_chain(_certificates(document), anchors, (Family.AWS_NITRO,), Reason.NITRO_CHAIN)",
        "chain = Chain(_certificates(document), anchors.roots[0])",
    ),
    (
        "vml/tee/nitro/verify.py",
        "key = ec_key_of(chain.leaf, ec.SECP384R1, Reason.NITRO_CHAIN)",
        "key = chain.leaf.public_key()",
    ),
    (
        "vml/tee/snp/verify.py",
        "chain = check_chain(_certificates(collateral), anchors, FAMILIES, Reason.VEK_CHAIN)",
        "chain = Chain(_certificates(collateral), anchors.roots[0])",
    ),
    (
        "vml/tee/snp/verify.py",
        "key = ec_key_of(chain.leaf, ec.SECP384R1, Reason.VEK_CHAIN)",
        "key = chain.leaf.public_key()",
    ),
    # What was asked for is what is shown; and a time for a nonce that somebody else sent.
    ("vml/chain/tee_evidence.py", "asked = key.nonce if nonce is None else nonce", "asked = key.nonce"),
    ("vml/chain/tee_evidence.py", "sent_at = None if nonce is None else nonce_sent_at", "sent_at = nonce_sent_at"),
    # A checkpoint of anybody.
    (
        "vml/transparency/audit.py",
        "checkpoint = open_checkpoint(proof.note, key)",
        'checkpoint = Checkpoint.parse(proof.note.decode().rpartition("\\n\\n")[0] + "\\n")',
    ),
    (
        "vml/transparency/audit.py",
        "before, after = open_checkpoint(earlier, key), open_checkpoint(later, key)",
        'before, after = (Checkpoint.parse(n.decode().rpartition("\\n\\n")[0] + "\\n") for n in (earlier, later))',
    ),
    (
        "vml/transparency/checkpoint.py",
        "found = Checkpoint.parse(open_note(note, (key,)))",
        'found = Checkpoint.parse(note.decode().rpartition("\\n\\n")[0] + "\\n")',
    ),
)

# Steps that cannot be left out, because all that follows is about their result: (file, step).
NEEDED = {
    ("vml/api/verifying.py", "1"),
    ("vml/api/verifying.py", "2"),
    ("vml/certificates/verify.py", "1"),
    ("vml/backends/optimistic/verifier.py", "5"),
    ("vml/backends/sumcheck/opening/verifier.py", "3"),
    ("vml/backends/sumcheck/opening/verifier.py", "12"),
    ("vml/backends/sumcheck/verifier.py", "2"),
    ("vml/backends/sumcheck/verifier.py", "5"),
    ("vml/backends/sumcheck/verifier.py", "8"),
    ("vml/backends/tee/verifier.py", "1"),
    ("vml/backends/tee/verifier.py", "4"),
    ("vml/backends/tee/verifier.py", "7"),
    ("vml/tee/azure/verify.py", "3"),
    ("vml/tee/azure/verify.py", "6"),
    ("vml/tee/nvidia/verify.py", "7"),
}

# Checks that another one repeats on purpose: (file, function, what `--list` prints) and why they stay.
# An entry that no longer stands in its file is an error.
REPEATED = {
    (
        "vml/canonical.py",
        "_check_value",
        "if not -MAX_INTEGER <= item <= MAX_INTEGER: raise NotCanonical",
    ): "rfc8785 refuses it too; the bound is ours, not the library's",
    (
        "vml/canonical.py",
        "_check_value",
        "if not all((isinstance(key, str) for key in item)): raise NotCanonical",
    ): "rfc8785 refuses it too; the rule is ours, not the library's",
    (
        "vml/canonical.py",
        "_object",
        "if len(result) != len(pairs): raise NotCanonical",
    ): "step 3 refuses it too; here the message says what is wrong",
    (
        "vml/canonical.py",
        "_integer",
        "if len(text) > _MAX_INTEGER_TEXT: raise NotCanonical",
    ): "step 3 refuses it too; here before the conversion, which is slow",
    (
        "vml/canonical.py",
        "_refuse_number",
        "raise NotCanonical",
    ): "step 3 refuses it too; here the message says what is wrong",
    (
        "vml/proof.py",
        "Proof.from_bytes",
        "if not isinstance(value['claims'], list) or not 1 <= len(value['claims']) <= MAX_CLAIMS: "
        "raise MalformedProof, without not 1 <= len(value['claims']) <= MAX_CLAIMS",
    ): "the constructor counts too; here before any claim is read",
    (
        "vml/proof.py",
        "Proof.from_bytes",
        "if not isinstance(value['public'], dict): raise MalformedProof",
    ): "the constructor refuses it too, as a caller's mistake",
}

REFUSALS = {
    "CertificateRejected",
    "ClaimMismatch",
    "EvidenceRejected",
    "LogRejected",
    "MalformedProof",
    "NotCanonical",
    "NotFinal",
    "PolicyRejected",
    "ProofRejected",
    # vml.tee.reasons makes the errors of evidence.
    "malformed",
    "rejected",
}

STEP = re.compile(r"#\s*step\s+(\d+[a-z]?)\b", re.IGNORECASE)
PYTEST_OPTIONS = ("-m", "not slow and not torch", "--hypothesis-profile=mutation")
SLOWER = 5
PATIENCE_S = 60
"""A mutant's tests may take `SLOWER` times as long as without it, and this long besides."""
UNCHANGED_S = 900
"""How long tests may take without any mutation."""
MEMORY_KIB = 12 << 20
"""Address space of one run: what never ends would take all there is."""


@dataclass(frozen=True)
class Mutant:
    """One check taken out of one file."""

    file: str
    function: str
    step: str | None
    step_line: int | None
    line: int
    what: str
    source: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line} {self.function}"
        return f"{place} {f'step {self.step}' if self.step else '(no step)'}: {self.what}"


class StepWithoutCheck(Exception):
    """A numbered step has nothing that could be taken out."""


def _replaced(source: str, node: ast.AST, text: str) -> str:
    """The source with one node's text exchanged; positions of `ast` count UTF-8 bytes."""
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = source.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    data = b"".join(lines)
    return (data[:start] + text.encode() + data[end:]).decode()


def _steps(source: str) -> dict[int, str]:
    """Line to number of every step comment."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = STEP.match(token.string) if token.type == tokenize.COMMENT else None
        if match:
            found[token.start[0]] = match[1]
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    def inside(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from inside(child, f"{prefix}{child.name}.")

    return inside(tree, "")


def _raised(statement: ast.stmt) -> str | None:
    """The name of the error a statement raises, "" for a bare raise, None if it does not raise."""
    if not isinstance(statement, ast.Raise):
        return None
    error = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
    return ast.unparse(error).rpartition(".")[2] if error is not None else ""


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def _edits(function: ast.AST, source: str, in_step: Callable[[int], bool]) -> Iterator[tuple[int, str, str]]:
    """Line, description and new source of everything that can be taken out of a function."""
    seen: set[ast.AST] = set()
    for node in _own(function):
        if isinstance(node, ast.If) and (error := _raised(node.body[-1])) is not None:
            seen.add(node.body[-1])
            if not in_step(node.lineno) and error not in REFUSALS:
                continue
            what = f"if {ast.unparse(node.test)}: raise {error}"
            if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or):
                for part in node.test.values:
                    yield (
                        node.lineno,
                        f"{what}, without {ast.unparse(part)}",
                        _replaced(source, part, "False"),
                    )
            else:
                yield node.lineno, what, _replaced(source, node.test, "False")
        elif isinstance(node, ast.ExceptHandler) and (error := _raised(node.body[-1])):
            seen.add(node.body[-1])
            if in_step(node.lineno) or error in REFUSALS:
                kind = ast.unparse(node.type) if node.type else "everything"
                yield node.lineno, f"except {kind}: raise {error}", _replaced(source, node.body[-1], "raise")
        elif isinstance(node, ast.Raise) and node not in seen:
            if (error := _raised(node)) in REFUSALS:
                yield node.lineno, f"raise {error}", _replaced(source, node, "pass")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and in_step(node.lineno):
            yield node.lineno, ast.unparse(node), _replaced(source, node, "pass")


def mutants_of(file: str, source: str, rewritten: Iterable[tuple[str, str]] = ()) -> list[Mutant]:
    """Every mutant of one file.

    Args:
        file: its name in the checkout.
        source: its text.
        rewritten: texts that stand in it once each, and what to put instead.

    Raises:
        StepWithoutCheck: a step has nothing to take out.
        ValueError: a text to rewrite does not stand in the source exactly once.
    """
    steps = _steps(source)
    functions = list(_functions(ast.parse(source)))
    found: list[Mutant] = []

    def step_line(function: ast.FunctionDef | ast.AsyncFunctionDef, line: int) -> int | None:
        return max((at for at in steps if function.lineno <= at < line), default=None)

    for name, function in functions:

        def in_step(line: int, function: ast.FunctionDef | ast.AsyncFunctionDef = function) -> bool:
            return step_line(function, line) is not None

        for line, what, text in _edits(function, source, in_step):
            at = step_line(function, line)
            found.append(Mutant(file, name, steps[at] if at else None, at, line, what, text))
    for old, new in rewritten:
        if source.count(old) != 1:
            raise ValueError(f"{file}: not there exactly once: {old}")
        line = source[: source.index(old)].count("\n") + 1
        inner = [(n, f) for n, f in functions if f.lineno <= line <= (f.end_lineno or 0)]
        name, function = inner[-1]
        at = step_line(function, line)
        what = f"{old} -> {new}"
        found.append(Mutant(file, name, steps[at] if at else None, at, line, what, source.replace(old, new)))
    empty = [line for line in steps if all(line != mutant.step_line for mutant in found)]
    bare = [f"{file}:{line} step {steps[line]}" for line in empty if (file, steps[line]) not in NEEDED]
    if bare:
        raise StepWithoutCheck("nothing to take out: " + ", ".join(bare))
    return sorted(found, key=lambda mutant: mutant.line)


def quick_tests(file: str) -> tuple[str, ...]:
    """The tests that must notice a mutant of a file.

    Raises:
        ValueError: the file has steps and no tests in the table.
    """
    if file not in QUICK_TESTS:
        raise ValueError(f"{file} has numbered steps and no entry in QUICK_TESTS")
    return QUICK_TESTS[file]


def verifier_files() -> list[str]:
    """Every file of vml with a numbered step, and those of the table that have none."""
    files = []
    for path in sorted((ROOT / "vml").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in QUICK_TESTS or _steps(path.read_text(encoding="utf-8")):
            files.append(name)
    return files


def _copy(target: Path) -> None:
    """A checkout in which vml can be changed; what is only read is linked."""
    for entry in ROOT.iterdir():
        if entry.name in ("vml", "tests"):
            ignore = shutil.ignore_patterns("__pycache__") if entry.name == "tests" else None
            shutil.copytree(entry, target / entry.name, ignore=ignore)
        elif entry.name == "pyproject.toml":
            shutil.copy2(entry, target)
        elif not entry.name.startswith(".") and entry.name != "out":
            (target / entry.name).symlink_to(entry)


def _run(checkout: Path, tests: tuple[str, ...], limit_s: float) -> tuple[int, str]:
    """pytest's exit status and the last line that says why; 1 where it took longer than `limit_s`."""
    command = ["sh", "-c", f'ulimit -v {MEMORY_KIB}; exec "$0" "$@"', sys.executable, "-m", "pytest"]
    command += ["-x", "-q", "--no-header", "-p", "no:cacheprovider", *PYTEST_OPTIONS, *tests]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return 1, f"TIME RAN OUT after {limit_s:.0f} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, lines[0] if lines else done.stdout[-2000:]


def notice(checkout: Path, mutant: Mutant, limit_s: float = UNCHANGED_S) -> tuple[bool, str]:
    """Run the tests of a mutant; whether one failed or did not end within `limit_s`, and which."""
    path = checkout / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    try:
        status, detail = _run(checkout, quick_tests(mutant.file), limit_s)
    finally:
        path.write_text(original, encoding="utf-8")
    if status not in (0, 1, 2):  # 2: the module no longer loads, which no test can miss
        raise RuntimeError(f"pytest ended with {status} on {mutant}: {detail}")
    return status != 0, detail


def _check_baseline(checkout: Path, files: list[str]) -> dict[tuple[str, ...], float]:
    """That every test passes without mutation, and how long a mutant's may take, in seconds."""
    where = subprocess.run(
        [sys.executable, "-c", "import vml; print(vml.__file__)"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if not where.startswith(str(checkout)):
        raise RuntimeError(f"the copy is not what is tested: {where}")
    limits = {}
    for tests in dict.fromkeys(quick_tests(file) for file in files):
        start = time.monotonic()
        status, detail = _run(checkout, tests, UNCHANGED_S)
        if status:
            raise RuntimeError(f"{' '.join(tests)} fail without any mutation: {detail}")
        limits[tests] = SLOWER * (time.monotonic() - start) + PATIENCE_S
    return limits


def main() -> int:
    """Run every mutant; 0 when all were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", metavar="GLOB", help="files to take, such as 'vml/proof.py'")
    parser.add_argument("--list", action="store_true", help="list the mutants and stop")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    options = parser.parse_args()

    files = [file for file in verifier_files() if fnmatch.fnmatch(file, options.only)]
    mutants = []
    for file in files:
        rewritten = [(old, new) for name, old, new in REWRITTEN if name == file]
        mutants += mutants_of(file, (ROOT / file).read_text(encoding="utf-8"), rewritten)
    known = {(mutant.file, mutant.function, mutant.what) for mutant in mutants}
    stale = [key for key in REPEATED if fnmatch.fnmatch(key[0], options.only) and key not in known]
    if options.list or stale:
        print(*(mutants if options.list else [f"not in its file any more: {key}" for key in stale]), sep="\n")
        return 1 if stale else 0
    mutants = [mutant for mutant in mutants if (mutant.file, mutant.function, mutant.what) not in REPEATED]

    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="vml-mutants-") as folder:
        free: queue.Queue[Path] = queue.Queue()
        for job in range(options.jobs):
            checkout = Path(folder).resolve() / str(job)
            checkout.mkdir()
            _copy(checkout)
            free.put(checkout)
        limits = _check_baseline(free.queue[0], files)

        def judged(mutant: Mutant) -> tuple[Mutant, bool, str, float]:
            checkout, start = free.get(), time.monotonic()
            try:
                noticed = notice(checkout, mutant, limits[quick_tests(mutant.file)])
                return (mutant, *noticed, time.monotonic() - start)
            finally:
                free.put(checkout)

        with ThreadPoolExecutor(options.jobs) as pool:
            for mutant, noticed, detail, seconds in pool.map(judged, mutants):
                print(f"{'noticed' if noticed else 'MISSED '} {seconds:6.1f} s  {mutant}", flush=True)
                print(f"                  {detail.splitlines()[-1] if detail else ''}"[:200], flush=True)
                if not noticed:
                    unnoticed.append(mutant)
    print(f"{len(mutants)} checks taken out, {len(unnoticed)} missed by every test")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
