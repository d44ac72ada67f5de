"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const svgNs = "http://www.w3.org/2000/svg";
const key = "athanor-report:" + data.title;
const saved = (() => { try { return JSON.parse(sessionStorage.getItem(key)) || {}; } catch { return {}; } })();
const state = { smooth: saved.smooth ?? 0.8, log: saved.log ?? false, time: saved.time ?? false, live: saved.live ?? true, hidden: saved.hidden ?? {} };
const save = () => { try { sessionStorage.setItem(key, JSON.stringify(state)); } catch { /* a file:// page may not store */ } };

const number = (y) => typeof y === "string" ? Number({ nan: NaN, inf: Infinity, "-inf": -Infinity }[y]) : y;
const tidy = (text) => text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
function significant(value, digits = 4) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(digits - 1).replace(/\.?0+e/, "e");
  return tidy(value.toPrecision(digits).includes("e") ? String(Math.round(value)) : value.toPrecision(digits));
}
function bytes(value) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]])
    if (Math.abs(value) >= size) return significant(value / size, 3) + " " + unit;
  return significant(value, 3) + " B";
}
const written = (panel, value) => panel.unit === "bytes" ? bytes(value) : significant(value);
function steps(value) {
  if (value >= 1e6) return tidy((value / 1e6).toPrecision(3)) + "M";
  if (value >= 1e4) return tidy((value / 1e3).toPrecision(3)) + "k";
  return String(value);
}

// Seconds of training until a step was done: between two logged times, and before the first and after the last, a straight line.
function secondsAt(clock, step) {
  const { x, y } = clock;
  if (x.length < 2) return x.length && x[0] > 0 ? step * y[0] / x[0] : 0;
  if (step <= x[0]) return x[0] > 0 ? step * y[0] / x[0] : y[0];
  let low = 0, high = x.length - 1;
  while (high - low > 1) { const middle = (low + high) >> 1; x[middle] <= step ? (low = middle) : (high = middle); }
  return x[high] > x[low] ? y[low] + (step - x[low]) / (x[high] - x[low]) * (y[high] - y[low]) : y[high];
}
function duration(seconds) {
  for (const [unit, size] of [["h", 3600], ["min", 60]]) if (seconds >= 2 * size) return significant(seconds / size, 3) + " " + unit;
  return significant(seconds, 3) + " s";
}

// Round tick positions: 1, 2 or 5 times a power of ten (of two for bytes).
function ticks(low, high, count, binary) {
  const base = binary ? 2 : 10;
  const raw = (high - low) / Math.max(count, 1);
  if (!(raw > 0)) return [low];
  const power = base ** Math.floor(Math.log(raw) / Math.log(base));
  const step = (binary ? [1, 2] : [1, 2, 5, 10]).map((m) => m * power).find((s) => s >= raw * 0.7) ?? power * base;
  const list = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) list.push(i * step);
  return list;
}
function logTicks(low, high) {
  const list = [];
  const many = Math.log10(high / low) > 2;
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); ++p)
    for (const m of many ? [1] : [1, 2, 5]) if (m * 10 ** p >= low * 0.999 && m * 10 ** p <= high * 1.001) list.push(m * 10 ** p);
  return list.length > 1 ? list : [low, high];
}

// Exponential moving average over the bucket means, with the bias of its start taken out (as in Adam's moments).
function smoothed(x, y, weight) {
  const out = [];
  let mean = 0, norm = 0;
  for (let i = 0; i < x.length; ++i) {
    if (!Number.isFinite(y[i])) continue;
    mean = weight * mean + (1 - weight) * y[i];
    norm = weight * norm + (1 - weight);
    out.push([x[i], mean / norm]);
  }
  return out;
}

function element(name, attributes = {}, parent = null, ns = null) {
  const node = ns ? document.createElementNS(ns, name) : document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) k === "text" ? (node.textContent = v) : node.setAttribute(k, v);
  if (parent) parent.append(node);
  return node;
}
const shape = (name, attributes, parent) => element(name, attributes, parent, svgNs);

