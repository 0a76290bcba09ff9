"""The comparison as a picture: bars on a logarithmic scale, readable on light and on dark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from tests.bench.peers.comparing import FAR, MANY, NOTHING, Case, Results

__all__ = ["plot"]

WIDTH, LEFT, RIGHT = 760, 230, 60
BAR, GAP, TOP = 13, 12, 64
SCALE = "logarithmic: each line is ten times the last"
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .quiet { fill: #57606a; font-size: 12px }
.near { fill: #0969da } .far { fill: #9a6700 } .grid { stroke: #8c959f; stroke-opacity: .35 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 }
  .near { fill: #4493f8 } .far { fill: #d29922 }
}"""


def plot(results: Results) -> str:
    """Return the SVG document: a panel for one host, a panel for ten."""
    panels, top = [], TOP
    for hosts in (1, MANY):
        lines, height = _panel(results, hosts, top)
        panels += lines
        top += height
    title = "Seconds until a tool says that there is nothing to do (64 resources)"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">',
            f"<title>{title}</title><style>{STYLE}</style>",
            f'<text class="title" x="0" y="18">{title}</text>',
            f'<rect class="near" x="0" y="31" width="{BAR}" height="{BAR}"/>',
            '<text class="quiet" x="18" y="41">no added latency</text>',
            f'<rect class="far" x="140" y="31" width="{BAR}" height="{BAR}"/>',
            f'<text class="quiet" x="158" y="41">round trip of {FAR} ms</text>',
            f'<text class="quiet" x="330" y="41">{SCALE}</text>',
            *panels,
            "</svg>\n",
        ]
    )


def _panel(results: Results, hosts: int, top: int) -> tuple[list[str], int]:
    walls = [cell.wall for (case, _), cell in results.cells.items() if case.what == NOTHING]
    low, high = 10 ** math.floor(math.log10(min(walls))), max(walls)

    def x(seconds: float) -> float:
        share = math.log10(seconds / low) / math.log10(high / low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    rows = [
        (tool.name, found)
        for tool in results.tools
        if (found := list(_bars(results, hosts, tool.key)))
    ]
    height = 34 + len(rows) * (2 * BAR + GAP)
    word = "host" if hosts == 1 else "hosts"
    lines = [f'<text class="title" x="0" y="{top + 14}">{hosts} {word}</text>']
    for power in range(round(math.log10(low)), math.floor(math.log10(high)) + 1):
        at = x(10.0**power)
        lines.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top + 20}" '
            f'y2="{top + height - 10}"/><text class="quiet" text-anchor="middle" x="{at:.1f}" '
            f'y="{top + 14}">{10.0**power:g} s</text>'
        )
    y = top + 26
    for name, bars in rows:
        lines.append(
            f'<text text-anchor="end" x="{LEFT - 10}" y="{y + BAR + 4}">{escape(name)}</text>'
        )
        for at, (kind, seconds) in enumerate(bars):
            end, down = x(seconds), y + at * BAR
            lines.append(
                f'<rect class="{kind}" x="{LEFT}" y="{down}" width="{end - LEFT:.1f}" '
                f'height="{BAR - 1}"/><text class="quiet" x="{end + 5:.1f}" y="{down + 11}">'
                f"{seconds:.2f}</text>"
            )
        y += 2 * BAR + GAP
    return lines, height


def _bars(results: Results, hosts: int, tool: str) -> Iterator[tuple[str, float]]:
    for kind, rtt in (("near", 0), ("far", FAR)):
        if cell := results.of(Case(hosts, rtt, NOTHING), tool):
            yield kind, cell.wall
