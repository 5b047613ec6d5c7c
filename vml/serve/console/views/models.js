// What is served: commitments, and who certified what.

import { json } from "../api.js";
import { el, facts } from "../dom.js";
import { seconds, time, whole } from "../format.js";

const shape = (tensor) => `${tensor.name}: ${tensor.datatype} [${tensor.shape.join(", ")}]`;

export async function models(rest, signal) {
  const [served, certified] = await Promise.all([
    json("/v1/models", { signal }),
    json("/v1/certificates", { signal }).catch(() => ({ certificates: [] })),
  ]);
  return el("section", {}, el("h1", {}, "Models"),
    el("p", { class: "quiet" }, `Proofs: ${served.prove}. Backends: ${served.backends.join(", ")}.`),
    served.models.map((model) => card(model, certified.certificates)));
}

function card(model, certificates) {
  const about = certificates.filter((one) => one.models.includes(model.model));
  return el("article", { class: "card" }, el("h2", {}, model.name),
    facts([
      ["Commitment", whole(model.model)],
      ["Arithmetic", model.semantics],
      ["Proved by", model.backend ?? "nobody here"],
      ["Takes", model.inputs.map(shape).join("; ")],
      ["Gives", model.outputs.map(shape).join("; ")],
      ["One run", model.ready ? seconds(model.run_seconds) : "warming up"],
      ["Certificates", about.length ? el("div", {}, about.map(certificate)) : "none is shown here"],
    ]),
    el("p", {}, el("a", { href: `#/claims/${encodeURIComponent(model.model)}` }, "Claims of this model")));
}

function certificate(one) {
  const accuracy = one.accuracy ? `${one.accuracy.metric} ${one.accuracy.value} on ${one.accuracy.rows} rows` : "no accuracy";
  return el("p", {}, el("strong", {}, one.issuer), ` says: ${accuracy}, until `, time(one.not_after), one.scope ? ` (${one.scope})` : "",
    one.revoked ? el("span", { class: "bad" }, " (revoked)") : null,
    el("br"), el("span", { class: "quiet" }, "Shown as the server has it; "), el("code", {}, "vml verify --certificate"),
    el("span", { class: "quiet" }, " checks it."));
}
