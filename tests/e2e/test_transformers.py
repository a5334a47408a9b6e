"""Transformers: the shipped models learn, decode what they were taught, and say what is wrong with tokens."""
import array
import random
import struct
import unittest

from common import EndToEnd, log_lines


def write_integers(path, rows):
    """An NPY file of i32."""
    shape = (len(rows), len(rows[0]))
    head = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + array.array("i", [x for row in rows for x in row]).tobytes())


class Transformers(EndToEnd):
    def learns(self, name, steps, below, *settings):
        """The last ten losses are below a share of the first three."""
        program = self.build(name, *[part for value in settings for part in ("--set", value)])
        log = self.folder / f"{name}.jsonl"
        self.command(program, "train", "--steps", steps, "--log", log, "--quiet")
        losses = [line["loss"] for line in log_lines(log) if "loss" in line]
        self.assertLess(sum(losses[steps - 10 : steps]) / 10, below * sum(losses[:3]) / 3, name)
        return program

    def test_vit_learns(self):
        self.learns("vit", 150, 0.8, "samples=32", "width=32", "depth=1", "warmup=1")

    def test_seq2seq_learns_to_reverse(self):
        # Short sequences and few steps: the shipped one takes a minute.
        program = self.learns("seq2seq", 500, 0.1, "samples=32", "longest=4", "width=48", "updates=500", "warmup=20", "judged=500")
        figures = self.command(program, "eval", "--json").json()
        self.assertGreaterEqual(figures["exact"], 0.9)
        others = self.command(program, "eval", "--seed", 5, "--json").json()   # other sequences, the same weights
        self.assertNotEqual(figures["loss"], others["loss"])
        self.assertGreaterEqual(others["exact"], 0.9)
        # What eval counts is what the export writes: the digits backwards, and ends.
        draw = random.Random(1)
        given = [[draw.randrange(10) for _ in range(draw.choice([3, 4]))] for _ in range(100)]
        write_integers(self.folder / "digits.npy", [digits + [10] * (4 - len(digits)) for digits in given])
        answers = self.command(program, "predict", self.folder / "digits.npy", "--json").json()["outputs"]["reverse_digits"]
        self.assertGreaterEqual(sum(answer == digits[::-1] + [10] * (5 - len(digits)) for digits, answer in zip(given, answers)), 90)
        # A token that the vocabulary lacks.
        write_integers(self.folder / "digits.npy", [[1, 2, 3, 4], [1, 2, 11, 10]])
        self.fails(program, "predict", self.folder / "digits.npy", says=["11", "'x'"])


if __name__ == "__main__":
    unittest.main()
