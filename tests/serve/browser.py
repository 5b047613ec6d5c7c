"""Debian's Chromium, without a screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MISSING = "Debian's chromium is not installed"


def chromium() -> str | None:
    """Where it is; None where it is not."""
    return shutil.which("chromium")


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; it and its processes end with the block."""
    from playwright.sync_api import sync_playwright

    # Chromium's own sandbox takes no superuser; the pages are our own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield running
        running.close()
