"""What a program shows of itself: gradients that are watched, plots of its runs, confusion matrices, pictures."""
import csv
import json
import math
import struct
import unittest
import xml.etree.ElementTree as xml
import zlib

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
        self.command(GRADC, "plot", "deep.jsonl")
        root = xml.parse(self.folder / "deep.svg").getroot()
        marks = [e for e in root.iter() if e.tag.endswith("path") and e.get("class") == "k"]
        self.assertEqual([mark[0].text.split(": ")[1].split()[:3] for mark in marks], [["vanishing", "gradient,", layer] for layer in layers])
        texts = [e.text for e in root.iter() if e.tag.endswith("text")]
        self.assertIn(f"▼ vanishing gradient: {len(layers)} layers, from step {warnings[0]['step']} on", texts)
        self.assertIn("dense1", texts)   # beside its mark

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


    # ---- confusion matrices

    def test_confusion_counts_what_predict_says(self):
        text = net().replace("accuracy(logits, label)", "accuracy(logits, label)\n    report confusion = confusion(logits, label)")
        program = self.build(text, name="confused")
        result = self.command(program, "train", "--quiet", "--log", "confused.jsonl")
        self.assertEqual(result.err, "")
        self.assertNotIn("confusion", (self.folder / "confused.jsonl").read_text())
        outputs = self.command(program, "predict", "--split", "points.train", "--index", "0:320", "--json").json()["outputs"]["predict"]
        labels = [int(line.split(",")[2]) for line in (self.folder / "points.csv").read_text().splitlines()[1:]]
        expected = [[0, 0], [0, 0]]
        for p, label in zip(outputs, labels):
            expected[label][int(p[1] > p[0])] += 1
        found = self.command(program, "eval", "--json").json()
        self.assertEqual(found["confusion"], expected)
        self.assertAlmostEqual(found["accuracy"], (expected[0][0] + expected[1][1]) / 320, places=6)
        out = self.command(program, "eval", "--confusion").out
        self.assertIn(f"{100 * expected[1][1] / sum(expected[1]):.1f}%", out)   # recall
        self.assertIn("most confused", out)
        self.assertNotIn("\x1b", out)
        self.command(program, "eval", "--confusion", "-o", "confusion.csv")
        with open(self.folder / "confusion.csv") as file:
            self.assertEqual(list(csv.reader(file)), [["class", "0", "1"]] + [[str(i), *map(str, row)] for i, row in enumerate(expected)])
        self.command(program, "eval", "--confusion", "-o", "confusion.svg")
        self.assertTrue({str(v) for row in expected for v in row if v} <= set(self.svg("confusion.svg")[0]))
        self.fails(program, "eval", "--confusion", "-o", "confusion.png", says=[".svg", ".csv"])
        self.fails(program, "eval", "-o", "confusion.csv", says="--confusion")

    def test_a_program_without_such_a_report_says_so(self):
        self.fails(self.build(net(), name="plain"), "eval", "--confusion", "--untrained", says="report confusion = confusion(logits, label)")

    # ---- pictures

    def test_filters_are_the_weights(self):
        program = self.build(IMAGES, name="images")
        self.command(program, "weights", "--untrained", "--out", "images.safetensors")
        weights = tensors(self.folder / "images.safetensors")
        self.command(program, "filters", "--untrained", "-o", "filters.png")
        width, height, channels, pixels = png(self.folder / "filters.png")
        self.assertEqual(channels, 3)
        kernel = weights["net.k"]   # [2, 2, 3, 4]: 48 pixels a filter, gaps of 2, two columns
        for filter in range(4):
            values = [kernel[(p * 3 + c) * 4 + filter] for p in range(4) for c in range(3)]
            largest = max(map(abs, values))
            for p in range(4):
                for c in range(3):
                    at = ((2 + filter // 2 * 50 + p // 2 * 24) * width + 2 + filter % 2 * 50 + p % 2 * 24) * 3 + c
                    self.assertAlmostEqual(pixels[at], 127.5 + 127.5 * values[p * 3 + c] / largest, delta=1)
        self.assertEqual((width, height), (102, 102))
        self.command(program, "filters", "--untrained", "--parameter", "net.w")   # a dense layer's, as long as an image
        self.assertEqual(png(self.folder / "filters.png")[2], 3)
        self.fails(program, "filters", "--untrained", "--parameter", "net.b", says=["net.b", "f32[4]"])
        self.fails(program, "filters", "--untrained", "--parameter", "net.kk", says="did you mean")
        self.fails(program, "filters", "--untrained", "-o", "filters.jpg", says=".png")
        self.fails(self.build(net(), name="plain"), "filters", "--untrained", says="no parameter")

    def test_results_are_pictures_of_what_they_are(self):
        program = self.build(IMAGES, name="images")
        seen = ["--untrained", "--export", "seen", "--split", "images.all", "--index", "0:2"]
        values = self.command(program, "predict", *seen, "--json").json()["outputs"]
        self.command(program, "predict", *seen, "-o", "seen.png")
        width, height, channels, pixels = png(self.folder / "seen.png")
        self.assertEqual(channels, 3)
        # Two samples, each image and saliency side by side, of 2 by 2 pixels enlarged 56 times.
        gap, side = 112 // 24, 112
        for sample, (image, saliency) in enumerate(zip(values["image"], values["seen.1"])):
            top = gap + sample * (side + gap)
            for p in range(4):
                for c in range(3):
                    y, x = top + p // 2 * 56, gap + p % 2 * 56
                    self.assertEqual(pixels[(y * width + x) * 3 + c], image[p * 3 + c])
                    self.assertAlmostEqual(pixels[(y * width + x + side + gap) * 3 + c], 255 * saliency[p * 3 + c] / max(saliency), delta=1)
        self.fails(program, "predict", "--untrained", "--split", "images.all", "--index", "0", "-o", "scores.png", says=["scores", "f32[4]", "no picture"])
        self.fails(program, "predict", *seen, "--format", "png", says="--out")

    def test_saliency_is_the_derivative_of_the_largest_score(self):
        """The scores are piecewise linear: differences of the score are exact, sample by sample, whatever stands in the other samples."""
        program = self.build(IMAGES, name="images")
        files = self.folder / "x.npy"

        def run(export, images):
            data = struct.pack(f"<{12 * len(images)}f", *[v for image in images for v in image])
            header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(images)}, 2, 2, 3), }}".encode()
            header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
            files.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)
            return self.command(program, "predict", files, "--untrained", "--export", export, "--json").json()["outputs"][export]

        image = [0.1, 0.9, 0.3, 0.5, 0.2, 0.7, 0.8, 0.4, 0.6, 0.15, 0.35, 0.55]
        other = [0.5] * 12
        found = run("matters", [image, other])
        self.assertEqual(found[0], run("matters", [image])[0])
        step = 1e-2
        moved = [[v + (step if i == at else -step if i == at - 12 else 0) for i, v in enumerate(image)] for at in range(24)]
        scores = [max(row) for row in run("raw", moved)]
        for i in range(12):
            self.assertAlmostEqual(found[0][i], abs(scores[i] - scores[12 + i]) / (2 * step), places=2)


