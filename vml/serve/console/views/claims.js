// Every claim that was answered, a page at a time, the newest first.

import { json } from "../api.js";
import { el, table } from "../dom.js";
import { short, time } from "../format.js";

const PAGE = 50;

export async function claims([model, before], signal) {
  const query = new URLSearchParams({ limit: PAGE });
  if (model && model !== "all") query.set("model", model);
  if (before) query.set("before", before);
  const found = await json(`/v1/claims?${query}`, { signal });
  const rows = found.claims.map((row) => [
    String(row.log_index), el("a", { href: `#/claim/${row.digest}` }, short(row.digest)), row.model_name,
    short(row.claim.context), time(row.created_at), row.client,
  ]);
  const older = found.next !== null && found.next > 0;
  return el("section", {}, el("h1", {}, "Claims"),
    el("p", { class: "quiet" }, `${found.total} claims${model && model !== "all" ? ` in all; those of one model` : ""}.`), search(),
    rows.length ? table("The newest first", ["Entry#", "Claim", "Model", "Context", "Answered", "Client"], rows)
      : el("p", {}, "None here."),
    el("p", { class: "row" },
      before ? el("a", { href: `#/claims/${model}` }, "Newest") : null,
      older ? el("a", { href: `#/claims/${model || "all"}/${found.next}`, rel: "next" }, "Older") : null));
}

function search() {
  const value = el("input", { id: "find", class: "wide", spellcheck: "false", autocomplete: "off", placeholder: "0x…" });
  return el("form", { class: "row", onsubmit: (event) => { event.preventDefault(); location.hash = `#/claim/${value.value.trim().toLowerCase()}`; } },
    el("div", {}, el("label", { for: "find" }, "Digest of a claim"), value), el("button", {}, "Show"));
}
