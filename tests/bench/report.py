"""The tables, for a terminal, for README.md, and in short for the README of the whole. Each kind of network has tables of its own."""
import pathlib

import chart
from sides import PEERS, STEP_PEERS
from steps import best_peer

Table = list[list[str]]
HERE = pathlib.Path(__file__).resolve().parent
README, TOP_README = HERE / "README.md", HERE.parents[1] / "README.md"
CHARTS = {"dense": "results.svg", "convolutional": "convolutional.svg", "transformer": "transformer.svg", "adversarial": "adversarial.svg", "recurrent": "recurrent.svg"}
# Rows of the table in the README of the whole: one thread, f32.
SHOWN = ("mlp_256_b1", "mlp_256_b32", "mlp_256_b128", "mlp_1024_1024_b32", "mlp_1024_1024_b128", "mlp_1024_1024_b512",
         "lenet_b32", "lenet_b128", "vgg_b32", "vgg_b128", "resnet20_b32", "resnet20_b128",
         "gpt_4_128_64_b8", "gpt_4_128_64_b16", "gpt_6_384_256_b8", "gpt_6_384_256_b16", "dcgan_b16", "dcgan_b64", "lstm_b32", "lstm_b128")


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
    """Title, table, and what is to be said below it, of every part that was measured; the results are of one kind."""
    import inference, kernels, start   # they build their tables with this module

    found: list[tuple[str, Table, str]] = []
    for precision in STEP_PEERS:
        rows = [row for row in results.get("steps", []) if row["precision"] == precision]
        if rows:
            keys = {key: name for key, name in step_keys(precision).items() if any(key in row["sides"] for row in rows)}
            notes = [f"{row['title']}, {row['threads']} threads: {note}" for row in rows for note in row["notes"]]
            found.append((f"Training steps, {precision}: milliseconds", [step_header(keys), *(step_line(row, keys) for row in rows)], "\n".join(notes)))
    if rows := results.get("inference"):
        found.append(("Prediction at batch 1: microseconds", inference.table(rows), ""))
    if rows := results.get("kernels"):
        found.append((kernels.heading(rows), kernels.table(rows), kernels.summary(rows)))
    if figures := results.get("start"):
        found += [(title, table, "") for title, table in start.tables(figures)]
    if rows := results.get("steps"):
        found.append(("Memory: peak resident set in MB, the data set (47 MB) included", start.memory_table(rows), ""))
    return found


def versions(results: dict) -> str:
    found = {side["name"].removesuffix(" eager"): side["version"] for row in results.get("steps", []) if row["precision"] == "f32" for side in row["sides"].values() if "version" in side}
    found.pop("torch.compile", None)
    for row in results.get("inference", []):
        if row["version"]:
            found["ONNX Runtime"] = row["version"][0]
    return ", ".join(f"{name} {version}" for name, version in found.items())


def replace_between(path: pathlib.Path, name: str, lines: list[str]) -> None:
    """The lines between the two comments of that name."""
    begin, end = f"<!-- {name}: written by tests/bench/run --update-readme -->", f"<!-- end of {name} -->"
    before, rest = path.read_text().split(begin)
    path.write_text(before + "\n".join([begin, "", *lines, "", end]) + rest.split(end)[1])


def in_short(rows: list[dict]) -> list[str]:
    """For the README of the whole."""
    table = [["network @ batch, f32, Adam", "gradc", "best peer", "best peer / gradc", "limit"]]
    for row in rows:
        if row["threads"] == 1 and row["workload"] in SHOWN and (best := best_peer(row)):
            sides = row["sides"]
            table.append([row["title"], milliseconds(sides["gradc"]["ms"]), milliseconds(sides[best]["ms"]), f"{sides[best]['ratio'][0]:.2f}", milliseconds(row["limit_ms"])])
    return [markdown(table)] if len(table) > 1 else []


def update_readme(results: dict) -> None:
    """Rewrites the tables of each kind of network that the results have figures of. What was written of the other kind stays."""
    from results import KINDS, of_kind

    for kind in KINDS:
        found = of_kind(results, kind)
        if not found:
            continue
        lines = [f"{results['processor']}; {results['date']}. {versions(found)}. Ratios are medians and, in brackets, quartiles.", ""]
        if "steps" in found:
            if chart.write(found, HERE / CHARTS[kind]):
                lines += [f"![Time of a training step, in units of the machine's limit]({CHARTS[kind]})", ""]
            if short := in_short(found["steps"]):
                replace_between(TOP_README, f"speed of {kind} networks", short)
        for title, table, text in sections(found):
            lines += [f"### {title}", "", markdown(table), ""] + ([text, ""] if text else [])
        replace_between(README, f"results of {kind} networks", lines[:-1])
