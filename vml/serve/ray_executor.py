"""The server's executor on a Ray cluster: one process of this machine that leases jobs and has nodes prove them.

That process, and not the server, is connected to Ray: losing the cluster loses it, and the pool begins it again. Jobs
that it held go back into the line, as those of any worker that dies.
"""

from __future__ import annotations

import multiprocessing
from functools import partial
from typing import Any

from vml.errors import BackendUnavailable
from vml.serve.executor import Work
from vml.serve.pool import Pool
from vml.serve.ray_dispatcher import FIGURES, run


class RayExecutor:
    """An `Executor` of a whole cluster.

    Args:
        work: what the nodes shall prove.
        cluster: ``ray``, ``ray:HOST:PORT`` or ``ray://HOST:PORT``, as `vml.ray.connect` takes it.

    Raises:
        BackendUnavailable: Ray is not installed.
        ValueError: no such name of a cluster.
    """

    def __init__(self, work: Work, cluster: str) -> None:
        from importlib.util import find_spec

        from vml.ray import address_of

        address_of(cluster)
        if find_spec("ray") is None:
            raise BackendUnavailable("Ray is missing: pip install 'vml[ray]'")
        self._cluster = cluster
        self._figures: Any = multiprocessing.get_context("spawn").Array("q", len(FIGURES))
        self._pool = Pool(work, workers=1, target=partial(run, cluster, self._figures))

    def start(self) -> None:
        """Begin; returns at once. A cluster that is not there yet is tried again, at growing intervals."""
        self._pool.start()

    def stop(self, grace_s: float) -> None:
        """Take no new job, let those that run end for a while, then hand them back. Blocks."""
        self._pool.stop(grace_s)

    def describe(self) -> dict[str, Any]:
        """Processes on the nodes as ``workers``, and those that prove as ``alive``; besides nodes and jobs in line."""
        pool = self._pool.describe()
        alive = pool["alive"] > 0
        figures = dict(zip(FIGURES, list(self._figures) if alive else [0] * len(FIGURES), strict=True))
        return {
            "kind": "ray",
            "cluster": self._cluster,
            "workers": figures["processes"],
            "alive": figures["processes"],
            "connected": bool(figures["nodes"]),
            "restarts": pool["restarts"],
            "pid": pool["pids"][0] if alive else 0,
            **figures,
        }
