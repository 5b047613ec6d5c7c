"""`vml demo`: the whole path on a handwritten digit, and four ways to cheat that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vml.cli.output import Debug, Json, Output, Quiet, add, command_app, headline, hexed, seconds, size, table
from vml.errors import VerificationError
from vml.keccak import keccak256

if TYPE_CHECKING:
    from vml.backends.types import Keys
    from vml.claim import Context
    from vml.model import Model
    from vml.proof import Proof

app = command_app()

CIRCUIT = "digits-cnn"
BACKENDS = ("sumcheck", "ezkl")
SHADES = " ░▒▓█"
VERIFY_TIMEOUT_S = 120


@dataclass(frozen=True)
class Step:
    """Something that was done: its name, how long it took, and what it left on disk."""

    name: str
    seconds: float
    bytes: int | None


@dataclass(frozen=True)
class Attack:
    """A way to cheat: on which backend, what was tried, whether it was refused, and in which words."""

    backend: str
    name: str
    tried: str
    refused: bool
    error: str


@app.command()
def demo(
    circuits: Annotated[Path, typer.Option("--circuits", help="The folder of shipped models.")] = Path("circuits"),
    digit: Annotated[int, typer.Option("--digit", min=0, help="Which held-out digit, by its number.")] = 4,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Prove what a small network says about a handwritten digit, verify it elsewhere, and fail to cheat.

    Compiles and proves from scratch in a folder of its own, with each backend. The verifier is a second process that
    has the proof, the model's 32-byte identity, for sumcheck the key's digest, the context, and nothing else. Then a
    contract on an EVM in this process verifies an ezkl proof and pays for it. At last two players put down bonds for a
    true and a false answer, and a watcher takes the false one apart.
    """
    place = circuits / CIRCUIT
    if not (place / "model.onnx").is_file():
        raise FileNotFoundError(2, "no shipped model here; name the repository's folder with --circuits", str(place))
    out = Output(as_json, quiet)
    with tempfile.TemporaryDirectory(prefix="vml-demo-") as scratch:
        value = _Demo(out, place, Path(scratch), digit).run()
    out.result(value, lambda console: _show(console, value))
    accepted = [attack["name"] for attack in value["attacks"] if not attack["refused"]]
    if accepted:
        raise VerificationError(f"an attack was accepted: {', '.join(accepted)}")


