// Two plots as SVG: bars of a histogram, and points over time on a logarithmic scale. Each has its numbers in a table
// beside it, for whoever cannot see it.

import { el, svg, table } from "./dom.js";
import { seconds } from "./format.js";

const WIDTH = 420, HEIGHT = 200, LEFT = 52, BOTTOM = 30, TOP = 10, RIGHT = 8;
const COLOURS = ["var(--bar)", "var(--bar-2)", "var(--bar-3)"];

function frame(label) {
  const drawing = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  drawing.append(svg("path", { class: "axis", fill: "none", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }));
  return drawing;
}

function label(x, y, text, anchor) {
  const node = svg("text", { x, y, "text-anchor": anchor });
  node.textContent = text;
  return node;
}

// buckets: [{upTo: seconds, count}], counts of each bucket by itself.
export function histogram(title, buckets) {
  const shown = buckets.filter((bucket) => Number.isFinite(bucket.upTo));
  const most = Math.max(1, ...shown.map((bucket) => bucket.count));
  const step = (WIDTH - LEFT - RIGHT) / Math.max(1, shown.length);
  const drawing = frame(title);
  shown.forEach((bucket, i) => {
    const height = ((HEIGHT - TOP - BOTTOM) * bucket.count) / most;
    const x = LEFT + i * step;
    drawing.append(svg("rect", { x: x + 1, y: HEIGHT - BOTTOM - height, width: Math.max(1, step - 2), height, fill: COLOURS[0] }));
    if (i % 3 === 1) drawing.append(label(x + step, HEIGHT - BOTTOM + 15, seconds(bucket.upTo), "middle"));
  });
  drawing.append(label(LEFT - 6, TOP + 10, String(most), "end"), label(LEFT - 6, HEIGHT - BOTTOM, "0", "end"));
  const rows = shown.map((bucket) => [`up to ${seconds(bucket.upTo)}`, String(bucket.count)]);
  return figure(title, drawing, table(title, ["time", "answers#"], rows));
}

// points: [{at: unix seconds, value: seconds, series}]
export function scatter(title, points) {
  const drawing = frame(title);
  const names = [...new Set(points.map((point) => point.series))].sort();
  if (points.length === 0) return figure(title, el("p", { class: "quiet" }, "Nothing yet."), null);
  const ats = points.map((point) => point.at), logs = points.map((point) => Math.log10(Math.max(1e-4, point.value)));
  const [first, last] = [Math.min(...ats), Math.max(...ats)];
  const low = Math.floor(Math.min(...logs)), high = Math.max(low + 1, Math.ceil(Math.max(...logs)));
  const x = (at) => LEFT + ((at - first) / Math.max(1, last - first)) * (WIDTH - LEFT - RIGHT - 8) + 4;
  const y = (log) => HEIGHT - BOTTOM - ((log - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
  for (let log = low; log <= high; log += 1) drawing.append(label(LEFT - 6, y(log) + 4, seconds(10 ** log), "end"));
  points.forEach((point, i) => {
    const colour = COLOURS[names.indexOf(point.series) % COLOURS.length];
    drawing.append(svg("circle", { cx: x(point.at), cy: y(logs[i]), r: 3, fill: colour }));
  });
  const clock = (at) => new Date(at * 1000).toLocaleTimeString();
  drawing.append(label(LEFT, HEIGHT - 8, clock(first), "start"), label(WIDTH - RIGHT, HEIGHT - 8, clock(last), "end"));
  const key = el("p", {}, names.map((name, i) => {
    const dot = svg("svg", { width: 10, height: 10, "aria-hidden": "true" }, svg("circle", { cx: 5, cy: 5, r: 4, fill: COLOURS[i % 3] }));
    return el("span", { class: "quiet" }, dot, ` ${name}  `);
  }));
  const rows = names.map((name) => {
    const values = points.filter((point) => point.series === name).map((point) => point.value).sort((a, b) => a - b);
    return [name, String(values.length), seconds(values[Math.floor(values.length / 2)]), seconds(values.at(-1))];
  });
  return figure(title, el("div", {}, drawing, key), table(title, ["backend", "proofs#", "median#", "slowest#"], rows));
}

function figure(title, drawing, numbers) {
  return el("figure", {}, el("figcaption", {}, title), drawing,
    numbers ? el("details", {}, el("summary", {}, "Numbers"), numbers) : null);
}
