"""The viewer of the report page: one sample large, what is read at the pointer, and the strip of all samples.

It needs no script to be read: without one the strip is a grid of pictures, and the buttons above it choose which. The
circle of confusion (CoC) at the pointer is computed from the depth there, ``c = k (1/z - 1/z_focus)`` with k in pixel
metres from the lens of the sample or the slice, or read from stored maps where no lens is known.
"""

from collections.abc import Sequence

from .row import LAYERS, Layer
from .slider import CONTROLS, SLIDER_SCRIPT, SLIDER_STYLE

_ROWS = (("pixel", "Pixel"), ("colour", "Colour shown"), ("depth", "Depth"), ("coc", "CoC"), ("sharp", "Sharpest in"))


def viewer(limit: float) -> str:
    """Write the viewer, hidden until its script runs; `limit` is the end of the CoC colours in pixels."""
    rows = "".join(f'<div><dt>{name}</dt><dd id="read-{key}"></dd></div>' for key, name in _ROWS)
    label = "Picture; arrow keys move the read-out"
    return f"""<div id="viewer" data-limit="{limit:g}" hidden><div id="large">
<div id="stage" class="spot" tabindex="0" role="application" aria-label="{label}">
<img alt=""><div id="boxes" hidden></div><s></s></div>
{CONTROLS}</div>
<aside aria-label="Sample and read-out"><div class="bar"><h2 id="name" aria-live="polite"></h2><span id="turn">
<button id="back" aria-label="Previous sample">&lsaquo;</button>
<button id="next" aria-label="Next sample">&rsaquo;</button></span></div>
<canvas id="loupe" width="288" height="160" aria-hidden="true"></canvas>
<dl id="read">{rows}</dl><output id="said" class="unseen"></output><div id="extra"></div></aside></div>"""


def keys(layers: Sequence[Layer], *, stacks: bool, reading: str) -> str:
    """Write how the viewer is used; `reading` says how exact its numbers are."""
    slices = "Left and right, or comma and full stop: slices. " if stacks else "Left and right: samples. "
    sharp = "Click, or Enter: the slice in which this point is sharpest. " if stacks else ""
    return (
        f'<section class="about"><h2>Keys</h2><p class="hint">1 to {len(layers)}: pictures. {slices}N and P: next '
        "and previous sample. In the picture: move the pointer, or Tab to it and use the arrow keys (Shift: larger "
        f"steps). {sharp}{reading}</p></section>"
    )


_SHOWN = """
body:has(#grid-LAYER:checked) :is(.frame img,#scales .scale)[data-layer=LAYER]{visibility:visible;
display:block}
body:has(#grid-LAYER:checked) .frame:not(:has([data-layer=LAYER]))::before{content:"not given"}"""

