"""A Ray cluster: started for one call on this machine, or one that runs already."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vml.errors import BackendUnavailable, ProvingError

REACH_S, PATIENCE_S = 10.0, 15.0
ALONE = {
    # Ray's own switch for machines without firewall rules: everything listens on loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""Settings of a cluster of this machine: reached from it only, and with a secret that lasts as long as the process."""
FORMS = "ray (a cluster of this machine, for the call), ray:HOST:PORT (a cluster this machine is part of) or "
FORMS += "ray://HOST:PORT (through Ray's client port)"


def is_ray(executor: str) -> bool:
    """Whether an executor's name means Ray, well-formed or not."""
    return executor.partition(":")[0] == "ray"


@dataclass(frozen=True)
class Need:
    """What one proof takes of a node.

    Args:
        memory_bytes: peak resident memory.
        cpus: cores, which the prover also limits itself to.
    """

    memory_bytes: int
    cpus: int = 1


@dataclass(frozen=True)
class Node:
    """A living node, or what it has left.

    Args:
        id: Ray's, hex.
        memory_bytes, cpus: of the whole node, as Ray may give them away.
    """

    id: str
    memory_bytes: int
    cpus: int

    def holds(self, need: Need) -> int:
        """How many such proofs at a time."""
        by_cpu = self.cpus // need.cpus
        return by_cpu if need.memory_bytes < 1 else min(by_cpu, self.memory_bytes // need.memory_bytes)

    def without(self, need: Need) -> Node:
        """What is left beside one such proof."""
        return Node(self.id, self.memory_bytes - need.memory_bytes, self.cpus - need.cpus)


class Cluster:
    """A connection to a cluster. Ray keeps one a process."""

    def __init__(self, ray: Any, address: str, head: str | None) -> None:
        self.ray, self.address = ray, address
        self.lost = False
        self._head, self._heard_at = head, time.monotonic()
        self._known: tuple[Node, ...] = ()

    def nodes(self) -> tuple[Node, ...]:
        """The nodes that live.

        Raises:
            ProvingError: the cluster does not answer.
        """
        if not self._listens():
            # Ray would wait for a minute and then end this process.
            if time.monotonic() < self._heard_at + PATIENCE_S:
                return self._known
            self.lost = True
            raise ProvingError(f"the head of the Ray cluster at {self.address} has been gone for {PATIENCE_S:.0f} s")
        try:
            found = self.ray.nodes()
        except Exception as error:  # Ray has no common class for the many ways in which a cluster goes away
            raise ProvingError(f"the Ray cluster at {self.address} does not answer: {error}") from error
        self._heard_at, self._known = time.monotonic(), tuple(_node(r) for r in found if r["Alive"])
        return self._known

    def _listens(self) -> bool:
        if self._head is None:
            return True
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            return False
        return True

    def require_room(self, need: Need, what: str = "one proof") -> None:
        """Refuse what no node can ever hold, instead of waiting for ever.

        Raises:
            ProvingError: saying what is needed and what the largest nodes have.
        """
        nodes = self.nodes()
        if any(node.holds(need) for node in nodes):
            return
        memory = max((node.memory_bytes for node in nodes), default=0)
        cpus = max((node.cpus for node in nodes), default=0)
        raise ProvingError(
            f"{what} takes {_gib(need.memory_bytes)} of memory and {need.cpus} core(s), which no node of the Ray "
            f"cluster has: of {len(nodes)}, the largest has {_gib(memory)} and {cpus} core(s); add a larger node, or "
            "give Ray more of this one (ray start --memory --num-cpus)"
        )


def cores_each(nodes: Iterable[Node], jobs: int) -> int:
    """Cores for one proof, so that all are busy: several where proofs are fewer than cores."""
    cores = [node.cpus for node in nodes]
    return max(1, min(max(cores, default=1), sum(cores) // max(1, jobs)))


@contextmanager
def connect(executor: str, *, cpus: int | None = None) -> Iterator[Cluster]:
    """Join a cluster, or start one; leave it, or stop it, at the end.

    Args:
        executor: ``ray``, ``ray:HOST:PORT`` or ``ray://HOST:PORT``.
        cpus: cores of a cluster that is started; None takes all.

    Raises:
        ValueError: none of these.
        BackendUnavailable: Ray is not installed, or the cluster cannot be reached.
    """
    address = address_of(executor)
    if address == "local":
        for name, value in ALONE.items():
            os.environ.setdefault(name, value)
    # Nobody is told that or how Ray is used, whatever the environment says.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address != "local":
        _require_answer(address)
    try:
        import ray
    except ImportError as error:
        raise BackendUnavailable("Ray is missing: pip install 'vml[ray]'") from error
    if ray.is_initialized():
        raise ValueError("this process is connected to a Ray cluster already: ray.shutdown() first")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": cpus}
    try:
        with warnings.catch_warnings():
            # Ray warns of changes to come in itself; an error here would be raised in the middle of its threads.
            warnings.simplefilter("ignore")
            ray.init(address=address, **options)
    except Exception as error:  # from ConnectionError to RuntimeError, by the way in which it cannot be reached
        ray.shutdown()
        raise BackendUnavailable(f"no Ray cluster at {executor}: {error}") from error
    try:
        head = address.removeprefix("ray://") if "//" in address else ray.get_runtime_context().gcs_address
        cluster = Cluster(ray, executor, head)
        yield cluster
    finally:
        ray.shutdown()


def address_of(executor: str) -> str:
    """The address as `ray.init` takes it. Raises ValueError."""
    if executor == "ray":
        return "local"
    found = re.fullmatch(r"ray:(//)?([^/\s]+:\d{1,5})", executor)
    if found is None:
        raise ValueError(f"executor {executor!r}: give {FORMS}")
    return executor if found[1] else found[2]


def _require_answer(address: str) -> None:
    """Ray itself waits for minutes where nobody listens.

    Raises:
        BackendUnavailable: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except OSError as error:
        raise BackendUnavailable(f"no Ray cluster listens at {host}:{port}: {error.strerror or error}") from error


def _node(record: Mapping[str, Any]) -> Node:
    resources = record["Resources"]
    return Node(record["NodeID"], int(resources.get("memory", 0)), int(resources.get("CPU", 0)))


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.2f} GiB"
