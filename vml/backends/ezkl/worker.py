"""The process in which ezkl runs: reads jobs from standard input, one JSON object a line, and answers alike.

ezkl holds the interpreter's lock for whole calls, prints to standard output, may panic and may run out of
memory; none of that may happen to the caller. File descriptor 1 is pointed at the log before ezkl is loaded,
so that only answers reach the pipe.

`vml.backends.ezkl.process` is the other side. It runs this file by its path: nothing of vml is imported, since every
proof and every verification waits for this process to start.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

_RUN_ARGS = (
    "input_scale",
    "param_scale",
    "scale_rebase_multiplier",
    "lookup_range",
    "logrows",
    "num_inner_cols",
    "decomp_base",
    "decomp_legs",
    "input_visibility",
    "output_visibility",
    "param_visibility",
)
# A port of this machine where nobody listens.
_NOBODY = "http://127.0.0.1:9"


def _version(ezkl: Any) -> str:
    from importlib.metadata import version

    return version("ezkl")


def _gen_settings(ezkl: Any, model: str, settings: str, run_args: dict[str, Any]) -> dict[str, Any]:
    """Parse and lay out the graph; return the settings, made canonical and written back."""
    arguments = ezkl.PyRunArgs()
    for name in _RUN_ARGS:
        value = run_args[name]
        setattr(arguments, name, tuple(value) if name == "lookup_range" else value)
    ezkl.gen_settings(model, settings, py_run_args=arguments)
    return _canonical(settings)


def _calibrate(ezkl: Any, data: str, model: str, settings: str, target: str) -> dict[str, Any]:
    """ezkl's own calibration, for comparison with the tuner."""
    ezkl.calibrate_settings(data, model, settings, target)
    return _canonical(settings)


def _canonical(settings: str) -> dict[str, Any]:
    """Drop the clock and order the sets in a settings file, so that one circuit has one description."""
    with open(settings, encoding="utf-8") as file:
        value: dict[str, Any] = json.load(file)
    value["timestamp"] = 0
    for name in ("required_range_checks", "required_lookups"):
        value[name] = sorted(value[name], key=lambda item: json.dumps(item, sort_keys=True))
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    with open(settings, "w", encoding="utf-8") as file:
        file.write(text)
    return value


def _compile(ezkl: Any, model: str, compiled: str, settings: str) -> None:
    ezkl.compile_circuit(model, compiled, settings)


def _witness(ezkl: Any, data: str, compiled: str, witness: str) -> dict[str, Any]:
    result: dict[str, Any] = ezkl.gen_witness(data, compiled, witness)
    return result


def _witnesses(ezkl: Any, data: list[str], compiled: str, witness: str) -> list[dict[str, Any]]:
    """Run several samples and keep what calibration needs: outputs, and the ranges that were met."""
    results = []
    for sample in data:
        run = ezkl.gen_witness(sample, compiled, witness)
        results.append({name: run[name] for name in ("outputs", "max_lookup_inputs", "min_lookup_inputs")})
    return results


def _setup(ezkl: Any, compiled: str, vk: str, pk: str, srs: str) -> None:
    ezkl.setup(compiled, vk, pk, srs_path=srs)


def _prove(ezkl: Any, witness: str, compiled: str, pk: str, proof: str, srs: str) -> None:
    ezkl.prove(witness, compiled, pk, proof, srs)


def _verify(ezkl: Any, proofs: list[str], settings: str, vk: str, srs: str) -> list[bool]:
    """Which of several proofs hold."""
    return [_holds(ezkl, proof, settings, vk, srs) for proof in proofs]


def _holds(ezkl: Any, proof: str, settings: str, vk: str, srs: str) -> bool:
    try:
        return bool(ezkl.verify(proof, settings, vk, srs, True))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return False


def _poseidon(ezkl: Any, messages: list[list[str]]) -> list[str]:
    """Poseidon digests of lists of little-endian hexadecimal field elements."""
    return [str(ezkl.poseidon_hash(message)[0]) for message in messages]


def _evm_verifier(ezkl: Any, vk: str, settings: str, srs: str, solidity: str, reusable: bool) -> None:
    """Write the Solidity of a circuit's verifier, or of the one for all circuits.

    ezkl would go on to download a compiler for a file that nobody needs. It is kept from the network, so that it
    fails at once; the Solidity is there by then.
    """
    for name in ("https_proxy", "http_proxy", "all_proxy"):
        os.environ[name] = os.environ[name.upper()] = _NOBODY
    try:
        _wait(lambda: ezkl.create_evm_verifier(vk, settings, solidity, solidity + ".abi", srs, reusable))
    except RuntimeError:
        if not os.path.exists(solidity):
            raise


def _evm_vka(ezkl: Any, vk: str, settings: str, srs: str, vka: str) -> None:
    """Write a circuit as the verifier for all circuits takes it; instances are not scaled (0 decimals)."""
    _wait(lambda: ezkl.create_evm_vka(vk, settings, vka, srs, 0))


def _wait(start: Callable[[], Any]) -> Any:
    """Run one of ezkl's coroutines, which want a running loop when they are made."""

    async def run() -> Any:
        return await start()

    return asyncio.run(run())


OPERATIONS: dict[str, Callable[..., Any]] = {
    "version": _version,
    "gen_settings": _gen_settings,
    "calibrate": _calibrate,
    "compile": _compile,
    "witness": _witness,
    "witnesses": _witnesses,
    "setup": _setup,
    "prove": _prove,
    "verify": _verify,
    "poseidon": _poseidon,
    "evm_verifier": _evm_verifier,
    "evm_vka": _evm_vka,
}


def main() -> int:
    """Serve jobs until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        import ezkl
    except ImportError as error:
        print(json.dumps({"failed": "missing", "message": str(error)}), file=answers, flush=True)
        return 1
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"result": OPERATIONS[job["operation"]](ezkl, **job["arguments"])}
        # A Rust panic arrives as a BaseException that is no Exception; it must become an answer too.
        except BaseException as error:
            kind = "error" if isinstance(error, Exception) else "panic"
            answer = {"failed": kind, "message": str(error)[:4000]}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
