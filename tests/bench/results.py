"""All figures as the JSON file has them: newer ones on top of older ones, and to which kind of network they belong."""
import kernels
from workloads import WORKLOADS

# What tells the rows of a part apart.
KEYS = {"steps": ("workload", "threads"), "inference": ("network", "threads"), "kernels": ("which", *kernels.SHAPE), "compiling": ("model",), "first_step": ("workload",)}


def merged_rows(part: str, old: list[dict], new: list[dict]) -> list[dict]:
    """Row by row; in the order of the workloads, or of their first measurement."""
    order = {w.name: i for i, w in enumerate(WORKLOADS)}
    key = lambda row: tuple(row.get(name) for name in KEYS[part])
    rows = list(({key(row): row for row in old} | {key(row): row for row in new}).values())
    if part != "steps":
        return rows
    return sorted((row for row in rows if row["workload"] in order), key=lambda row: (order[row["workload"]], row["threads"]))


def merged(old: dict, new: dict) -> dict:
    result = old | new
    for part in new.keys() & old.keys() & KEYS.keys():
        result[part] = merged_rows(part, old[part], new[part])
    if "start" in old and "start" in new:
        result["start"] = {part: merged_rows(part, old["start"][part], new["start"][part]) for part in new["start"]}
    return result


KINDS = ("dense", "convolutional", "transformer", "adversarial", "recurrent")   # of networks


def of_kind(results: dict, kind: str) -> dict:
    """The rows of networks of that kind, by part; parts without any are left out."""
    kinds = {w.network.title: w.network.kind for w in WORKLOADS} | {w.title: w.network.kind for w in WORKLOADS}
    of_row = {"steps": lambda row: kinds[row["title"]], "inference": lambda row: kinds[row["network"]], "kernels": lambda row: "convolutional" if kernels.convolutional(row) else "dense"}
    found = {part: rows for part, of in of_row.items() if (rows := [row for row in results.get(part, []) if of(row) == kind])}
    if start := results.get("start"):
        rows = {"compiling": [row for row in start["compiling"] if ("convolutional" if "resnet" in row["model"] else "dense") == kind],
                "first_step": [row for row in start["first_step"] if kinds[row["title"]] == kind]}
        found |= {"start": rows} if any(rows.values()) else {}
    return found
