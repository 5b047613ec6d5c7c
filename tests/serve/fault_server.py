"""A server for the test that kills it: records answers whose proofs are asked for, says so, and has two workers.

Started anew it sends the same requests under the same idempotency keys, as clients do who got no answer.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tests.serve import provers
from tests.serve.kit import real_answer
from vml import api
from vml.serve.executor import Work
from vml.serve.pool import Pool
from vml.serve.records import NewAnswer, NewJob
from vml.serve.refusals import StoreUnavailable
from vml.serve.store import Store
from vml.serve.writer import GroupWriter

ATTEMPTS = 8


def kind(number: int, count: int) -> float:
    """How the backend treats a job, as its first input says: one ends in an error, one kills its workers."""
    return {5: 3.25, count // 2: 3.5}.get(number, 1.0)


def backend(number: int, count: int) -> str:
    """Where there is time, some proofs are real ones."""
    return "sumcheck" if count > 100 and number % 20 == 7 else provers.SLOW


def request(model: Any, number: int, count: int) -> NewAnswer:
    first = kind(number, count)
    inputs = {"x": np.array([[first, number / 256, 0.0, 0.25]], np.float32)}
    job = NewJob(backend(number, count), max_attempts=ATTEMPTS if first == 1.0 else 2)
    key = {"client": "test", "idempotency_key": f"request {number}", "request_hash": number.to_bytes(32, "big")}
    return real_answer(model, inputs, "tiny", job, **key)


def main(url: str, folder: str, count: int, pace_s: float) -> None:
    model = api.load_model(folder)
    store = Store.open(url, retry_s=0.05)
    writer = GroupWriter(store)
    pool = Pool(Work(url, {"tiny": folder}, lease_s=1.5, poll_s=0.02, retry_s=0.05), workers=2, target=provers.run)
    pool.start()

    def serve(number: int) -> None:
        while True:
            try:
                recorded = writer.submit(request(model, number, count)).result()
                break
            except StoreUnavailable:
                time.sleep(0.05)
        print(f"{number} {recorded.digest.hex()} {recorded.job}\n", end="", flush=True)
        time.sleep(pace_s)

    with ThreadPoolExecutor(3) as clients:
        list(clients.map(serve, range(count)))
    print("all", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
