"""Draws the processor time of a callback by product, as SVG that reads in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import ceil, floor, log10

from tests.benchmarks.figures import OURS, Results, middle, of
from tests.benchmarks.report import contestants, figure, shown

TITLE = "Processor time of a callback, by product"
LABELS, PLOT, MARGIN = 160, 470, 60  # columns, in pixels
TOP, ROW, BOTTOM = 66, 42, 30
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .soft { fill: #59636e; font-size: 12px }
  .ours { font-weight: 600 }
  .tls { fill: #0969da }
  .http { fill: none; stroke: #0969da; stroke-width: 2 }
  .line { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .soft { fill: #9198a1 }
    .tls { fill: #4493f8 }
    .http { stroke: #4493f8 }
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
    decades = range(floor(log10(min(known))), ceil(log10(max(known))) + 1)
    width, height = LABELS + PLOT + MARGIN, TOP + ROW * len(costs) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{TITLE}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="22">{TITLE}</text>',
        '<text class="soft" x="8" y="42">milliseconds, logarithmic; further left is better</text>',
        *_key("tls", "over TLS to the provider", 300),
        *_key("http", "over plain http", 470),
        *_axis(decades, height),
    ]
    for number, (name, pair) in enumerate(sorted(costs.items(), key=lambda item: item[1][0] or item[1][1] or 0)):
        lines += _row(name, pair, TOP + ROW * number + ROW // 2, decades)
    return "\n".join([*lines, "</svg>", ""])


def _key(kind: str, text: str, x: int) -> Iterator[str]:
    yield f'<circle class="{kind}" cx="{x}" cy="38" r="5"/>'
    yield f'<text class="soft" x="{x + 12}" y="42">{text}</text>'


def _axis(decades: range, height: int) -> Iterator[str]:
    for exponent in decades:
        x = _x(10.0**exponent, decades)
        yield f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        yield f'<text class="soft" x="{x:.1f}" y="{height - 12}" text-anchor="middle">{10.0**exponent:g} ms</text>'


def _row(name: str, pair: list[float | None], y: int, decades: range) -> Iterator[str]:
    marked = ' class="ours"' if name == OURS else ""
    yield f'<text{marked} x="{LABELS - 14}" y="{y + 4}" text-anchor="end">{escape(shown(name))}</text>'
    drawn = [(cost, kind) for cost, kind in zip(pair, ("tls", "http"), strict=True) if cost]
    for cost, kind in drawn:
        yield f'<circle class="{kind}" cx="{_x(cost, decades):.1f}" cy="{y}" r="5"/>'
    highest = max(cost for cost, _ in drawn)
    figures = " / ".join(figure(cost) for cost, _ in drawn)
    yield f'<text class="soft" x="{_x(highest, decades) + 12:.1f}" y="{y + 4}">{figures}</text>'


def _x(cost: float, decades: range) -> float:
    return LABELS + PLOT * (log10(cost) - decades[0]) / (decades[-1] - decades[0])
