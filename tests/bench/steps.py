"""Training steps: ours against the limit and every peer."""
from machine import Probe
from measure import Side, difference, interleave
from sides import Failed, Ours, Peer, step_peers
from workloads import Workload


def measure_row(workload: Workload, threads: int, probe: Probe, seconds: float, rounds: int) -> dict:
    """What the tables and the chart show of one workload, as it goes into the JSON file."""
    row: dict = {"workload": workload.name, "title": workload.title, "threads": threads, "precision": workload.precision, "sides": {}, "notes": []}
    ours = Ours(workload, threads)
    sides: list[Side] = [ours]
    compared = workload.comparison
    curve = ours.losses(compared.steps, compared.rate)
    for key in step_peers(workload):
        peer = Peer(key, workload, threads)
        try:
            first = peer.ask("first")["seconds"]
            apart = difference(peer.losses(compared.steps, compared.rate), curve)
            sides.append(peer)
            row["sides"][key] = {"name": peer.name, "version": peer.ask("version")["version"], "first_step_s": first, "losses_apart": apart,
                                 "same_losses": apart < compared.bound}
        except Failed as failure:
            row["notes"].append(str(failure))
            peer.process.kill()
    try:
        bandwidth = [probe.stream(threads, workload.state_bytes) for _ in range(3)]
        result = interleave(sides, probe, threads, seconds, rounds)
        bandwidth += [probe.stream(threads, workload.state_bytes) for _ in range(3)]
        row["peak_mb"] = {side.key: side.ask("memory")["peak_mb"] if isinstance(side, Peer) else ours.peak_mb() for side in sides}
    finally:
        for side in sides:
            side.close()
    row["dropped"] = result.dropped()
    row["disturbed"] = result.disturbed()
    if row["disturbed"]:
        row["notes"].append("measured while the cores were far from each other or the memory was busy with others' work")
    row["sides"]["gradc"] = {"name": ours.name}
    if not all(result.counted(side.key) for side in sides):
        row["notes"].append("every block of some side was dropped: this machine is too restless to measure on")
        return row
    gbytes = max(bandwidth)   # what disturbs a stream is no limit
    if workload.precision == "bf16":   # its probe is run beside the rows, not the blocks: scaled by how far f32 has moved meanwhile
        scale = probe.bf16(threads) / sum(probe.fma(threads))
    else:
        scale = 1.0
    gflops = [block.gflops for side in sides for block in result.counted(side.key)]
    row["peak_gflops"], row["gbytes"] = scale * sum(gflops) / len(gflops), gbytes
    row["limit_ms"] = workload.limit_ms(row["peak_gflops"], gbytes)
    for side in sides:
        figures = row["sides"][side.key]
        figures["ms"] = result.ms(side.key)
        figures["rounds"] = result.as_rows(side.key)
        if side is not ours and (ratio := result.ratio(side.key, ours.key)):
            figures["ratio"] = ratio.as_list()
    row["to_limit"] = row["sides"]["gradc"]["ms"] / row["limit_ms"]
    return row


def best_peer(row: dict) -> str | None:
    """The key of the fastest peer whose losses are ours."""
    counted = [key for key, side in row["sides"].items() if key != "gradc" and "ratio" in side and side["same_losses"]]
    return min(counted, key=lambda key: row["sides"][key]["ratio"][0], default=None)
