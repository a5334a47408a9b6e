"""What every peer shares: weights and data as gradc reads them, and the questions that it answers.

A peer is a small server, so that its blocks can be interleaved with the other sides' and it stays warm between them. It reads
a line for each question and answers with a line of JSON:

    first             {"seconds": ...}                  the first step from the start: whatever is compiled, is compiled in it
    losses N LR       [...]                             the losses of the first N steps from the start, in the order of the file
    measure SECONDS   {"ms": median, "steps": count}    milliseconds a step, or a call
    memory            {"peak_mb": ...}                  the largest resident set so far
    version           {"version": ...}
"""
import argparse
import gzip
import json
import pathlib
import re
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from adversaries import DCGAN
from networks import NETWORKS
from transformers import GPTS

RATE = 1e-3   # of learning, where speed is measured
RING = 8   # batches that are converted ahead of the clock; the data set itself stays as bytes, as on our side


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", required=True, help="safetensors, as `NAME weights --untrained` writes it")
    parser.add_argument("--network", required=True, choices=[*NETWORKS, *GPTS, DCGAN.name])
    parser.add_argument("--data", required=True, help="the folder of pictures, the file of windows of tokens, or what the names of files of rounds begin with")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", default="", help="a variant of this peer")
    return parser.parse_args()


def idx(path: str) -> numpy.ndarray:
    with gzip.open(path) as file:
        raw = file.read()
    rank = raw[3]
    return numpy.frombuffer(raw, numpy.uint8, offset=4 + 4 * rank).reshape(struct.unpack_from(f">{rank}I", raw, 4))


class Parameters:
    """The tensors of the file, handed out layer by layer as the network names them: the first convolution's are net.conv2d1.k and .b."""

    KINDS = {"conv": ("conv2d", "kb"), "dense": ("dense", "wb"), "norm": ("batch_norm", ("gain", "bias")), "lstm": ("lstm", "wub")}

    def __init__(self, path: str):
        with open(path, "rb") as file:
            self.raw = file.read()
        self.length = struct.unpack_from("<Q", self.raw)[0]
        self.header = json.loads(self.raw[8 : 8 + self.length])
        self.seen = dict.fromkeys(self.KINDS, 0)

    def tensor(self, name: str) -> numpy.ndarray:
        begin, end = self.header[name]["data_offsets"]
        return numpy.frombuffer(self.raw, numpy.float32, (end - begin) // 4, 8 + self.length + begin).reshape(self.header[name]["shape"]).copy()

    def next(self, kind: str) -> list[numpy.ndarray]:
        """Of the next layer of that kind: kernel or matrix and, if it has one, bias; gain and bias."""
        self.seen[kind] += 1
        name, parts = self.KINDS[kind]
        names = [f"net.{name}{self.seen[kind]}.{part}" for part in parts]
        return [self.tensor(part) for part in names if part in self.header]


class Batches:
    """Training batches in the order of the file: images [batch, 28, 28, 1] between 0 and 1, labels [batch]; or of a file of windows tokens [batch, context] and what follows each of them."""

    def __init__(self, path: str, batch: int, convert: Callable):
        if path.endswith(".npy"):
            windows = numpy.load(path)
            self.inputs, self.targets = windows[:, :-1], windows[:, 1:]
            self.prepare = lambda tokens: tokens
        else:
            self.inputs, self.targets = idx(path + "/train-images-idx3-ubyte.gz"), idx(path + "/train-labels-idx1-ubyte.gz")
            self.prepare = lambda images: images.reshape(-1, 28, 28, 1).astype(numpy.float32) / 255
        self.batch, self.convert = batch, convert
        self.ring = [self.at(i) for i in range(RING)]

    def at(self, i: int):
        rows = slice(i * self.batch, (i + 1) * self.batch)
        return self.convert(self.prepare(self.inputs[rows]), self.targets[rows])

    def __iter__(self) -> Iterator:
        return (self.at(i) for i in range(len(self.inputs) // self.batch))


def time_calls(call: Callable[[int], None], finish: Callable[[], None], seconds: float, group: int) -> dict:
    """The median time of call(i) over groups of calls, each finished before the clock stops; one group at the least: there are other rounds."""
    times, at = [], 0
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end or not times:
        for _ in range(group):
            call(at)
            at += 1
        finish()
        times.append((time.perf_counter() - before) / group)
    return {"ms": statistics.median(times) * 1e3, "steps": at}


def peak_mb() -> float:
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1e3


def serve(answers: dict[str, Callable[..., object]]) -> None:
    """Answers questions until the input ends."""
    answers = {"memory": lambda: {"peak_mb": peak_mb()}} | answers
    for line in sys.stdin:
        question, *words = line.split()
        print(json.dumps(answers[question](*map(float, words))), flush=True)


class Trainer:
    """A peer that trains: `start(rate)` gives fresh parameters with their optimizer, `step(state, batch)` the loss and what comes after. A state is over when the next is started."""

    def __init__(self, version: str, start: Callable, step: Callable, finish: Callable, batches: Batches):
        self.version, self.start, self.step, self.finish, self.batches = version, start, step, finish, batches
        self.state = None
        self.group = 1

    def first(self) -> dict:
        before = time.perf_counter()
        self.state = self.start(RATE)
        self.once(0)
        self.finish(self.loss)
        return {"seconds": time.perf_counter() - before}

    def once(self, i: int) -> None:
        self.loss, self.state = self.step(self.state, self.batches.ring[i % RING])

    def losses(self, count: float, rate: float) -> list[float]:
        self.state, losses = None, []
        state = self.start(rate)
        for batch, _ in zip(self.batches, range(int(count))):
            loss, state = self.step(state, batch)
            losses += map(float, loss if isinstance(loss, tuple) else [loss])
        return losses

    def measure(self, seconds: float) -> dict:
        if self.state is None:
            self.state = self.start(RATE)
            self.once(0)
        result = time_calls(self.once, lambda: self.finish(self.loss), seconds, self.group)
        self.group = max(1, min(64, int(2 / result["ms"])))   # groups of about 2 ms, so that the end of a group does not count
        return result

    def serve(self) -> None:
        serve({"first": self.first, "losses": self.losses, "measure": self.measure, "version": lambda: {"version": self.version}})
