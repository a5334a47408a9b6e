"""Weights of another model: what is loaded, what stays as it is, which learning rate a part has, and what is told when files do not fit."""
import json
import struct
import unittest

from common import EndToEnd, GRADC, write_small_data

HEAD = """// A body that two programs share.
data points(x: u8[4], label: u8 < 2) {
    train = idx("x.idx", "y.idx")
}
layer body(width = 6)(x: f32[n, 4]) = x |> dense(width) |> batch_norm |> tanh
"""
BASE = HEAD + """model base(x: f32[n, 4]) -> f32[n, 2] = x |> body as trunk |> dense(2) as head
train on points.train {
    batch 8
    epochs 2
    let logits = base(x / 255)
    minimize cross_entropy(logits, label) with adam(lr = 0.02)
}
"""
NET = HEAD + """model net(x: f32[n, 4]) -> f32[n, 2] = x |> body%s as trunk |> dense(2) as head
train on points.train {
    batch 8
    epochs 2
    %s
    let logits = net(x / 255)
    minimize cross_entropy(logits, label) with %s
}
export predict(x: u8[n, 4]) = net(x / 255)
"""
LOAD = 'load "base.ckpt" into net.trunk from "base.trunk"'


def read_safetensors(path):
    """name -> flat list of f32"""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = struct.unpack(f"<{(end - begin) // 4}f", raw[8 + length + begin : 8 + length + end])
    return tensors


