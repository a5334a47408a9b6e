"""The chart of training steps: each side's time in units of the machine's limit, a row for each workload, a panel for each number of threads."""
import math
import pathlib
from html import escape

STYLE = {
    "gradc": "#d1495b", "jax": "#2e8b8b", "compile": "#e09f3e", "eager": "#7a6ff0",
}
NAMES = {"gradc": "gradc", "jax": "JAX", "compile": "torch.compile", "eager": "PyTorch eager"}
LEFT, PANEL, GAP, ROW, TOP, BOTTOM = 200, 330, 46, 26, 78, 34
TICKS = [0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24]


def write(results: dict, path: pathlib.Path) -> bool:
    """Whether there is something to be drawn."""
    rows = [row for row in results["steps"] if row["precision"] == "f32" and "limit_ms" in row]
    if not rows:
        return False
    names = list(dict.fromkeys(row["title"] for row in rows))
    threads = sorted({row["threads"] for row in rows})
    relative = {(row["title"], row["threads"]): {key: side["ms"] / row["limit_ms"] for key, side in row["sides"].items() if "ms" in side and key in STYLE} for row in rows}
    most = max(value for values in relative.values() for value in values.values())
    least = min(min(values.values()) for values in relative.values())
    first = min(1.0, least) / 1.1 if least < 0.95 else 1.0   # convolutions may be below the limit, which counts them as sums
    ticks = [tick for tick in TICKS if first <= tick <= most * 1.05]
    span = math.log(max(most * 1.1, 2) / first)
    width, height = LEFT + len(threads) * PANEL + (len(threads) - 1) * GAP + 30, TOP + ROW * len(names) + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
           f'<text x="16" y="24" font-size="15" font-weight="bold" fill="#222">Time of a training step in units of the machine\'s limit</text>']
    x = 16.0
    for key, name in NAMES.items():
        out += [mark(x + 5, 43, key), f'<text x="{x + 15}" y="47" fill="#444">{name}</text>']
        x += 32 + 6.6 * len(name)
    for column, count in enumerate(threads):
        left = LEFT + column * (PANEL + GAP)
        at = lambda value: left + PANEL * max(math.log(value / first), -0.1) / span
        bottom = TOP + ROW * len(names)
        out.append(f'<text x="{left + PANEL / 2}" y="{TOP - 12}" text-anchor="middle" font-weight="bold" fill="#444">{count} thread{"s" if count > 1 else ""}</text>')
        for tick in ticks:
            out += [f'<line x1="{at(tick):.1f}" y1="{TOP}" x2="{at(tick):.1f}" y2="{bottom}" stroke="{"#222" if tick == 1 else "#e4e4e8"}" stroke-width="{1.5 if tick == 1 else 1}"/>',
                    f'<text x="{at(tick):.1f}" y="{bottom + 16}" text-anchor="middle" font-size="10.5" fill="#666">{"limit" if tick == 1 else f"{tick:g}x"}</text>']
        for i, name in enumerate(names):
            y = TOP + ROW * (i + 0.5)
            if column == 0:
                out.append(f'<text x="{LEFT - 16}" y="{y + 4}" text-anchor="end" fill="#222">{escape(name)}</text>')
            values = relative.get((name, count))
            if not values:
                continue
            low, high = at(min(values.values())), at(max(values.values()))
            out.append(f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="#c9c9d2" stroke-width="2"/>')
            out += [mark(at(values[key]), y, key) for key in reversed(NAMES) if key in values]
    path.write_text("\n".join(out + ["</svg>"]) + "\n")
    return True


def mark(x: float, y: float, key: str) -> str:
    if key == "gradc":
        return f'<circle cx="{x:.1f}" cy="{y}" r="6" fill="{STYLE[key]}" stroke="#fff" stroke-width="1.5"/>'
    return f'<circle cx="{x:.1f}" cy="{y}" r="4.5" fill="{STYLE[key]}" fill-opacity="0.9" stroke="#fff"/>'
