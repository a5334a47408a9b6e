"""The tables, for a terminal and for README.md."""
from steps import best_peer

Table = list[list[str]]


def milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def step_header(keys: dict[str, str]) -> list[str]:
    return ["network @ batch", "threads", "limit", "gradc", "/ limit", *keys.values(), "best peer / gradc", "losses"]


def step_line(row: dict, keys: dict[str, str]) -> list[str]:
    sides = row["sides"]
    line = [row["title"], str(row["threads"])]
    if "limit_ms" not in row:
        return line + ["-"] * (len(keys) + 4) + [row["notes"][-1]]
    best = best_peer(row)
    line += [milliseconds(row["limit_ms"]), milliseconds(sides["gradc"]["ms"]), f"{row['to_limit']:.2f}"]
    line += [milliseconds(sides[key]["ms"]) if "ms" in sides.get(key, {}) else "-" for key in keys]
    if best:
        median, low, high = sides[best]["ratio"]
        line.append(f"{median:.2f} ({low:.2f} to {high:.2f})")
    else:
        line.append("-")
    apart = {key: side["losses_apart"] for key, side in sides.items() if "losses_apart" in side}
    wrong = [sides[key]["name"] for key in apart if not sides[key]["same_losses"]]
    line.append("-" if not apart else f"same ({max(apart.values()):.0e})" if not wrong else f"DIFFER ({max(apart.values()):.0e}): {', '.join(wrong)}")
    return line


def widths(table: Table) -> list[int]:
    return [max(len(line[i]) for line in table) for i in range(len(table[0]))]


def terminal(table: Table, of: list[int] | None = None) -> str:
    """First column to the left, the others to the right."""
    of = of or widths(table)
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, of))) for line in table)


def markdown(table: Table) -> str:
    head, *lines = table
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