VIEWER_STYLE = (
    """
h1{margin:0 0 .6rem;overflow-wrap:anywhere}
.live main{display:grid;grid-template:auto auto 1fr/minmax(0,1fr) 19.5rem;gap:0 1.5rem;align-items:start}
.live main>.choice{grid-column:1/-1}.live #viewer{display:contents}
.live #large{grid-area:2/1}.live aside{grid-area:2/2/span 2}.live .grid{grid-area:3/1}
#large{min-width:0;--rest:20rem}#large:has(#sweep:not([hidden])){--rest:22.5rem}
#stage{margin:0 auto;width:min(100%,calc((100vh - var(--rest))*var(--shape)));min-width:min(100%,260px);
aspect-ratio:var(--shape);overflow:hidden;border-radius:4px;background:var(--card);touch-action:manipulation;
box-shadow:0 0 0 1px var(--line)}
#stage img{width:100%;height:100%;display:block}
aside .bar{flex-wrap:nowrap;margin:0 0 .5rem}#turn{white-space:nowrap}
#turn button{padding:.1rem .7rem;font-size:1.2rem;line-height:1.2}
#loupe{display:block;width:100%;height:auto;aspect-ratio:288/160;border-radius:4px;background:var(--card)}
#read{margin:.6rem 0;font-variant-numeric:tabular-nums}
#read div{display:grid;grid-template-columns:6.6rem minmax(0,1fr);gap:.5rem;min-height:1.6em}
#read div:has(#read-sharp){min-height:3em}
#read dt{color:var(--muted)}#read dd{margin:0;overflow-wrap:anywhere}
#read i{display:inline-block;width:.85em;height:.85em;margin-right:.4em;border:1px solid var(--line);
border-radius:2px;vertical-align:-.08em}
#extra .scale{margin-bottom:.4rem}#extra .scale div{position:relative}
.scale u{position:absolute;top:-4px;bottom:-4px;width:4px;margin-left:-2px;border-radius:2px;background:var(--ink);
box-shadow:0 0 0 1.5px var(--back)}
#extra ul{margin:.6rem 0 0;padding:0;list-style:none;color:var(--muted);overflow-wrap:anywhere;font-size:.87rem}
.live #scales{display:none}
.live .grid{display:flex;overflow-x:auto;gap:.6rem;margin:1rem -4px 0;padding:4px 4px .7rem;scrollbar-width:thin}
.live .card{flex:0 0 146px;font-size:.92em;scroll-margin:0 1rem}
.card[aria-current]{box-shadow:0 0 0 3px var(--hue)}
.live .frame img{aspect-ratio:4/3;object-fit:cover}
.live .label{padding:.25rem .5rem .35rem;font-size:.78rem;text-align:center}.live .label span{display:none}
.about{margin-top:1.2rem;border-top:1px solid var(--line);padding-top:1rem}.about h2{margin-bottom:.5rem}
.about ul{color:var(--muted);padding-left:1.2rem;max-width:75ch}
.hint{color:var(--muted);max-width:85ch;margin:0}
@media(max-width:820px){body{padding:1rem}.live :is(main,#viewer){display:block}aside{margin-top:1rem}
#loupe{display:none}
th,td{padding-right:.8rem}}
"""
    + "".join(_SHOWN.replace("LAYER", layer) for layer in LAYERS)
    + SLIDER_STYLE
)