IMAGES = """// Tiny images in colour, and what a network makes of them.
data images(image: u8[2, 2, 3], label: u8 < 4) {
    all = table [[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 0], [255, 200, 180, 3, 2, 1, 0, 50, 100, 9, 8, 7, 3]]
}
model net(x: f32[n, 2, 2, 3]) -> f32[n, 4] {
    param b: f32[4] = 0.1
    param k: f32[2, 2, 3, 4] = he_normal()
    param w: f32[12, 4] = he_normal()
    relu(einsum("nhwc,hwck->nk", x, k)) + flatten(x) @ w + b
}
train on images.all { batch 2; epochs 1; minimize cross_entropy(net(image / 255), label) with sgd() }
export scores(image: u8[n, 2, 2, 3]) = net(image / 255)
export seen(image: u8[n, 2, 2, 3]) { let x = image / 255
    (image, saliency(net, x)) }
export raw(x: f32[n, 2, 2, 3]) = net(x)
export matters(x: f32[n, 2, 2, 3]) = saliency(net, x)
"""


def png(path):
    """Width, height, channels and pixels: enough of PNG for 8-bit grey and colour."""
    data, at, packed = path.read_bytes(), 8, b""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8
            channels = {0: 1, 2: 3}[colour]
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    raw, stride, before, pixels = zlib.decompress(packed), width * channels, bytearray(width * channels), bytearray()
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for i in range(stride):
            a = line[i - channels] if i >= channels else 0
            b, c = before[i], before[i - channels] if i >= channels else 0
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            line[i] = (line[i] + [0, a, b, (a + b) // 2, paeth][kind]) & 255
        pixels += line
        before = line
    return width, height, channels, pixels


def tensors(path):
    """The f32 tensors of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    cut = {name: data[8 + size + t["data_offsets"][0] : 8 + size + t["data_offsets"][1]] for name, t in header.items()}
    return {name: struct.unpack(f"<{len(part) // 4}f", part) for name, part in cut.items()}


if __name__ == "__main__":
    unittest.main()
