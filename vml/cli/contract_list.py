"""What `vml contract list` compares: a deployment file with the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vml.errors import ChainError

if TYPE_CHECKING:
    from vml.chain.client import Chain
    from vml.chain.deployment import Deployment


def compare(rpc: str, state: Deployment, value: dict[str, Any]) -> None:
    """Say of each contract, and of the model's entry, whether the chain has it."""
    from vml.chain.client import connect

    chain = connect(rpc, chain_id=state.chain_id)
    if chain.genesis() != state.genesis:
        raise ChainError("the node is on another chain with the same id: its first block differs")
    for name, placed in state.contracts.items():
        try:
            chain.require_code(placed.address, placed.code_hash)
            value["contracts"][name]["state"] = "there"
        except ChainError as error:
            value["contracts"][name]["state"] = "missing or changed"
            value["problems"].append(f"{name}: {error}")
    if not value["problems"] and "key" in state.model:
        value["problems"] += _entry_problems(chain, state)


def _entry_problems(chain: Chain, state: Deployment) -> list[str]:
    from vml.chain import artifacts
    from vml.chain.steps import ROUTE_ACTIVE, number

    key, selector = (bytes.fromhex(state.model[name][2:]) for name in ("key", "selector"))
    router, registry = (state.contracts[name].address for name in ("router", "registry"))
    _, route = chain.call(router, artifacts.load("VmlRouter").abi, "routes", selector)
    contract = artifacts.load("ModelRegistry").abi
    _, deprecated, _ = chain.call(registry, contract, "getModel", number(key))
    _, enabled = chain.call(registry, contract, "backend", key, selector)
    found = {
        "the route is not active": route != ROUTE_ACTIVE,
        "the model is deprecated": deprecated,
        "the backend is not enabled for the model": not enabled,
    }
    return [text for text, wrong in found.items() if wrong]


def deployment(state: Deployment) -> dict[str, Any]:
    """A deployment file as a command's result."""
    value = state.to_json()
    return {
        "chain_id": state.chain_id,
        "deployer": state.deployer,
        "contracts": {name: {**placed, "state": "not checked"} for name, placed in sorted(value["contracts"].items())},
        "steps": value["steps"],
        "model": value["model"],
        "pending": None if state.pending is None else {"step": state.pending[0], "hash": state.pending[1].hash},
    }
