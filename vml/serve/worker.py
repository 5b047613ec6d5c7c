"""A worker: leases jobs, proves them, publishes the proofs, until it is asked to end or its server dies."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
from typing import TYPE_CHECKING

from vml.serve.executor import Work

if TYPE_CHECKING:
    from vml.proof import Proof
    from vml.serve.holding import Holding
    from vml.serve.proving import Prover
    from vml.serve.records import Lease
    from vml.serve.store import Store

log = logging.getLogger(__name__)

HAND_IN_S = 1.0
"""Pause between attempts to hand in a proof."""

_LOOK_S = 0.5
"""How often a worker looks whether its server is still alive."""


def run(work: Work, name: str, parent: int) -> None:
    """Be a worker process.

    SIGUSR1 asks to end after the present job, SIGTERM to hand it back. It ends with everything it started when its
    parent is gone.

    Args:
        work: what it needs to know.
        name: of this worker; nobody else ever has it.
        parent: process id of the server.
    """
    os.setpgid(0, 0)  # so that it and what it starts can be ended together, and Ctrl-C leaves it alone
    os.nice(work.niceness)
    if work.threads:
        os.environ["VML_THREADS"] = str(work.threads)
    from vml.serve.holding import kill_group
    from vml.serve.proving import Prover
    from vml.serve.store import Store

    drain, stop = threading.Event(), threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: drain.set())

    def hand_back(*_: object) -> None:
        stop.set()
        drain.set()

    signal.signal(signal.SIGTERM, hand_back)

    def die_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        kill_group()

    threading.Thread(target=die_with_parent, name="vml-parent", daemon=True).start()
    store = Store.open(work.url, retry_s=work.retry_s)
    try:
        serve(work, name, store, Prover(work.models, work.options), drain, stop)
    finally:
        store.close()


def serve(work: Work, name: str, store: Store, prover: Prover, drain: threading.Event, stop: threading.Event) -> None:
    """Take jobs until `drain` is set; hand the present one back when `stop` is."""
    from vml.serve.refusals import StoreUnavailable

    while not drain.is_set():
        try:
            lease = store.lease(name, seconds=work.lease_s, backends=work.backends, models=list(work.models))
        except StoreUnavailable as error:
            log.warning("no job to be had: %s", error)
            lease = None
        if lease is None:
            drain.wait(work.poll_s)
        else:
            do(work, store, prover, lease, stop)


def hand_in(store: Store, lease: Lease, proof: Proof, holding: Holding) -> None:
    """Publish a proof, which may have cost minutes: keep it while the database takes nothing and the lease is ours."""
    from vml.serve.refusals import StoreUnavailable

    while True:
        try:
            return store.finish(lease, proof)
        except StoreUnavailable as error:
            log.warning("job %s: the proof is not taken yet: %s", lease.job, error)
            time.sleep(HAND_IN_S)
            holding.progress("handing in", 1.0)


def do(work: Work, store: Store, prover: Prover, lease: Lease, stop: threading.Event) -> None:
    """Do one job: it ends, goes back into the line, or turns out to be somebody else's."""
    from vml.serve.blame import blame, worth_retrying
    from vml.serve.holding import Holding, Interrupted
    from vml.serve.refusals import JobCancelled, LeaseLost, StoreUnavailable

    holding = Holding(
        store, lease, lease_s=work.lease_s, stop=stop, time_limit_s=work.time_limit_s, cancel_s=work.cancel_s
    )
    try:
        try:
            with holding:
                hand_in(store, lease, prover.prove(lease, holding.progress), holding)
        except Interrupted:
            store.release(lease)
        except JobCancelled as error:
            store.fail(lease, error, retry=False)
        except (LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            # Neither the message nor values: they may quote inputs.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.warning("job %s, attempt %d: %s: %s\n%s", lease.job, lease.attempt, *blame(error), where)
            store.fail(lease, error, retry=worth_retrying(error))
    except LeaseLost as error:
        log.warning("job %s: %s", lease.job, error)
    except StoreUnavailable as error:
        log.warning("job %s: %s; its lease will run out", lease.job, error)
