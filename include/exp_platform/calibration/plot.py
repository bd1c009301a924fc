"""Two charts as SVG, written by hand: they need no library and read the same on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence

from exp_platform.calibration.daily_looks import Looks
from exp_platform.calibration.findings import Measured

WIDTH, LEFT, RIGHT, TOP = 860, 64, 200, 40
GREY, RED, GREEN, BLUE = "#8a8f98", "#d1495b", "#2a9d8f", "#3a6ea5"


def looks_chart(looks: Looks, alpha: float) -> str:
    """Share of A/A experiments called significant by each day, for the three rules."""
    height, bottom = 340, 44
    plot_w, plot_h = WIDTH - LEFT - RIGHT, height - TOP - bottom
    days = len(looks.naive)
    top = 1.15 * float(looks.naive[-1])

    def x(day: int) -> float:
        return LEFT + plot_w * day / (days - 1)

    def y(share: float) -> float:
        return TOP + plot_h * (1 - share / top)

    body = [_text(LEFT, 22, "Share of A/A experiments called significant by each day", bold=True)]
    for tick in _ticks(top):
        body += [_line(LEFT, y(tick), LEFT + plot_w, y(tick), GREY, 0.4)]
        body += [_text(LEFT - 8, y(tick) + 4, f"{tick:.0%}", anchor="end")]
    body += [_line(LEFT, y(alpha), LEFT + plot_w, y(alpha), GREY, 1.4, "5 4")]
    body += [_text(x(day), height - 18, f"day {day + 1}", anchor="middle") for day in (0, 9, 19, days - 1)]
    ends: list[float] = []
    for name, curve, colour in (
        ("fixed test at every look", looks.naive, RED),
        ("two-phase rule", looks.two_phase, BLUE),
        ("confidence sequence", looks.anytime, GREEN),
    ):
        points = " ".join(f"{x(day):.1f},{y(float(share)):.1f}" for day, share in enumerate(curve))
        body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.2"/>')
        at = max(y(float(curve[-1])) + 4, (ends[-1] + 16) if ends else 0)
        ends.append(at)
        body.append(_text(LEFT + plot_w + 8, at, f"{name} {float(curve[-1]):.1%}", colour=colour))
    return _svg(height, body)


def findings_chart(findings: Sequence[Measured], title: str) -> str:
    """One row per finding: the band around its target, and the observed rate as a dot."""
    row, label = 19, 330
    height = TOP + row * len(findings) + 36
    low = min(min(f.rate, f.target - f.band) for f in findings)
    high = max(max(f.rate, f.target + f.band) for f in findings)
    pad = 0.06 * (high - low)
    low, high = max(low - pad, 0.0), min(high + pad, 1.0)

    def x(share: float) -> float:
        return label + (WIDTH - label - 70) * (min(max(share, low), high) - low) / (high - low)

    body = [_text(12, 22, title, bold=True)]
    for i, found in enumerate(findings):
        middle = TOP + row * (i + 0.5)
        start, end = x(found.target - found.band), x(found.target + found.band)
        body.append(_text(label - 12, middle + 4, found.case, anchor="end"))
        body.append(
            f'<rect x="{start:.1f}" y="{middle - 6:.1f}" width="{end - start:.1f}" height="12" '
            f'fill="{GREY}" fill-opacity="0.25"/>'
        )
        body.append(_line(x(found.target), middle - 7, x(found.target), middle + 7, GREY, 1.4))
        colour = GREEN if found.kept else RED
        body.append(f'<circle cx="{x(found.rate):.1f}" cy="{middle:.1f}" r="4" fill="{colour}"/>')
        body.append(_text(WIDTH - 10, middle + 4, f"{found.rate:.1%}", anchor="end"))
    for share in (low, high):
        body.append(_text(x(share), height - 12, f"{share:.1%}", anchor="middle"))
    return _svg(height, body)


def _ticks(top: float) -> list[float]:
    step = 0.05 if top < 0.4 else 0.1
    return [step * i for i in range(int(top / step) + 1)]


def _svg(height: int, body: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', *body, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#2b2d33", bold: bool = False) -> str:
    safe = words.replace("&", "&amp;").replace("<", "&lt;")
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{safe}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"{dashes}/>'
    )
