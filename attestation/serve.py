"""The loop inside: hash the weights, make a key, have it attested, run the model, sign what it gave.

::

    python -m attestation.serve MODEL.vml --attester tdx --listen unix:/run/vml [--engine float] [--gpus]

The order is the point. The model is loaded, and with it every weight hashed, before there is a key. The key never
leaves the process and ends with it. Claims are made of the very arrays that the engine read and wrote, and every
receipt has a higher number than the one before. What is signed cannot be altered on the way; nothing is encrypted.

    POST /v1/about   {}: the engine, the model's identity, what runs it. Also before the start
    POST /v1/start   what the key is for; once, by the host (`start.py`). The key is made then
    POST /v1/run     as `vml prove --backend tee --attester ADDRESS` asks (`vml.backends.tee.attester`): the proof
    POST /v1/attest  {"nonce":"0x…"}: certificate, evidence of processor and GPUs, for who registers the key

A start names the appraisal policy, the epoch and the key's last second. None of them can be part of what is measured,
since the policy names the measurements; they stand in the key certificate instead, and verifiers compare.

Bodies are canonical JSON, and errors ``{"error": text}``. What is measured and what is not: `README.md`.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.attester import HALF, AttestationFailed, Attester
from vml import canonical
from vml.backends.tee.attester import ABOUT_PATH, MAX_REQUEST_BYTES, PATH, read_request, write_about
from vml.backends.tee.engines import ENGINES
from vml.backends.tee.inside import Attestation, Loaded, ReceiptKey, loaded, naming_gpus, run
from vml.backends.tee.payload import read_policy
from vml.backends.tee.session import CPU, CUDA, PROVIDERS, FloatModel
from vml.canonical import JSON
from vml.claim import parse_bytes32
from vml.errors import MalformedProof, OutOfRange, VmlError
from vml.model.compiled import Model
from vml.proof import Proof
from vml.tee.appraisal import AppraisalPolicy
from vml.tee.binding import Algorithm, KeyCertificate, public_key_of
from vml.tee.evidence import Collateral, Evidence, NvidiaCollateral
from vml.tee.files import MAX_BYTES, read_json, write_json
from vml.tee.gpus import gpu_nonce

START_PATH, ATTEST_PATH = "/v1/start", "/v1/attest"
NUMBER = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
MAX_ATTEST_REQUEST = 1 << 10
TIMEOUT_S = 60.0
CURVES = {Algorithm.SECP256K1: ec.SECP256K1(), Algorithm.P256: ec.SECP256R1()}

Array = np.ndarray[Any, np.dtype[Any]]
Gpus = Callable[[bytes], Sequence[Evidence]]
"""Evidence of every GPU in use that answers an SPDM nonce of 32 bytes."""


class Service:
    """One model, one key.

    Args:
        model: loaded, so that its weights were hashed; the key is made afterwards, here. Of a float run a `FloatModel`.
        attester: of the processor.
        policy: the appraisal policy that the key is made for; a verifier compares its id.
        epoch: of the key.
        not_after: last unix second at which it signs. Evidence that ends earlier makes verifiers refuse it.
        algorithm: of the key.
        gpus: of the GPUs, where there are some.
        collateral: to go with evidence that has none.
        manifests: with NVIDIA's manifests, to go with evidence of GPUs.
        clock: unix seconds. The host may set it.
    """

    def __init__(
        self,
        model: Model | Loaded,
        attester: Attester,
        policy: AppraisalPolicy,
        *,
        epoch: int,
        not_after: int,
        algorithm: Algorithm = Algorithm.SECP256K1,
        gpus: Gpus | None = None,
        collateral: Collateral | None = None,
        manifests: Collateral | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        held = loaded(model)
        commitment = held.program.identity
        key = ec.generate_private_key(CURVES[algorithm])
        self._certificate = KeyCertificate(
            algorithm, public_key_of(key), commitment, policy.policy_id, epoch, not_after
        )
        self._key = ReceiptKey(key, self._certificate, policy)
        self._model, self._attester, self._clock = held, attester, clock
        self._gpus, self._collateral, self._manifests = gpus, collateral, manifests
        self._attesting, self._running = threading.Lock(), threading.Lock()
        self._latest: Attestation | None = None

    @property
    def certificate(self) -> KeyCertificate:
        """Of the key, without GPUs: those stand in it once they answered."""
        return self._certificate

    def attest(self, nonce: bytes) -> tuple[KeyCertificate, Attestation]:
        """The key with fresh evidence that answers a nonce of 32 bytes, of the processor and of the GPUs.

        GPUs answer first, with a nonce of this key; the digest of what they answered goes into the key certificate; the
        processor attests that one.

        Raises:
            AttestationFailed: there is no evidence.
            ValueError: a nonce of another size.
            MalformedProof: a GPU's evidence cannot be read.
        """
        certificate, gpus = self._certificate, tuple[Evidence, ...]()
        with self._attesting:
            if self._gpus is not None:
                gpus = tuple(map(self._with_manifests, self._gpus(gpu_nonce(certificate.public_key, nonce))))
                if not gpus:
                    raise AttestationFailed("there are no GPUs")
                certificate = naming_gpus(certificate, gpus)
            evidence = self._attester.attest(certificate.digest(), nonce, certificate.public_key)
            if evidence.collateral is None:
                evidence = replace(evidence, collateral=self._collateral)
            self._latest = Attestation(nonce, evidence, gpus)
            return certificate, self._latest

    def _with_manifests(self, gpu: Evidence) -> Evidence:
        """Evidence of a GPU, with the manifests where it has none."""
        held, more = gpu.collateral, self._manifests
        if not isinstance(held, NvidiaCollateral) or not isinstance(more, NvidiaCollateral):
            return gpu
        driver, vbios = held.driver_rim or more.driver_rim, held.vbios_rim or more.vbios_rim
        return replace(gpu, collateral=replace(held, driver_rim=driver, vbios_rim=vbios))

    def prove(self, inputs: Mapping[str, Array], context: bytes, nonce: bytes | None = None) -> Proof:
        """One run and its receipt.

        Args:
            inputs: arrays by input name: codes, or values of a float run.
            context: 32 bytes the claim is bound to.
            nonce: 32 bytes that the evidence has to answer; None takes the latest.

        Raises:
            AttestationFailed: there is no evidence.
            ProvingError: the key's time is over, or the model cannot be run on this.
            ValueError: arguments that do not fit the model.
        """
        latest = self._latest
        if latest is None or nonce not in (None, latest.nonce):
            latest = self.attest(secrets.token_bytes(HALF) if nonce is None else nonce)[1]
        with self._running:  # the engine uses all processors by itself
            return run(self._model, self._key, latest, inputs, context, int(self._clock()))


class Room:
    """A model that was hashed, and, once it was started, its service.

    Args:
        model: loaded; of a float run a `FloatModel`.
        attester: of the processor.
        options: further arguments of `Service`.
    """

    def __init__(self, model: Model | Loaded, attester: Attester, **options: Any) -> None:
        self._model = loaded(model)
        self.program = self._model.program
        self._attester, self._options = attester, options
        self._service: Service | None = None
        self._starting = threading.Lock()

    def start(
        self,
        policy: AppraisalPolicy,
        epoch: int,
        not_after: int,
        collateral: Collateral | None,
        manifests: Collateral | None = None,
    ) -> Service:
        """Make the key. Arguments as of `Service`.

        Raises:
            ValueError: it was started before, or a number is out of range.
        """
        with self._starting:
            if self._service is not None:
                raise ValueError("started already: another key needs another process")
            given = {**self._options, "epoch": epoch, "not_after": not_after}
            given |= {"collateral": collateral, "manifests": manifests}
            self._service = Service(self._model, self._attester, policy, **given)
            return self._service

    def answer(self, path: str, body: bytes) -> bytes:
        """What one request gives.

        Raises:
            ValueError, MalformedProof: not a request, or not now.
            VmlError: no evidence, or no proof.
        """
        if path == ABOUT_PATH:
            if body != b"{}":
                raise ValueError("the request is not an empty object")
            return write_about(self.program)
        if path == START_PATH:
            started = self.start(*read_start(body))
            return canonical.encode({"certificate": described(started.certificate)})
        service = self._service
        if service is None:
            raise ValueError(f"not started: {START_PATH} first")
        if path == PATH:
            inputs, context, nonce = read_request(body, self.program)
            return service.prove(inputs, context, nonce).to_bytes()
        if path != ATTEST_PATH:
            raise ValueError(f"requests go to {ABOUT_PATH}, {START_PATH}, {PATH} or {ATTEST_PATH}")
        item = canonical.decode(body, max_bytes=MAX_ATTEST_REQUEST)
        if not isinstance(item, dict) or set(item) != {"nonce"}:
            raise ValueError("the request is not an object with a nonce")
        certificate, attestation = service.attest(parse_bytes32(item["nonce"]))
        evidence = (attestation.evidence, *attestation.gpus)
        parts = [canonical.decode(write_json(found), max_bytes=MAX_BYTES) for found in evidence]
        held = {"certificate": described(certificate), "evidence": parts[0], "gpus": parts[1:], "nonce": item["nonce"]}
        return canonical.encode(held)


def write_start(
    policy: AppraisalPolicy,
    epoch: int,
    not_after: int,
    collateral: Evidence | None,
    manifests: Evidence | None = None,
) -> bytes:
    """The body of a start.

    Args:
        policy, epoch, not_after: as of `Service`.
        collateral, manifests: any evidence with the collateral; it travels in the evidence's own form.
    """
    held = {"collateral": collateral, "manifests": manifests}
    parts: dict[str, JSON] = {
        name: None if part is None else canonical.decode(write_json(part), max_bytes=MAX_BYTES)
        for name, part in held.items()
    }
    return canonical.encode(
        {
            **parts,
            "epoch": str(epoch),
            "not_after": str(not_after),
            "policy": canonical.decode(policy.canonical(), max_bytes=MAX_BYTES),
        }
    )


def read_start(body: bytes) -> tuple[AppraisalPolicy, int, int, Collateral | None, Collateral | None]:
    """Policy, epoch, last second, collateral and manifests of a start.

    Raises:
        ValueError, MalformedProof: anything else.
    """
    item = canonical.decode(body, max_bytes=MAX_REQUEST_BYTES)
    if not isinstance(item, dict) or set(item) != {"collateral", "epoch", "manifests", "not_after", "policy"}:
        raise ValueError("a start is an object of collateral, epoch, manifests, not_after and policy")
    numbers = [item["epoch"], item["not_after"]]
    if not all(isinstance(number, str) and NUMBER.fullmatch(number) for number in numbers):
        raise ValueError("epoch and not_after are decimal numbers, as text")
    given = [item["collateral"], item["manifests"]]
    held = [None if part is None else read_json(canonical.encode(part)).collateral for part in given]
    return read_policy(canonical.encode(item["policy"])), int(numbers[0]), int(numbers[1]), held[0], held[1]


def described(certificate: KeyCertificate) -> dict[str, JSON]:
    """A certificate as JSON: bytes as 0x and hex digits, numbers of 64 bits as text."""
    return {
        "algorithm": int(certificate.algorithm),
        "public_key": "0x" + certificate.public_key.hex(),
        "model": "0x" + certificate.model.hex(),
        "policy_id": "0x" + certificate.policy_id.hex(),
        "epoch": str(certificate.epoch),
        "not_after": str(certificate.not_after),
        "gpus": None if certificate.gpus is None else "0x" + certificate.gpus.hex(),
    }


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """HTTP at an address: ``unix:PATH``, ``http://HOST:PORT`` or ``vsock:PORT``.

    Raises:
        ValueError: no such address.
        OSError: it cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, room: Room, address: str) -> None:
        self.room = room
        self.address_family, place = _place(address)
        super().__init__(place, _Handler)


