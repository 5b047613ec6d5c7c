"""Starts a server of `serve.py` from outside: says what its key is for, and prints the key's certificate.

    python -m attestation.start unix:/run/vml --policy policy.yaml --not-after 2027-01-31T00:00:00Z --collateral DIR

Nothing here is trusted by verifiers: what is said stands in the key certificate, and they compare.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from attestation.serve import START_PATH, write_start
from vml.backends.tee.attester import ask
from vml.errors import VmlError
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.evidence import Evidence, Kind
from vml.tee.files import read_collateral_of

TIMEOUT_S = 60.0


def main() -> int:
    """Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m attestation.start", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address", help="unix:PATH or http://HOST:PORT")
    parser.add_argument("--policy", type=Path, required=True, help="appraisal policy that the key is made for")
    parser.add_argument("--epoch", type=int, default=1)
    parser.add_argument("--not-after", required=True, help="last second of the key, in UTC: 2027-01-31T00:00:00Z")
    parser.add_argument("--kind", choices=("tdx", "snp"), default="tdx", help="whose collateral it is")
    parser.add_argument("--collateral", type=Path, help="file or folder, as docs/tee-evidence.md describes")
    parser.add_argument("--manifests", type=Path, help="folder with driver_rim.xml and vbios_rim.xml, for GPUs")
    options = parser.parse_args()
    try:
        policy, kind = AppraisalPolicy.load(options.policy), Kind(options.kind)
        held = None
        if options.collateral is not None:
            held = Evidence(kind, b"", read_collateral_of(kind, options.collateral))
        not_after = int(datetime.fromisoformat(options.not_after).timestamp())
        manifests = None
        if options.manifests is not None:
            manifests = Evidence(Kind.NVIDIA, b"", read_collateral_of(Kind.NVIDIA, options.manifests))
        body = write_start(policy, options.epoch, not_after, held, manifests)
        print(ask(options.address, body, TIMEOUT_S, START_PATH).decode())
    except (VmlError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
