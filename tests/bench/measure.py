"""Comparing sides that run one after the other on a machine that drifts: blocks between probes, ratios round by round."""
import statistics
from dataclasses import dataclass, field
from typing import Protocol

from machine import Probe, moved


class Side(Protocol):
    name: str
    key: str

    def measure(self, seconds: float) -> float: ...


@dataclass
class Block:
    ms: float
    gflops: float   # of all cores, the mean of the probes around it
    quiet: bool     # no core moved during it


@dataclass
class Spread:
    median: float
    low: float      # quartiles
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def spread(values: list[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


@dataclass
class Rounds:
    """For each side a block in every round."""
    blocks: dict[str, list[Block]] = field(default_factory=dict)

    def quiet(self, key: str) -> list[Block]:
        return [block for block in self.blocks[key] if block.quiet]

    def ms(self, key: str) -> float:
        return statistics.median(block.ms for block in self.quiet(key))

    def dropped(self) -> float:
        """The share of blocks that do not count."""
        every = [block for blocks in self.blocks.values() for block in blocks]
        return sum(not block.quiet for block in every) / len(every)

    def ratio(self, key: str, to: str) -> Spread | None:
        """Time of `key` over time of `to`, of rounds in which both were quiet and the machine as fast for one as for the other."""
        values = [a.ms / b.ms for a, b in zip(self.blocks[key], self.blocks[to]) if a.quiet and b.quiet and not moved([a.gflops], [b.gflops])]
        return spread(values) if values else None


def interleave(sides: list[Side], probe: Probe, threads: int, seconds: float, rounds: int) -> Rounds:
    """Runs until every side has `rounds` quiet blocks, or half as many rounds again have been tried."""
    result = Rounds({side.key: [] for side in sides})
    for side in sides:
        side.measure(0.1)   # warm
    for attempt in range(rounds + (rounds + 1) // 2):
        if attempt >= rounds and all(len(result.quiet(side.key)) >= rounds for side in sides):
            break
        before = probe.fma(threads)
        for side in sides:
            ms = side.measure(seconds)
            after = probe.fma(threads)
            result.blocks[side.key].append(Block(ms, (sum(before) + sum(after)) / 2, not moved(before, after)))
            before = after
    return result


def difference(curve: list[float], other: list[float]) -> float:
    """The largest difference of two curves of losses, of their mean."""
    if len(curve) != len(other) or not curve:
        return float("inf")
    return max(abs(a - b) for a, b in zip(curve, other)) / statistics.mean(other)
