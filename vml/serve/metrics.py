"""Figures for Prometheus, in a registry of the server's own. No label comes from a request's content."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUICK = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.requests = Counter(
            "vml_http_requests", "Requests by route, method and status.", ("route", "method", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "vml_http_request_seconds", "From a request's head to its answer's end.", ("route",), buckets=_QUICK,
            registry=self.registry,
        )  # fmt: skip
        self.model_seconds = Histogram(
            "vml_model_seconds", "Of running a model and committing to the run.", ("model",), buckets=_QUICK,
            registry=self.registry,
        )  # fmt: skip
        self.receipt_seconds = Histogram(
            "vml_receipt_seconds", "Of signing a receipt.", buckets=_QUICK, registry=self.registry
        )
        self.record_seconds = Histogram(
            "vml_record_seconds", "Until an answer is remembered.", buckets=_QUICK, registry=self.registry
        )
        self.claims = Counter("vml_claims", "Answers with a claim, by model.", ("model",), registry=self.registry)
        self.verified = Counter(
            "vml_verified_proofs", "Proofs that were handed in, by verdict.", ("verdict",), registry=self.registry
        )
        self.inferences = Gauge("vml_inferences", "Inferences going on.", registry=self.registry)
        self.jobs = Gauge("vml_jobs", "Jobs that have not ended.", registry=self.registry)
        self.ready = Gauge("vml_ready", "1 when every model is warm.", registry=self.registry)
        self.beacon = Gauge("vml_beacon_round", "Latest round of the beacon.", registry=self.registry)
        started = Gauge("vml_start_time_seconds", "When the server started, unix seconds.", registry=self.registry)
        started.set(time.time())

    def describe_executor(self, describe: Callable[[], dict[str, object]]) -> None:
        """Report the whole numbers that an executor says of itself."""

        class Executor(Collector):
            def collect(self) -> list[GaugeMetricFamily]:
                return [
                    GaugeMetricFamily(f"vml_executor_{name}", f"The executor's {name}.", value=float(value))
                    for name, value in describe().items()
                    if isinstance(value, int | float) and name.isidentifier()
                ]

        self.registry.register(Executor())

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            route: its template, as "/v2/models/{name}/infer".
            method: HTTP method.
            status: of the answer; 0 where none was sent.
            seconds: it took.
        """
        if method not in METHODS:
            method = "other"
        self.requests.labels(route, method, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def answered(self, model: str, run_s: float, receipt_s: float, record_s: float) -> None:
        """Count one answer.

        Args:
            model: its name.
            run_s, receipt_s, record_s: seconds to run and commit, to sign, to remember.
        """
        self.claims.labels(model).inc()
        self.model_seconds.labels(model).observe(run_s)
        self.receipt_seconds.observe(receipt_s)
        self.record_seconds.observe(record_s)
