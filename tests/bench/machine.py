"""The machine that is measured on: its name, and what it can do at this moment (probe.cpp)."""
import json
import os
import pathlib
import re
import subprocess
from dataclasses import dataclass

PROBE_MS = 8          # of fused multiply-adds around every block: long against its own noise, short against a block
PING_MS = 1           # of messages between cores
DRIFT = 0.05          # a core whose two probes differ by more has moved
MEMORY_MS, MEMORY_BYTES = 3, 24e6   # of a stream through what is shared with other machines
BUSY = 0.6            # memory that gives less than this part of the most seen is busy with others' work
APART = 1.7           # cores whose messages take so many times the least seen are apart: on virtual machines that comes and goes


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def processor() -> str:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"flags\s*: (.*)", text)
    numbers = {key: match[1] for key in ("cpu family", "model", "vendor_id") if (match := re.search(rf"^{key}\s*: (.*)", text, re.M))}
    shown = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flags and flag in flags[1].split()]
    return (f"{name[1] if name else 'unknown processor'} ({numbers.get('vendor_id', '?')}, family {numbers.get('cpu family', '?')}, model {numbers.get('model', '?')}; "
            f"{', '.join(shown)}), {len(cores())} cores")


class Probe:
    """Asks probe.cpp's server. Figures are per core: GFLOP/s, GB/s."""

    def __init__(self, program: pathlib.Path):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.least_ping = float("inf")
        self.most_memory: dict[int, float] = {}   # seen while cores were near, by the number of threads

    def ask(self, *words: object) -> list[float]:
        assert self.process.stdin and self.process.stdout
        print(*words, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())["each"]

    def fma(self, threads: int) -> list[float]:
        return self.ask("fma", threads, PROBE_MS)

    def ping(self, threads: int) -> float:
        """Nanoseconds there and back between the first core and the farthest; 0 for one thread."""
        figures = self.ask("ping", threads, PING_MS)
        if figures:
            self.least_ping = min(self.least_ping, *figures)
        return max(figures, default=0.0)

    def bf16(self, threads: int, milliseconds: int = 30) -> float:
        """GFLOP/s of all cores together; 0 without instructions for it."""
        return sum(self.ask("bf16", threads, milliseconds))

    def stream(self, threads: int, size: float, milliseconds: int = 40) -> float:
        """GB/s of all cores together, reading and writing three arrays of so many bytes together."""
        return sum(self.ask("stream", threads, int(size), milliseconds))

    def read(self, threads: int, size: float, milliseconds: int = 40) -> float:
        """GB/s of all cores together, reading one array."""
        return sum(self.ask("read", threads, int(size), milliseconds))


    def state(self, threads: int) -> "State":
        memory, gflops, ping = self.stream(threads, MEMORY_BYTES, MEMORY_MS), self.fma(threads), self.ping(threads)
        if ping <= APART * self.least_ping:   # cores apart have caches of their own, and get more
            self.most_memory[threads] = max(memory, self.most_memory.get(threads, 0.0))
        return State(gflops, ping, memory)


@dataclass
class State:
    """Of the machine at a moment."""
    gflops: list[float]   # of each core
    ping: float           # nanoseconds
    memory: float         # GB/s


def moved(before: list[float], after: list[float]) -> bool:
    return any(abs(a - b) > DRIFT * max(a, b) for a, b in zip(before, after))
