"""What `tests.mutate_verifiers` is told: the tests of each verifier, and mutants that are written by hand."""

from __future__ import annotations

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
