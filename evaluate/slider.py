"""Stepping through a focal stack on the report page: its controls, boxes of the fields of view, style and script.

Further slices, and the right view of a dual pixel, wait as text in the page's data, so that a page with many stacks
opens as fast as one without. With the fields of view shown, each slice is put where it belongs in the reference slice:
the scene stands still and the picture's edge moves.
"""

from typing import Any

from .fields import enlarged, relative, slice_colours, stack_boxes
from .row import Row

CONTROLS = """<div class="bar" id="sweep" hidden><button id="play">Play</button><button id="other">Left / right</button>
<input type="range" id="slice" min="0" value="0" step="1" aria-label="Slice">
<output id="which" for="slice"></output>
<label id="choose"><input type="checkbox" id="fields"> Fields of view</label></div>
"""

SLIDER_STYLE = """
[hidden]{display:none!important}
#sweep{margin:.6rem 0 0}#sweep input{accent-color:var(--hue);cursor:pointer}#slice{flex:1 1 160px;margin:.3rem 0}
#which{min-width:min(100%,17em)}#choose{cursor:pointer}
#stage>img{transform-origin:0 0}
#stage:has(#boxes:not([hidden])){background:#181818;box-shadow:0 0 0 8px #181818;overflow:visible}
#boxes{position:absolute;inset:0;pointer-events:none}
#boxes>svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
#boxes rect{fill:none;stroke-width:1px;vector-effect:non-scaling-stroke;opacity:.55}
#boxes rect.now{stroke-width:3px;opacity:1}
#boxes figure{position:absolute;right:7%;bottom:7%;width:32%;padding:.4rem;border-radius:6px;background:#181818e0}
#boxes figcaption{font-size:.75rem;font-weight:400;color:#ddd;text-align:center}
"""

SLIDER_SCRIPT = """
const range = $("slice"), play = $("play"), fields = $("fields"), boxes = $("boxes");
let slice = 0, side = 0, heading = 1, timer = 0;
const shown = () => radios.find(r => r.checked).value;
const further = layer => data[now].frames[layer];
const frame = layer => layer === "dual" ? side : further(layer) ? slice : 0;
const source = layer => frame(layer) ? further(layer)[frame(layer) - 1] : picture(layer).src;
const placed = () => fields.checked && Boolean(data[now].boxes);
const sliced = layer => layer === "stack" || layer === "raw" && further(layer);
const owner = layer => sliced(layer) ? slice : data[now].reference;
const lensOf = layer => ["capture", "dual"].includes(layer) || layer === "raw" && !sliced(layer)
  ? data[now].lens : data[now].lenses?.[slice] ?? data[now].lens;
const box = k => data[now].boxes?.[k] ?? [0, 0, 1, 1];
const stepping = () => !$("sweep").hidden;
function spotIn(layer) {
  const from = box(placed() ? data[now].reference : owner(shown())), to = box(owner(layer));
  return spot.map((v, a) => (from[a] + v * (from[a + 2] - from[a]) - to[a]) / (to[a + 2] - to[a]));
}
function turn() {
  const layer = shown(), dual = layer === "dual";
  const names = dual ? ["Left view", "Right view"] : data[now].slices, k = dual ? side : slice;
  $("sweep").hidden = !names.length;
  range.hidden = dual || names.length < 2; play.hidden = names.length < 2; $("other").hidden = !dual;
  range.max = names.length - 1; range.value = k; range.setAttribute("aria-valuetext", names[k] ?? "");
  play.textContent = timer ? "Pause" : dual ? "Flicker" : "Play";
  $("which").value = names[k] ?? "";
  $("choose").hidden = dual || !data[now].boxes;
  large.src = source(layer);
  large.alt = further(layer) ? names[k] + " of sample " + data[now].index + ", " + layer : picture(layer).alt;
  boxes.hidden = dual || !placed();
  for (const r of boxes.querySelectorAll("rect")) r.classList.toggle("now", r.dataset.slice === String(slice));
  const b = box(boxes.hidden ? data[now].reference : owner(layer));
  large.style.transform =
    "translate(" + 100 * b[0] + "%," + 100 * b[1] + "%) scale(" + (b[2] - b[0]) + "," + (b[3] - b[1]) + ")";
}
function move(step) {
  if (shown() === "dual") side = 1 - side;
  else slice = Math.min(Math.max(slice + step, 0), Math.max(data[now].slices.length - 1, 0));
  turn(); read();
}
function swing() {
  if (slice + heading < 0 || slice + heading >= data[now].slices.length) heading = -heading;
  move(heading);
}
function pause() { clearInterval(timer); timer = 0; }
function begin() {
  pause(); side = 0; heading = 1; slice = Math.min(slice, Math.max(data[now].slices.length - 1, 0));
  boxes.replaceChildren(...[cards[now].querySelector("template.fields")?.content.cloneNode(true) ?? ""]);
}
play.onclick = () => { if (timer) pause(); else timer = setInterval(swing, 300); turn(); };
$("other").onclick = () => { pause(); move(1); };
range.addEventListener("input", () => { pause(); slice = Number(range.value); turn(); read(); });
fields.addEventListener("change", () => { turn(); read(); });
"""


def stack_facts(row: Row) -> dict[str, Any]:
    """Return what the script must know of a sample's slices: names, reference, and boxes as shares of the picture."""
    facts: dict[str, Any] = {"slices": row.names(), "reference": row.reference}
    boxes = stack_boxes(row)
    if boxes is not None and row.stack is not None:
        facts["boxes"] = relative(boxes, row.stack.shape[1:3]).round(6).tolist()
    return facts


def field_boxes(row: Row) -> str:
    """Draw the fields of view of a stack as SVG, to scale and enlarged; "" where they are unknown or alike."""
    boxes = stack_boxes(row)
    if boxes is None or row.stack is None:
        return ""
    height, width = row.stack.shape[1:3]
    shares = relative(boxes, (height, width))
    wide, factor = enlarged(shares)
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in slice_colours(len(shares)).tolist()]

    def drawn(boxes: Any, left: float, top: float, right: float, bottom: float) -> str:
        rectangles = "".join(
            f'<rect data-slice="{k}" x="{x * width:.2f}" y="{y * height:.2f}" width="{(x2 - x) * width:.2f}" '
            f'height="{(y2 - y) * height:.2f}" stroke="{colour}"/>'
            for k, ((x, y, x2, y2), colour) in enumerate(zip(boxes.tolist(), colours, strict=True))
        )
        frame = f"{left * width:.2f} {top * height:.2f} {(right - left) * width:.2f} {(bottom - top) * height:.2f}"
        return f'<svg viewBox="{frame}" role="img" aria-label="Fields of view of the slices">{rectangles}</svg>'

    low, high = wide[:, :2].min(axis=0).clip(max=0) - 0.02, wide[:, 2:].max(axis=0).clip(min=1) + 0.02
    caption = f"differences \u00d7 {factor}" if factor > 1 else "to scale"
    inset = drawn(wide, *low.tolist(), *high.tolist())
    return f"{drawn(shares, 0, 0, 1, 1)}<figure>{inset}<figcaption>{caption}</figcaption></figure>"
