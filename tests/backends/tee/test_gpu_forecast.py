"""When a key beside GPUs ends: with whichever evidence ends first."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.backends.tee.gpu_runs import ENGINES, answer, check, policy, proved
from tests.backends.tee.signed_runs import AT
from tests.chain.test_tee_endorsement import judged_gpus, with_gpus
from tests.tee import forge_nvidia
from tests.tee.forge_nvidia import GpuForgery
from vml.cli import tee_show
from vml.tee.appraisal import GpuFirmware, NvidiaSection
from vml.tee.appraise import forecast, soonest


@pytest.mark.parametrize("engine", ENGINES)
def test_a_verdict_names_the_end_of_a_gpus_evidence(engine: str) -> None:
    short = GpuForgery(valid={"key": (AT - 100, AT + 1000)})
    made = proved(engine, gpus=(answer(short),), not_after=AT + 1000)
    assert [line for line in check(made).remarks if line.startswith("this key dies in 16 minutes")]


def test_a_verdict_names_the_end_of_accepted_firmware() -> None:
    pair = GpuFirmware(driver=forge_nvidia.DRIVER, vbios=forge_nvidia.VBIOS, not_after=AT + 500)
    rules = policy(nvidia=NvidiaSection(firmware=(pair,)))
    made = proved(rules=rules, not_after=AT + 500)
    assert [line for line in check(made, rules=rules).remarks if line.startswith("this key dies in 8 minutes")]


def test_an_attestor_is_told_the_soonest_end() -> None:
    results = judged_gpus(with_gpus(bytes([0x5A]) * 32))
    first = soonest(results)
    assert first.not_after == min(result.not_after for result in results if result.not_after is not None)
    assert soonest(results[::-1]) == first
    console = Console(width=200, record=True, file=io.StringIO())
    names = ("chain_id", "contract", "owner", "rules", "key_id", "model", "epoch", "deadline", "attestor", "out")
    tee_show.endorsed(console, {**dict.fromkeys(names, "x"), "simulated": False}, results)
    assert f"with 1 GPUs: {forecast(first, first.at)}" in console.export_text()