// One run: a colour a line. Several: a colour a run, a dash a split.
const dashes = ["", "7 3", "2 3", "9 3 2 3"];
const several = data.runs.length > 1;
const panels = data.panels.map((panel) => {
  const lines = [];
  data.runs.forEach((run, r) => run.series.forEach((s) => {
    if (!panel.names.includes(s.name)) return;
    const kind = panel.unit === "bytes" ? s.name.replace(/^memory_/, "") : panel.per_split ? s.split : s.name;
    const when = (list) => list.map((step) => secondsAt(run.clock, step));
    lines.push({ run: r, kind, x: s.x, times: when(s.x), meanTimes: when(s.mx.length ? s.mx : s.x),
      y: s.y.map(number), mx: s.mx.length ? s.mx : s.x, my: (s.mx.length ? s.my : s.y).map(number), thinned: s.mx.length > 0, n: s.n });
  }));
  const kinds = [...new Set(lines.map((l) => l.kind))];
  lines.forEach((l, i) => {
    l.colour = `var(--s${(several ? l.run : i) % 8})`;
    l.dash = several ? dashes[kinds.indexOf(l.kind) % dashes.length] : "";
    l.label = !several ? l.kind : kinds.length > 1 ? data.runs[l.run].name + " " + l.kind : data.runs[l.run].name;
  });
  return { ...panel, lines };
}).filter((panel) => panel.lines.length > 0);

// Where on the horizontal axis a line's points, its means and a step of a run are: steps, or seconds of training.
const timed = () => state.time && document.getElementById("time") !== null;
const places = (line) => timed() ? line.times : line.x;
const meanPlaces = (line) => timed() ? line.meanTimes : line.mx;
const placeOf = (run, step) => timed() ? secondsAt(run.clock, step) : step;

function path(points, X, Y) {
  let d = "", pen = false;
  for (const [x, y] of points) {
    const v = Y(y);
    if (!Number.isFinite(v)) { pen = false; continue; }
    d += (pen ? "L" : "M") + X(x).toFixed(1) + " " + v.toFixed(1);
    pen = true;
  }
  return d;
}

function range(panel, shown, log) {
  let low = Infinity, high = -Infinity, first = Infinity, last = -Infinity;
  for (const line of shown) {
    for (const y of line.y) if (Number.isFinite(y) && (!log || y > 0)) { low = Math.min(low, y); high = Math.max(high, y); }
    const at = places(line);
    if (at.length) { first = Math.min(first, at[0]); last = Math.max(last, at[at.length - 1]); }
  }
  for (const limit of panel.limits ?? []) { low = Math.min(low, limit.value); high = Math.max(high, limit.value); }
  if (low > high) { low = log ? 0.1 : 0; high = 1; }
  if (panel.unit === "bytes" && !log) low = 0;
  if (low === high) { const d = Math.abs(low) * 0.1 || 1; low -= log ? low * 0.1 : d; high += d; }
  if (!log) { const d = (high - low) * 0.05; if (panel.unit !== "bytes") low -= d; high += d; }
  if (first > last) { first = 0; last = 1; }
  if (first === last) last = first + 1;
  return { low, high, first, last };
}

function axes(svg, panel, box, span, X, Y, log) {
  const yTicks = log ? logTicks(span.low, span.high) : ticks(span.low, span.high, Math.max(3, box.h / 48), panel.unit === "bytes");
  for (const t of yTicks) {
    const y = Y(t);
    shape("line", { x1: box.l, x2: box.l + box.w, y1: y, y2: y, stroke: "var(--grid)" }, svg);
    const label = shape("text", { x: box.l - 8, y: y + 4, "text-anchor": "end" }, svg);
    label.textContent = panel.unit === "bytes" ? bytes(t) : t >= 1e4 ? steps(t) : significant(t, 3);
  }
  const [unit, size] = !timed() ? ["step", 1] : span.last >= 7200 ? ["hours", 3600] : span.last >= 120 ? ["min", 60] : ["s", 1];
  for (const t of ticks(span.first / size, span.last / size, box.w / 90).filter((t) => timed() || Number.isInteger(t))) {
    const label = shape("text", { x: X(t * size), y: box.t + box.h + 18, "text-anchor": "middle" }, svg);
    label.textContent = timed() ? significant(t, 3) : steps(t);
    shape("line", { x1: X(t * size), x2: X(t * size), y1: box.t + box.h, y2: box.t + box.h + 4, stroke: "var(--line)" }, svg);
  }
  shape("text", { x: box.l - 8, y: box.t + box.h + 18, "text-anchor": "end" }, svg).textContent = unit;
  shape("line", { x1: box.l, x2: box.l + box.w, y1: box.t + box.h, y2: box.t + box.h, stroke: "var(--line)" }, svg);
}

