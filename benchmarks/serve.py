"""What claims cost an inference server, and what it stands: real processes, real HTTP on loopback.

Run: ``python -m benchmarks.serve [--requests N]``. Writes ``results/serve.json``. The model is ``circuits/digits-cnn``.

1. Overhead: one connection asks `vml serve` and a bare server (`benchmarks.serve_bare`: the same HTTP stack and
   protocol around onnxruntime, no claim) turn by turn; every answer of `vml serve` has a claim that was never made
   before, a receipt, and is durable in SQLite (``synchronous=FULL``) before it is sent.
2. Throughput: several connections ask as fast as they are answered, without proofs; memory of the server meanwhile.
3. A page of the console's list of claims, and one claim, when there are that many.

The load comes from the same machine, so it takes a part of the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from benchmarks.machine import publish
from vml import api
from vml.client import tensors

ROOT = Path(__file__).resolve().parents[1]
CIRCUIT = ROOT / "circuits" / "digits-cnn"
PAIRS = 400
CONNECTIONS = 16
TARGETS = {"overhead_ms": 3.0, "requests_per_s": 300}


@contextmanager
def process(command: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """A server that says where it listens in one line of JSON."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert running.stdout is not None
        url = json.loads(running.stdout.readline())["url"]
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url, psutil.Process(running.pid)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)


class Connection:
    """One connection that is kept, and as little client as possible: what is measured is the server."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def ask(self, body: bytes, path: str = "/v2/models/digits-cnn/infer") -> float:
        """Seconds from the request to the whole answer.

        Raises:
            RuntimeError: it was not answered with 200.
        """
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        started = time.perf_counter()
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        (length,) = [line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        content = await self._reader.readexactly(int(length.partition(b":")[2]))
        seconds = time.perf_counter() - started
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{answer[:200]!r} {content[:500]!r}")
        return seconds

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def bodies(parameters: bool) -> Iterator[bytes]:
    """Requests that all differ in what they are for."""
    image = np.load(CIRCUIT / "sample.npz")["image"][:1]
    inputs = json.dumps(tensors.encode_json({"image": image}))
    number = 0
    while True:
        number += 1
        said = f',"parameters":{{"prove":"never","nonce":"request {number}"}}' if parameters else ""
        yield f'{{"inputs":{inputs}{said}}}'.encode()


async def overhead(bare: str, claimed: str) -> dict[str, Any]:
    """Both servers turn by turn over one connection each."""
    there, here = Connection(bare), Connection(claimed)
    await there.open()
    await here.open()
    plain, with_claims = bodies(False), bodies(True)
    times: dict[str, list[float]] = {"bare": [], "claims": []}
    for number in range(PAIRS + 50):
        first, second = await there.ask(next(plain)), await here.ask(next(with_claims))
        if number >= 50:
            times["bare"].append(first)
            times["claims"].append(second)
    there.close()
    here.close()
    differences = [a - b for a, b in zip(times["claims"], times["bare"], strict=True)]
    shown = {f"{name}_p50_ms": _ms(statistics.median(found)) for name, found in times.items()}
    shown |= {f"{name}_p99_ms": _ms(_quantile(found, 0.99)) for name, found in times.items()}
    return {"pairs": PAIRS, **shown, "overhead_p50_ms": _ms(statistics.median(differences))}


async def load(url: str, server: psutil.Process, requests: int, parameters: bool) -> dict[str, Any]:
    """As many requests as are answered, over several connections; memory after every tenth of them."""
    connections = [Connection(url) for _ in range(CONNECTIONS)]
    for connection in connections:
        await connection.open()
    source, times, memory = bodies(parameters), [], [server.memory_info().rss]
    started, busy = time.perf_counter(), _busy(server)

    async def keep(connection: Connection) -> None:
        while len(times) < requests:
            times.append(await connection.ask(next(source)))
            if len(times) % (requests // 10) == 0:
                memory.append(server.memory_info().rss)

    await asyncio.gather(*map(keep, connections))
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return {
        "connections": CONNECTIONS,
        "requests": len(times),
        "requests_per_s": round(len(times) / seconds, 1),
        "p50_ms": _ms(statistics.median(times)),
        "p99_ms": _ms(_quantile(times, 0.99)),
        "cpu_ms_per_request": _ms((_busy(server) - busy) / len(times)),
        "memory_bytes": memory,
    }


def pages(url: str) -> dict[str, float]:
    """Median of ten: the newest claims as the console lists them, older ones, and one claim."""

    def timed(path: str) -> float:
        times = []
        for _ in range(10):
            started = time.perf_counter()
            urllib.request.urlopen(url + path, timeout=60).read()
            times.append(time.perf_counter() - started)
        return _ms(statistics.median(times))

    listed = json.loads(urllib.request.urlopen(f"{url}/v1/claims?limit=50", timeout=60).read())
    digest, middle = listed["claims"][0]["digest"], listed["total"] // 2
    return {
        "claims": listed["total"],
        "newest_ms": timed("/v1/claims?limit=50"),
        "older_ms": timed(f"/v1/claims?limit=50&before={middle}"),
        "one_ms": timed(f"/v1/claims/{digest}"),
    }


def _busy(process: psutil.Process) -> float:
    """Seconds of processor time that a process took."""
    taken = process.cpu_times()
    return float(taken.user + taken.system)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def measure(work: Path, requests: int) -> dict[str, Any]:
    """Everything, over one run of each server."""
    folder = work / "digits-cnn.vml"
    api.compile(CIRCUIT / "model.onnx", calibration=dict(np.load(CIRCUIT / "calibration.npz"))).save(folder)
    before = round(os.getloadavg()[0], 1)
    bare_command = [sys.executable, "-m", "benchmarks.serve_bare", str(CIRCUIT / "model.onnx")]
    command = [sys.executable, "-m", "vml", "serve", str(folder), "--port", "0", "--json", "--data", str(work / "data")]
    with process(bare_command) as (bare, _), process([*command, "--workers", "0"]) as (claimed, server):
        costs = asyncio.run(overhead(bare, claimed))
        throughput = asyncio.run(load(claimed, server, requests, True))
        listed = pages(claimed)
    with process(bare_command) as (bare, server):
        alone = asyncio.run(load(bare, server, min(requests, 4000), False))
    del alone["memory_bytes"]
    return {
        "load_average": before,
        "targets": TARGETS,
        "overhead": costs,
        "throughput": throughput,
        "bare_throughput": alone,
        "console": listed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000, help="of the throughput run")
    requests = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as work:
        measured = measure(Path(work), requests)
    publish("serve", ["vml", "fastapi", "uvicorn", "SQLAlchemy", "numpy", "onnxruntime"], measured)


if __name__ == "__main__":
    main()
