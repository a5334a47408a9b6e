"""Prediction at batch 1: ours against ONNX Runtime."""
import report
from machine import Probe
from measure import Side, interleave
from sides import PEER_PYTHON, Ours, Peer
from workloads import Workload


def measure(networks: list[Workload], threads: list[int], probe: Probe, seconds: float, rounds: int) -> list[dict]:
    """Of each network and number of threads a row: microseconds a call, and the ratio to ours."""
    return [measure_row(workload, count, probe, seconds, rounds) for workload in networks for count in threads]


def measure_row(workload: Workload, threads: int, probe: Probe, seconds: float, rounds: int) -> dict:
    ours = Ours(workload, threads, what="predict")
    sides: list[Side] = [ours]
    peers = [Peer(key, workload, threads) for key in ("onnx", "onnx-call")] if PEER_PYTHON.exists() else []
    sides += peers
    try:
        row: dict = {"network": workload.network.title, "threads": threads, "sides": {}}
        row["version"] = [peer.ask("version")["version"] for peer in peers][:1]   # asks all, so that none is still starting
        bandwidth = probe.read(threads, 4 * workload.parameters)
        result = interleave(sides, probe, threads, seconds, rounds)
    finally:
        for side in sides:
            side.close()
    # Every weight is read once; the products of dense layers take less than that.
    row["limit_us"] = max(4e-3 * workload.parameters / bandwidth, sum(workload.network.products()) * 1e-3 / sum(probe.fma(threads)))
    for side in sides:
        if result.counted(side.key):
            ratio = result.ratio(side.key, ours.key)
            row["sides"][side.key] = {"name": side.name, "us": result.ms(side.key) * 1e3, "ratio": ratio.as_list() if ratio else None}
    return row


def table(rows: list[dict]) -> report.Table:
    lines = [["network", "threads", "limit", "gradc", "ONNX Runtime", "/ gradc", "of it the call alone"]]
    for row in rows:
        cell = lambda key: f"{row['sides'][key]['us']:.1f}" if key in row["sides"] else "-"
        ratio = row["sides"].get("onnx", {}).get("ratio")
        lines.append([row["network"], str(row["threads"]), f"{row['limit_us']:.1f}", cell("gradc"), cell("onnx"), f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})" if ratio else "-", cell("onnx-call")])
    return lines
