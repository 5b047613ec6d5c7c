// Proofs in the making, live.

import { events, json } from "../api.js";
import { el, table } from "../dom.js";
import { seconds, short, state, time } from "../format.js";

const SHOWN = 100;
const STREAMS = 4; // connections that a browser can spare

export async function jobs(rest, signal) {
  const holder = el("div", { "aria-live": "off" });
  const tally = el("ul", { class: "tally" });
  const followed = new Set();

  async function refresh() {
    const { jobs: listed, counts } = await json(`/v1/jobs?limit=${SHOWN}`, { signal });
    tally.replaceChildren(...Object.entries(counts).map(([name, count]) =>
      el("li", {}, el("strong", {}, String(count)), state(name))));
    if (!listed.length) {
      holder.replaceChildren(el("p", { class: "quiet" }, "No job yet. Ask for a proof with the parameter prove=always."));
    } else {
      const rows = listed.map((job) => row(job, refresh));
      holder.replaceChildren(table(`The latest ${listed.length}`, ["Job", "Model", "Backend", "State", "Progress", "Took#", "Asked", ""], rows));
    }
    for (const job of listed.filter((one) => one.state === "running" && !followed.has(one.id)).slice(0, STREAMS - followed.size)) follow(job.id);
  }

  function follow(id) {
    followed.add(id);
    events(`/v1/jobs/${id}/events`, signal, (name, job) => {
      const bar = document.getElementById(`bar-${id}`);
      if (bar) {
        bar.value = job.fraction;
        bar.nextSibling.textContent = ` ${job.stage}`;
      }
      if (name === "end") refresh().catch(() => {});
    }).catch(() => {}).finally(() => followed.delete(id));
  }

  await refresh();
  const timer = setInterval(() => document.hidden || refresh().catch(() => {}), 2000);
  signal.addEventListener("abort", () => clearInterval(timer));
  return el("section", {}, el("h1", {}, "Jobs"), tally, holder);
}

function row(job, refresh) {
  const took = job.started_at === null ? null : (job.finished_at ?? Date.now() / 1000) - job.started_at;
  const open = ["waiting", "queued", "running"].includes(job.state);
  const bar = el("span", {}, el("progress", { id: `bar-${job.id}`, max: 1, value: job.state === "proved" ? 1 : job.fraction, "aria-label": `progress of ${job.id}` }), ` ${job.error || job.stage}`);
  const act = open
    ? el("button", { type: "button", onclick: (event) => cancel(event.target, job.id, refresh) }, job.cancel_asked ? "Stopping" : "Cancel")
    : job.state === "proved" ? el("a", { href: `#/claim/${job.claim}` }, "Proof") : null;
  return [el("a", { href: `#/claim/${job.claim}` }, el("code", {}, job.id.slice(0, 8))), job.model_name, job.backend, state(job.state), bar, seconds(took), time(job.created_at), act ?? ""];
}

async function cancel(button, id, refresh) {
  button.disabled = true;
  try {
    await json(`/v1/jobs/${id}`, { method: "DELETE" });
    await refresh();
  } catch (error) {
    button.replaceWith(el("span", { class: "bad", role: "alert" }, error.message));
  }
}