// Checkpoints are ticks on the axis; the best step and an early stop are lines with a word.
function marks(svg, panel, box, X, wordy) {
  data.runs.forEach((run, r) => {
    const colour = several ? `var(--s${r % 8})` : "var(--mark)";
    for (const mark of run.marks) {
      const x = X(placeOf(run, mark.step));
      if (mark.kind === "checkpoint") {
        const d = `M${x - 4} ${box.t + box.h - 1}L${x} ${box.t + box.h - 8}L${x + 4} ${box.t + box.h - 1}Z`;
        element("title", { text: mark.label }, shape("path", { d, fill: colour, opacity: 0.85 }, svg), svgNs);
        continue;
      }
      if (several && !wordy) continue;
      shape("line", { x1: x, x2: x, y1: box.t, y2: box.t + box.h, stroke: colour, "stroke-dasharray": "4 4" }, svg);
      if (!wordy || several) continue;
      const left = x > box.l + box.w - 150;
      const label = shape("text", { x: x + (left ? -6 : 6), y: box.t + (mark.kind === "best" ? 12 : 28), "text-anchor": left ? "end" : "start" }, svg);
      label.textContent = mark.label;
    }
  });
  (panel.limits ?? []).forEach((limit, i) => {
    const y = limit.y, right = i % 2 === 0;
    shape("line", { x1: box.l, x2: box.l + box.w, y1: y, y2: y, stroke: "var(--bad)", "stroke-dasharray": "6 4" }, svg);
    shape("text", { x: right ? box.l + box.w - 4 : box.l + 4, y: y - 5, "text-anchor": right ? "end" : "start" }, svg).textContent = limit.label;
  });
}

function curves(svg, panel, shown, X, Y) {
  const weight = panel.smooth ? state.smooth : 0;
  for (const line of shown) {
    const raw = places(line).map((x, i) => [x, line.y[i]]);
    const common = { fill: "none", stroke: line.colour, "stroke-dasharray": line.dash, "stroke-linejoin": "round" };
    const averaged = weight > 0 && raw.length > 60;  // few points need no smoothing, and would be bent by it
    shape("path", { ...common, d: path(raw, X, Y), "stroke-width": averaged ? 1 : 1.6, opacity: averaged ? 0.3 : 1 }, svg);
    if (averaged) shape("path", { ...common, d: path(smoothed(meanPlaces(line), line.my, weight), X, Y), "stroke-width": 2 }, svg);
    if (raw.length <= 40)
      for (const [x, y] of raw) if (Number.isFinite(Y(y))) shape("circle", { cx: X(x), cy: Y(y), r: 2.5, fill: line.colour }, svg);
    const broken = line.y.findIndex((y) => !Number.isFinite(y));
    if (broken >= 0) {
      const x = X(places(line)[broken]);
      shape("line", { x1: x, x2: x, y1: 10, y2: "88%", stroke: "var(--bad)" }, svg);
      shape("text", { x: x - 5, y: 22, "text-anchor": "end", style: "fill: var(--bad)" }, svg).textContent = `${line.y[broken]} at step ${line.x[broken]}`;
    }
  }
}

function nearest(list, value) {
  let low = 0, high = list.length - 1;
  while (high - low > 1) { const middle = (low + high) >> 1; list[middle] <= value ? (low = middle) : (high = middle); }
  return value - list[low] <= list[high] - value ? low : high;
}
const epochAt = (run, step) => { let e = null; for (const [from, epoch] of data.runs[run].epochs) if (from <= step) e = epoch; return e; };

function hover(plot, svg, panel, shown, box, span, X, Y) {
  const cross = shape("line", { y1: box.t, y2: box.t + box.h, stroke: "var(--quiet)", visibility: "hidden" }, svg);
  const tip = element("div", { class: "tip", hidden: "" }, plot);
  const off = () => { tip.hidden = true; cross.setAttribute("visibility", "hidden"); };
  plot.onpointerleave = off;
  plot.onpointermove = plot.onpointerdown = (event) => {
    const scale = svg.viewBox.baseVal.width / svg.getBoundingClientRect().width;
    const at = (event.clientX - svg.getBoundingClientRect().left) * scale;
    if (at < box.l - 6 || at > box.l + box.w + 6 || !shown.length) return off();
    const place = span.first + (at - box.l) / box.w * (span.last - span.first);
    tip.textContent = "";
    let anchor = null, step = null;
    for (const line of shown) {
      if (!line.x.length) continue;
      const i = nearest(places(line), place);
      if (anchor === null || Math.abs(places(line)[i] - place) < Math.abs(anchor - place)) {
        anchor = places(line)[i];
        step = line.x[i];
      }
      const row = element("div", { style: `color: ${line.colour}` }, tip);
      row.textContent = `${line.label}  ${written(panel, line.y[i])}  at ${line.x[i].toLocaleString("en")}`;
    }
    const epoch = several || step === null ? null : epochAt(0, step);
    const when = timed() && anchor !== null ? duration(anchor) + ", " : "";
    tip.prepend(element("div", { text: when + `step ${step?.toLocaleString("en")}` + (epoch === null ? "" : `, epoch ${epoch + 1}`) }));
    cross.setAttribute("x1", X(anchor)); cross.setAttribute("x2", X(anchor)); cross.setAttribute("visibility", "visible");
    tip.hidden = false;
    const room = plot.clientWidth - tip.offsetWidth;
    const x = X(anchor) / scale;
    tip.style.left = Math.max(0, Math.min(room, x + 14 < room ? x + 14 : x - tip.offsetWidth - 14)) + "px";
  };
}

