"""Kernels alone on one core: every product and convolution of the workloads against the libraries that were found (kernels/contract_bench.cpp)."""
import json
import subprocess

import report
from networks import walk
from sides import BUILD, Failed, pin
from workloads import Workload

LARGE_MFLOP = 4      # from here on a product is expected to be near the peak
NEAR_PEAK = 0.9
TOLERANCE = 1e-4     # between our sums and a library's, of the largest
LEVEL = 0.02         # a library within 2% is neither ahead nor behind
OURS = ("gradc", "fused", "direct", "F(2x2)", "F(4x4)")
CONVOLUTION_BATCH = 32   # of a larger one the kernels are the same, with more to do
# What convolutions are to reach: of the peak beside them, by the fewer of their channels and filters; as sums, and in effect by Winograd's algorithm.
AS_SUMS = {32: 0.8, 16: 0.6}
BY_WINOGRAD = {32: 1.4}

Shape = tuple[int, ...]
SHAPE = ("batch", "in", "out", "side", "channels", "filters", "size", "stride", "padding")   # in rows: of a product the first three, of a convolution all but "in" and "out"


def products(workloads: list[Workload]) -> dict[Shape, bool]:
    """(rows of a batch, inputs, outputs) of every dense layer of networks without convolutions, and whether its input gradient occurs."""
    found: dict[Shape, bool] = {}
    for w in workloads:
        for i, (k, n) in enumerate(w.network.dense if w.network.kind not in ("convolutional", "recurrent") else []):
            rows = w.batch * w.network.rows
            found[rows, k, n] = found.get((rows, k, n), False) or i > 0
    return dict(sorted(found.items(), key=lambda item: (item[0][1:], item[0][0])))


def convolutions(workloads: list[Workload]) -> dict[Shape, bool]:
    """(batch, side, channels, filters, size, stride, padding) of every convolution, in the networks' order, and whether its input gradient occurs."""
    found: dict[Shape, bool] = {}
    for w in workloads:
        layers = [(layer, shape) for layer, shape in walk(w.network.layers if w.network.convolutional else ()) if layer[0] == "conv"]
        for i, ((_, filters, size, stride, padding, _), (side, _, channels)) in enumerate(layers):
            shape = CONVOLUTION_BATCH, side, channels, filters, size, stride, padding
            found[shape] = found.get(shape, False) or i > 0
    return found


def measure(workloads: list[Workload], rounds: int) -> list[dict]:
    rows = []
    workloads = [w for w in workloads if w.precision == "f32"]
    for flags, shapes in (([], products(workloads)), (["--convolution"], convolutions(workloads))):
        for shape, inner in shapes.items():
            command = [BUILD / "contract_bench", "--json", "--rounds", rounds, "--ms", 5, *flags, *([] if inner else ["--first"]), *shape]
            lines = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True, preexec_fn=pin(1)).stdout.splitlines()
            rows += map(json.loads, lines)
    for row in rows:
        if wrong := [figure["name"] for figure in row["figures"] if figure["difference"] > TOLERANCE]:
            raise Failed(f"{title(row)}, {row['which']}: other results than the first's: {', '.join(wrong)}")
    return rows


def convolutional(row: dict) -> bool:
    return "side" in row


def title(row: dict) -> str:
    if not convolutional(row):
        return f"{row['batch']} x {row['in']} x {row['out']}"
    stride = f" / {row['stride']}" if row["stride"] > 1 else ""
    return f"{row['side']}x{row['side']}, {row['channels']} to {row['filters']}, {row['size']}x{row['size']}{stride}"


def heading(rows: list[dict]) -> str:
    return f"Convolutions alone, batch {CONVOLUTION_BATCH}, 1 thread: GFLOP/s of the sums" if convolutional(rows[0]) else "Kernels alone, 1 thread: GFLOP/s"


def figures(row: dict) -> dict[str, dict]:
    return {figure["name"]: figure for figure in row["figures"]}


