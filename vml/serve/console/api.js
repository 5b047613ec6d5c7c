// The server's API. The key, where one is needed, lives in this tab only.

const KEY = "vml-api-key";
const BASE = location.pathname.replace(/\/console\/.*$/, ""); // not empty where the server is mounted in another

export function useKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function send(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...(options.headers ?? {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let answer;
  try {
    answer = await fetch(BASE + path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer.");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, told.error ?? `The server answered ${answer.status}.`);
  }
  return answer;
}

export const json = async (path, options) => (await send(path, options)).json();
export const text = async (path, options) => (await send(path, options)).text();
export const blob = async (path, options) => (await send(path, options)).blob();

// Server-sent events by fetch, because EventSource sends no key. Calls back until the stream ends or is aborted.
export async function events(path, signal, told) {
  const answer = await send(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (left + value).split("\n\n");
    left = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n");
      const name = lines.find((line) => line.startsWith("event:"))?.slice(6).trim();
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (name && data) told(name, JSON.parse(data));
    }
  }
}

// Prometheus text to [{name, labels, value}].
export function readMetrics(source) {
  const found = [];
  for (const line of source.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match || line.startsWith("#")) continue;
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1], m[2]]));
    found.push({ name: match[1], labels, value: Number(match[3].replace("+Inf", "Infinity")) });
  }
  return found;
}