def _place(address: str) -> tuple[socket.AddressFamily, Any]:
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return socket.AF_UNIX, rest
    if scheme == "vsock" and NUMBER.fullmatch(rest):
        return socket.AF_VSOCK, (socket.VMADDR_CID_ANY, int(rest))
    host, _, port = rest.removeprefix("//").rpartition(":")
    if scheme == "http" and host and NUMBER.fullmatch(port):
        return socket.AF_INET, (host, int(port))
    raise ValueError(f"{address!r} is not unix:PATH, http://HOST:PORT or vsock:PORT")


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT_S
    server: Server

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not NUMBER.fullmatch(length) or int(length) > MAX_REQUEST_BYTES:
            self._send(413, canonical.encode({"error": f"a body has a length of at most {MAX_REQUEST_BYTES} bytes"}))
            return
        try:
            status, data = 200, self.server.room.answer(self.path, self.rfile.read(int(length)))
        except (ValueError, TypeError, MalformedProof, OutOfRange) as error:
            status, data = 400, canonical.encode({"error": str(error)[:500]})
        except VmlError as error:
            status, data = 500, canonical.encode({"error": str(error)[:500]})
        self._send(status, data)

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is logged: the host reads whatever leaves."""


def attester_of(kind: str) -> Attester:
    """The attester of a kind, on its usual interface."""
    if kind == "tdx":
        from attestation.tdx.attester import TdxAttester

        return TdxAttester()
    if kind == "snp":
        from attestation.snp.attester import SnpAttester

        return SnpAttester()
    if kind == "nitro":
        from attestation.nitro.attester import NitroAttester

        return NitroAttester()
    from attestation.dstack.attester import DstackAttester

    return DstackAttester()


def model_of(folder: Path, engine: str, provider: str, threads: int) -> Model | FloatModel:
    """A compiled folder, or its ONNX file in onnxruntime. Either way every weight was hashed.

    Raises:
        UnsupportedModel, BackendUnavailable, ValueError: as `Model.load` and `FloatModel`.
        AttestationFailed: the driver does not say which GPUs there are.
    """
    model = Model.load(folder)
    if engine == "exact":
        return model
    devices: tuple[str, ...] = ()
    if provider == CUDA:
        from attestation import gpu

        devices = gpu.names()
    with empty_folder():
        return FloatModel(model.source, provider, threads, devices)


@contextmanager
def empty_folder() -> Iterator[None]:
    """Meanwhile the process works in a folder that was removed: a file named without a folder is nowhere.

    onnxruntime looks there for what a model refers to. Files that refer to something are refused before; where no
    folder can be made, that is what there is.
    """
    back = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError), tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
        yield
    finally:
        os.fchdir(back)
        os.close(back)


def main() -> int:
    """Serve until the end. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m attestation.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="compiled folder")
    parser.add_argument("--attester", choices=("tdx", "snp", "nitro", "dstack"), required=True)
    parser.add_argument("--listen", required=True, help="unix:PATH, http://HOST:PORT or vsock:PORT")
    parser.add_argument("--engine", choices=tuple(ENGINES), default="exact", help="float: onnxruntime")
    parser.add_argument("--provider", choices=tuple(PROVIDERS), default=CPU, help="execution provider of onnxruntime")
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime, inside an operator")
    parser.add_argument("--gpus", action="store_true", help="have the GPUs attested, too")
    options = parser.parse_args()
    try:
        held: dict[str, Any] = {}
        if options.gpus:
            from attestation import gpu

            held["gpus"] = gpu.collect
        model = model_of(options.model, options.engine, options.provider, options.threads)
        room = Room(model, attester_of(options.attester), **held)
        with Server(room, options.listen) as server:
            print(f"model 0x{room.program.identity.hex()} at {options.listen}", file=sys.stderr)
            server.serve_forever()
    except (VmlError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
