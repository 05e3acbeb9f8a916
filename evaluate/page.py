"""What the pages share: head and style."""

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
.bar{display:flex;flex-wrap:wrap;gap:.4rem .75rem;align-items:center;margin-bottom:.6rem}
button{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:6px;
padding:.2rem .8rem;cursor:pointer}
output{font-variant-numeric:tabular-nums;min-height:1.45em}
.spot{position:relative;cursor:crosshair}
.spot s{position:absolute;width:15px;height:15px;margin:-8px;border:2px solid #fff;border-radius:50%;
box-shadow:0 0 0 1.5px #000;pointer-events:none;display:none}
"""
