"""Convolutions in training: Winograd's algorithm learns what sums learn, bits do not depend on threads."""
import unittest

from common import EndToEnd, GRADC, log_lines

MODEL = """
data shapes(image: f32[12, 12], label: i32 < 2) {
    train = csv("shapes.csv")
}
layer conv(filters: int)(x: f32[n, h, w, c]) {
    param k: f32[3, 3, c, filters] = he_normal()
    einsum("nijuvc,uvck->nijk", windows(x, [3, 3], 1, "same"), k)
}
model net(image: f32[n, 12, 12]) -> f32[n, 2] {
    reshape(image, [n, 12, 12, 1]) |> conv(16) |> relu |> conv(32) |> batch_norm |> relu |> conv(16) |> relu |> flatten |> dense(2)
}
train on shapes.train {
    batch 32
    epochs 4
    let logits = net(image)
    minimize cross_entropy(logits, label) with adam(lr = 1e-3)
    report accuracy = accuracy(logits, label)
}
"""


def pictures(count):
    """Vertical and horizontal bars, one a line: 144 brightnesses, then which of them."""
    lines = []
    for i in range(count):
        vertical, at, seed = i % 2, (i * 7) % 12, i
        pixels = []
        for y in range(12):
            for x in range(12):
                seed = (1103515245 * seed + 12345) % 2**31
                pixels.append((x if vertical else y) == at and 1.0 or seed / 2**31 * 0.5)
        lines.append(",".join(f"{p:.3f}" for p in pixels) + f",{vertical}")
    return "\n".join(lines) + "\n"


class Convolution(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "shapes.csv").write_text(pictures(256))
        (cls.folder / "bars.grad").write_text(MODEL)

    def losses(self, how, threads):
        program = self.folder / f"bars_{how}"
        if not program.exists():
            self.command(GRADC, "build", self.folder / "bars.grad", "-o", program, "--winograd", how)
        log = self.folder / f"{how}{threads}.jsonl"
        self.command(program, "train", "--quiet", "--no-save", "--threads", threads, "--log", log)
        return [line["loss"] for line in log_lines(log) if "step" in line and "loss" in line and "validation" not in line]

    def test_bits_do_not_depend_on_threads(self):
        for how in ("tile4", "never"):
            one = self.losses(how, 1)
            self.assertEqual(one, self.losses(how, 2), how)
            self.assertEqual(one, self.losses(how, 3), how)

    def test_curves_agree(self):
        direct = self.losses("never", 2)
        self.assertLess(direct[-1], 0.3 * direct[0])
        for how in ("tile2", "tile4"):
            rewritten = self.losses(how, 2)
            self.assertEqual(len(rewritten), len(direct))
            self.assertNotEqual(rewritten, direct)
            for step, (x, y) in enumerate(zip(direct, rewritten)):
                self.assertLess(abs(x - y), 2e-3 * (1 + x), f"{how}, step {step}")

    def test_an_unknown_way_is_refused(self):
        self.command(GRADC, "build", self.folder / "bars.grad", "-o", self.folder / "never", "--winograd", "tile9", code=None)


if __name__ == "__main__":
    unittest.main()
