"""The tables, for a terminal and for README.md."""
import pathlib

from sides import PEERS, STEP_PEERS
from steps import best_peer

Table = list[list[str]]
README = pathlib.Path(__file__).resolve().parent / "README.md"
BEGIN, END = "<!-- results: written by tests/bench/run --update-readme -->", "<!-- end of results -->"


def milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def step_keys(precision: str) -> dict[str, str]:
    return {key: PEERS[key][0] for key in STEP_PEERS[precision]}


def step_header(keys: dict[str, str]) -> list[str]:
    return ["network @ batch", "threads", "limit", "gradc", "/ limit", *keys.values(), "best peer / gradc", "losses"]


def step_widths(keys: dict[str, str]) -> list[int]:
    """Of a table whose rows are not known yet."""
    least = [27, 7, 7, 7, 7, *[7 for _ in keys], 20, 12]
    return [max(len(cell), width) for cell, width in zip(step_header(keys), least)]


def step_line(row: dict, keys: dict[str, str]) -> list[str]:
    sides = row["sides"]
    line = [row["title"], str(row["threads"])]
    if "limit_ms" not in row:
        return line + ["-"] * (len(keys) + 5)
    line += [milliseconds(row["limit_ms"]), milliseconds(sides["gradc"]["ms"]), f"{row['to_limit']:.2f}"]
    line += [milliseconds(sides[key]["ms"]) if "ms" in sides.get(key, {}) else "-" for key in keys]
    best = best_peer(row)
    line.append("{:.2f} ({:.2f} to {:.2f})".format(*sides[best]["ratio"]) if best else "-")
    apart = {key: side["losses_apart"] for key, side in sides.items() if "losses_apart" in side}
    wrong = [sides[key]["name"] for key in apart if not sides[key]["same_losses"]]
    line.append("-" if not apart else f"same to {max(apart.values()):.0e}" if not wrong else f"DIFFER by {max(apart.values()):.0e}: {', '.join(wrong)}")
    return line


def terminal(table: Table, widths: list[int] | None = None) -> str:
    """First column to the left, the others to the right."""
    widths = widths or [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))) for line in table)


def markdown(table: Table) -> str:
    head, *lines = table
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def sections(results: dict) -> list[tuple[str, Table, str]]:
    """Title, table, and what is to be said below it, of every part that was measured."""
    import inference, kernels, start   # they build their tables with this module

    found: list[tuple[str, Table, str]] = []
    for precision in STEP_PEERS:
        rows = [row for row in results.get("steps", []) if row["precision"] == precision]
        if rows:
            keys = {key: name for key, name in step_keys(precision).items() if any(key in row["sides"] for row in rows)}
            notes = [f"{row['title']}, {row['threads']} threads: {note}" for row in rows for note in row["notes"]]
            found.append((f"Training steps, {precision}: milliseconds", [step_header(keys), *(step_line(row, keys) for row in rows)], "\n".join(notes)))
    if results.get("inference"):
        found.append(("Prediction at batch 1: microseconds", inference.table(results["inference"]), ""))
    for title, convolutional in (("Kernels alone, 1 thread: GFLOP/s", False), ("Convolutions alone, batch 32, 1 thread: GFLOP/s as sums have them", True)):
        if rows := [row for row in results.get("kernels", []) if kernels.convolutional(row) == convolutional]:
            found.append((title, kernels.table(rows), kernels.summary(rows)))
    if results.get("start"):
        found += [(title, table, "") for title, table in start.tables(results["start"])]
    if results.get("processor") and results.get("steps"):
        found.append(("Memory: peak resident set in MB, the data set (47 MB) included", start.memory_table(results["steps"]), ""))
    return found


def versions(results: dict) -> str:
    found = {side["name"].removesuffix(" eager"): side["version"] for row in results.get("steps", []) if row["precision"] == "f32" for side in row["sides"].values() if "version" in side}
    found.pop("torch.compile", None)
    for row in results.get("inference", []):
        if row["version"]:
            found["ONNX Runtime"] = row["version"][0]
    return ", ".join(f"{name} {version}" for name, version in found.items())


def update_readme(results: dict) -> None:
    lines = [BEGIN, "", f"{results['processor']}; {results['date']}. {versions(results)}. Ratios are medians and, in brackets, quartiles.", ""]
    if "steps" in results:
        lines += ["![Time of a training step, in units of the machine's limit](results.svg)", ""]
    for title, table, text in sections(results):
        lines += [f"### {title}", "", markdown(table), ""] + ([text, ""] if text else [])
    text = README.read_text()
    before, rest = text.split(BEGIN)
    README.write_text(before + "\n".join([*lines, END]) + rest.split(END)[1])
