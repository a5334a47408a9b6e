"""Kernels alone on one core: every product of the workloads against the libraries that were found (kernels/contract_bench.cpp)."""
import json
import subprocess

import report
from sides import BUILD, Failed, pin
from workloads import Workload

LARGE_MFLOP = 4      # from here on a kernel is expected to be near the peak
NEAR_PEAK = 0.9
TOLERANCE = 1e-2     # between our sums and a library's, of standard normal numbers
LEVEL = 0.02         # a library within 2% is neither ahead nor behind
OURS = ("gradc", "fused")


def shapes(workloads: list[Workload]) -> list[tuple[int, int, int, bool]]:
    """(batch, inputs, outputs, whether its input gradient occurs) of every layer."""
    found: dict[tuple[int, int, int], bool] = {}
    for w in workloads:
        for i, (k, n) in enumerate(w.network.dense):
            found[w.batch, k, n] = found.get((w.batch, k, n), False) or i > 0
    return sorted(((*shape, inner) for shape, inner in found.items()), key=lambda s: (s[1], s[2], s[0]))


def measure(workloads: list[Workload], rounds: int) -> list[dict]:
    rows = []
    for batch, k, n, inner in shapes([w for w in workloads if w.precision == "f32" and not w.network.convolutional]):
        command = [BUILD / "contract_bench", "--json", "--rounds", rounds, "--ms", 5, *([] if inner else ["--first"]), batch, k, n]
        lines = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True, preexec_fn=pin(1)).stdout.splitlines()
        rows += map(json.loads, lines)
    for row in rows:
        if wrong := [figure["name"] for figure in row["figures"] if figure["difference"] > TOLERANCE]:
            raise Failed(f"{row['which']} of {row['batch']} x {row['in']} x {row['out']}: other results than ours: {', '.join(wrong)}")
    return rows


def ours(row: dict) -> dict:
    return row["figures"][0]


def best_other(row: dict) -> dict:
    return max((figure for figure in row["figures"] if figure["name"] not in OURS), key=lambda figure: figure["share"])


def table(rows: list[dict]) -> report.Table:
    names = [figure["name"] for figure in rows[0]["figures"]]
    titles = {"gradc": "gradc", "fused": "with epilogue"}
    lines = [["batch x inputs x outputs", "product", *(titles.get(name, " ".join(name.split()[:2])) for name in names), "of peak", "/ best other"]]
    for row in rows:
        figures = {figure["name"]: figure for figure in row["figures"]}
        line = [f"{row['batch']} x {row['in']} x {row['out']}", row["which"]]
        line += [f"{figures[name]['gflops']:.1f}" if name in figures else "-" for name in names]
        lines.append(line + [f"{ours(row)['share']:.0%}", f"{ours(row)['share'] / best_other(row)['share']:.2f}"])
    return lines


def summary(rows: list[dict]) -> str:
    def count(these: list[dict]) -> str:
        ratios = [ours(row)["share"] / best_other(row)["share"] for row in these]
        ahead, level = sum(r > 1 + LEVEL for r in ratios), sum(abs(r - 1) <= LEVEL for r in ratios)
        return f"ahead of the best library on {ahead} of {len(these)}, level (within {LEVEL:.0%}) on {level}, behind on {len(these) - ahead - level}"

    large = [row for row in rows if row["mflop"] >= LARGE_MFLOP]
    near = sum(ours(row)["share"] >= NEAR_PEAK for row in large)
    return (f"All shapes: {count(rows)}.\n{LARGE_MFLOP} MFLOP and over: {count(large)}; "
            f"at {NEAR_PEAK:.0%} of the peak beside them or more on {near} of {len(large)}.")
