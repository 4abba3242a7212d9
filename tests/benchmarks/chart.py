"""Draws the processor time of a callback by product, as SVG that reads in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import log10

from tests.benchmarks.figures import OURS, Results, middle, of
from tests.benchmarks.report import contestants, figure

LABELS, BARS, FIGURES = 170, 400, 90  # columns, in pixels
BAR, GAP, PAIR = 14, 3, 18  # of one bar; between two of a product; between products
TOP = 62
TITLE = "Processor time of a callback, by product"
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .soft { fill: #59636e; font-size: 12px }
  .ours { font-weight: 600 }
  .tls { fill: #0969da }
  .http { fill: #8ec1f5 }
  .line { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .soft { fill: #9198a1 }
    .tls { fill: #4493f8 }
    .http { fill: #1f4d85 }
    .line { stroke: #3d444d }
  }
"""


def chart(results: Results) -> str:
    """Return the chart; its scale is logarithmic, because the products lie a factor of hundreds apart."""
    costs = {
        name: [middle(reading.callback_ms for reading in of(results.readings, name, tls=tls)) for tls in (True, False)]
        for name in contestants(results)
    }
    known = [cost for pair in costs.values() for cost in pair if cost]
    low, high = min(known) / 1.6, max(known)
    height = TOP + len(costs) * (2 * BAR + GAP + PAIR) + 6
    width = LABELS + BARS + FIGURES
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{TITLE}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="22">{TITLE}</text>',
        '<text class="soft" x="8" y="42">milliseconds, logarithmic; shorter is better</text>',
        *_key("tls", "over TLS", 280),
        *_key("http", "over plain http to the provider", 356),
        f'<line class="line" x1="{LABELS}" x2="{LABELS}" y1="{TOP - 6}" y2="{height - 10}"/>',
    ]
    for number, (name, pair) in enumerate(sorted(costs.items(), key=lambda item: item[1][0] or item[1][1] or 0)):
        top = TOP + number * (2 * BAR + GAP + PAIR)
        marked = ' class="ours"' if name == OURS else ""
        label = "this broker" if name == OURS else name
        lines.append(f'<text{marked} x="{LABELS - 10}" y="{top + BAR + 6}" text-anchor="end">{escape(label)}</text>')
        lines += _bars(pair, top, low, high)
    return "\n".join([*lines, "</svg>", ""])


def _key(kind: str, text: str, x: int) -> Iterator[str]:
    yield f'<rect class="{kind}" x="{x}" y="32" width="11" height="11" rx="2"/>'
    yield f'<text class="soft" x="{x + 16}" y="42">{text}</text>'


def _bars(pair: list[float | None], top: int, low: float, high: float) -> Iterator[str]:
    for number, (cost, kind) in enumerate(zip(pair, ("tls", "http"), strict=True)):
        if not cost:
            continue
        y = top + number * (BAR + GAP)
        length = BARS * log10(cost / low) / log10(high / low)
        yield f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>'
        yield f'<text class="soft" x="{LABELS + length + 6:.1f}" y="{y + BAR - 3}">{figure(cost, "ms")}</text>'
