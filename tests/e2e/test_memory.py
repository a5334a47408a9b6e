"""--memory-limit: a deep network's step shrinks to the limit by computing activations again, by what `info` says and by what the process takes; what
it learns stays the same, whatever the optimizer, the threads and the limit; what cannot fit is refused."""
import unittest

from common import EndToEnd, GRADC, log_lines, processor_has

MODEL = """
model net(x: f32[n, 256]) -> f32[n] {{
    let h = x
    for i in 0..{layers} {{ h = h |> dense(256, init = he_normal) |> {activation} }}
    h |> dense(1) |> flatten(from = 0)
}}
train for 6 steps {{
    let x = normal[512, 256]
    minimize mse(net(x), sum(x[:, 0:4], axis = 1)) with {optimizer}
}}
export value(x: f32[n, 256]) = net(x)
"""


def model(layers=16, activation="relu", optimizer="adam(lr = 1e-3)"):
    return MODEL.format(layers=layers, activation=activation, optimizer=optimizer)


class MemoryLimit(EndToEnd):
    def losses(self, program, *options):
        log = self.folder / f"{program.name}.jsonl"
        self.command(program, "train", "--log", log, "--quiet", "--no-save", *options)
        found = [line["loss"] for line in log_lines(log) if "step" in line and "loss" in line]
        self.assertGreaterEqual(len(found), 6)
        return found

    def info(self, program):
        return self.command(program, "info", "--json").json()

    def test_a_deep_network_fits_and_learns_the_same(self):
        plain = self.build(model(), name="plain")
        losses = self.losses(plain)
        full = self.info(plain)
        least = full["variable_bytes"] + full["scratch_bytes"]
        again = []
        for part in (0.7, 0.45):
            limit = int(least + part * full["arena_bytes"])
            self.assertLess(limit, full["peak_bytes"])
            program = self.build(model(), "--memory-limit", limit, name=f"limited{int(100 * part)}")
            info = self.info(program)
            self.assertLessEqual(info["peak_bytes"], limit)
            self.assertEqual(info["memory_limit"], limit)
            figures = self.command(program, "bench", "--json", "--seconds", 0.2, "--only", "train").json()
            self.assertLessEqual(figures["plan_bytes"], limit)
            self.assertLess(figures["own_bytes"], limit + 3e6)   # the rest of the runtime
            for threads in (1, 2, 3):
                self.assertEqual(self.losses(program, "--threads", threads), losses)
            again.append(sum(entry["recomputed_flops"] for entry in info["entries"]))
        self.assertLess(again[0], again[1])   # no more than it takes
        self.assertEqual(sum(entry["recomputed_flops"] for entry in full["entries"]), 0)

    def test_other_networks_and_optimizers(self):
        for number, options in enumerate((
                {"activation": "tanh"}, {"activation": "gelu |> dropout(0.2)"}, {"activation": "batch_norm |> relu"}, {"activation": "layer_norm |> relu"},
                {"optimizer": "clip_norm(adam(lr = 1e-3), limit = 0.1)"}, {"optimizer": "sam(sgd(lr = 1e-3))"}, {"optimizer": "nesterov(lr = 1e-3)"})):
            with self.subTest(**options):
                text = model(layers=8, **options)
                plain = self.build(text, name=f"plain{number}")
                full = self.info(plain)
                limit = full["peak_bytes"] - full["arena_bytes"] // (8 if "sam" in str(options) else 4)   # of the second pass of sam one piece is made
                program = self.build(text, "--memory-limit", limit, name=f"less{number}")
                self.assertLessEqual(self.info(program)["peak_bytes"], limit)
                if "norm |>" in str(options):   # fusion cuts their kernels otherwise, so some products are rounded apart from their sums
                    for x, y in zip(self.losses(program), self.losses(plain)):
                        self.assertLess(abs(x - y), (1e-5 if "layer_norm" in str(options) else 1e-3) * (1 + abs(y)))
                else:
                    self.assertEqual(self.losses(program), self.losses(plain))

    @unittest.skipUnless(processor_has("avx512_bf16"), "this processor has no products of bf16")
    def test_in_bf16(self):
        plain = self.build(model(8), "--precision", "bf16", name="bf16")
        limit = self.info(plain)["peak_bytes"] - self.info(plain)["arena_bytes"] // 8
        program = self.build(model(8), "--precision", "bf16", "--memory-limit", limit, name="bf16_less")
        self.assertLessEqual(self.info(program)["peak_bytes"], limit)
        self.assertEqual(self.losses(program), self.losses(plain))

    def test_a_limit_that_is_met_anyway_changes_nothing(self):
        plain, program = self.build(model(4), name="small"), self.build(model(4), "--memory-limit", "1GB", name="roomy")
        self.assertEqual(self.info(plain)["peak_bytes"], self.info(program)["peak_bytes"])

    def test_what_cannot_fit_is_refused(self):
        source = self.folder / "deep.grad"
        source.write_text(model())
        result = self.command(GRADC, "build", source, "-o", self.folder / "never", "--memory-limit", "15MB", code=1)
        self.assertIn("E0614", result.err)
        self.assertIn("does not fit 15.0 MB", result.err)
        self.assertIn("parameters and slots of deep.grad:4", result.err)
        self.assertFalse((self.folder / "never").exists())
        self.assertIn("no batch is small enough", self.command(GRADC, "build", source, "-o", self.folder / "never", "--memory-limit", "5MB", code=1).err)
        self.assertIn("E0615", self.command(GRADC, "build", source, "-o", self.folder / "never", "--memory-limit", "lots", code=1).err)


if __name__ == "__main__":
    unittest.main()