class Transfer(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_small_data(cls.folder)
        base = cls.build(BASE, name="base")
        cls.command(base, "train", "--quiet")
        cls.base = cls.weights(base)

    @classmethod
    def weights(cls, program, *options):
        out = cls.folder / "out.safetensors"
        cls.command(program, "weights", "--out", out, *options)
        return read_safetensors(out)

    def net(self, name, load=LOAD, optimizer="sgd(lr = 0.1)", config=""):
        return self.build(NET % (config, load, optimizer), name=name)

    def test_a_frozen_body_stays_as_it_was_loaded(self):
        program = self.net("frozen", LOAD + "\n    freeze net.trunk")
        self.command(program, "train", "--quiet")
        after, before = self.weights(program), self.weights(program, "--untrained")
        trunk = [name for name in self.base if name.startswith("base.trunk.")]
        self.assertEqual(len(trunk), 6)   # w, b, gain, bias and both running averages
        for name in trunk:
            self.assertEqual(after["net" + name[4:]], self.base[name], name)
        self.assertNotEqual(after["net.head.w"], before["net.head.w"])

    def test_nothing_is_computed_for_what_is_frozen(self):
        kernels = {}
        for name, freeze in (("thawed", ""), ("cold", "freeze net.trunk")):
            self.net(name, LOAD + "\n    " + freeze)
            kernels[name] = self.command(GRADC, "dump", f"{name}.grad", "--stage", "kernels", "--function", "train.sgd").out
        self.assertIn("writes @net.trunk", kernels["thawed"])
        self.assertIn("net.trunk.batch_norm1.mu", kernels["cold"])   # read, for the normalisation ...
        self.assertNotIn("writes @net.trunk", kernels["cold"])       # ... and not written
        written = [line for line in kernels["cold"].splitlines() if line.strip().startswith("writes") and "@net.head" in line]
        self.assertTrue(written)
        # The gradient by the body's first weights would be a product over the samples: 4 x 6 of 8.
        self.assertIn("contract 4x6x8", kernels["thawed"].replace("6x4x8", "4x6x8"))
        self.assertNotIn("contract 4x6x8", kernels["cold"].replace("6x4x8", "4x6x8"))

    def test_what_is_missing_or_unused_is_listed(self):
        program = self.net("partial", 'load "base.ckpt" into net from "base"', config="(6)")
        self.assertNotIn("missing", self.command(program, "train", "--no-save").out)
        other = self.build((NET % ("", 'load "base.ckpt" into net from "base"', "sgd(lr = 0.1)")).replace("dense(2) as head", "dense(2) as top"), name="other")
        out = self.command(other, "train", "--no-save").out
        for words in ("'net.top.w' (f32[6, 2]) is missing", "'base.head.b' is of no use here"):
            self.assertIn(words, out)

    def test_shapes_that_differ(self):
        program = self.net("wider", config="(7)")
        self.fails(program, "train", says=["base.ckpt", "'base.trunk.dense1.w' (for 'net.trunk.dense1.w') is f32[4, 6] in the file, f32[4, 7] in this program", "wider.grad:10"])

    def test_wrong_files(self):
        self.fails(self.net("nowhere", 'load "nothing.ckpt" into net.trunk'), "train", says="nothing.ckpt")
        (self.folder / "text.ckpt").write_text("no weights at all")
        self.fails(self.net("text", 'load "text.ckpt" into net.trunk'), "train", says="'text.ckpt' is no safetensors file")
        (self.folder / "cut.ckpt").write_bytes((self.folder / "base.ckpt").read_bytes()[:-100])
        self.fails(self.net("cut", 'load "cut.ckpt" into net.trunk from "base.trunk"'), "train", says=["'cut.ckpt'", "truncated"])
        self.fails(self.net("prefix", 'load "base.ckpt" into net.trunk from "base.body"'), "train", says="'base.ckpt' holds no weight under 'base.body'")

    def test_weights_files_and_checkpoints_are_read_alike(self):
        base = self.folder / "base"
        self.command(base, "weights", "--out", "base.safetensors")
        self.assertEqual(self.weights(self.trained("from_weights", 'load "base.safetensors" into net from "base"')), self.weights(self.trained("from_checkpoint", 'load "base.ckpt" into net from "base"')))
        losses = [self.command(base, "train", "--init", name, "--steps", 1, "--no-save", "--json").json()["loss"] for name in ("base.ckpt", "base.safetensors")]
        self.assertEqual(*losses)
        self.fails(self.net("strict", ""), "train", "--init", "base.ckpt", says=["'net.trunk.dense1.w' (f32[4, 6]) is missing", "and 8 more"])

    def trained(self, name, load):
        program = self.net(name, load)
        self.command(program, "train", "--quiet", "--steps", 3)
        return program

    def test_going_on_loads_nothing_again(self):
        program = self.net("twice")
        self.command(program, "train", "--quiet", "--epochs", 2)
        whole = self.weights(program)
        self.command(program, "train", "--quiet", "--epochs", 2, "--checkpoint", "part.ckpt", "--checkpoint-every", 30)
        (self.folder / "part.ckpt").unlink()
        self.command(program, "train", "--quiet", "--epochs", 1, "--checkpoint", "part.ckpt")
        self.command(program, "train", "--quiet", "--epochs", 2, "--resume", "part.ckpt")
        self.assertEqual(self.weights(program, "--checkpoint", "part.ckpt"), whole)

    def test_learning_rates_by_part(self):
        same, parts = (self.net(name, "", optimizer) for name, optimizer in (("same", "sgd(lr = 0.1)"), ("parts", "sgd(lr = 0.1 { net.trunk.*: 0.01, *.gain: 0 })")))
        moved = []
        for program in (same, parts):
            self.command(program, "train", "--quiet", "--steps", 1, "--no-shuffle")
            before, after = self.weights(program, "--untrained"), self.weights(program)
            moved.append({name: [b - a for a, b in zip(before[name], after[name])] for name in before})
        for name, share in (("net.head.w", 1), ("net.trunk.dense1.w", 0.1), ("net.trunk.batch_norm1.gain", 0)):
            for one, other in zip(moved[0][name], moved[1][name]):
                self.assertAlmostEqual(share * one, other, delta=1e-6, msg=name)
        self.assertGreater(max(map(abs, moved[0]["net.trunk.dense1.w"])), 1e-4)


if __name__ == "__main__":
    unittest.main()