function draw(panel) {
  const shown = panel.lines.filter((line) => !state.hidden[panel.title + "/" + line.label]);
  const width = Math.max(panel.plot.clientWidth, 260), height = panel.first ? 320 : 220;
  const log = panel.log_allowed && state.log;
  const box = { l: 62, t: 10, w: width - 62 - 12, h: height - 10 - 26 };
  const span = range(panel, shown, log);
  const X = (x) => box.l + (x - span.first) / (span.last - span.first) * box.w;
  const Y = log ? (y) => y > 0 ? box.t + box.h - Math.log(y / span.low) / Math.log(span.high / span.low) * box.h : NaN
                : (y) => Number.isFinite(y) ? box.t + box.h - (y - span.low) / (span.high - span.low) * box.h : NaN;
  (panel.limits ?? []).forEach((limit) => { limit.y = Y(limit.value); });
  panel.plot.textContent = "";
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": panel.title }, panel.plot);
  axes(svg, panel, box, span, X, Y, log);
  marks(svg, panel, box, X, panel.first);
  curves(svg, panel, shown, X, Y);
  hover(panel.plot, svg, panel, shown, box, span, X, Y);
}

function legend(panel) {
  if (panel.lines.length === 1 && !panel.per_split && panel.unit !== "bytes") return;  // the title says it
  for (const line of panel.lines) {
    const id = panel.title + "/" + line.label;
    const button = element("button", { type: "button", "aria-pressed": String(!state.hidden[id]) }, panel.legend);
    const key = shape("svg", { width: 22, height: 8, "aria-hidden": "true" }, button);
    shape("line", { x1: 0, x2: 22, y1: 4, y2: 4, stroke: line.colour, "stroke-width": 2.5, "stroke-dasharray": line.dash }, key);
    button.append(line.label);
    button.onclick = () => {
      state.hidden[id] = !state.hidden[id];
      button.setAttribute("aria-pressed", String(!state.hidden[id]));
      save();
      draw(panel);
    };
  }
}

const charts = document.querySelector(".charts");
panels.forEach((panel, i) => {
  panel.first = i === 0;
  const figure = element("figure", { class: i === 0 ? "first" : "" }, charts);
  element("h3", { text: panel.title }, figure);
  panel.legend = element("div", { class: "legend" }, figure);
  panel.plot = element("div", { class: "plot" }, figure);
  const thinned = panel.lines.filter((line) => line.thinned);
  if (thinned.length) element("figcaption", { text: `${Math.max(...thinned.map((l) => l.n)).toLocaleString("en")} points, drawn by their extremes` }, figure);
  legend(panel);
});
const redraw = () => panels.forEach(draw);

const slider = document.getElementById("smooth"), shownWeight = document.getElementById("weight");
slider.value = state.smooth; shownWeight.value = state.smooth;
slider.oninput = () => { state.smooth = Number(slider.value); shownWeight.value = state.smooth; save(); redraw(); };
const logBox = document.getElementById("log");
logBox.checked = state.log;
logBox.onchange = () => { state.log = logBox.checked; save(); redraw(); };
const timeBox = document.getElementById("time");
if (timeBox) {
  timeBox.checked = state.time;
  timeBox.onchange = () => { state.time = timeBox.checked; save(); redraw(); };
}
const live = document.getElementById("live");
if (live) {
  live.checked = state.live;
  live.onchange = () => { state.live = live.checked; save(); };
  setInterval(() => { if (state.live) location.reload(); }, data.refresh_seconds * 1000);
}

let lastWidth = 0;
function fit() {
  if (charts.clientWidth === lastWidth) return;
  lastWidth = charts.clientWidth;
  redraw();
}
fit();
requestAnimationFrame(() => { document.documentElement.dataset.drawn = Math.round(performance.now()); });
new ResizeObserver(() => requestAnimationFrame(fit)).observe(charts);
// On paper everything is open, and the curves take the paper's width.
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  fit();
});
})();