class _Demo:
    """One run; `steps` collects what was measured."""

    def __init__(self, out: Output, circuit: Path, work: Path, digit: int) -> None:
        self.out, self.circuit, self.work, self.digit = out, circuit, work, digit
        self.steps: list[Step] = []
        self.keys: dict[str, Keys] = {}
        self.proofs: dict[str, Proof] = {}
        self.liars: dict[str, Proof] = {}

    def run(self) -> dict[str, Any]:
        import numpy as np

        from vml.arrays import load_arrays
        from vml.claim import Context

        started = time.monotonic()
        rows = load_arrays(self.circuit / "holdout.npz")
        labels = rows.pop("labels")
        if self.digit >= len(labels):
            raise ValueError(f"there are {len(labels)} held-out digits, --digit {self.digit} is not one of them")
        inputs = {name: array[self.digit : self.digit + 1] for name, array in rows.items()}
        image = next(iter(inputs.values())).reshape(8, 8)
        self._say(f"a handwritten {labels[self.digit]}, never seen in training:\n{_drawn(image)}")

        source = (self.circuit / "model.onnx").read_bytes()
        model = self._step("compile", lambda: self._compile(source, "digit.vml"), self.work / "digit.vml")
        integers = model.dequantize(model.run(model.quantize(inputs)))
        decided = int(np.argmax(next(iter(integers.values()))))
        self._say(f"the exact integer model says {decided}")

        request = Context("0x" + "a1" * 20, 1, "0x" + "c0" * 20, os.urandom(32), "0x" + "b0" * 20, 2**64 - 1)
        acts = [self._act(backend, model, source, inputs, request) for backend in BACKENDS]
        paid = self._paid(model, inputs)
        bonds = self._bonds(model, inputs)
        return {
            "digit": int(labels[self.digit]),
            "decided": decided,
            "acts": acts,
            "chain": paid,
            "bonds": bonds,
            "attacks": [attack for act in (*acts, paid) for attack in act["attacks"]],
            "steps": [asdict(step) for step in self.steps],
            "total_s": round(time.monotonic() - started, 1),
        }

    def _act(self, backend: str, model: Model, source: bytes, inputs: Any, request: Context) -> dict[str, Any]:
        """One backend: keys, proof, verification elsewhere, and four ways to cheat."""
        import numpy as np

        from vml import api

        context = request.commitment()
        cached = self.work / "cache" / backend
        keys = self._step(f"{backend}: make keys, once a model", lambda: self._keys(model, backend), cached)
        made = self._step(
            f"{backend}: prove", lambda: api.prove(model, inputs, keys=keys, backend=backend, context=context), None
        )
        proof = api.with_context_preimage(made, request)
        self.proofs[backend] = proof
        self.steps[-1] = replace(self.steps[-1], bytes=len(proof.to_bytes()))
        verdict = self._step(f"{backend}: verify, in another process", lambda: self._verify(proof, keys, context), None)
        if not verdict["verified"]:
            raise VerificationError(f"the honest proof was refused: {verdict['error']}")
        forging = import_module(f"vml.cli.forging_{backend}")
        proved = int(np.argmax(forging.codes(proof, "output")))
        self._say(f"{backend}: verified, the proof shows {proved}; now four ways to cheat")
        attacks = self._attacks(backend, proof, keys, context, source, inputs)
        self.keys[backend] = keys
        return {
            "backend": backend,
            "proved": proved,
            "model": hexed(keys.model),
            "verdict": verdict,
            "attacks": [asdict(attack) for attack in attacks],
        }

    def _attacks(
        self, backend: str, proof: Proof, keys: Keys, context: bytes, source: bytes, inputs: Any
    ) -> list[Attack]:
        """Four proofs in which every label agrees; each is given to a verifier in another process."""
        from vml import api

        forging = import_module(f"vml.cli.forging_{backend}")
        liar = self._compile(_retrained(source), f"liar-{backend}.vml")
        other = api.prove(liar, inputs, keys=self._keys(liar, backend), backend=backend, context=context)
        self.liars[backend] = other
        another = os.urandom(32)
        moved, flipped = forging.codes(proof, "output")[::-1], forging.codes(proof, "input")[::-1]
        tries = (
            ("other model", "retrained in secret, proved, relabelled", forging.other_model(other, proof), context),
            ("other input", "the same answer, for another image", forging.other_input(proof, flipped), context),
            ("other output", "the same image, another answer", forging.other_output(proof, moved), context),
            ("replay", "the same proof, for another request", forging.other_context(proof, another), another),
        )
        started = time.monotonic()
        attacks = []
        for name, tried, forged, expected in tries:
            verdict = self._verify(forged, keys, expected)
            error = verdict["error"]
            refused = not verdict["verified"] and error is not None
            message = f"{error['type']}: {error['message']}" if error else ""
            attacks.append(Attack(backend, name, tried, refused, message))
        self.steps.append(Step(f"{backend}: refuse four forgeries", time.monotonic() - started, None))
        return attacks

    def _paid(self, model: Model, inputs: Any) -> dict[str, Any]:
        """A contract pays for the answer; four ways to be paid for nothing fail."""
        from vml import api
        from vml.cli import forging_ezkl as forging
        from vml.cli.demo_chain import PRICE, Escrow

        keys, earlier = self.keys["ezkl"], self.proofs["ezkl"]
        escrow = self._step("chain: generate and put up the contracts", lambda: Escrow(keys, self.work), None)
        wanted, another = (escrow.ask(earlier.claims[0].input) for _ in range(2))
        context = wanted.context.commitment()
        proof = self._step(
            "chain: prove for the escrow",
            lambda: api.prove(model, inputs, keys=keys, backend="ezkl", context=context),
            None,
        )
        flipped, moved = (forging.codes(proof, side)[::-1] for side in ("input", "output"))
        liar = forging.other_context(forging.other_model(self.liars["ezkl"], proof), context)
        tries = (
            ("other model", "a proof of other weights, relabelled", wanted, liar),
            ("other input", "the answer for another image", wanted, forging.other_input(proof, flipped)),
            ("other output", "another answer for the image", wanted, forging.other_output(proof, moved)),
            ("replay", "the same proof, for a second request", another, proof),
        )
        attacks = []
        for name, tried, request, forged in tries:
            error = escrow.refusal(request, forged)
            attacks.append(Attack("chain", name, tried, error is not None, error or ""))
        gas = self._step("chain: verified by contract, prover paid", lambda: escrow.settle(wanted, proof), None)
        if escrow.earned != PRICE:
            raise VerificationError(f"the escrow owes the prover {escrow.earned}, not {PRICE}")
        self._say(f"an escrow contract verified the proof and paid: {gas:,} gas under {escrow.chain.rules}")
        return {
            "escrow": escrow.address,
            "gas": gas,
            "rules": escrow.chain.rules,
            "attacks": [asdict(a) for a in attacks],
        }

    def _bonds(self, model: Model, inputs: Any) -> dict[str, Any]:
        """A true claim with a bond becomes final; a false one is refuted by a watcher, in a dispute."""
        from vml.cli.demo_dispute import Arena

        arena = self._step("bonds: put up a dispute game, register the model", lambda: Arena(model), None)
        codes = dict(model.quantize(inputs))
        true = self._step("bonds: a true claim, final after its window", lambda: arena.settles(codes), None)
        false = self._step("bonds: a false claim, disputed and slashed", lambda: arena.slashes(codes), None)
        moves = len(false["sent"]["asserter"]) + len(false["sent"]["challenger"])
        self._say(
            f"a liar put down {false['bond'] / 10**18:.4f} ether for another answer and defended it; a watcher with "
            f"the model proved one number wrong to the contract: {moves} moves, {sum(false['gas'].values()):,} gas"
        )
        return {"true": true, "false": false}

    def _compile(self, source: bytes, name: str) -> Model:
        from vml import api
        from vml.arrays import load_arrays

        samples = load_arrays(self.circuit / "calibration.npz")
        with self.out.progress() as progress:
            return api.compile(source, calibration=samples, progress=progress).save(self.work / name)

    def _keys(self, model: Model, backend: str) -> Keys:
        from vml import api
        from vml.backends.types import SetupOptions

        with self.out.progress() as progress:
            options = SetupOptions(cache_dir=self.work / "cache", on_chain=backend == "ezkl", progress=progress)
            return api.setup(model, backend, options)

    def _verify(self, proof: Proof, keys: Keys, context: bytes) -> dict[str, Any]:
        """The verdict of `vml verify` in another process, in an empty folder with nothing but the proof."""
        with tempfile.TemporaryDirectory(prefix="vml-verifier-") as empty:
            proof.save(Path(empty) / "digit.proof.json")
            command = [sys.executable, "-m", "vml", "verify", "digit.proof.json", "--model", hexed(keys.model)]
            command += ["--context", hexed(context), "--json", *self._trust(keys)]
            done = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=VERIFY_TIMEOUT_S)
        try:
            verdict: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise VerificationError(f"the verifier gave no verdict: {done.stderr.strip()[-500:]}") from None
        if (done.returncode == 0) != verdict["verified"]:
            raise VerificationError(f"the verifier ended with {done.returncode}, against its own verdict")
        return verdict

    @staticmethod
    def _trust(keys: Keys) -> list[str]:
        """What this verifier adds: ezkl's test set-up is let through, sumcheck's key is pinned by its digest."""
        return ["--allow-unsafe-setup"] if keys.unsafe_setup else ["--key", hexed(keccak256(keys.verifying_key))]

    def _step(self, name: str, work: Callable[[], Any], left: Path | None) -> Any:
        started = time.monotonic()
        result = work()
        self.steps.append(Step(name, time.monotonic() - started, None if left is None else _bytes(left)))
        return result

    def _say(self, text: str) -> None:
        if not self.out.as_json:
            self.out.note(text)


