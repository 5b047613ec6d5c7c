"""Settings every test shares."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is slow, not wrong: time limits are the business of pytest-timeout.
settings.register_profile("vml", deadline=None)
settings.load_profile("vml")
