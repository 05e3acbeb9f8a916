"""The parts of the report page that are the same on every page: head, style and script."""

from .row import LAYERS
from .slider import SLIDER_SCRIPT, SLIDER_STYLE

HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<link rel="icon" href="data:,"><title>{title}</title><style>{style}</style></head><body>
"""

STYLE = """
:root{color-scheme:light dark;--back:#fff;--card:#f4f4f2;--ink:#1c1c1a;--muted:#63635e;--line:#d9d9d4;
--hue:#1f5fa8}
@media(prefers-color-scheme:dark){:root{--back:#161617;--card:#222224;--ink:#ececea;--muted:#a3a39d;--line:#3b3b3e;
--hue:#7fb6e6}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1440px;padding:1.5rem;background:var(--back);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0 0 .75rem}h2{font-size:1.05rem;margin:0;flex:1;min-width:0;overflow-wrap:anywhere}
table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.15rem 1.5rem .15rem 0;
overflow-wrap:anywhere}th{font-weight:400;color:var(--muted);white-space:nowrap}
header ul{color:var(--muted);padding-left:1.2rem;max-width:75ch}
.wide>figure img{max-width:100%;height:auto}
table.scores.many :is(th,td){padding-right:.7rem}
table.scores.many :is(th[scope=row],thead td){position:sticky;left:0;background:var(--back)}
.charts{display:flex;flex-wrap:wrap;gap:1rem 2rem;margin:1rem 0}
figure{margin:0;flex:0 1 424px}figcaption{font-weight:600}
svg{width:100%;display:block}svg text{font-size:11px;fill:var(--muted)}svg path{stroke:var(--line)}
svg rect{fill:var(--hue)}svg rect:hover{fill:var(--ink)}
.choice{border:0;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:.25rem}
.choice label{cursor:pointer}.choice span{display:block;padding:.25rem .8rem;border:1px solid var(--line);
border-radius:1rem}.choice input{position:absolute;opacity:0}
.choice :checked+span{background:var(--hue);border-color:var(--hue);color:var(--back)}
.choice :disabled+span{opacity:.4;cursor:default}
:focus-visible,.choice :focus-visible+span{outline:3px solid var(--hue);outline-offset:2px}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
main>.choice{margin:1rem 0 .75rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(280px,100%),1fr));gap:1rem}
.card{display:block;background:var(--card);border-radius:8px;overflow:hidden;color:inherit;text-decoration:none}
.card:hover{box-shadow:0 0 0 2px var(--hue)}
.frame{display:grid;min-height:4rem;place-items:center}
.frame::before{grid-area:1/1;color:var(--muted)}
.frame img{grid-area:1/1;width:100%;height:auto;display:block;visibility:hidden}
.label{display:block;padding:.4rem .7rem .5rem;font-size:.87rem;color:var(--muted);overflow-wrap:anywhere}
.label b{color:var(--ink)}
#scales .scale{display:none;margin-bottom:.9rem}
.scale{max-width:420px;font-size:.85rem}.scale b{font-weight:400;color:var(--muted)}
.scale div{height:14px;border-radius:3px;margin:.15rem .75rem 0}
.scale p{position:relative;height:1.3rem;margin:0 .75rem}
.scale i{position:absolute;transform:translateX(-50%);font-style:normal;font-variant-numeric:tabular-nums}
.scale i::before{content:"";display:block;width:1px;height:4px;margin:0 auto;background:var(--muted)}
dialog{border:0;border-radius:10px;padding:1rem 1.25rem;max-width:min(1200px,96vw);width:96vw;max-height:96vh;
background:var(--back);color:var(--ink)}dialog::backdrop{background:#000a}
.bar{display:flex;flex-wrap:wrap;gap:.4rem .75rem;align-items:center;margin-bottom:.6rem}
button{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:6px;
padding:.2rem .8rem;cursor:pointer}
output{font-variant-numeric:tabular-nums;min-height:1.45em}
#stage{position:relative;margin:0 auto;cursor:crosshair;width:min(100%,calc((96vh - 17rem)*var(--shape)));
min-width:min(100%,240px)}
#stage img{width:100%;height:auto;display:block;border-radius:4px}
#stage s{position:absolute;width:15px;height:15px;margin:-8px;border:2px solid #fff;border-radius:50%;
box-shadow:0 0 0 1.5px #000;pointer-events:none;display:none}
#extra{display:flex;flex-wrap:wrap;gap:.25rem 2rem;margin-top:.6rem}
#extra .scale{flex:1 1 300px}
#extra ul{margin:0;padding-left:1.1rem;flex:1 1 300px;color:var(--muted);overflow-wrap:anywhere}
.hint{color:var(--muted);font-size:.8rem;margin:.5rem 0 0}
"""
SHOWN = """
body:has(#grid-LAYER:checked) :is(.frame img,#scales .scale)[data-layer=LAYER]{visibility:visible;
display:block}
body:has(#grid-LAYER:checked) .frame:not(:has([data-layer=LAYER]))::before{content:"not given"}"""
STYLE += "".join(SHOWN.replace("LAYER", layer) for layer in LAYERS) + SLIDER_STYLE

SCRIPT = """
"use strict";
const $ = id => document.getElementById(id), view = $("view"), stage = $("stage");
const data = JSON.parse($("data").textContent);
const cards = [...document.querySelectorAll(".card")], radios = [...view.querySelectorAll("[name=view]")];
let now = -1, maps = {}, spot = null;

async function unpack(map) {
  const bytes = Uint8Array.from(atob(map.codes), c => c.charCodeAt(0));
  const flow = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(flow).arrayBuffer());
  const count = map.width * map.height, codes = new Uint16Array(count);
  for (let k = 0, sum = 0; k < count; k++) codes[k] = sum = sum + planes[k] + 256 * planes[count + k] & 65535;
  return {...map, codes};
}
const signed = (v, digits) => (v > 0 ? "+" : v < 0 ? "\\u2212" : "") + Math.abs(v).toFixed(digits);
const outside = place => place.some(v => v < 0 || v >= 1);
function code(map, place) {
  if (outside(place)) return 0;
  return map.codes[Math.floor(place[1] * map.height) * map.width + Math.floor(place[0] * map.width)];
}
function read() {
  const mark = stage.querySelector("s");
  mark.style.display = spot ? "block" : "none";
  if (!spot) { $("read").value = ""; return; }
  mark.style.left = 100 * spot[0] + "%"; mark.style.top = 100 * spot[1] + "%";
  const s = data[now], parts = [], at = spotIn(shown());
  const pixel = "x " + Math.floor(at[0] * s.width) + ", y " + Math.floor(at[1] * s.height);
  parts.push(outside(at) ? "outside this slice" : pixel);
  if (maps.depth) {
    const [map] = maps.depth, c = code(map, spotIn("depth")), z = map.least * Math.exp((c - 1) * map.step);
    const metres = (z < 100 ? z.toPrecision(3) : z.toFixed(0)) + " m";
    parts.push("depth " + (c === 0 ? "unknown" : c === 65535 ? "infinite" : metres));
  }
  if (maps.coc) {
    const map = maps.coc[frame("coc")], c = code(map, spotIn("coc")), v = (c - 32768) * map.step;
    const side = Math.abs(v) < 0.5 ? "in focus" : v > 0 ? "nearer than the focus" : "farther than the focus";
    parts.push("CoC " + (c === 0 ? "unknown" : signed(v, 2) + " px (" + side + ")"));
  }
  $("read").value = parts.join(" \\u00b7 ");
}
const picture = layer => cards[now].querySelector('img[data-layer="' + layer + '"]');
function show() {
  for (const r of radios) r.disabled = !picture(r.value);
  if (!radios.some(r => r.checked && !r.disabled)) radios.find(r => !r.disabled).checked = true;
  const layer = shown(), from = picture(layer);
  turn();
  stage.style.setProperty("--shape", from.getAttribute("width") / from.getAttribute("height"));
  const scale = document.querySelector('#scales [data-layer="coc"]');
  $("extra").replaceChildren(cards[now].querySelector("template").content.cloneNode(true));
  if (layer !== "depth") $("extra").querySelector(".scale")?.remove();
  if (layer === "coc") $("extra").prepend(scale.cloneNode(true));
}
async function open(k) {
  now = k; maps = {}; spot = null; begin();
  $("name").textContent = "#" + data[k].index + "  " + data[k].source;
  show(); read();
  if (!view.open) { view.showModal(); (stepping() ? range : radios.find(r => r.checked)).focus(); }
  const found = {};
  for (const kind of ["depth", "coc"])
    if (data[k][kind]) found[kind] = await Promise.all([data[k][kind]].flat().map(unpack));
  if (now === k) { maps = found; read(); }
}
function follow() {
  const k = data.findIndex(s => "#" + s.index === location.hash);
  if (k >= 0) open(k); else if (view.open) view.close();
}
const go = step => { location.replace("#" + data[(now + step + data.length) % data.length].index); };
const inside = v => Math.min(Math.max(v, 0), 0.9999);
const point = (x, y) => { spot = [inside(x), inside(y)]; read(); };
stage.addEventListener("pointermove", e => {
  const box = stage.getBoundingClientRect();
  point((e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height);
});
stage.addEventListener("keydown", e => {
  const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[e.key];
  if (!way) return;
  const step = e.shiftKey ? 0.1 : 0.01, [x, y] = spot ?? [0.5, 0.5];
  point(x + way[0] * step, y + way[1] * step); e.preventDefault();
});
view.addEventListener("keydown", e => {
  if (e.ctrlKey || e.altKey || e.metaKey) return;
  const radio = radios[Number(e.key) - 1], key = e.key.toLowerCase();
  if (radio && !radio.disabled) { radio.checked = true; show(); read(); }
  else if (key === "n") go(1); else if (key === "p") go(-1);
});
for (const r of radios) r.addEventListener("change", () => { show(); read(); });
$("back").onclick = () => go(-1); $("next").onclick = () => go(1); $("close").onclick = () => view.close();
view.addEventListener("click", e => { if (e.target === view) view.close(); });
view.addEventListener("close", () => {
  if (view.open) return;
  try { history.replaceState(null, "", location.pathname + location.search); } catch { location.hash = ""; }
  cards[now].focus();
});
"""
START = """
addEventListener("hashchange", follow); follow();
"""
SCRIPT += SLIDER_SCRIPT + START