def _retrained(source: bytes) -> bytes:
    """The same network with other weights: its last layer's outputs in another order."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(source)
    last = model.graph.node[-1].input
    changed = 0
    for tensor in model.graph.initializer:
        if tensor.name in last and 10 in tensor.dims:
            values = numpy_helper.to_array(tensor)
            axis = list(values.shape).index(10)
            tensor.CopyFrom(numpy_helper.from_array(np.flip(values, axis).copy(), tensor.name))
            changed += 1
    if not changed:
        raise ValueError("the demo's model does not end in a layer of ten outputs")
    return bytes(model.SerializeToString())


def _drawn(image: Any) -> str:
    """An image of values from 0 to 1 in block characters, two a pixel."""
    return "\n".join(
        "    " + "".join(SHADES[round(float(value) * (len(SHADES) - 1))] * 2 for value in row) for row in image
    )


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _show(console: Any, value: dict[str, Any]) -> None:
    attacks = table("backend", "attack", "what was tried", "result")
    for attack in value["attacks"]:
        result = f"refused: {attack['error']}" if attack["refused"] else "ACCEPTED"
        add(
            attacks,
            attack["backend"],
            attack["name"],
            attack["tried"],
            result,
            style=None if attack["refused"] else "bold red",
        )
    console.print(attacks)
    steps = table("step", "time", "on disk")
    for step in value["steps"]:
        add(steps, step["name"], seconds(step["seconds"]), "" if step["bytes"] is None else size(step["bytes"]))
    console.print(steps)
    rest = "ezkl's set-up is a test one, as a demo's may be; see `vml srs import` for real ones"
    headline(console, f"done in {value['total_s']:.0f} s;", rest)
