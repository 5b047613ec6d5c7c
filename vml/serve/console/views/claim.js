// One claim: what was said, and what is done to prove it.

import { Refused, blob, json } from "../api.js";
import { el, facts, table } from "../dom.js";
import { bytes, seconds, state, time, whole } from "../format.js";

const SHOWN_VALUES = 64;

export async function claim([digest], signal) {
  const [found, served] = await Promise.all([json(`/v1/claims/${digest}`, { signal }), json("/v1/models", { signal })]);
  const told = el("p", { role: "status" });
  return el("section", {}, el("h1", {}, "Claim"),
    el("div", { class: "card" }, facts([
      ["Digest", whole(found.digest)],
      ["Model", el("span", {}, found.model_name, el("br"), whole(found.claim.model))],
      ["Input", whole(found.claim.input)],
      ["Output", whole(found.claim.output)],
      ["Context", whole(found.claim.context)],
      ["Arithmetic", found.semantics],
      ["Answered", time(found.created_at)],
      ["Log entry", String(found.log_index)],
      ["Receipt", found.receipt ? el("details", {}, el("summary", {}, `number ${found.receipt.sequence}, by key ${found.receipt.key_id.slice(0, 10)}…`), el("pre", {}, JSON.stringify(found.receipt, null, 1))) : "none"],
    ])),
    el("h2", {}, "Output"), found.outputs.length ? found.outputs.map(values) : el("p", { class: "quiet" }, "Not kept here."),
    el("h2", {}, "Proofs"), proofs(found), ask(found, served.backends, told), told);
}

function values(output) {
  const shown = output.values.slice(0, SHOWN_VALUES).map((value) => Number(value.toPrecision(6))).join(", ");
  return el("p", {}, el("strong", {}, `${output.name} [${output.shape.join(", ")}] `), el("code", {}, shown),
    output.values.length > SHOWN_VALUES ? ` and ${output.values.length - SHOWN_VALUES} more` : "");
}

function proofs(found) {
  if (!found.jobs.length) return el("p", { class: "quiet" }, "No proof was asked for. The answer is the server's word, with its receipt.");
  return table("Jobs of this claim", ["Backend", "State", "Took#", "Attempts#", ""], found.jobs.map((job) => [
    job.backend, el("span", {}, state(job.state), job.error ? `: ${job.error}` : ""),
    job.started_at && job.finished_at ? seconds(job.finished_at - job.started_at) : "", String(job.attempts),
    job.state === "proved" ? save(found.digest, job.backend) : "",
  ]));
}

function save(digest, backend) {
  return el("button", { type: "button", onclick: async (event) => {
    const button = event.target;
    try {
      const data = await blob(`/v1/proofs/${digest}?backend=${encodeURIComponent(backend)}`);
      const link = el("a", { href: URL.createObjectURL(data), download: `${digest.slice(0, 18)}.proof.json` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      button.textContent = `Saved (${bytes(data.size)})`;
    } catch (error) {
      button.replaceWith(el("span", { class: "bad", role: "alert" }, error.message));
    }
  } }, "Save the proof");
}

function ask(found, backends, told) {
  const choice = el("select", { id: "backend" }, backends.map((name) => el("option", {}, name)));
  return el("form", { class: "row", onsubmit: async (event) => {
    event.preventDefault();
    try {
      const job = await json(`/v1/proofs/${found.digest}`, { method: "POST", body: JSON.stringify({ backend: choice.value }), headers: { "Content-Type": "application/json" } });
      location.hash = "#/jobs";
      told.textContent = `Job ${job.id}`;
    } catch (error) {
      told.className = "bad";
      told.textContent = error instanceof Refused ? error.message : String(error);
    }
  } }, el("div", {}, el("label", { for: "backend" }, "Have it proved by"), choice), el("button", {}, "Prove"));
}
