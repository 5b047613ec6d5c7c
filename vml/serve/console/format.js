// How numbers, times and digests are shown.

import { el } from "./dom.js";

export function time(unix) {
  const at = new Date(unix * 1000);
  return el("time", { datetime: at.toISOString(), title: at.toISOString() }, at.toLocaleString());
}

export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (value < 1) return `${(value * 1e3).toPrecision(3)} ms`;
  if (value < 120) return `${value.toPrecision(3)} s`;
  return `${(value / 60).toFixed(1)} min`;
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1 << 20) return `${(count / 1024).toFixed(1)} KiB`;
  return `${(count / (1 << 20)).toFixed(1)} MiB`;
}

// A digest: short where it only names, whole where it is compared.
export function short(hex) {
  return el("code", { title: hex }, `${hex.slice(0, 10)}…${hex.slice(-6)}`);
}

export function whole(hex) {
  return el("code", { class: "hex" }, hex);
}

const STATES = { proved: "good", failed: "bad", cancelled: "quiet", running: "wait", queued: "quiet", waiting: "quiet" };

export function state(name) {
  return el("span", { class: STATES[name] ?? "quiet" }, name);
}
