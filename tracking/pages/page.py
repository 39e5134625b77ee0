"""The frame of an HTML page that opens offline: one file with everything in it."""

import json
from collections.abc import Mapping

from plotly.offline import get_plotlyjs

from tracking.pages.plot_layout import Figure

BEGINNING = '<!DOCTYPE html>\n<html lang="en"><head><meta name="generator" content="paring">'
_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; padding: 20px 24px 32px; background: #f4f6f8; color: #1f2933;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { margin: 0; font-size: 22px; overflow-wrap: anywhere; }
h2 { margin: 0 0 2px; font-size: 14px; }
.facts { margin: 2px 0 10px; color: #52606d; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; color: #3e4c59;
  font-size: 13px; }
.legend span { display: inline-flex; align-items: center; gap: 6px; }
.grid { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr)); }
.card { background: white; border: 1px solid #dde4ea; border-radius: 8px;
  padding: 12px 12px 8px; min-width: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: 13px; white-space: nowrap; }
th { position: sticky; top: 0; background: white; text-align: right; color: #52606d;
  font-weight: 600; border-bottom: 1px solid #b8c4ce; }
th, td { padding: 4px 10px; }
td { text-align: right; border-bottom: 1px solid #eef2f5; }
td.text, th.text { text-align: left; }
.wide { overflow-x: auto; scrollbar-width: thin; background:
  linear-gradient(90deg, white 40%, transparent) 0 0 / 36px 100% no-repeat local,
  linear-gradient(270deg, white 40%, transparent) 100% 0 / 36px 100% no-repeat local,
  linear-gradient(90deg, #8795a180, transparent) 0 0 / 14px 100% no-repeat scroll,
  linear-gradient(270deg, #8795a180, transparent) 100% 0 / 14px 100% no-repeat scroll;
}  /* a shadow at each edge beyond which there is more */
a { color: #0b7285; }
code { font: 12px ui-monospace, monospace; user-select: all; }
footer { margin-top: 14px; color: #7b8794; font-size: 12px; }
svg { flex: none; }
"""

_SCRIPT = """
const figures = JSON.parse(document.getElementById("figures").textContent);
const config = {responsive: true, displayModeBar: false};
for (const [id, figure] of Object.entries(figures))
  Plotly.newPlot(id, figure.data, figure.layout, config);
"""


def html_page(title: str, heading: str, facts: str, body: str, source: str, style: str) -> str:
    """Return a whole page of parts in HTML: texts from outside are escaped already.

    `source` says at the foot of the page where its numbers come from.
    """
    return (
        f'{BEGINNING}<meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}{style}</style></head>\n<body>\n"
        f"<h1>{heading}</h1>\n<p class='facts'>{facts}</p>\n"
        f"{body}\n<footer>{source}</footer>\n</body></html>\n"
    )


def drawn(figures: Mapping[str, Figure]) -> str:
    """Return the scripts that draw each figure in the element of its name, Plotly included."""
    return (
        f'<script type="application/json" id="figures">{_json(figures)}</script>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{_SCRIPT}</script>"
    )


def _json(figures: Mapping[str, Figure]) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(figures, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
