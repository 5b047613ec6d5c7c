"""The backend protocol over signed runs: options, the attester on the wire, what stays unloaded."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.tee import float_runs
from tests.backends.tee.signed_runs import (
    AT,
    CONTEXT,
    INPUTS,
    NONCE,
    SEED,
    altered,
    attesting,
    check,
    decoded,
    honest,
    keys,
    model,
    other_run,
    pins,
    receipt_key,
)
from vml import api
from vml.backends import BACKENDS, get_backend
from vml.backends.tee import TeeBackend, attester
from vml.backends.tee.engines import exact_program
from vml.backends.tee.inside import run
from vml.backends.types import ANY_NONCE, TEE_NONCE, Asserting, Attesting, Keys, SetupOptions, Visibility
from vml.errors import BackendUnavailable, MalformedProof, ProvingError
from vml.policy import Policy
from vml.proof import Proof
from vml.tee_sim import anchors, matching_policy

ROOT = Path(__file__).parents[3]
PUBLIC = Visibility()
Answer = Callable[[bytes], tuple[int, bytes]]


def test_it_is_in_the_table() -> None:
    assert "tee" in BACKENDS
    able = get_backend("tee").capabilities()
    assert (able.assurance, able.semantics, able.exact, able.on_chain) == ("hardware", "vml-int/1", True, True)
    assert not any((able.batch, able.needs_setup, able.pinned_key, able.recomputes))
    assert any("physical adversary: not covered" in line for line in able.trusts)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    TeeBackend().available()
    monkeypatch.setattr("vml.backends.tee.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"vml\[compile,tee\]"):
        TeeBackend().available()


@pytest.mark.parametrize(
    "options",
    [
        {"calibration": {}},
        {"max_error": 0.1},
        {"tune": False},
        {"on_chain": True},
        {"srs": Path("x")},
        {"memory_limit_bytes": 1},
        {"time_limit_s": 1.0},
        {"check": True},
        {"asserting": Asserting()},
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="means nothing"):
        TeeBackend().setup(model(), SetupOptions(**options))


@pytest.mark.parametrize("name", ["optimistic", "sumcheck", "ezkl"])
def test_others_ask_no_attester(name: str) -> None:
    with pytest.raises(ValueError, match="attesting means nothing"):
        get_backend(name).setup(model(), SetupOptions(attesting=Attesting()))


@pytest.mark.parametrize("visibility", [Visibility("private"), Visibility("hashed"), Visibility(model="private")])
def test_nothing_is_hidden(visibility: Visibility) -> None:
    for call in (
        lambda: TeeBackend().setup(model(), SetupOptions(visibility=visibility)),
        lambda: TeeBackend().estimate(model(), visibility),
        lambda: TeeBackend().prove(keys(), INPUTS, CONTEXT, visibility=visibility),
    ):
        with pytest.raises(ValueError, match="cannot be had"):
            call()


def test_misused_keys_and_inputs() -> None:
    backend = TeeBackend()
    for bad in (replace(keys(), backend="sumcheck"), replace(keys(), compiled=None)):
        with pytest.raises(ValueError, match="not tee keys"):
            backend.prove(bad, INPUTS, CONTEXT, visibility=PUBLIC)
    with pytest.raises(ValueError, match="one input"):
        backend.prove(keys(), [INPUTS], CONTEXT, visibility=PUBLIC)
    for call in (backend.recompute, backend.recompute_key):
        with pytest.raises(ValueError, match="tee claim"):
            call(*([b"", honest(), SetupOptions()] if call == backend.recompute else [model(), SetupOptions()]))


@pytest.mark.parametrize(
    "who",
    [
        Attesting(),
        Attesting(attester="http://a", simulate="tdx", at=AT),
        Attesting(simulate="tdx"),
        Attesting(simulate="nvidia", at=AT),
        Attesting(simulate="azure", at=AT),
        Attesting(simulate="tdx", at=AT, nonce=b"1"),
        Attesting(attester="https://a"),
        Attesting(attester="unix:"),
        Attesting(attester="http://a/path"),
        Attesting(attester="a:1"),
    ],
)
def test_who_signs_has_to_be_said(who: Attesting) -> None:
    with pytest.raises(ValueError, match=r"attester|simulator|nonce|kind|Kind"):
        TeeBackend().prove(keys(who), INPUTS, CONTEXT, visibility=PUBLIC)


def test_a_nonce_of_ones_own_and_a_random_one() -> None:
    made = [TeeBackend().prove(keys(attesting(nonce=None)), INPUTS, CONTEXT, visibility=PUBLIC) for _ in range(2)]
    nonces = [decoded(proof).nonce for proof in made]
    assert nonces[0] != nonces[1]
    assert len({decoded(proof).certificate.key_id for proof in made}) == 2
    for proof, nonce in zip(made, nonces, strict=True):
        assert check(proof, held=pins(**{TEE_NONCE: nonce}))


def test_estimate_and_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    found = TeeBackend().estimate(model(), PUBLIC)
    assert found.fits
    assert found.prove_s is None
    size = len(honest().to_bytes())
    assert found.proof_bytes is not None
    assert size / 2 < found.proof_bytes < size * 3
    options = api.plan(model())
    (mine,) = (option for option in options if option.backend == "tee")
    assert mine.serves
    best = api.picked(options)
    assert best is None or best.backend != "tee"
    monkeypatch.setattr(api.planning, "BACKENDS", {"tee": BACKENDS["tee"]})
    with pytest.raises(BackendUnavailable, match="with attested hardware: --backend tee"):
        api.choose_backend(model())


def test_the_public_api(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_bytes(matching_policy("tdx").canonical())
    rules = Policy.default().relaxed(allow_simulated=True)
    for accepted in (policy, matching_policy("tdx"), matching_policy("tdx").policy_id):
        given = api.tee_pins([accepted], anchors=anchors(SEED), nonce=NONCE)
        environment = replace(api.verifying.Environment(), now=AT, pins=given)
        verdict = api.verify(
            honest().to_bytes(), model=model(), context=CONTEXT, policy=rules, input=INPUTS, environment=environment
        )
        assert verdict.assurance == "hardware"
    named = api.tee_pins(["0x" + matching_policy("tdx").policy_id.hex()], nonce=ANY_NONCE, min_epoch=3)
    assert named["tee_policies"] == (matching_policy("tdx").policy_id,)
    assert (named["tee_nonce"], named["tee_min_epoch"]) == ("any", 3)
    with pytest.raises(ValueError, match="hex"):
        api.tee_pins(["0x12"])


# The attester on the wire.


@contextmanager
def listening(answer: Answer, path: Path | None = None) -> Iterator[str]:
    """A server that answers POST /v1/run; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, data = answer(body) if self.path == attester.PATH else (404, b"")
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "local"

        def log_message(self, *arguments: Any) -> None:
            pass

    server: socketserver.BaseServer
    if path is None:
        server = HTTPServer(("127.0.0.1", 0), Handler)
        address = f"http://127.0.0.1:{server.server_port}"
    else:
        server = socketserver.UnixStreamServer(str(path), Handler)
        address = f"unix:{path}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def serve(body: bytes) -> tuple[int, bytes]:
    """An attester as it should be."""
    codes, context, nonce = attester.read_request(body, exact_program(model()))
    key, attestation = receipt_key(nonce=nonce or b"\7" * 32)
    return 200, run(model(), key, attestation, codes, context, AT).to_bytes()