_SCRIPT = """
"use strict";
const $ = id => document.getElementById(id), viewer = $("viewer"), stage = $("stage"), loupe = $("loupe");
const data = JSON.parse($("data").textContent), large = stage.querySelector("img"), LOUPE = 8;
const cards = [...document.querySelectorAll(".card")], radios = [...document.querySelectorAll("[name=grid]")];
const pen = loupe.getContext("2d", {willReadFrequently: true});
let now = -1, maps = {}, spot = null;

async function unpack(map) {
  const bytes = Uint8Array.from(atob(map.codes), c => c.charCodeAt(0));
  const flow = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(flow).arrayBuffer());
  const count = map.width * map.height, codes = new Uint16Array(count);
  for (let k = 0, sum = 0; k < count; k++) codes[k] = sum = sum + planes[k] + 256 * planes[count + k] & 65535;
  return {...map, codes};
}
const signed = (v, digits) => {
  const text = Math.abs(v).toFixed(digits);
  return (Number(text) === 0 ? "" : v > 0 ? "+" : "\\u2212") + text;
};
const outside = place => place.some(v => v < 0 || v >= 1);
function code(map, place) {
  if (outside(place)) return 0;
  return map.codes[Math.floor(place[1] * map.height) * map.width + Math.floor(place[0] * map.width)];
}
function depthAt() {
  if (!maps.depth) return NaN;
  const [map] = maps.depth, c = code(map, spotIn("depth"));
  return c === 0 ? NaN : c === 65535 ? Infinity : map.least * Math.exp((c - 1) * map.step);
}
function cocAt(z) {
  const lens = lensOf(shown());
  if (lens) return lens[0] * (1 / z - lens[1]);
  if (!maps.coc) return NaN;
  const map = maps.coc[frame("coc")], c = code(map, spotIn("coc"));
  return c === 0 ? NaN : (c - 32768) * map.step;
}
function sharpest(z) {
  const cocs = (data[now].lenses ?? []).map(([k, focus]) => Math.abs(k * (1 / z - focus)));
  return Number.isNaN(z) || cocs.length < 2 ? -1 : cocs.indexOf(Math.min(...cocs));
}
function look(at) {
  pen.clearRect(0, 0, loupe.width, loupe.height);
  if (!at || outside(at) || !large.complete || !large.naturalWidth) return null;
  const x = Math.floor(at[0] * large.naturalWidth), y = Math.floor(at[1] * large.naturalHeight);
  const wide = loupe.width / LOUPE, high = loupe.height / LOUPE, side = Math.floor(wide / 2), up = Math.floor(high / 2);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(large, x - side, y - up, wide, high, 0, 0, loupe.width, loupe.height);
  const colour = [...pen.getImageData(side * LOUPE + LOUPE / 2, up * LOUPE + LOUPE / 2, 1, 1).data].slice(0, 3);
  for (const [ink, grow] of [["#000", 1.5], ["#fff", 0.5]]) {
    pen.strokeStyle = ink;
    pen.strokeRect(side * LOUPE - grow, up * LOUPE - grow, LOUPE + 2 * grow, LOUPE + 2 * grow);
  }
  return colour;
}
function mark(layer, place) {
  const bar = $("extra").querySelector('.scale[data-layer="' + layer + '"] div');
  if (!bar) return;
  bar.querySelector("u")?.remove();
  if (Number.isNaN(place)) return;
  bar.append(document.createElement("u"));
  bar.lastChild.style.left = 100 * Math.min(Math.max(place, 0), 1) + "%";
}
function tell(row, text, colour) {
  const cell = $("read-" + row);
  cell.textContent = text;
  if (!colour) return;
  cell.prepend(document.createElement("i"));
  cell.firstChild.style.background = "rgb(" + colour + ")";
}
const metres = z => z === Infinity ? "infinite" : (z < 100 ? z.toPrecision(3) : z.toFixed(0)) + " m";
function read() {
  const s = data[now], dot = stage.querySelector("s"), at = spot && spotIn(shown()), seen = look(at ?? [0.5, 0.5]);
  const colour = at && seen;
  dot.style.display = spot ? "block" : "none";
  if (spot) { dot.style.left = 100 * spot[0] + "%"; dot.style.top = 100 * spot[1] + "%"; }
  const z = spot ? depthAt() : NaN, c = spot ? cocAt(z) : NaN, best = sharpest(z);
  const pixel = at && "x " + Math.floor(at[0] * s.width) + ", y " + Math.floor(at[1] * s.height);
  tell("pixel", !spot ? "move the pointer over the picture" : outside(at) ? "outside this slice" : pixel);
  tell("colour", colour ? "sRGB " + colour.join(", ") : "", colour);
  tell("depth", !spot ? "" : Number.isNaN(z) ? "unknown" : metres(z));
  const side = Math.abs(c) < 0.5 ? "in focus" : c > 0 ? "nearer" : "farther";
  tell("coc", !spot ? "" : Number.isNaN(c) ? "unknown" : signed(c, 2) + " px, " + side);
  tell("sharp", best < 0 ? spot && s.slices.length ? "unknown" : "" : s.slices[best]);
  const [near, far] = s.scale ?? [0, 0];
  mark("depth", near > far ? (near - 1 / z) / (near - far) : NaN);
  mark("coc", 0.5 + c / (2 * Number(viewer.dataset.limit)));
}
function say() {
  const rows = [...$("read").children].filter(row => !row.hidden && row.lastChild.textContent);
  $("said").value = rows.map(row => [...row.children].map(cell => cell.textContent).join(" ")).join("; ");
}
const picture = layer => cards[now].querySelector('img[data-layer="' + layer + '"]');
function show() {
  for (const r of radios) r.disabled = !picture(r.value);
  if (!radios.some(r => r.checked && !r.disabled)) radios.find(r => !r.disabled).checked = true;
  const from = picture(shown());
  $("read-colour").parentNode.hidden = ["depth", "coc", "valid"].includes(shown());
  stage.style.setProperty("--shape", from.getAttribute("width") / from.getAttribute("height"));
  turn(); read();
}
async function open(k) {
  const s = data[k];
  now = k; maps = {}; begin();
  $("name").textContent = "#" + s.index + "  " + s.source;
  const scale = document.querySelector('#scales .scale[data-layer="coc"]');
  $("extra").replaceChildren(cards[k].querySelector("template").content.cloneNode(true));
  if (scale && s.shows.includes("coc")) $("extra").querySelector("ul")?.before(scale.cloneNode(true));
  $("read-depth").parentNode.hidden = !s.depth;
  $("read-coc").parentNode.hidden = !(s.coc || s.depth && (s.lens || s.lenses));
  $("read-sharp").parentNode.hidden = !(s.depth && s.lenses?.length > 1);
  for (const card of cards) card.toggleAttribute("aria-current", card === cards[k]);
  cards[k].setAttribute("aria-current", "true");
  const strip = cards[k].parentNode, middle = cards[k].offsetLeft + cards[k].offsetWidth / 2 - strip.offsetLeft;
  strip.scrollLeft = middle - strip.clientWidth / 2;
  show();
  const found = {};
  for (const kind of ["depth", "coc"]) if (s[kind]) found[kind] = await Promise.all([s[kind]].flat().map(unpack));
  if (now === k) { maps = found; read(); }
}
function follow() {
  const k = Math.max(data.findIndex(s => "#" + s.index === location.hash), 0);
  if (k !== now) open(k);
}
function go(step) {
  open((now + step + data.length) % data.length);
  location.replace("#" + data[now].index);
}
const inside = v => Math.min(Math.max(v, 0), 0.9999);
function point(e) {
  const box = stage.getBoundingClientRect();
  spot = [inside((e.clientX - box.left) / box.width), inside((e.clientY - box.top) / box.height)];
  read();
}
function focus() {
  const best = spot ? sharpest(depthAt()) : -1;
  if (best >= 0) { pause(); slice = best; turn(); read(); }
}
large.addEventListener("load", read);
stage.addEventListener("pointermove", point);
stage.addEventListener("click", e => { point(e); focus(); });
stage.addEventListener("keydown", e => {
  const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[e.key];
  if (e.key === "Enter") focus();
  else if (!way) return;
  else {
    const step = e.shiftKey ? 0.1 : 0.01, [x, y] = spot ?? [0.5 - way[0] * step, 0.5 - way[1] * step];
    spot = [inside(x + way[0] * step), inside(y + way[1] * step)];
    read();
  }
  say(); e.preventDefault(); e.stopPropagation();
});
addEventListener("keydown", e => {
  if (e.ctrlKey || e.altKey || e.metaKey) return;
  const radio = radios[Number(e.key) - 1], key = e.key.toLowerCase(), own = e.target.closest("input,.card");
  const arrow = {arrowleft: -1, arrowright: 1}[key], step = {",": -1, ".": 1}[key];
  if (radio && !radio.disabled) { radio.checked = true; show(); }
  else if (key === "n") go(1);
  else if (key === "p") go(-1);
  else if (step && stepping()) { pause(); move(step); }
  else if (arrow && own?.matches(".card")) {
    const to = cards[(cards.indexOf(own) + arrow + cards.length) % cards.length];
    to.focus(); go(cards.indexOf(to) - now); e.preventDefault();
  }
  else if (arrow && !own) {
    if (stepping()) { pause(); move(arrow); } else go(arrow);
    e.preventDefault();
  }
});
// A button that was clicked gives the arrow keys back; one that was reached by keys keeps them.
let pointed = false;
addEventListener("pointerdown", () => { pointed = true; }, true);
addEventListener("keydown", () => { pointed = false; }, true);
for (const r of radios) r.addEventListener("change", () => { show(); if (pointed) r.blur(); });
$("back").onclick = () => go(-1); $("next").onclick = () => go(1);
"""
_START = """
document.body.classList.add("live"); viewer.hidden = false;
addEventListener("hashchange", follow); follow();
"""
VIEWER_SCRIPT = _SCRIPT + SLIDER_SCRIPT + _START
