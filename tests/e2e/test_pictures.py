"""Pictures: CIFAR-10's files, folders of PNG, shares, and augmentation, seen through a model that keeps the batch that it was given."""
import json
import math
import struct
import unittest
import zlib

from common import EndToEnd

SIZE, CHANNELS, SAMPLES, BATCH = 8, 3, 48, 24

# Keeps one batch as the reader gives it.
PROBE = """// Keeps the batch that it sees.
data d(image: u8[{size}, {size}, {channels}], label: u8 < 3{fields}) {{
    train = images("train")
    {augment}
}}

model probe(x: f32[n]) -> f32[n] {{
    param seen: f32[{batch}, {size}, {size}, {channels}] = 0
    param labels: f32[{batch}] = 0
    param one: f32 = 1
    x * one + sum(seen) * 0 + sum(labels) * 0
}}

train on d.train, validate on d.train {{
    batch {batch}
    epochs 100
    report value = mean(f32(image))
    let y = probe(f32(label))
    probe.seen <- f32(image)
    probe.labels <- f32(label)
}}

export predict(x: f32[n]) = probe(x)
"""


def png(pixels, height, width, channels):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixels[y * width * channels : (y + 1) * width * channels]) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pixels_of(sample):
    """No two samples are alike; no value is 0, which is what lies outside."""
    return [1 + (sample * 53 + i * i * 7 + i * 31 + i * sample) % 255 for i in range(SIZE * SIZE * CHANNELS)]


