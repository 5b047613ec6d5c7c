"""The pinned roots are those of the genuine certificates, and no others."""

from __future__ import annotations

import hashlib

import pytest

from tests.tee.genuine import VENDORS, read, require
from vml.tee import Family, Root
from vml.tee.anchors import VENDOR_ROOTS
from vml.tee.x509 import der_of, is_simulated, load_certificate, load_chain, public_key_of

require()

FILES = {
    Family.INTEL: ("roots/intel_sgx_root_ca.der",),
    Family.AMD_MILAN: ("roots/amd_milan.ask_ark.pem", "roots/amd_milan.asvk_ark.pem"),
    Family.AMD_GENOA: ("roots/amd_genoa.ask_ark.pem", "roots/amd_genoa.asvk_ark.pem"),
    Family.AMD_TURIN: ("roots/amd_turin.ask_ark.pem", "roots/amd_turin.asvk_ark.pem"),
    Family.AWS_NITRO: ("roots/aws_nitro_root.pem",),
    Family.NVIDIA_DEVICE: ("roots/nvidia_device_root.pem",),
    Family.NVIDIA_RIM: ("roots/nvidia_rim_root.pem",),
}


@pytest.mark.parametrize("root", VENDOR_ROOTS, ids=lambda root: root.family)
def test_a_pinned_root_is_the_vendors(root: Root) -> None:
    assert root in VENDORS.roots
    for path in FILES[root.family]:
        data = read(path)
        top = load_certificate(data) if path.endswith(".der") else load_chain(data)[-1]
        top.verify_directly_issued_by(top)
        assert not is_simulated(top)
        assert VENDORS.find([root.family], der_of(top), public_key_of(top)) is root
        assert VENDORS.find(set(Family) - {root.family}, der_of(top), public_key_of(top)) is None
        if path.endswith(".der"):
            assert hashlib.sha256(data).digest() == root.certificate


def test_every_family_has_one_root() -> None:
    assert [root.family for root in VENDOR_ROOTS] == list(Family) == list(FILES)
    assert not any(root.simulated for root in VENDOR_ROOTS)
