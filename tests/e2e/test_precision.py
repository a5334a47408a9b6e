"""Products in bf16 and bf16x3: the classifier learns as it does in f32, `info` says what it is, bits do not depend on threads; a processor
that has no products of bf16 is told so."""
import unittest

from common import EndToEnd, FASHION, GRADC, MODELS, log_lines, processor_has


class Refused(EndToEnd):
    def test_what_cannot_multiply_bf16_is_refused(self):
        target = [] if not processor_has("avx512_bf16") else ["--target", "avx512"]
        result = self.command(GRADC, "build", MODELS / "xor.grad", "-o", self.folder / "never", "--precision", "bf16", *target, code=1)
        self.assertIn("E0611", result.err)
        self.assertIn("has neither AMX nor AVX512-BF16", result.err)
        self.assertFalse((self.folder / "never").exists())

    def test_a_program_says_what_its_processor_lacks(self):
        if processor_has("amx_tile"):
            self.skipTest("this processor has AMX")
        program = self.build("xor", "--precision", "bf16", "--target", "amx")
        result = self.command(program, "info", code=1)
        self.assertIn("was compiled for amx, but this processor lacks", result.err)
        self.assertIn("amx_tile", result.err)


@unittest.skipUnless(processor_has("avx512_bf16"), "this processor has neither AMX nor AVX512-BF16")
@unittest.skipUnless(FASHION.exists(), "package dataset-fashion-mnist is not installed")
class Precision(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.programs, cls.losses, cls.accuracy = {}, {}, {}
        for mode in ("f32", "bf16", "bf16x3"):
            program = cls.programs[mode] = cls.build("fashion_mlp", "--precision", mode, name=f"fashion_{mode}")
            log = cls.folder / f"{mode}.jsonl"
            cls.command(program, "train", "--epochs", 2, "--log", log, "--quiet")
            cls.losses[mode] = [line["loss"] for line in log_lines(log) if "step" in line and "loss" in line and "validation" not in line]
            cls.accuracy[mode] = cls.command(program, "eval", "--json").json()["accuracy"]

    def test_the_loss_falls_in_the_same_way(self):
        for mode, first, whole in (("bf16", 0.02, 0.02), ("bf16x3", 0.001, 0.01)):
            exact, rounded = self.losses["f32"], self.losses[mode]
            self.assertEqual(len(exact), len(rounded))
            self.assertNotEqual(exact[:100], rounded[:100], mode)
            for step, (x, y) in enumerate(zip(exact[:100], rounded[:100])):
                self.assertLess(abs(x - y), first * (1 + x), f"{mode}, step {step}")
            self.assertLess(abs(sum(exact) - sum(rounded)) / len(exact), whole, mode)

    def test_accuracy_is_that_of_f32(self):
        for mode, bound in (("bf16", 0.01), ("bf16x3", 0.005)):
            self.assertLess(abs(self.accuracy[mode] - self.accuracy["f32"]), bound, f"{self.accuracy}")

    # Training amplifies what an operand's rounding changes: of 20 seeds of this network, bf16x3 minus f32 had the mean 0.013 points and the
    # deviation 0.15; f32 itself without fused products and sums, against f32 with them, 0.08, and from seed to seed 0.17. So a single run says nothing about
    # 0.1 points; the mean of 8 does, to about 0.05. Before rounding errors grow the losses are the same to 1e-4.
    def test_bf16x3_ends_within_a_tenth_of_a_point_of_f32(self):
        text = (MODELS / "fashion_mlp.grad").read_text()
        small = self.folder / "small.grad"
        small.write_text("".join(line for line in text.replace("width = 256", "width = 64").splitlines(True) if "stop early" not in line))
        accuracy = {}
        for mode in ("f32", "bf16x3"):
            program = self.folder / f"small_{mode}"
            self.command(GRADC, "build", small, "-o", program, "--precision", mode)
            runs = []
            for seed in range(1, 9):
                log = self.folder / f"small_{mode}_{seed}.jsonl"
                self.command(program, "train", "--seed", seed, "--log", log, "--no-save", "--quiet")
                runs.append(log_lines(log))
            accuracy[mode] = [[line["val_accuracy"] for line in lines if "val_accuracy" in line][-1] for lines in runs]
            losses = [[line["loss"] for line in lines if "loss" in line][:30] for lines in runs]
            if mode == "f32":
                exact = losses
        for x, y in zip(sum(exact, []), sum(losses, [])):
            self.assertLess(abs(x - y), 2e-4 * x)
        self.assertLess(abs(sum(accuracy["bf16x3"]) - sum(accuracy["f32"])) / 8, 0.001, f"{accuracy}")

    def test_info_says_the_precision(self):
        for mode, program in self.programs.items():
            self.assertEqual(self.command(program, "info", "--json").json()["precision"], mode)
        self.assertIn("products in bf16\n", self.command(self.programs["bf16"], "info").out)

    def test_bits_do_not_depend_on_threads(self):
        for mode in ("bf16", "bf16x3"):
            files = []
            for threads in (1, 2, 3):
                checkpoint = self.folder / f"{mode}.{threads}.ckpt"
                weights = self.folder / f"{mode}.{threads}.safetensors"
                self.command(self.programs[mode], "train", "--epochs", 1, "--threads", threads, "--checkpoint", checkpoint, "--quiet")
                self.command(self.programs[mode], "weights", "--checkpoint", checkpoint, "--out", weights)
                files.append(weights.read_bytes())
            self.assertEqual(files[0], files[1], mode)
            self.assertEqual(files[0], files[2], mode)


if __name__ == "__main__":
    unittest.main()
