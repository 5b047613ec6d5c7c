"""The Python API: compile, prove, verify, and what the command line needs besides.

numpy in, objects out. Nothing here reads the clock, the network or the environment by itself; what a caller does not
hand in is not known. Models, backends and numpy are loaded when a function needs them.
"""

from __future__ import annotations

from vml.api.attesting import tee_pins
from vml.api.cache import CacheEntry, cache_entries, cache_folder, clear_cache
from vml.api.certifying import certified, identities_of
from vml.api.identity import accepted_models, recorded_identities
from vml.api.keys import key_record, read_key, read_opening, save_opening, save_verifying_key
from vml.api.models import ModelLike, compile, load_model
from vml.api.outside import chain_view, held_model
from vml.api.pins import accepted_keys
from vml.api.planning import Choice, Option, choose_backend, picked, plan
from vml.api.proving import prove, require_batch, setup, with_context_preimage
from vml.api.verifying import verify

__all__ = [
    "CacheEntry",
    "Choice",
    "ModelLike",
    "Option",
    "accepted_keys",
    "accepted_models",
    "cache_entries",
    "cache_folder",
    "certified",
    "chain_view",
    "choose_backend",
    "clear_cache",
    "compile",
    "held_model",
    "identities_of",
    "key_record",
    "load_model",
    "picked",
    "plan",
    "prove",
    "read_key",
    "read_opening",
    "recorded_identities",
    "require_batch",
    "save_opening",
    "save_verifying_key",
    "setup",
    "tee_pins",
    "verify",
    "with_context_preimage",
]
