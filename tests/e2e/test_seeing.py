"""What a program shows of itself: gradients that are watched, plots of its runs."""
import math
import unittest
import xml.etree.ElementTree as xml

from common import EndToEnd, GRADC, log_lines

NET = """// A classifier of two kinds of points.
data points(x: f32[2], label: u8 < 2) {{
    train = csv("points.csv")
}}
model net(x: f32[n, 2]) -> f32[n, 2] {{
    {body}
}}
train on points.train, validate on points.train {{
    batch 16
    {clauses}
    epochs 2
    let logits = net(x)
    minimize cross_entropy(logits, label) with {optimizer}
    report accuracy = accuracy(logits, label)
}}
export predict(x: f32[n, 2]) = softmax(net(x))
"""


def net(clauses="", body="x |> dense(8) |> tanh |> dropout(0.5) |> dense(2)", optimizer="adam(lr = 0.01)"):
    return NET.format(clauses=clauses, body=body, optimizer=optimizer)


class Seeing(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        points = [(i * 37 % 101 / 50 - 1, i * 53 % 97 / 48 - 1) for i in range(320)]
        (cls.folder / "points.csv").write_text("a,b,label\n" + "".join(f"{a},{b},{int(a * a + b * b < 0.5)}\n" for a, b in points))

    # ---- gradients that are watched

    def trained(self, name, text, *options):
        program, log = self.build(text, name=name), self.folder / f"{name}.jsonl"
        result = self.command(program, "train", "--quiet", "--log", log, *options)
        self.command(program, "weights", "--out", f"{name}.safetensors")
        return log_lines(log), (self.folder / f"{name}.safetensors").read_bytes(), result

    def test_watching_changes_no_bit(self):
        plain, weights, _ = self.trained("plain", net())
        watched, same, result = self.trained("watched", net("watch gradients every 3 steps"))
        self.assertEqual(weights, same)
        self.assertEqual(result.err, "")
        looks = [line["step"] for line in watched if "gradients" in line]
        self.assertEqual(looks, list(range(1, 41, 3)))
        self.assertEqual(plain, [{k: v for k, v in line.items() if k not in ("gradients", "grad_norm")} for line in watched])
        for line in watched:
            if "gradients" in line:
                self.assertEqual(list(line["gradients"]), ["net.dense1.w", "net.dense1.b", "net.dense2.w", "net.dense2.b"])
                self.assertAlmostEqual(line["grad_norm"], math.sqrt(sum(v * v for v in line["gradients"].values())), places=6)
        self.assertFalse(any("gradients" in line for line in self.trained("watched", net("watch gradients every 3 steps"), "--watch", 0)[0]))

    def test_norms_are_those_of_the_gradients(self):
        """With sgd the step is -lr * gradient: its length says the norm. The step before the first one is what --untrained has."""
        program = self.build(net("watch gradients", body="x |> dense(2)", optimizer="sgd(lr = 0.5)"), name="sgd")
        predict = ["predict", "--index", "0:8", "--json"]
        self.command(program, "train", "--quiet", "--steps", 1, "--log", "sgd.jsonl")
        norms = log_lines(self.folder / "sgd.jsonl")[0]["gradients"]
        self.assertNotEqual(self.command(program, *predict).out, self.command(program, *predict, "--untrained").out)
        self.command(program, "weights", "--untrained", "--out", "before.safetensors")
        self.command(program, "weights", "--out", "after.safetensors")
        before, after = (tensors(self.folder / f"{name}.safetensors") for name in ("before", "after"))
        for name, norm in norms.items():
            moved = math.sqrt(sum((a - b) ** 2 for a, b in zip(after[name], before[name])))
            self.assertAlmostEqual(moved / 0.5, norm, places=5)

    def test_chunks_give_the_norms_of_the_whole_batch(self):
        body = "x |> dense(8) |> tanh |> dense(2)"
        whole = self.trained("whole", net("watch gradients every 1 steps", body))[0]
        halves = self.trained("halves", net("watch gradients every 1 steps\n accumulate 2", body).replace("batch 16", "batch 8"))[0]
        self.assertEqual(len(whole), len(halves))
        for a, b in zip(whole, halves):
            for name, norm in a.get("gradients", {}).items():
                self.assertAlmostEqual(norm, b["gradients"][name], delta=1e-4 * abs(norm) + 1e-6)

    def test_vanishing_gradients_are_told_once_per_layer(self):
        body = "let y = x |> dense(8)\n    for i in 0..14 { y = y |> sigmoid |> dense(8) }\n    y |> dense(2)"
        log, _, result = self.trained("deep", net("watch gradients every 2 steps", body))
        warnings = [line for line in log if "warning" in line]
        layers = [line["layer"] for line in warnings]
        self.assertIn("net.dense1", layers)
        self.assertEqual(len(layers), len(set(layers)))
        self.assertTrue(all(line["warning"] == "vanishing gradient" and line["step"] >= 5 for line in warnings))
        self.assertIn("warning: step 5: the gradient of net.dense1 vanishes: its norm is", result.err)
        self.assertEqual(result.err.count("net.dense1 vanishes"), 1)

    def test_what_was_not_compiled_cannot_be_watched(self):
        self.fails(self.build(net(), name="plain"), "train", "--watch", 10, "--no-save", says=["--watch", "`watch gradients`"])


    # ---- plots

    def svg(self, name):
        """The picture's texts, and how many curves it has."""
        root = xml.parse(self.folder / name).getroot()
        self.assertTrue(root.tag.endswith("svg"))
        texts = [e.text for e in root.iter() if e.tag.endswith("text")]
        curves = [e for e in root.iter() if e.tag.endswith("path") and e.get("stroke-width") == "2"]
        return texts, curves

    def test_plots_show_what_was_logged(self):
        program = self.build(net("watch gradients every 3 steps", optimizer="adam(lr = cosine(0.01)) or sgd(lr = 0.1)"), name="plots")
        for optimizer in ("adam", "sgd"):
            self.command(program, "train", "--quiet", "--no-save", "--epochs", 8, "--optimizer", optimizer, "--log", f"<{optimizer}>.jsonl")
        self.assertEqual(self.command(program, "plot", "<adam>.jsonl").out, "<adam>.svg written\n")
        texts, curves = self.svg("<adam>.svg")
        for words in ("<adam>", "loss", "accuracy, validation", "learning rate", "norms of gradients", "step"):
            self.assertIn(words, texts)
        last = log_lines(self.folder / "<adam>.jsonl")[-1]
        self.assertIn(f"validation {last['val_loss']:.4g}", texts)
        self.assertEqual(sum(text.startswith("dense") for text in texts), 2)
        self.assertEqual(len(curves), 6)   # training and validation loss, accuracy, rate, two layers
        self.command(GRADC, "plot", "<adam>.jsonl", "<sgd>.jsonl", "-o", "both.svg")
        texts, curves = self.svg("both.svg")
        self.assertEqual(len(curves), 12)
        for words in ("<adam>", "<sgd>", "norms of gradients, <sgd>"):
            self.assertIn(words, texts)

    def test_what_cannot_be_plotted(self):
        program = self.build(net(), name="plain")
        (self.folder / "text.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2}\nepoch 1: loss 2\n')
        (self.folder / "empty.jsonl").write_text("")
        (self.folder / "good.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2}\n')
        self.fails(program, "plot", "nowhere.jsonl", says="nowhere.jsonl")
        self.fails(program, "plot", "text.jsonl", says=["text.jsonl", "line 2"])
        self.fails(GRADC, "plot", "good.jsonl", "empty.jsonl", says=["empty.jsonl", "no steps"])
        self.fails(program, "plot", "good.jsonl", "-o", "good.png", says="good.png")
        self.fails(program, "plot", "good.jsonl", "-o", "no/such/folder.svg", says="no/such/folder.svg")
        self.fails(program, "plot", says="logs", code=2)
        self.command(program, "plot", "good.jsonl")   # one step alone


def tensors(path):
    """The f32 tensors of a safetensors file."""
    import json
    import struct
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    cut = {name: data[8 + size + t["data_offsets"][0] : 8 + size + t["data_offsets"][1]] for name, t in header.items()}
    return {name: struct.unpack(f"<{len(part) // 4}f", part) for name, part in cut.items()}


if __name__ == "__main__":
    unittest.main()
