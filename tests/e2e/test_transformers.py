"""Transformers: the shipped models learn, decode what they were taught, and say what is wrong with tokens."""
import array
import collections
import gzip
import math
import random
import struct
import unittest

from common import EndToEnd, JARGON, log_lines


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

    def test_bert_finds_hidden_characters(self):
        program = self.learns("bert_mini", 600, 0.8, "context=32", "width=32", "layers=1", "warmup=20", "peak=1e-2")
        text = gzip.open(JARGON, "rt", encoding="utf-8").read()
        held_out = text[-len(text) // 10 :]
        shares = [count / len(held_out) for count in collections.Counter(held_out).values()]
        figures = self.command(program, "eval", "--json").json()
        self.assertLess(figures["bits"], -sum(share * math.log2(share) for share in shares) - 0.4)   # frequencies alone
        self.assertGreater(figures["right"], max(shares) + 0.05)
        # The export changes hidden places alone, and finds about as much.
        characters = {c: i for i, c in enumerate(sorted(set(text)))}
        rows = [[characters[c] for c in held_out[32 * i : 32 * i + 32]] for i in range(400)]
        covered = [[160 if (i + j) % 8 == 0 else token for j, token in enumerate(row)] for i, row in enumerate(rows)]
        write_integers(self.folder / "tokens.npy", covered)
        filled = self.command(program, "predict", self.folder / "tokens.npy", "--json").json()["outputs"]["fill"]
        right = 0
        for row, given, answer in zip(rows, covered, filled):
            for token, shown, found in zip(row, given, answer):
                if shown == 160:
                    right += token == found
                else:
                    self.assertEqual(shown, found)
        self.assertGreater(right / 1600, max(shares) + 0.05)

    def test_tokens_that_the_vocabulary_lacks(self):
        """Where a range is declared, whatever is read is checked: data, and what an export is given."""
        program = self.build("""data d(tokens: i32[4] < 7, label: u8 < 3) { train = csv("tokens.csv") }
model net(t: i32[n, 4]) = t |> embedding(7, 6) |> mean(axis = 1) |> dense(3)
train on d.train { batch 2; epochs 2; minimize cross_entropy(net(tokens), label) with adam() }
export guess(tokens: i32[n, 4] < 7) = net(tokens)
""", name="words")
        for row, says in (("1,2,7,4,1", "sample 1: 'tokens' is 7, but the model file says 0 <= tokens < 7"), ("1,-2,6,4,1", "'tokens' is -2"), ("1,2,3,4,3", "'label' is 3")):
            (self.folder / "tokens.csv").write_text(f"1,2,3,4,1\n{row}\n")
            self.fails(program, "train", "--no-save", says=["d.train", "words.grad:1", "tokens.csv", says])
        for row, says in (("1,2,7,4", "'tokens' is 7, but the model file says 0 <= tokens < 7"), ("1,2,3,-1", "'tokens' is -1"), ("1,2,3", "3"), ("1,2,3,4,5", "more numbers than the 4 of a sample")):
            (self.folder / "asked.csv").write_text(row + "\n")
            self.fails(program, "predict", "--untrained", "asked.csv", says=["asked.csv", says])


if __name__ == "__main__":
    unittest.main()
