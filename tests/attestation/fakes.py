"""Fakes of the interfaces that attesters ask, over simulated evidence. None of this is what the hardware does."""

from __future__ import annotations

import ctypes
import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import UUID

import cbor2

from attestation import tsm
from attestation.nitro.attester import IOCTL_RAW, MAX_RESPONSE, Message
from vml.tee.evidence import SnpCollateral
from vml.tee_sim import simulate

AT = 1_800_000_000
SEED = "attesters"

GUIDS = {
    "VCEK": "63da758d-e664-4564-adc5-f4b93be8accd",
    "VLEK": "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
    "ASK": "4ab7b379-bbac-4fe4-a02f-05aef327c782",
    "ARK": "c0b406a4-a803-4952-9743-3fb6014cd0ae",
    "CRL": "92f81bc3-5811-4d3d-97ff-d19f88dc67ea",
}


class FakeKernel:
    """A folder of configfs-tsm made of plain files, kept up to date after every write.

    Args:
        report: the answer to 64 bytes: outblob and auxblob (None: the provider does not show that file).
        provider: whose it is.
        disturb: called after our last write, with what another process may use to write, too.
    """

    def __init__(
        self,
        report: Callable[[bytes], tuple[bytes, bytes | None]],
        provider: str,
        disturb: Callable[[Callable[[str, bytes], None]], None] | None = None,
    ) -> None:
        self.report, self.provider, self.disturb = report, provider, disturb
        self.written: list[tuple[str, bytes]] = []
        self.closed = 0

    def __call__(self, root: Path) -> tsm.Request:
        kernel = self

        class Fake(tsm.Request):
            def open(self) -> None:
                super().open()
                (self.folder / "provider").write_text(kernel.provider + "\n")
                (self.folder / "generation").write_text("7\n")

            def close(self) -> None:
                for path in self.folder.iterdir():
                    path.unlink()
                super().close()
                kernel.closed += 1

            def write(self, name: str, data: bytes) -> None:
                self.take(name, data)
                if name == "inblob" and kernel.disturb:
                    kernel.disturb(self.take)

            def take(self, name: str, data: bytes) -> None:
                super().write(name, data)
                kernel.written.append((name, data))
                count = int((self.folder / "generation").read_text()) + 1
                (self.folder / "generation").write_text(f"{count}\n")
                if name == "inblob":
                    outblob, auxblob = kernel.report(data)
                    (self.folder / "outblob").write_bytes(outblob)
                    if auxblob is not None:
                        (self.folder / "auxblob").write_bytes(auxblob)

        return Fake(root)


def tdx_quote(report_data: bytes) -> tuple[bytes, bytes | None]:
    return simulate("tdx", report_data=report_data, seed=SEED, at=AT).data, b""


def certificate_table(named: dict[str, bytes], *, padding: int = 64) -> bytes:
    """Certificates as a host hands them to an SEV-SNP guest."""
    head, body, first = b"", b"", 24 * (len(named) + 1)
    for name, data in named.items():
        guid = UUID(GUIDS.get(name, name)).bytes
        head += guid + (first + len(body)).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        body += data
    return head + bytes(24) + body + bytes(padding)


def snp_certificates(collateral: SnpCollateral) -> dict[str, bytes]:
    end = "-----END CERTIFICATE-----\n"
    ask, ark = (ssl.PEM_cert_to_DER_cert(part + end) for part in collateral.chain.decode().split(end)[:2])
    return {"VCEK": collateral.vek, "ASK": ask, "ARK": ark, "CRL": collateral.crl}


def snp_report(report_data: bytes) -> tuple[bytes, bytes | None]:
    evidence = simulate("snp", report_data=report_data, seed=SEED, at=AT)
    assert isinstance(evidence.collateral, SnpCollateral)
    return evidence.data, certificate_table(snp_certificates(evidence.collateral))


class FakeNsm:
    """An ioctl of the Nitro security module.

    Args:
        answer: from the request, as CBOR holds it, to the bytes of the response.
    """

    def __init__(self, answer: Callable[[Any], bytes]) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def __call__(self, descriptor: int, number: int, message: Message) -> int:
        assert number == IOCTL_RAW == 0xC0200A00
        assert descriptor >= 0
        assert message.response_size == MAX_RESPONSE
        request = cbor2.loads(ctypes.string_at(message.request, message.request_size))
        self.asked.append(request)
        data = self.answer(request)
        ctypes.memmove(message.response, data, min(len(data), MAX_RESPONSE))
        message.response_size = len(data)
        return 0


def nitro_document(request: Any) -> bytes:
    fields = request["Attestation"]
    document = simulate(
        "nitro",
        report_data=fields["user_data"] + fields["nonce"],
        seed=SEED,
        at=AT,
        public_key=fields["public_key"],
    ).data
    return cbor2.dumps({"Attestation": {"document": document}})


@contextmanager
def guest_agent(path: Path, answer: Callable[[str, Any], tuple[int, bytes]]) -> Iterator[None]:
    """dstack's guest agent: HTTP over a Unix socket.

    Args:
        path: the socket.
        answer: from path and body to status and body.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, data = answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
