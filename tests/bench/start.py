"""What surrounds a step: compiling, from the start of the process to the end of the first step, sizes."""
import pathlib
import statistics
import time

import report
from machine import cores
from networks import perceptron
from sides import BUILD, PEER_PYTHON, ROOT, WORK, Ours, Peer, build, run_measured, shell
from workloads import Workload

DEEP = Workload(perceptron(784, *[256] * 50, 10), 128)
REPEATS = 5
# For each peer what keeps it from using what it has compiled before.
FRESH = {"eager": {}, "compile": {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}, "jax": {}}


def build_seconds(model: pathlib.Path) -> dict[str, float]:
    """With an empty cache, and again."""
    out, cache = WORK / "built", WORK / "cache"
    shell("rm", "-rf", cache)
    environment = {"XDG_CACHE_HOME": str(cache)}
    first = run_measured(BUILD / "gradc", "build", model, "-o", out, environment=environment)[0]
    again = [run_measured(BUILD / "gradc", "build", model, "-o", out, environment=environment)[0] for _ in range(REPEATS)]
    return {"fresh_s": first, "again_s": statistics.median(again), "artifact_mb": out.stat().st_size / 1e6}


def compiling(workloads: list[Workload]) -> list[dict]:
    """Of a model of each kind that is measured; a deep one, too."""
    deep = WORK / "deep.grad"
    deep.write_text(DEEP.model(WORK))
    models = {"models/fashion_mlp.grad": (ROOT / "models" / "fashion_mlp.grad", "dense"), "784-256 x 50-10": (deep, "dense"), "models/resnet20.grad": (ROOT / "models" / "resnet20.grad", "convolutional")}
    kinds = {w.network.kind for w in workloads}
    return [{"model": name} | build_seconds(model) for name, (model, kind) in models.items() if kind in kinds]


def first_step(workload: Workload) -> dict:
    """From the start of the process; of ours the median."""
    threads = len(cores())
    model, program = WORK / "cold.grad", WORK / "cold"
    model.write_text(workload.model(WORK))
    shell(BUILD / "gradc", "build", model, "-o", program)
    train = [program, "train", "--steps", 1, "--no-save", "--quiet", "--threads", threads]
    run_measured(*train)   # the data set is inflated once in a user's life
    row: dict = {"workload": workload.name, "title": workload.title, "sides": {"gradc": {"name": Ours.name, "cold_s": statistics.median(run_measured(*train)[0] for _ in range(REPEATS)),
                                                                                       "artifact_mb": build(workload)[0].stat().st_size / 1e6}}}
    for key, settings in FRESH.items() if PEER_PYTHON.exists() else []:
        began = time.perf_counter()
        peer = Peer(key, workload, threads, settings)
        compiled = peer.ask("first")["seconds"]
        row["sides"][key] = {"name": peer.name, "cold_s": time.perf_counter() - began, "first_step_s": compiled}
        peer.close()
    return row


def measure(workloads: list[Workload]) -> dict:
    return {"compiling": compiling(workloads), "first_step": [first_step(w) for w in workloads]}


def tables(figures: dict) -> list[tuple[str, report.Table]]:
    """With their titles."""
    seconds = lambda value: f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.1f} s"
    found: list[tuple[str, report.Table]] = []
    if figures["compiling"]:
        lines = [["gradc build", "first", "again", "executable"]]
        lines += [[row["model"], seconds(row["fresh_s"]), seconds(row["again_s"]), f"{row['artifact_mb']:.1f} MB"] for row in figures["compiling"]]
        found.append(("Compiling", lines))
    if figures["first_step"]:
        *_, last = figures["first_step"]
        lines = [["from the start of the process to the end of the first step", *(side["name"] for side in last["sides"].values()), "executable"]]
        for row in figures["first_step"]:
            lines.append([row["title"], *(seconds(side["cold_s"]) for side in row["sides"].values()), f"{row['sides']['gradc']['artifact_mb']:.1f} MB"])
        lines.append(["of it compiling and the step"] + ["-" if "first_step_s" not in side else seconds(side["first_step_s"]) for side in last["sides"].values()] + [""])
        found.append(("Cold start", lines))
    return found


def memory_table(rows: list[dict]) -> report.Table:
    keys = {key: row["sides"][key]["name"] for row in rows if row["precision"] == "f32" for key in row.get("peak_mb", {})}
    keys = {"gradc": "gradc"} | keys
    lines = [["peak resident MB", "threads", *keys.values()]]
    lines += [[row["title"], str(row["threads"]), *(f"{row['peak_mb'][key]:.0f}" if key in row["peak_mb"] else "-" for key in keys)] for row in rows if row["precision"] == "f32" and "peak_mb" in row]
    return lines
