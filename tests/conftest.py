"""Settings every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, settings

# A busy machine is slow, not wrong: time limits are the business of pytest-timeout.
settings.register_profile("vml", deadline=None)
# For tests.mutate_verifiers, where any failure will do: no shrinking, nothing remembered.
settings.register_profile(
    "mutation", settings.get_profile("vml"), phases=(Phase.explicit, Phase.generate), database=None
)
settings.load_profile("vml")

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
unlisted_skips: list[str] = []


def pytest_configure() -> None:
    unlisted_skips.clear()


def _record(report: pytest.CollectReport | pytest.TestReport) -> None:
    """Note a skip whose reason is not listed."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    where = report.longrepr
    reason = str(where[2] if isinstance(where, tuple) else where).removeprefix("Skipped: ")
    listed = [line for line in ALLOWED_SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    if reason not in listed:
        unlisted_skips.append(f"{report.nodeid}: {reason}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _record(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _record(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip hides a test: only listed reasons are good ones."""
    if unlisted_skips:
        print("\nskipped for a reason not in tests/allowed_skips.txt:", *unlisted_skips, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
