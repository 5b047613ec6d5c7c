"""Settings every test shares."""

from __future__ import annotations

from hypothesis import Phase, settings

# A busy machine is slow, not wrong: time limits are the business of pytest-timeout.
settings.register_profile("vml", deadline=None)
# For tests.mutate_verifiers, where any failure will do: no shrinking, nothing remembered.
settings.register_profile(
    "mutation", settings.get_profile("vml"), phases=(Phase.explicit, Phase.generate), database=None
)
settings.load_profile("vml")
