"""Readers: the same samples from IDX, compressed IDX, CSV, NPY and a table in the file give the same bits of training."""
import struct
import unittest

from common import EndToEnd, write_idx

ROWS = [(i * 37 % 256, i * 91 % 256, int(i * 37 % 256 > i * 91 % 256)) for i in range(24)]

MODEL = """// One data set in several forms.
data points(x: u8[2], label: u8 < 2) {{
    train = {source}
}}

model net(x: f32[n, 2]) -> f32[n, 2] {{ x |> dense(2) }}

train on points.train {{
    batch 8
    epochs 3
    minimize cross_entropy(net(x / 255), label) with sgd(lr = 0.1)
}}
"""


class Data(EndToEnd):
    def weights(self, name, source):
        program = self.build(MODEL.format(source=source), name=name)
        self.command(program, "train", "--quiet")
        self.command(program, "weights", "--out", f"{name}.safetensors")
        return (self.folder / f"{name}.safetensors").read_bytes()

    def npy(self, name, values, shape):
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}".encode()
        header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
        (self.folder / name).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(values))

    def test_all_readers_agree(self):
        flat, labels = [v for row in ROWS for v in row[:2]], [row[2] for row in ROWS]
        for name, values, shape in (("x", flat, [24, 2]), ("y", labels, [24])):
            write_idx(self.folder / f"{name}.idx", values, shape)
            write_idx(self.folder / f"{name}.idx.gz", values, shape)
            self.npy(f"{name}.npy", values, shape)
        (self.folder / "points.csv").write_text("a,b,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in ROWS))
        expected = self.weights("from_idx", 'idx("x.idx", "y.idx")')
        self.assertEqual(self.weights("from_gz", 'idx("x.idx.gz", "y.idx.gz")'), expected)
        self.assertEqual(self.weights("from_npy", 'npy("x.npy", "y.npy")'), expected)
        self.assertEqual(self.weights("from_csv", 'csv("points.csv")'), expected)
        self.assertEqual(self.weights("from_table", f"table {[list(row) for row in ROWS]}"), expected)

    def test_what_stands_behind_the_last_sample_can_be_computed_with(self):
        """600 samples run through in chunks, the last of which is not full. The logarithm of nothing would be infinite, and 0 times that is NaN."""
        (self.folder / "points.csv").write_text("a,b,label\n" + "".join(f"{1 + i % 255},{1 + i * 7 % 255},{i % 2}\n" for i in range(600)))
        model = MODEL.replace("batch 8", "batch all").replace("net(x / 255)", "net(log(x / 255))")
        program = self.build(model.format(source='csv("points.csv")'), name="chunks")
        self.command(program, "train", "--quiet", "--no-save")


if __name__ == "__main__":
    unittest.main()