def asking(address: str, nonce: bytes | None = NONCE) -> Proof:
    who: Keys = keys(Attesting(attester=address, nonce=nonce, timeout_s=20))
    return TeeBackend().prove(who, INPUTS, CONTEXT, visibility=PUBLIC)


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_an_attester(over: str, tmp_path: Path) -> None:
    with listening(serve, tmp_path / "s" if over == "unix" else None) as address:
        made = asking(address)
        assert made == honest()
        assert check(made)
        assert decoded(asking(address, None)).nonce == b"\7" * 32


def test_nobody_listens(tmp_path: Path) -> None:
    for address in (f"unix:{tmp_path}/none", "http://127.0.0.1:9"):
        with pytest.raises(ProvingError, match="does not answer"):
            asking(address)


@pytest.mark.parametrize(
    ("status", "data", "words"),
    [
        (503, b'{"error":"busy\\u0007"}', r"refused \(503\): busy\?"),
        (400, b"no json", "without a reason"),
        (400, b'{"error":5}', "without a reason"),
        (302, b"", "refused"),
        (200, b"", "no proof"),
        (200, b"{}", "no proof"),
    ],
)
def test_an_attester_that_refuses(status: int, data: bytes, words: str) -> None:
    with listening(lambda body: (status, data)) as address, pytest.raises(ProvingError, match=words):
        asking(address)


@pytest.mark.parametrize(
    "make",
    [
        other_run,
        lambda: replace(honest(), scheme="tee/2"),
        lambda: replace(honest(), claims=honest().claims * 2),
        lambda: replace(honest(), claims=(replace(honest().claims[0], model=b"\1" * 32),)),
        lambda: replace(honest(), claims=(replace(honest().claims[0], context=b"\1" * 32),)),
        lambda: altered(honest(), nonce=b"\1" * 32),
        lambda: altered(honest(), signature=decoded(other_run()).signature),
        lambda: replace(honest(), payload=b""),
    ],
)
def test_an_attester_that_answers_something_else(make: Callable[[], Proof]) -> None:
    with (
        listening(lambda body: (200, make().to_bytes())) as address,
        pytest.raises(ProvingError, match="the attester's answer"),
    ):
        asking(address)


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attester, "MAX_BYTES", 1000)
    with listening(lambda body: (200, bytes(1001))) as address, pytest.raises(ProvingError, match="larger"):
        asking(address)


