"""Batches of a pair of adversaries: what a round of their training reads."""
from collections.abc import Callable, Iterator

import numpy

from peer import RING


class Rounds:
    """(images [batch, 28, 28, 1] between -1 and 1, noise) of one batch for the critic, noise of the next one for the generator, in the order of the files."""

    def __init__(self, prefix: str, batch: int, convert: Callable):
        self.images, self.first, self.second = (numpy.load(f"{prefix}_{name}.npy") for name in ("image", "first", "second"))
        self.batch, self.convert = batch, convert
        self.ring = [self.at(i) for i in range(min(RING, self.count()))]
        self.ring = [self.ring[i % len(self.ring)] for i in range(RING)]

    def count(self) -> int:
        return len(self.images) // (2 * self.batch)

    def at(self, i: int):
        rows = lambda k: slice((2 * i + k) * self.batch, (2 * i + k + 1) * self.batch)
        return self.convert(self.images[rows(0)].reshape(-1, 28, 28, 1).astype(numpy.float32) / 127.5 - 1, self.first[rows(0)], self.second[rows(1)])

    def __iter__(self) -> Iterator:
        return (self.at(i) for i in range(self.count()))
