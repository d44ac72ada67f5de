#pragma once

namespace athanor::rehearse {

/// The page around a forecast's data: @TITLE@ twice, @VERDICT@, @PEAKS@, @NOTES@, @DATA@.
inline constexpr const char* page_template = R"page(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>@TITLE@</title>
<style>
:root{--paper:#fff;--ink:#1c1f24;--quiet:#68707c;--line:#dfe3e8}
@media(prefers-color-scheme:dark){:root{--paper:#15181d;--ink:#e6e9ee;--quiet:#949dab;--line:#2f353e}}
body{margin:0 auto;max-width:1080px;padding:24px;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:20px;margin:0 0 4px}p{margin:4px 0;color:var(--quiet)}p.verdict{color:var(--ink);font-weight:600}
canvas{width:100%;height:380px;display:block;margin-top:16px;cursor:crosshair;touch-action:none}
#bar{display:flex;gap:8px;align-items:center;flex-wrap:wrap;margin-top:8px;color:var(--quiet)}
button{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:6px;padding:2px 10px;cursor:pointer}
#legend span{margin-right:14px;white-space:nowrap}#legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:5px}
.tables{display:grid;grid-template-columns:1fr 1fr;gap:24px;margin-top:16px}@media(max-width:720px){.tables{grid-template-columns:1fr}}
table{border-collapse:collapse;width:100%;font-size:13px}th,td{text-align:left;padding:3px 6px;border-bottom:1px solid var(--line)}
td:last-child,th:last-child{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td{overflow-wrap:anywhere}
</style></head><body>
<h1>@TITLE@</h1><p class="verdict">@VERDICT@</p><p>@PEAKS@</p>
@NOTES@
<canvas id="chart" aria-label="Allocated memory over time by category"></canvas>
<div id="bar"><button id="in">zoom in</button><button id="out">zoom out</button><button id="whole">whole</button><button id="peak">peak</button><span id="where"></span></div>
<p id="legend"></p><p>Wheel or drag to zoom, click to pin a moment; the tables show what is allocated then.</p>
<div class="tables"><table id="modules"></table><table id="operators"></table></div>
<script>
"use strict";
const data = @DATA@;
const colours = ["#4c78a8","#f58518","#72b7b2","#54a24b","#eeca3b","#b8bfca","#e45756"];
const n = data.events.length, kinds = data.categories.length;
const stacked = new Float64Array(n * kinds), now = new Float64Array(kinds);
data.events.forEach((event, i) => {
  const block = data.blocks[event < 0 ? -event - 1 : event];
  now[block[1]] += event < 0 ? -block[0] : block[0];
  stacked.set(now, i * kinds);
});
const total = i => { let sum = 0; for (let k = 0; k < kinds; k++) sum += stacked[i * kinds + k]; return sum; };
const bytes = b => b >= 2 ** 30 ? (b / 2 ** 30).toFixed(2) + " GiB" : b >= 2 ** 20 ? (b / 2 ** 20).toFixed(1) + " MiB" : (b / 1024).toFixed(1) + " KiB";
const canvas = document.getElementById("chart"), context = canvas.getContext("2d");
let from = 0, to = Math.max(1, n), pinned = data.peak, dragging = null, left = 76, bottom = 22;
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name);
function draw() {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio; canvas.height = height * ratio; context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height); context.font = "12px system-ui,sans-serif";
  const plot = width - left, rows = height - bottom - 8;
  const columns = Math.max(1, Math.floor(plot)), best = new Int32Array(columns);
  let top = 1;
  for (let c = 0; c < columns; c++) {
    const a = Math.min(n - 1, Math.floor(from + (to - from) * c / columns));
    const b = Math.max(a + 1, Math.min(n, Math.floor(from + (to - from) * (c + 1) / columns)));
    best[c] = a;
    for (let i = a; i < b; i++) if (total(i) > total(best[c])) best[c] = i;
    top = Math.max(top, total(best[c]));
  }
  const y = value => 8 + rows - rows * value / (top * 1.04);
  context.strokeStyle = css("--line"); context.fillStyle = css("--quiet"); context.textAlign = "right";
  const step = 2 ** Math.max(0, Math.floor(Math.log2(top / 3)));
  for (let v = 0; v <= top * 1.04; v += step) { context.beginPath(); context.moveTo(left, y(v)); context.lineTo(width, y(v)); context.stroke(); context.fillText(bytes(v), left - 6, y(v) + 4); }
  const base = new Float64Array(columns);
  for (let k = 0; k < kinds; k++) {
    context.fillStyle = colours[k]; context.beginPath(); context.moveTo(left, y(base[0]));
    for (let c = 0; c < columns; c++) { const v = y(base[c] + stacked[best[c] * kinds + k]); context.lineTo(left + c, v); context.lineTo(left + c + 1, v); }
    for (let c = columns - 1; c >= 0; c--) { context.lineTo(left + c + 1, y(base[c])); context.lineTo(left + c, y(base[c])); }
    context.fill();
    for (let c = 0; c < columns; c++) base[c] += stacked[best[c] * kinds + k];
  }
  context.textAlign = "left";
  const x = i => left + plot * (i - from) / (to - from);
  for (const [i, number] of data.steps) if (i >= from && i < to) { context.fillStyle = css("--quiet"); context.fillRect(x(i), 8, 1, rows); context.fillText("step " + number, x(i) + 4, height - 6); }
  if (pinned >= from && pinned < to) { context.fillStyle = css("--ink"); context.fillRect(x(pinned), 8, 1.5, rows); }
  if (dragging && dragging.moved) { context.fillStyle = "rgba(128,128,128,.25)"; context.fillRect(Math.min(dragging.a, dragging.b), 8, Math.abs(dragging.b - dragging.a), rows); }
  tables();
}
function tables() {
  const alive = new Set(), modules = new Map(), operators = new Map();
  for (let i = 0; i <= pinned && i < n; i++) { const e = data.events[i]; if (e < 0) alive.delete(-e - 1); else alive.add(e); }
  for (const b of alive) {
    const block = data.blocks[b], add = (map, key) => map.set(key, (map.get(key) || 0) + block[0]);
    add(modules, data.modules[block[3]] || "(no module)"); add(operators, data.operators[block[2]] || "(unknown)");
  }
  const fill = (id, head, map) => {
    const table = document.getElementById(id); table.textContent = "";
    const row = (a, b, tag) => { const tr = table.insertRow(); for (const text of [a, b]) { const cell = document.createElement(tag); cell.textContent = text; tr.append(cell); } };
    row(head, "allocated", "th");
    [...map].sort((a, b) => b[1] - a[1]).slice(0, 15).forEach(([key, value]) => row(key, bytes(value), "td"));
  };
  fill("modules", "module", modules); fill("operators", "operator", operators);
  const event = data.events[pinned];
  if (event === undefined) return;
  const block = data.blocks[event < 0 ? -event - 1 : event];
  document.getElementById("where").textContent = "event " + pinned + " of " + n + ": step " + block[5] + ", " + data.phases[block[4]] + ", " + bytes(total(pinned)) + " allocated";
  document.getElementById("legend").innerHTML = "";
  data.categories.forEach((name, k) => { const s = document.createElement("span"), c = document.createElement("i"); c.style.background = colours[k]; s.append(c, name + " " + bytes(stacked[pinned * kinds + k])); document.getElementById("legend").append(s); });
}
function zoom(factor, centre) {
  const span = Math.min(n, Math.max(8, (to - from) * factor)), share = (centre - from) / (to - from);
  from = Math.max(0, Math.min(n - span, centre - span * share)); to = from + span; draw();
}
const at = px => from + (to - from) * Math.max(0, Math.min(1, (px - left) / (canvas.clientWidth - left)));
canvas.addEventListener("wheel", e => { e.preventDefault(); zoom(e.deltaY > 0 ? 1.25 : 0.8, at(e.offsetX)); }, {passive: false});
canvas.addEventListener("pointerdown", e => { dragging = {a: e.offsetX, b: e.offsetX, moved: false}; canvas.setPointerCapture(e.pointerId); });
canvas.addEventListener("pointermove", e => { if (!dragging) return; dragging.b = e.offsetX; dragging.moved = Math.abs(dragging.a - dragging.b) > 4; draw(); });
canvas.addEventListener("pointerup", e => {
  const d = dragging; dragging = null; if (!d) return;
  if (d.moved) { const a = at(Math.min(d.a, d.b)), b = at(Math.max(d.a, d.b)); from = a; to = Math.max(a + 8, b); } else pinned = Math.min(n - 1, Math.round(at(e.offsetX)));
  draw();
});
document.getElementById("in").onclick = () => zoom(0.5, (from + to) / 2);
document.getElementById("out").onclick = () => zoom(2, (from + to) / 2);
document.getElementById("whole").onclick = () => { from = 0; to = Math.max(1, n); draw(); };
document.getElementById("peak").onclick = () => { pinned = data.peak; const span = Math.min(n, 400); from = Math.max(0, Math.min(n - span, pinned - span / 2)); to = from + span; draw(); };
window.addEventListener("resize", draw);
document.documentElement.dataset.events = n;
draw();
</script></body></html>
)page";

}  // namespace athanor::rehearse
