"""Evidence of machines that do not exist: SGX, TDX, SEV-SNP and Nitro under test roots.

The bytes are those of the real formats and every signature is right, so one verifier's code checks both; only the trust
anchors differ, and those are the caller's. Keys follow from a seed that anybody may know: this evidence shows nothing.
Every certificate says so (``SIMULATOR_OID``, ``SIMULATOR_NAME``), and so does every verdict. Needs the extra ``sim``.
No verifier imports this package.
"""

from vml.tee_sim.faults import EXPECTED, Fault
from vml.tee_sim.measurements import default_measurements
from vml.tee_sim.policy import matching_policy
from vml.tee_sim.simulate import DEFAULT_REPORT_DATA, DEFAULT_SEED, KINDS, anchors, intel_root, roots, simulate

__all__ = [
    "DEFAULT_REPORT_DATA",
    "DEFAULT_SEED",
    "EXPECTED",
    "KINDS",
    "Fault",
    "anchors",
    "default_measurements",
    "intel_root",
    "matching_policy",
    "roots",
    "simulate",
]
