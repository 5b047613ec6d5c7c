// What answers and proofs cost: latency of answers from the server's metrics, of proofs from its jobs.

import { json, readMetrics, text } from "../api.js";
import { el, table } from "../dom.js";
import { seconds } from "../format.js";
import { histogram, scatter } from "../plot.js";

const PARTS = { vml_model_seconds: "Running the model and committing to the run", vml_receipt_seconds: "Signing the receipt", vml_record_seconds: "Remembering the answer" };
const INFER = "/v2/models/{name}/infer";

export async function figures(rest, signal) {
  const [metrics, proved] = await Promise.all([
    text("/metrics", { signal }).then(readMetrics),
    json("/v1/jobs?state=proved&limit=500", { signal }),
  ]);
  const points = proved.jobs.filter((job) => job.started_at && job.finished_at)
    .map((job) => ({ at: job.finished_at, value: job.finished_at - job.started_at, series: job.backend }));
  return el("section", {}, el("h1", {}, "Figures"), counts(metrics), el("div", { class: "plots" },
    histogram("Answers: time from request to answer", buckets(metrics, "vml_http_request_seconds", (labels) => labels.route?.startsWith(INFER))),
    scatter("Proofs: time to prove", points)),
  el("h2", {}, "Where the time of an answer goes"), table("Means since the server started", ["Part", "Answers#", "Mean#"], Object.entries(PARTS).map(([name, words]) => {
    const count = sum(metrics, `${name}_count`), total = sum(metrics, `${name}_sum`);
    return [words, String(count), count ? seconds(total / count) : ""];
  })));
}

const sum = (metrics, name, fits = () => true) => metrics.filter((one) => one.name === name && fits(one.labels)).reduce((total, one) => total + one.value, 0);

function counts(metrics) {
  const shown = [["vml_claims_total", "claims since start"], ["vml_jobs", "jobs open"], ["vml_inferences", "inferences now"]];
  return el("ul", { class: "tally" }, shown.map(([name, words]) => el("li", {}, el("strong", {}, String(sum(metrics, name))), words)));
}

// Prometheus' buckets count all that is below their bound; here each counts its own.
function buckets(metrics, name, fits) {
  const totals = new Map();
  for (const one of metrics) {
    if (one.name !== `${name}_bucket` || !fits(one.labels)) continue;
    const upTo = Number(one.labels.le.replace("+Inf", "Infinity"));
    totals.set(upTo, (totals.get(upTo) ?? 0) + one.value);
  }
  const bounds = [...totals.keys()].sort((a, b) => a - b);
  return bounds.map((upTo, i) => ({ upTo, count: totals.get(upTo) - (i ? totals.get(bounds[i - 1]) : 0) }));
}