def ours(row: dict) -> dict:
    """What programs have."""
    return figures(row)[row["chosen"]]


def best_other(row: dict) -> dict | None:
    return max((figure for figure in row["figures"] if figure["name"] not in OURS), key=lambda figure: figure["share"], default=None)


def ratio(row: dict) -> float | None:
    other = best_other(row)
    return ours(row)["share"] / other["share"] if other else None


def table(rows: list[dict]) -> report.Table:
    """Of rows of one kind. What programs have is marked where there is a choice."""
    names = sorted(dict.fromkeys(name for row in rows for name in figures(row)), key=lambda name: OURS.index(name) if name in OURS else len(OURS))
    choice = convolutional(rows[0])
    lines = [["convolution" if choice else "batch x inputs x outputs", "product", *("with epilogue" if name == "fused" else name for name in names),
              *(["direct of peak"] if choice else []), "of peak", "/ best other"]]
    for row in rows:
        found = figures(row)
        line = [title(row), row["which"]]
        line += [("*" if choice and name == row["chosen"] else "") + f"{found[name]['gflops']:.1f}" if name in found else "-" for name in names]
        line += [f"{found['direct']['share']:.0%}"] if choice else []
        lines.append(line + [f"{ours(row)['share']:.0%}", f"{ratio(row):.2f}" if ratio(row) else "-"])
    return lines


def against_others(rows: list[dict]) -> str:
    ratios = [r for r in map(ratio, rows) if r]
    ahead, level = sum(r > 1 + LEVEL for r in ratios), sum(abs(r - 1) <= LEVEL for r in ratios)
    return f"ahead of the best library on {ahead} of {len(ratios)}, level (within {LEVEL:.0%}) on {level}, behind on {len(ratios) - ahead - level}"


def summary(rows: list[dict]) -> str:
    return summary_of_convolutions(rows) if convolutional(rows[0]) else summary_of_products(rows)


def summary_of_products(rows: list[dict]) -> str:
    large = [row for row in rows if row["mflop"] >= LARGE_MFLOP]
    near = sum(ours(row)["share"] >= NEAR_PEAK for row in large)
    return (f"All shapes: {against_others(rows)}.\n{LARGE_MFLOP} MFLOP and over: {against_others(large)}; "
            f"at {NEAR_PEAK:.0%} of the peak beside them or more on {near} of {len(large)}.")


def named(row: dict, figure: str) -> str:
    return f"{title(row)} {row['which']} ({figure})"


def summary_of_convolutions(rows: list[dict]) -> str:
    def reached(what: str, wanted: dict[int, float], share, of: list[dict]) -> list[str]:
        lines = []
        for least, goal in wanted.items():
            above = min((other for other in wanted if other > least), default=float("inf"))
            these = [row for row in of if least <= min(row["channels"], row["filters"]) < above]
            if not these:
                continue
            short = [named(row, f"{share(row):.0%}") for row in these if share(row) < goal]
            channels = f"{least} channels" + (" and over" if above == float("inf") else "")
            lines.append(f"{what}, {channels}: {goal:.0%} of the peak beside them or more on {len(these) - len(short)} of {len(these)}" + (", not on " + "; ".join(short) if short else "") + ".")
        return lines

    by_winograd = lambda row: max((figure["share"] for name, figure in figures(row).items() if name in ("F(2x2)", "F(4x4)")), default=0.0)
    behind = sorted((row for row in rows if ratio(row) and ratio(row) < 1 - LEVEL), key=ratio)
    lines = [f"What programs have (*) is {against_others(rows)}" + (": " + "; ".join(named(row, f"{ratio(row):.2f}") for row in behind) if behind else "") + ".",
             *reached("As sums", AS_SUMS, lambda row: figures(row)["direct"]["share"], rows),
             *reached("By Winograd's algorithm, of what sums would take", BY_WINOGRAD, by_winograd, [row for row in rows if row["size"] == 3 and row["stride"] == 1])]
    return "\n\n".join(lines)