def request(**change: Any) -> bytes:
    whole = json.loads(attester.write_request(exact_program(model()), codes(), CONTEXT, NONCE))
    whole.update(change)
    return json.dumps({k: v for k, v in whole.items() if v != "gone"}, sort_keys=True, separators=(",", ":")).encode()


def codes() -> dict[str, Any]:
    found: dict[str, Any] = model().quantize(INPUTS)
    return found


def read(data: bytes) -> Any:
    return attester.read_request(data, exact_program(model()))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not say"),
        (b"[]", "not an object"),
        (b'{"engine":"exact","model":"0x00","semantics":null}', "hex"),
        (b'{"engine":"fast","model":"0x00","semantics":null}', "no engine"),
        (b'{"engine":"exact","model":"0x00","semantics":{}}', "exact model has none"),
        (b'{"engine":"float","model":"0x00","semantics":null}', "have a description"),
        (b'{"engine":"float","model":"0x00","semantics":{}}', "description of the runtime"),
        (b'{"engine":["exact"],"model":"0x00","semantics":null}', "does not say"),
    ],
)
def test_an_attester_that_does_not_say_what_it_holds(data: bytes, words: str) -> None:
    with pytest.raises(ProvingError, match=words):
        attester.read_about(data)


def test_what_an_attester_holds() -> None:
    for program in (exact_program(model()), float_runs.loaded().program):
        said = attester.read_about(attester.write_about(program))
        assert said == (program.engine.name, program.identity, program.description)


def test_requests_round_trip() -> None:
    found, context, nonce = read(request())
    assert (context, nonce) == (CONTEXT, NONCE)
    assert all(np.array_equal(found[name], values) for name, values in codes().items())
    assert {name: values.dtype for name, values in found.items()} == {n: v.dtype for n, v in codes().items()}
    assert read(request(nonce=None))[2] is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": "vml-tee-run/2"},
        {"model": "0x" + "11" * 32},
        {"model": 5},
        {"model": "0x" + model().commitment.hex().upper()},
        {"context": "0x12"},
        {"context": None},
        {"nonce": "any"},
        {"nonce": 7},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [5, 5]},
        {"inputs": ["?", "?"]},
        {"inputs": ["", ""]},
        {"inputs": ["é", "é"]},
        {"more": 1},
        {"nonce": "gone"},
    ],
)
def test_requests_of_another_form(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedProof, match="the request"):
        read(request(**change))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 10_000, request() + b" ", b"\xff"])
def test_requests_that_are_none(data: bytes) -> None:
    with pytest.raises(MalformedProof, match="the request"):
        read(data)


# What verifying loads.

VERIFY = """
import sys, time
sys.modules["numpy"] = None
for name in ("numba", "onnx", "onnxruntime", "vml.tee_sim"):
    sys.modules[name] = None
from pathlib import Path
from vml import api
from vml.backends.types import Environment
from vml.policy import Policy
from vml.tee.anchors import Family, Root, TrustAnchors
roots = [Root(Family(f), bytes.fromhex(c), bytes.fromhex(k), simulated=True) for f, c, k in {roots!r}]
pins = api.tee_pins([{policy!r}], anchors=TrustAnchors.vendors().with_simulator(roots), nonce="any")
verdict = api.verify(Path({proof!r}).read_bytes(), model=bytes.fromhex({model!r}), context=bytes.fromhex({context!r}),
    policy=Policy.default().relaxed(allow_simulated=True), environment=Environment(now={at}, pins=pins))
print(verdict.assurance, [name for name in sys.modules if name.startswith(("vml.tee_sim", "vml.model.executor"))])
"""


@pytest.mark.parametrize("engine", ["exact", "float"])
def test_verifying_loads_no_numpy_no_runtime_and_no_simulator(tmp_path: Path, engine: str) -> None:
    from vml.tee_sim import roots

    proof = honest() if engine == "exact" else float_runs.honest()
    (tmp_path / "p").write_bytes(proof.to_bytes())
    (tmp_path / "policy").write_bytes(matching_policy("tdx").canonical())
    code = VERIFY.format(
        roots=[(str(r.family), r.certificate.hex(), r.public_key.hex()) for r in roots(SEED)],
        policy=str(tmp_path / "policy"),
        proof=str(tmp_path / "p"),
        model=proof.claims[0].model.hex(),
        context=CONTEXT.hex(),
        at=AT,
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == ["hardware", "['vml.tee_sim']\n"]
