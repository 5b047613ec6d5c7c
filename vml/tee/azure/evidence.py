"""Evidence of an Azure confidential VM as its attesters write it: one JSON object.

::

    {"version": 1 or 2,
     "tpm_quote": {"message": hex, "signature": hex, "pcrs": [24 of hex]},
     "hcl_report": base64url,
     "vcek": base64url of DER (SNP)  |  "td_quote": base64url (TDX)}

and, for SNP, an older form without a version: ``quote`` in place of ``tpm_quote``, ``report`` in place of
``hcl_report``, bytes as lists of numbers and the VCEK as PEM. Other members are refused. The VCEK is the one that the
collateral has to bring, too.

Source: confidential-containers, trustee, verifiers ``az_snp_vtpm`` and ``az_tdx_vtpm``.
"""

from __future__ import annotations

from dataclasses import dataclass

from vml.tee.azure.texts import from_base64url, from_hex, from_numbers, from_pem, read_object
from vml.tee.reasons import malformed

MAX_EVIDENCE = 1 << 18
VERSIONS = (1, 2)
REGISTERS = 24
REGISTER = 32
SIGNATURE = 256
FORMS = ({"version", "tpm_quote", "hcl_report", "vcek"}, {"version", "tpm_quote", "hcl_report", "td_quote"})
OLD_FORMS = ({"quote", "report", "vcek"},)


@dataclass(frozen=True, slots=True)
class VtpmEvidence:
    """The parts of evidence; nothing is verified. Exactly one of `vek` (DER) and `td_quote` is there."""

    hcl_report: bytes
    message: bytes
    signature: bytes
    pcrs: tuple[bytes, ...]
    vek: bytes | None
    td_quote: bytes | None


def read_vtpm_evidence(data: bytes) -> VtpmEvidence:
    """Read evidence of either form.

    Raises:
        MalformedProof: anything else.
    """
    # step 1: it is one JSON object of one of the forms.
    if len(data) > MAX_EVIDENCE:
        raise malformed("evidence", f"{len(data)} bytes, at most {MAX_EVIDENCE}")
    item = read_object(data, "evidence")
    old = "version" not in item
    quote_name, report_name = ("quote", "report") if old else ("tpm_quote", "hcl_report")
    forms = OLD_FORMS if old else FORMS
    if item.keys() not in forms:
        raise malformed("evidence", f"members {sorted(item)}")
    if not old and (type(item["version"]) is not int or item["version"] not in VERSIONS):
        raise malformed("evidence", "another version")
    # step 2: the quote has its three parts, of their sizes.
    quote = item[quote_name]
    if not isinstance(quote, dict) or quote.keys() != {"message", "signature", "pcrs"}:
        raise malformed("evidence", "another quote")
    octets = from_numbers if old else from_hex
    signature, registers = octets(quote["signature"], "signature"), quote["pcrs"]
    pcrs = tuple(octets(value, "pcrs") for value in (registers if isinstance(registers, list) else ()))
    if len(signature) != SIGNATURE or len(pcrs) != REGISTERS or any(len(value) != REGISTER for value in pcrs):
        raise malformed("evidence", "a signature or registers of another size")
    return VtpmEvidence(
        hcl_report=(from_numbers if old else from_base64url)(item[report_name], report_name),
        message=octets(quote["message"], "message"),
        signature=signature,
        pcrs=pcrs,
        vek=(from_pem if old else from_base64url)(item["vcek"], "vcek") if "vcek" in item else None,
        td_quote=from_base64url(item["td_quote"], "td_quote") if "td_quote" in item else None,
    )
