"""Comparing sides that run one after the other on a machine that drifts: blocks between probes, ratios round by round."""
import statistics
from dataclasses import asdict, dataclass, field
from typing import Callable, Protocol

from machine import APART, BUSY, Probe, moved

FEWEST = 3   # blocks of a side that a figure may rest on


class Side(Protocol):
    name: str
    key: str

    def measure(self, seconds: float) -> float: ...


@dataclass
class Block:
    ms: float
    gflops: float   # of all cores, the mean of the probes around it
    ping: float     # nanoseconds between cores, the greater of the probes around it
    memory: float   # GB/s, the smaller of the probes around it
    quiet: bool     # no core's speed changed during it


@dataclass
class Spread:
    median: float
    low: float      # quartiles
    high: float

    def as_list(self) -> list[float]:
        return [self.median, self.low, self.high]


def spread(values: list[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


@dataclass
class Rounds:
    """For each side a block in every round. Those count that were quiet on a calm machine: its cores near each other, and its memory not busy
    with others' work. If there are too few of them, those with the cores near; if there are too few of these, all quiet ones."""
    near: float     # nanoseconds between cores up to which they are near
    free: float     # GB/s from which on memory is not busy
    blocks: dict[str, list[Block]] = field(default_factory=dict)

    def calm(self, block: Block) -> bool:
        return self.cores_near(block) and block.memory >= self.free

    def cores_near(self, block: Block) -> bool:
        return block.quiet and block.ping <= self.near

    def enough(self, blocks: int, counts: Callable[[Block], bool]) -> bool:
        return all(sum(map(counts, side)) >= blocks for side in self.blocks.values())

    def disturbed(self) -> bool:
        return not self.enough(FEWEST, self.calm)

    def counts(self, block: Block) -> bool:
        if not self.disturbed():
            return self.calm(block)
        return self.cores_near(block) if self.enough(FEWEST, self.cores_near) else block.quiet

    def counted(self, key: str) -> list[Block]:
        return [block for block in self.blocks[key] if self.counts(block)]

    def ms(self, key: str) -> float:
        return statistics.median(block.ms for block in self.counted(key))

    def dropped(self) -> float:
        """The share of blocks that do not count."""
        every = [block for blocks in self.blocks.values() for block in blocks]
        return sum(not self.counts(block) for block in every) / len(every)

    def ratio(self, key: str, to: str) -> Spread | None:
        """Time of `key` over time of `to`, of rounds in which both count and the machine was as fast for one as for the other."""
        values = [a.ms / b.ms for a, b in zip(self.blocks[key], self.blocks[to])
                  if self.counts(a) and self.counts(b) and not moved([a.gflops], [b.gflops]) and (a.ping <= self.near) == (b.ping <= self.near)]
        return spread(values) if values else None

    def as_rows(self, key: str) -> list[dict]:
        return [asdict(block) for block in self.blocks[key]]


def interleave(sides: list[Side], probe: Probe, threads: int, seconds: float, rounds: int) -> Rounds:
    """Runs until every side has `rounds` blocks that count, or twice as many rounds have been tried."""
    result = Rounds(0, 0, {side.key: [] for side in sides})
    for side in sides:
        side.measure(0.1)   # warm
    for _ in range(2 * rounds):
        before = probe.state(threads)
        for side in sides:
            ms = side.measure(seconds)
            after = probe.state(threads)
            ping, memory = max(before.ping, after.ping), min(before.memory, after.memory)
            quiet = not moved(before.gflops, after.gflops) and ping <= APART * min(before.ping, after.ping)
            result.blocks[side.key].append(Block(ms, (sum(before.gflops) + sum(after.gflops)) / 2, ping, memory, quiet))
            before = after
        result.near, result.free = APART * probe.least_ping, BUSY * probe.most_memory.get(threads, 0.0)
        if result.enough(rounds, result.calm):
            break
    return result


def difference(curve: list[float], other: list[float]) -> float:
    """The largest difference of two curves of losses, of their mean."""
    if len(curve) != len(other) or not curve:
        return float("inf")
    return max(abs(a - b) for a, b in zip(curve, other)) / statistics.mean(other)
