"""Chains: an EVM in this process, nodes over JSON-RPC, our contracts, and deploying them.

Everything here needs the extra ``chain``; modules that load it are imported by whoever needs them. What goes wrong on
a chain is a `vml.errors.ChainError` that says what happened and what to do.
"""