class Pictures(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for sample in range(SAMPLES):
            folder = cls.folder / "train" / ("ant", "bee", "cow")[sample % 3]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{sample:03}.png").write_bytes(png(pixels_of(sample), SIZE, SIZE, CHANNELS))

    def probe(self, name, augment):
        text = PROBE.format(size=SIZE, channels=CHANNELS, batch=BATCH, augment=f"augment {{ {augment} }}" if augment else "", fields="")
        return self.build(text, name=name)

    def batch(self, program, *options, steps=1):
        """What the probe saw in its last step: a list of flat pictures, and the labels."""
        self.command(program, "train", "--quiet", "--steps", steps, "--checkpoint", f"{program.name}.ckpt", *options)
        self.command(program, "weights", "--checkpoint", f"{program.name}.ckpt", "--out", "w.safetensors")
        raw = (self.folder / "w.safetensors").read_bytes()
        length = struct.unpack_from("<Q", raw)[0]
        tensors = json.loads(raw[8 : 8 + length])

        def values(tensor):
            begin, end = tensors[tensor]["data_offsets"]
            return struct.unpack(f"<{(end - begin) // 4}f", raw[8 + length + begin : 8 + length + end])

        flat, each = values("probe.seen"), SIZE * SIZE * CHANNELS
        return [flat[i * each : (i + 1) * each] for i in range(BATCH)], values("probe.labels")

    def originals(self):
        """The batch of the first step as it is without augmentation: the same samples in the same order."""
        if not hasattr(Pictures, "plain"):
            Pictures.plain = self.batch(self.probe("plain", ""))
        return self.plain

    def augmented(self, name, augment):
        return list(zip(self.originals()[0], self.batch(self.probe(name, augment))[0]))

    @staticmethod
    def at(picture, y, x, c):
        return picture[(y * SIZE + x) * CHANNELS + c] if 0 <= y < SIZE and 0 <= x < SIZE else 0

    def test_pictures_come_in_with_their_labels(self):
        known = {tuple(map(float, pixels_of(sample))): sample % 3 for sample in range(SAMPLES)}
        pictures, labels = self.originals()
        for picture, label in zip(pictures, labels):
            self.assertEqual(known[picture], label)
        self.assertEqual(len(set(pictures)), BATCH)

    def test_confusion_calls_classes_as_their_folders(self):
        text = """data d(image: u8[8, 8, 3], label: u8 < 3) {
            all = images("train")
        }
        model net(x: u8[n, 8, 8, 3]) -> f32[n, 3] = flatten(x / 255) |> dense(3)
        train on d.all { batch 8; epochs 1
            minimize cross_entropy(net(image), label) with sgd()
            report confusion = confusion(net(image), label)
        }
        """
        program = self.build(text, name="named")
        lines = self.command(program, "eval", "--untrained", "--confusion").out.splitlines()
        self.assertEqual(lines[2].split(), ["class", "ant", "bee", "cow", "recall", "precision"])
        self.assertEqual([line.split()[0] for line in lines[3:6]], ["ant", "bee", "cow"])
        self.assertEqual(self.command(program, "eval", "--untrained", "--confusion", "--json").json()["classes"], ["ant", "bee", "cow"])
        self.command(program, "eval", "--untrained", "--confusion", "-o", "named.csv")
        self.assertEqual((self.folder / "named.csv").read_text().splitlines()[0], "class,ant,bee,cow")

    def test_a_picture_is_predicted_from_its_file(self):
        text = """data d(image: u8[4, 4, 3], label: u8 < 3) {
            all = images("train", fit = "stretch")
        }
        model net(x: f32[n]) -> f32[n] { param w: f32 = 1
            x * w }
        train on d.all { batch 8; epochs 1
            minimize mse(net(f32(label)), f32(label)) with sgd()
        }
        export same(image: u8[n, 4, 4, 3]) = f32(image)
        """
        program = self.build(text, name="fitted")
        folder = self.command(program, "predict", "--untrained", self.folder / "train" / "bee", "--json").json()["outputs"]["same"]
        of_split = self.command(program, "predict", "--untrained", "--split", "d.all", "--json").json()["outputs"]["same"]
        self.assertEqual(folder, of_split[SAMPLES // 3 : 2 * SAMPLES // 3])   # fitted as the data are
        one = self.command(program, "predict", "--untrained", self.folder / "train" / "bee" / "004.png", "--json").json()
        self.assertEqual(one["outputs"]["same"], [folder[1]])
        self.fails(program, "predict", "--untrained", self.folder / "train", says="holds no pictures")
        self.fails(program, "predict", "--untrained", "none.png", says="none.png")

    def test_crop(self):
        places = set()
        for before, after in self.augmented("crop", "image <- random_crop(image, padding = 2)"):
            fits = [
                (dy, dx)
                for dy in range(-2, 3)
                for dx in range(-2, 3)
                if all(self.at(before, y + dy, x + dx, c) == self.at(after, y, x, c) for y in range(SIZE) for x in range(SIZE) for c in range(CHANNELS))
            ]
            self.assertEqual(len(fits), 1)
            places.update(fits)
        self.assertGreater(len(places), 8)
        self.assertEqual({-2, 2}, {max(p[0] for p in places), min(p[0] for p in places)})

    def test_flip(self):
        flipped = 0
        for before, after in self.augmented("flip", "image <- random_flip(image)"):
            mirrored = tuple(self.at(before, y, SIZE - 1 - x, c) for y in range(SIZE) for x in range(SIZE) for c in range(CHANNELS))
            self.assertIn(after, (before, mirrored))
            flipped += after == mirrored
        self.assertTrue(3 < flipped < BATCH - 3, flipped)

    def test_cutout(self):
        for before, after in self.augmented("cutout", "image <- cutout(image, 3)"):
            holes = [(y, x) for y in range(SIZE) for x in range(SIZE) if self.at(after, y, x, 0) == 0]
            ys, xs = {y for y, _ in holes}, {x for _, x in holes}
            self.assertEqual(len(holes), len(ys) * len(xs))
            self.assertTrue(2 <= len(ys) <= 3 and 2 <= len(xs) <= 3, holes)
            for y in range(SIZE):
                for x in range(SIZE):
                    for c in range(CHANNELS):
                        self.assertEqual(self.at(after, y, x, c), 0 if (y, x) in holes else self.at(before, y, x, c))

    def test_rotation(self):
        """Against the formula, by an angle that is known."""
        angle = 0.3
        cos, sin, middle = math.cos(angle), math.sin(angle), (SIZE - 1) / 2

        def linear(value, place):
            low = math.floor(place)
            return sum(max(0, 1 - abs(place - k)) * value(k) for k in (low, low + 1))

        for before, after in self.augmented("rotation", f"image <- rotation(image, fill({angle}, [batch]))")[:4]:
            for c in range(CHANNELS):
                first = lambda y, x: linear(lambda k: self.at(before, y, k, c), (x - middle + sin * (y - middle)) / cos + middle) if 0 <= y < SIZE else 0
                for y in range(SIZE):
                    for x in range(SIZE):
                        value = linear(lambda k: first(k, x), cos * (y - middle) - sin * (x - middle) + middle)
                        self.assertAlmostEqual(self.at(after, y, x, c), value, delta=0.502)   # rounded to bytes

    def test_rotations_differ_and_stay_small(self):
        pairs = self.augmented("rotations", "image <- random_rotation(image, 20)")
        self.assertEqual(len({after for _, after in pairs}), BATCH)
        centre = [(SIZE // 2 - 1, SIZE // 2 - 1), (SIZE // 2, SIZE // 2)]
        self.assertTrue(any(before != after for before, after in pairs) and centre)
        still = self.augmented("still", "image <- random_rotation(image, 0)")
        self.assertTrue(all(before == after for before, after in still))

    def test_colour(self):
        bright = self.augmented("bright", "image <- colour_jitter(image, brightness = 0.5)")
        factors = []
        for before, after in bright:
            ratios = [a / b for a, b in zip(after, before) if b > 60 and a < 255]
            self.assertLess(max(ratios) - min(ratios), 0.02)
            factors.append(sum(ratios) / len(ratios))
        self.assertTrue(0.49 < min(factors) < 0.8 and 1.2 < max(factors) < 1.51, factors)
        for before, after in self.augmented("same", "image <- colour_jitter(image)"):
            self.assertEqual(before, after)
        grey = lambda p, i: 0.299 * p[i] + 0.587 * p[i + 1] + 0.114 * p[i + 2]
        for before, after in self.augmented("faint", "image <- colour_jitter(image, saturation = 0.9)"):
            for i in range(0, len(before), 3):
                if 0 < min(after[i : i + 3]) and max(after[i : i + 3]) < 255:
                    self.assertAlmostEqual(grey(before, i), grey(after, i), delta=0.6)

    def test_what_a_sample_becomes_follows_from_seed_and_epoch(self):
        program = self.probe("seeds", "image <- random_crop(random_flip(image), 2)")
        per_epoch = SAMPLES // BATCH
        first = self.batch(program, steps=3)
        self.assertEqual(first, self.batch(program, "--threads", 2, steps=3))
        self.assertNotEqual(first, self.batch(program, "--seed", 5, steps=3))
        in_order = [self.batch(program, "--no-shuffle", steps=step) for step in (1, 1 + per_epoch)]
        self.assertEqual(in_order[0][1], in_order[1][1])   # the same samples
        self.assertNotEqual(in_order[0][0], in_order[1][0])
        # Stopped in the middle of an epoch, and resumed.
        straight = self.batch(program, steps=6)
        self.batch(program, steps=3)
        self.assertEqual(straight, self.batch(program, "--resume", "seeds.ckpt", steps=6))

    def test_validation_sees_the_data_as_they_are(self):
        program = self.probe("validation", "image <- cutout(image, 6)")
        mean = sum(sum(pixels_of(s)) for s in range(SAMPLES)) / (SAMPLES * SIZE * SIZE * CHANNELS)
        self.batch(program)
        figures = self.command(program, "eval", "--json", "--checkpoint", "validation.ckpt").json()
        self.assertAlmostEqual(figures["value"], mean, delta=1e-3 * mean)

    def test_shares_and_classes(self):
        text = """// Shares of a folder.
data d(image: u8[8, 8, 3], label: u8 < 3) {
    all = images("train")
    train, valid = split(all, 0.75, seed = 2)
}
model net(x: f32[n, 8, 8, 3]) { x |> flatten |> dense(3) }
train on d.train, validate on d.valid {
    batch 4
    epochs 1
    minimize cross_entropy(net(image / 255), label) with sgd(lr = 0.01)
}
"""
        program = self.build(text, name="shares")
        sizes = {split["name"]: split for split in self.command(program, "info", "--json").json()["data"]}
        self.assertEqual((sizes["d.train"]["samples"], sizes["d.valid"]["samples"]), (36, 12))
        self.assertEqual(sizes["d.train"]["classes"], ["ant", "bee", "cow"])
        self.assertIn("ant, bee, cow", self.command(program, "info").out)
        self.command(program, "train", "--quiet", "--no-save")

    def test_statistics(self):
        image = self.command(self.probe("statistics", ""), "info", "--json", "--statistics").json()["data"][0]["image"]
        for c in range(CHANNELS):
            values = [v for s in range(SAMPLES) for v in pixels_of(s)[c::CHANNELS]]
            mean = sum(values) / len(values)
            self.assertAlmostEqual(image["mean"][c], mean, delta=1e-3)
            self.assertAlmostEqual(image["std"][c], math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)), delta=1e-3)

    def test_cifar10(self):
        text = """// Two files.
data d(image: u8[32, 32, 3], label: u8 < 10) {
    train = cifar10("a.bin", "b.bin")
    classes "airplane", "automobile", "bird"
}
model net(x: f32[n, 32, 32, 3]) { x |> flatten |> dense(10) }
train on d.train {
    batch 4
    epochs 1
    minimize cross_entropy(net(image / 255), label) with sgd(lr = 0.01)
}
"""
        program = self.build(text, name="cifar")
        record = lambda label: bytes([label]) + bytes(i * 7 % 256 for i in range(3072))
        (self.folder / "a.bin").write_bytes(record(1) + record(9))
        (self.folder / "b.bin").write_bytes(record(3) + record(2))
        self.command(program, "train", "--quiet", "--no-save")
        self.assertEqual(self.command(program, "info", "--json").json()["data"][0]["classes"], ["airplane", "automobile", "bird"])
        (self.folder / "b.bin").write_bytes(record(3) + record(12))
        self.fails(program, "train", "--no-save", says=["b.bin", "sample 1", "'label' is 12"])
        (self.folder / "b.bin").write_bytes(record(3) + b"?")
        self.fails(program, "train", "--no-save", says=["b.bin", "3074 bytes"])

    def test_wrong_pictures_are_named(self):
        program = self.build(PROBE.format(size=SIZE, channels=CHANNELS, batch=2, augment="", fields="").replace('images("train")', 'images("wrong")'), name="wrong_probe")
        self.fails(program, "train", "--no-save", says=["wrong", "--data"])
        folder = self.folder / "wrong" / "ant"
        folder.mkdir(parents=True)
        self.fails(program, "train", "--no-save", says=["wrong/ant' is empty"])
        whole = png(pixels_of(1), SIZE, SIZE, 3)
        for content, says in (
            (whole[: len(whole) // 2], "is truncated"),
            (b"text", "is no PNG or JPEG"),
            (png(pixels_of(1), SIZE, SIZE, 1), "has 1 channel,"),
            (png(pixels_of(1), SIZE - 1, SIZE, 3), "has 7 rows and 8 columns"),
        ):
            (folder / "a.png").write_bytes(whole)
            (folder / "b.png").write_bytes(content)
            self.fails(program, "train", "--no-save", says=["ant/b.png", says])
        (folder / "b.png").write_bytes(whole)
        for name in "bcd":
            other = self.folder / "wrong" / name
            other.mkdir()
            (other / "a.png").write_bytes(whole)
        self.fails(program, "train", "--no-save", says=["4 classes", "label < 3"])


if __name__ == "__main__":
    unittest.main()
