"""Every shipped model does what it says it reaches."""
import json
import unittest

from common import JARGON, EndToEnd, GRADC, MODELS, ROOT, log_lines


def smaller(model, **values):
    """Options that make a model quick to try: those of the values that its file has as `config`."""
    text = model.read_text()
    return [part for name, value in values.items() if f"config {name} " in text for part in ("--set", f"{name}={value}")]


class Models(EndToEnd):
    def test_xor_is_learnt_whole(self):
        program = self.build("xor")
        for seed in (1, 2, 3):
            self.command(program, "train", "--seed", seed, "--quiet")
            self.assertEqual(self.command(program, "eval", "--json").json()["accuracy"], 1.0, f"seed {seed}")

    def test_perceptron_separates_and(self):
        program = self.build("perceptron")
        self.command(program, "train", "--quiet")
        self.assertEqual(self.command(program, "eval", "--json").json()["errors"], 0)

    def test_lecture_exercise_is_exact(self):
        program = self.build("lecture_mlp")
        outputs = self.command(program, "predict", "--untrained", "--index", "0", "--json").json()["outputs"]
        self.assertEqual([values[0] for values in outputs.values()], [[-1.5, 0], [0, 0], 0])

    def test_lecture_exercise_learns_by_its_last_bias_alone(self):
        # The hidden layer is dead: only b2 has a gradient, yhat - y. So after k steps b2 = 1 - 0.9^k.
        program = self.build("lecture_mlp")
        log = self.folder / "lecture.jsonl"
        self.command(program, "train", "--steps", 5, "--log", log, "--no-save", "--quiet")
        losses = [line["loss"] for line in log_lines(log) if "step" in line and "loss" in line][:5]
        for step, loss in enumerate(losses):
            self.assertAlmostEqual(loss, 0.5 * 0.9 ** (2 * step), places=6)

    def test_every_optimizer_lowers_the_loss(self):
        program = self.build("optimizers")
        for name in ("gd", "sgd", "momentum", "heavy_ball", "nesterov", "adagrad", "rmsprop", "adam", "adamw"):
            log = self.folder / f"{name}.jsonl"
            self.command(program, "train", "--optimizer", name, "--steps", 200, "--log", log, "--no-save", "--quiet")
            losses = [line["loss"] for line in log_lines(log) if "step" in line and "loss" in line]
            self.assertLess(losses[199], 0.5 * losses[0], name)

    def losses(self, program, *options, figure="loss"):
        log = self.folder / "losses.jsonl"
        self.command(program, "train", "--log", log, "--no-save", "--quiet", *options)
        return [line[figure] for line in log_lines(log) if "step" in line and figure in line]

    def test_methods_of_second_order(self):
        program = self.build("newton")
        last = {name: self.losses(program, "--optimizer", name, "--epochs", 40)[-1] for name in ("newton_cg", "lbfgs", "adahessian", "adam")}
        self.assertLess(last["newton_cg"], 1e-4)
        self.assertLess(last["lbfgs"], 1e-2)
        self.assertLess(last["newton_cg"], 0.1 * last["adam"])
        self.assertLess(last["adahessian"], 0.2)

    def test_sam_learns(self):
        program = self.build("sam", "--set", "width=32")
        for name in ("sam", "momentum"):
            losses = self.losses(program, "--optimizer", name, "--epochs", 3)
            self.assertLess(sum(losses[-10:]), 0.6 * sum(losses[:10]), name)

    def test_maml_learns_to_learn(self):
        program = self.build("maml")
        losses = self.losses(program, "--steps", 3000)
        self.assertLess(sum(losses[-200:]), 0.5 * sum(losses[:200]))
        self.command(program, "train", "--steps", 3000, "--quiet")
        figures = self.command(program, "eval", "--json").json()   # of noise: there are no data
        self.assertLess(figures["after"], 0.6 * figures["before"])
        self.assertEqual(figures, self.command(program, "eval", "--json").json())
        self.assertNotEqual(figures, self.command(program, "eval", "--seed", 3, "--json").json())

    def test_vae_learns_and_makes_pictures(self):
        program = self.build("vae", "--set", "width=64", "--set", "samples=32")
        losses = self.losses(program, "--steps", 150, "--set", "warmup=10")
        self.assertLess(sum(losses[-10:]) / 10, 360)   # nats; an even guess costs 784 log 2 = 543
        self.command(program, "sample", "--untrained", "--count", 6, "--out", "vae.png")
        self.assertGreater((self.folder / "vae.png").stat().st_size, 1000)

    def test_adversaries_are_judged(self):
        # What a classifier sees of made pictures; here one that knows nothing, and players that have just begun.
        lenet = self.build("lenet", "--set", "samples=16")
        self.command(lenet, "train", "--steps", 1, "--quiet")
        for name, figures in (("gan", ()), ("wgan_gp", ("val_slope",)), ("progressive", ("val_new",))):
            program = self.build(name, "--set", "samples=16", "--set", "width=2", name=name)
            log = self.folder / f"{name}.jsonl"
            out = self.command(program, "train", "--steps", 3, "--log", log, "--no-save").out
            self.assertIn("frechet", out)
            line = log_lines(log)[-1]
            for figure in ("val_frechet", "val_classes", "val_largest", *figures):
                self.assertIsInstance(line[figure], (int, float), figure)
            self.assertGreater(line["val_frechet"], 0)
            self.assertTrue(1 <= line["val_classes"] <= 10 and 0.1 <= line["val_largest"] <= 1)
            self.command(program, "sample", "--untrained", "--count", 4, "--out", f"{name}.png")

    def test_diffusion_learns_and_goes_back_to_pictures(self):
        program = self.build("diffusion", "--set", "samples=16", "--set", "width=4")
        losses = self.losses(program, "--steps", 120, "--set", "warmup=1", "--lr", 0.01)
        self.assertLess(sum(losses[-10:]) / 10, 0.8)   # 1 is what telling nothing costs
        pictures = self.command(program, "sample", "--untrained", "--count", 3, "--json").json()["outputs"]["sample"]
        for picture in pictures:
            self.assertEqual(len(picture), 784)
            self.assertTrue(all(-1 <= value <= 1 for value in picture))   # None: not finite

    def test_all_models_pass_the_gradient_check(self):
        for model in sorted(MODELS.glob("*.grad")):
            width = 4 if model.stem == "seq2seq" else 2   # of two features that are normed last only the sign is left
            self.command(GRADC, "check", model, *smaller(model, samples=2, width=width, heads=1, layers=1, context=4, longest=3, judged=2), "--elements", 1 if "config width" in model.read_text() else 4)

    def test_all_models_are_formatted(self):
        self.command(GRADC, "fmt", "--check", *sorted(MODELS.rglob("*.grad")))

    def test_the_lecture_s_edges_are_exact_and_learnt(self):
        program = self.build("edges")
        picture = ["--index", "0", "--json"]
        expected = [0, 30, 30, 0] * 3
        self.assertEqual(self.command(program, "predict", "--untrained", *picture).json()["outputs"]["table"][0], expected)
        self.fails(program, "predict", "--untrained", says=["'image', f32[5, 6]", "--split picture.sample --index 0"])
        whole = ["--split", "picture.sample", "--json"]   # all of its samples
        self.assertEqual(self.command(program, "predict", "--untrained", *whole).out, self.command(program, "predict", "--untrained", *picture).out)
        self.command(program, "train", "--quiet")
        learnt = self.command(program, "predict", "--export", "learnt", *picture).json()["outputs"]["learnt"][0]
        for value, wanted in zip(learnt, expected):
            self.assertAlmostEqual(value, wanted, delta=1e-3)

    def test_convolutional_networks_learn(self):
        # A few steps of narrow versions of them: the shipped ones take minutes.
        for name in ("lenet", "alexnet_small", "vgg_small", "resnet20"):
            program = self.build(name, *smaller(MODELS / f"{name}.grad", samples=16, width=8))
            log = self.folder / f"{name}.jsonl"
            self.command(program, "train", "--steps", 60, "--set", "warmup=1", "--log", log, "--no-save", "--quiet")
            losses = [line["loss"] for line in log_lines(log) if "loss" in line]
            self.assertLess(sum(losses[50:60]) / 10, 0.8 * sum(losses[:3]) / 3, name)

    @unittest.skipUnless(JARGON.exists(), "package jargon-text is not installed")
    def test_gpt_learns_and_writes(self):
        program = self.build("gpt", *smaller(MODELS / "gpt.grad", samples=8, width=32, layers=2, context=16))
        self.command(program, "train", "--steps", 250, "--lr", "1e-2", "--quiet")
        self.assertLess(self.command(program, "eval", "--json").json()["bits"], 4.5)   # characters by how often they occur: 4.7
        options = ("--prompt", "hacker", "--length", 40, "--seed", 3)
        self.assertEqual(self.command(program, "generate", *options).out, self.command(program, "generate", *options).out)

    def test_a_loop_learns_with_the_same_bits_on_every_number_of_threads(self):
        program = self.build("lstm", "--set", "samples=64", "--set", "width=32")
        runs = []
        for threads in (1, 2, 3):
            log = self.folder / f"lstm{threads}.jsonl"
            self.command(program, "train", "--steps", 120, "--set", "warmup=1", "--lr", 0.005, "--threads", threads, "--log", log, "--no-save", "--quiet")
            runs.append([line["loss"] for line in log_lines(log) if "step" in line and "loss" in line])
        self.assertEqual(runs[0], runs[1])
        self.assertEqual(runs[0], runs[2])
        self.assertLess(sum(runs[0][-20:]), 0.7 * sum(runs[0][:20]))

    def test_resnet20_reads_cifar(self):
        folder = self.folder / "cifar"
        folder.mkdir()
        for number, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):   # a class is a brightness
            (folder / name).write_bytes(b"".join(bytes([i % 10]) + bytes((25 * (i % 10) + (i * number + j) % 7) % 256 for j in range(3072)) for i in range(32)))
        program = self.build("resnet20_cifar", "--set", "samples=16", "--set", "width=8")
        log = self.folder / "cifar.jsonl"
        self.command(program, "train", "--data", folder, "--epochs", 4, "--set", "warmup=1", "--log", log, "--no-save", "--quiet")
        losses = [line["loss"] for line in log_lines(log) if "step" in line and "loss" in line and "validation" not in line]
        self.assertEqual(len(losses), 40)
        self.assertLess(sum(losses[-10:]), 0.8 * sum(losses[:3]) / 3 * 10)

    def test_the_readme_example(self):
        readme = (ROOT / "README.md").read_text()
        start = readme.index("    data points(")
        text = "\n".join(line[4:] for line in readme[start : readme.index("Then", start)].splitlines())
        points = [((i * 37 % 101) / 50 - 1, (i * 53 % 97) / 48 - 1) for i in range(640)]
        (self.folder / "circle.csv").write_text("".join(f"{a},{b},{int(a * a + b * b < 0.5)}\n" for a, b in points))
        program = self.build(text + "\n", name="circle")
        result = self.command(program, "train", "--optimizer", "momentum", "--log", "circle.jsonl").out
        self.assertIn("epoch 100/100", result)
        self.command(program, "train", "--quiet")
        outputs = self.command(program, "predict", "--split", "points.train", "--index", "0:640", "--json").json()["outputs"]["inside"]
        right = sum((value > 0.5) == (a * a + b * b < 0.5) for value, (a, b) in zip(outputs, points))
        self.assertGreater(right / len(points), 0.95)

    def test_run_is_build_without_the_file(self):
        out = self.command(GRADC, "run", MODELS / "xor.grad", "train", "--json").json()
        self.assertEqual(out["validation"]["accuracy"], 1.0)
        program = self.build("xor")
        again = self.command(program, "train", "--json", "--no-save").json()
        self.assertEqual(json.dumps(out["validation"]), json.dumps(again["validation"]))

    def test_a_program_that_fails_in_memory_fails(self):
        self.fails(GRADC, "run", MODELS / "xor.grad", "train", "--optimizer", "nothing", says="nothing")


if __name__ == "__main__":
    unittest.main()
