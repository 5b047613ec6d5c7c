// A dropped proof file, verified by the server, and the verdict in plain words.

import { json } from "../api.js";
import { el, facts, table } from "../dom.js";
import { bytes, whole } from "../format.js";

export async function verify(rest, signal) {
  const { models } = await json("/v1/models", { signal });
  const result = el("div", { id: "verdict", "aria-live": "polite" });
  const chosen = { file: null };
  const file = el("input", { type: "file", id: "file", accept: ".json,application/json" });
  const model = el("input", { id: "model", class: "wide", list: "models", required: true, spellcheck: "false", value: models.length === 1 ? models[0].model : "" });
  const context = el("input", { id: "context", class: "wide", spellcheck: "false" });
  const note = el("p", { class: "quiet", id: "context-note" }, "32 bytes, 0x and 64 digits: the use that the proof must be bound to.");
  const named = el("p", { id: "file-name" }, "No file yet.");
  const drop = el("div", { class: "drop" }, el("p", {}, "Drop a proof file here, or choose one."), el("label", { for: "file" }, "Proof file"), file, named);

  async function take(given) {
    if (!given) return;
    chosen.file = given;
    named.textContent = `${given.name}, ${bytes(given.size)}`;
    result.replaceChildren();
    const inside = await given.text().then(JSON.parse).catch(() => null);
    const found = inside?.claims?.[0]?.context;
    if (typeof found === "string" && !context.value) {
      context.value = found;
      note.textContent = "Taken from the file: compare it with the one you asked for. A proof for another use proves nothing for yours.";
    }
  }

  file.addEventListener("change", () => take(file.files[0]));
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take(event.dataTransfer.files[0]); });

  const form = el("form", { onsubmit: async (event) => {
    event.preventDefault();
    if (!chosen.file) { result.replaceChildren(el("p", { class: "bad" }, "Choose a proof file first.")); return; }
    result.replaceChildren(el("p", { class: "quiet" }, "Verifying…"));
    const query = new URLSearchParams({ model: model.value.trim() });
    if (context.value.trim()) query.set("context", context.value.trim());
    try {
      const verdict = await json(`/v1/verify?${query}`, { method: "POST", body: chosen.file, headers: { "Content-Type": "application/json" }, signal });
      result.replaceChildren(show(verdict));
    } catch (error) {
      result.replaceChildren(el("p", { class: "bad", role: "alert" }, error.message));
    }
  } }, drop,
  el("label", { for: "model" }, "It must be about this model"), model,
  el("datalist", { id: "models" }, models.map((one) => el("option", { value: one.model }, one.name))),
  el("label", { for: "context" }, "And bound to this use"), context, note,
  el("button", {}, "Verify"));

  return el("section", {}, el("h1", {}, "Verify a proof"),
    el("p", { class: "quiet" }, "This server checks it, so this page is worth as much as your trust in the server. To trust nobody, run vml verify on a machine of your own."),
    form, result);
}

function show(verdict) {
  const head = verdict.verified ? "Verified" : "Not verified";
  const yesNo = (value) => (value === null ? "" : value ? "yes" : "no");
  return el("div", {},
    el("div", { class: `verdict ${verdict.verified ? "good" : "bad"}` }, el("h2", {}, `${verdict.verified ? "✓" : "✗"} ${head}`),
      el("ul", {}, verdict.explanation.map((sentence) => el("li", {}, sentence)))),
    verdict.verified ? el("div", { class: "card" }, facts([
      ["Assurance", verdict.assurance],
      ["Security", `${verdict.security_bits} bits`],
      ["Trusted", verdict.trusted.join("; ") || "nobody"],
      ["Hidden", verdict.hidden.join("; ") || "nothing"],
      ["Revealed", verdict.revealed.join("; ")],
      ["Final", yesNo(verdict.final)],
      ["Simulated", yesNo(verdict.simulated)],
      ["Scheme", el("code", {}, verdict.scheme)],
    ])) : null,
    verdict.claims?.length ? table("Claims", ["Field", "Value"], verdict.claims.flatMap((claim) => Object.entries(claim).map(([name, value]) => [name, whole(value)]))) : null,
    el("details", {}, el("summary", {}, "As JSON"), el("pre", {}, JSON.stringify(verdict, null, 1))));
}
