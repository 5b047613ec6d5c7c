// The pages, by the part of the address behind "#". A page is a function (rest, signal) -> element; its signal is
// aborted when another page is shown, which ends its requests and streams.

import { Refused, json, useKey } from "./api.js";
import { el } from "./dom.js";
import { models } from "./views/models.js";
import { jobs } from "./views/jobs.js";
import { claims } from "./views/claims.js";
import { claim } from "./views/claim.js";
import { verify } from "./views/verify.js";
import { figures } from "./views/figures.js";

const PAGES = { models, jobs, claims, claim, verify, figures };
const main = document.getElementById("main");
let leaving = new AbortController();
let came = false;

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const page = Object.hasOwn(PAGES, name) ? PAGES[name] : models;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#/${page === claim ? "claims" : page.name}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.setAttribute("aria-busy", "true");
  let content;
  try {
    content = await page(rest, signal);
  } catch (error) {
    if (signal.aborted) return;
    content = refusal(error);
  }
  if (signal.aborted) return;
  main.replaceChildren(content);
  main.removeAttribute("aria-busy");
  document.title = `${main.querySelector("h1")?.textContent ?? "vml"} · vml`;
  // Whoever has just come starts at the top; whoever followed a link, at what it led to.
  if (came) main.focus({ preventScroll: true });
  came = true;
}

function refusal(error) {
  if (error instanceof Refused && error.status === 401) askForKey();
  const words = error instanceof Refused ? error.message : `This page has a defect: ${error.message}`;
  return el("section", {}, el("h1", {}, "Not shown"), el("p", { class: "bad", role: "alert" }, words),
    el("button", { type: "button", onclick: show }, "Try again"));
}

function askForKey() {
  const dialog = document.getElementById("ask"), value = document.getElementById("ask-value");
  value.value = "";
  if (!dialog.open) dialog.showModal();
}

document.getElementById("ask").addEventListener("close", (event) => {
  if (event.target.returnValue !== "use") return;
  useKey(document.getElementById("ask-value").value.trim());
  document.getElementById("ask-value").value = "";
  show();
});
document.getElementById("key").addEventListener("click", askForKey);

const theme = document.getElementById("theme");
function dress(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  theme.textContent = dark ? "Light" : "Dark";
}
const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = localStorage.getItem("vml-theme");
dress(chosen ? chosen === "dark" : system.matches);
system.addEventListener("change", (event) => localStorage.getItem("vml-theme") ?? dress(event.matches));
theme.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme !== "dark";
  localStorage.setItem("vml-theme", dark ? "dark" : "light");
  dress(dark);
});

async function watchServer() {
  const status = document.getElementById("status");
  try {
    const { ready } = await json("/v2/health/ready");
    status.textContent = ready === false ? "warming up" : "ready";
  } catch (error) {
    status.textContent = error.status === 503 ? "warming up" : "not reachable";
  }
  setTimeout(watchServer, 5000);
}

addEventListener("hashchange", show);
show();
watchServer();
