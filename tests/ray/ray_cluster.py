"""A real Ray cluster on loopback, in a process of its own that tests talk to.

Run as a program it starts the nodes that its arguments name (`cpus` or `cpus:memory MiB`), prints one JSON line, and
obeys lines on standard input: ``kill N`` kills node N's processes, ``add CPUS`` starts a node. It ends with its input.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OBJECT_STORE_BYTES = 150 << 20

# Nothing listens beyond loopback, nothing is reported, and who has no token is refused.
ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


class RunningCluster:
    """The process that holds the cluster."""

    def __init__(self, process: subprocess.Popen[str], address: str, client: str) -> None:
        self._process, self.address, self.client = process, address, client

    @property
    def executor(self) -> str:
        return f"ray:{self.address}"

    def kill_node(self, number: int) -> None:
        """Kill one node, as a power cut does: its raylet and every worker on it."""
        self._tell(f"kill {number}")

    def add_node(self, cpus: int) -> None:
        self._tell(f"add {cpus}")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().strip() == "done"


@contextmanager
def running_cluster(*nodes: str, environment: dict[str, str]) -> Iterator[RunningCluster]:
    """Start a cluster, and have nothing left of it at the end.

    Args:
        nodes: each "CPUS" or "CPUS:MIB".
        environment: that the processes on its nodes see besides this process's.
    """
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), *nodes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Workers load what tests define: liars, for example.
        env={**os.environ, **ALONE, "PYTHONPATH": str(ROOT), **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said, "the cluster did not start"
        yield RunningCluster(process, **json.loads(said))
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def _node(text: str) -> dict[str, Any]:
    cpus, _, memory = text.partition(":")
    return {
        "num_cpus": int(cpus),
        "object_store_memory": OBJECT_STORE_BYTES,
        **({"memory": int(memory) << 20} if memory else {}),
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _serve(nodes: list[str]) -> None:
    from ray.cluster_utils import Cluster

    # Ray speaks on standard output as well; one line of it is ours.
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    client = _free_port()
    head = {**_node(nodes[0]), "include_dashboard": False, "ray_client_server_port": client}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    started = [cluster.head_node, *(cluster.add_node(**_node(text)) for text in nodes[1:])]
    try:
        print(json.dumps({"address": cluster.address, "client": f"ray://127.0.0.1:{client}"}), file=said, flush=True)
        for line in sys.stdin:
            command, number = line.split()
            if command == "kill":
                cluster.remove_node(started[int(number)], allow_graceful=False)
            else:
                started.append(cluster.add_node(**_node(number)))
            print("done", file=said, flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    _serve(sys.argv[1:])
