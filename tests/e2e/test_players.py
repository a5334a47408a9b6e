"""Several players: train blocks with steps over parameter sets, what each of them shows, averaged weights, and samples of a generator."""
import math
import struct
import unittest

from common import EndToEnd, log_lines
from test_transfer import read_safetensors

# Two players on a ring of points; what FORM leaves open are the steps.
GAME = """// Two players.
data ring(x: f32[2]) {
    train = csv("ring.csv")
}
model generator(z: f32[n, 4]) -> f32[n, 2] { z |> dense(8) |> batch_norm |> relu |> dense(2) }
model critic(x: f32[n, 2]) -> f32[n] { x |> dense(8) |> batch_norm |> leaky_relu(0.2) |> dense(1) |> flatten(from = 0) }
let smooth = average(generator, 0.9)

train on ring.train, validate on ring.train {
    batch 16
    epochs 3
    step critic_step repeat 2 {
        let fake = stop_gradient(generator(normal[batch, 4]))
        minimize discriminator_loss(critic(x), critic(fake)) over critic with adam(lr = 1e-3) or sgd(lr = 0.1)
        report right = mean(critic(x) > 0)
    }
    step generator_step {
        minimize generator_loss(critic(generator(normal[batch, 4]))) over generator with adam(lr = cosine(2e-3)) or rmsprop
        report fooled = mean(critic(generator(normal[batch, 4])) > 0)
    }
}
export sample(z: f32[n, 4]) = generator(z)
export calm(z: f32[n, 4]) = generator{smooth}(z)
export picture(z: f32[n, 4], label: i32[n] < 3) = broadcast(reshape(tanh(generator(z)[:, 0]) + label, [n, 1, 1]), [n, 4, 5])
export judge(x: f32[n, 2]) = critic(x)
"""


class Players(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        points = [(math.cos(0.1 * i * i), math.sin(0.1 * i * i)) for i in range(200)]
        (cls.folder / "ring.csv").write_text("a,b\n" + "".join(f"{a!r},{b!r}\n" for a, b in points))
        cls.game = cls.build(GAME, name="game")

    def train(self, name, *options):
        self.command(self.game, "train", "--quiet", "--checkpoint", f"{name}.ckpt", "--log", f"{name}.jsonl", *options)
        return log_lines(self.folder / f"{name}.jsonl")

    def weights(self, checkpoint):
        self.command(self.game, "weights", "--checkpoint", f"{checkpoint}.ckpt", "--out", "w.safetensors")
        return read_safetensors(self.folder / "w.safetensors")

    def test_each_step_has_its_own_figures(self):
        lines = self.train("figures")
        step, epoch = lines[0], lines[-1]
        self.assertEqual([key for key in step if key not in ("step", "epoch")], ["critic_step.loss", "critic_step.lr", "generator_step.loss", "generator_step.lr"])
        self.assertEqual([key for key in epoch if key not in ("step", "epoch")],
                         ["critic_step.epoch_loss", "generator_step.epoch_loss", "val_loss", "val_generator_step.loss", "val_right", "val_fooled"])
        # The critic's step takes two batches of 16, the generator's reads no data: six times through them an epoch. The epoch's losses are means of the steps'.
        self.assertEqual(step["step"], 1)
        self.assertEqual(epoch["step"], 18)
        of_epoch = [line for line in lines if line["epoch"] == 3 and "critic_step.loss" in line]
        self.assertEqual(len(of_epoch), 6)
        for name in ("critic_step", "generator_step"):
            mean = sum(line[f"{name}.loss"] for line in of_epoch) / 6
            self.assertAlmostEqual(epoch[f"{name}.epoch_loss"], mean, places=9)
        out = self.command(self.game, "train", "--no-save").out
        for words in ("critic_step.loss", "generator_step.loss", "val loss", "right", "fooled"):
            self.assertIn(words, out)
        told = self.command(self.game, "train", "--no-save", "--json").json()
        self.assertIn("generator_step.loss", told)
        self.command(self.game, "plot", "figures.jsonl")
        svg = (self.folder / "figures.svg").read_text()
        self.assertIn("critic_step", svg)
        self.assertIn("generator_step", svg)

    def test_optimizers_and_rates_of_one_step(self):
        def first(*options):
            return self.train("chosen", "--steps", 1, *options)[0]

        plain, slow, one = first(), first("--lr", 0.5), first("--lr", "generator_step=0.5")
        self.assertEqual((slow["critic_step.lr"], slow["generator_step.lr"]), (0.5, 0.5))
        self.assertEqual((one["critic_step.lr"], one["generator_step.lr"]), (plain["critic_step.lr"], 0.5))
        both = first("--lr", "critic_step=0.25", "generator_step=0.5")
        self.assertEqual((both["critic_step.lr"], both["generator_step.lr"]), (0.25, 0.5))
        sgd = first("--optimizer", "critic_step=sgd")
        self.assertEqual((sgd["critic_step.lr"], sgd["generator_step.lr"]), (0.1, plain["generator_step.lr"]))
        self.assertNotEqual(first("--optimizer", "critic_step=sgd", "generator_step=rmsprop")["generator_step.lr"], plain["generator_step.lr"])
        for options, says in (
            (("--lr", "generator=0.5"), "no train step is called 'generator' here; there are: critic_step, generator_step"),
            (("--lr", "critic_step=fast"), "--lr takes a number, or STEP=number, not 'critic_step=fast'"),
            (("--optimizer", "generator_step=sgd"), "no optimizer is called 'sgd' in generator_step"),
            (("--optimizer", "judge=sgd"), "no train step is called 'judge' here"),
            (("--optimizer", "rmsprob"), "did you mean 'rmsprop'?"),
        ):
            self.fails(self.game, "train", "--no-save", *options, says=says)

    def test_resuming_changes_no_bit(self):
        options = ["--optimizer", "critic_step=sgd", "generator_step=rmsprop"]   # neither is what --resume would choose by itself
        whole = self.train("whole", *options)
        first = self.train("parts", *options, "--steps", 9)   # in the middle of the second epoch
        self.command(self.game, "train", "--quiet", "--resume", "parts.ckpt", "--epochs", 3, "--log", "rest.jsonl")
        rest = log_lines(self.folder / "rest.jsonl")
        self.assertEqual(self.weights("parts"), self.weights("whole"))
        self.assertEqual([line for line in first + rest if "critic_step.loss" in line], [line for line in whole if "critic_step.loss" in line])
        self.assertEqual(rest[-1], whole[-1])   # means over the epoch that was interrupted

    def test_a_step_changes_the_states_of_its_own_models_alone(self):
        text = GAME.replace("    step critic_step", "    freeze generator\n    step critic_step").split("    step generator_step")[0] + "}\n"
        program = self.build(text, name="critic_alone")
        self.command(program, "train", "--quiet", "--steps", 2)
        self.command(program, "weights", "--out", "after.safetensors")
        self.command(program, "weights", "--untrained", "--out", "before.safetensors")
        after, before = (read_safetensors(self.folder / f"{name}.safetensors") for name in ("after", "before"))
        for name in before:
            if name.startswith("generator."):
                self.assertEqual(after[name], before[name], name)
        for state in ("mu", "var"):
            self.assertNotEqual(after[f"critic.batch_norm1.{state}"], before[f"critic.batch_norm1.{state}"])
        # Without `freeze`, too: `over critic` is enough.
        program = self.build(text.replace("    freeze generator\n", ""), name="critic_over")
        self.command(program, "train", "--quiet", "--steps", 2)
        self.command(program, "weights", "--out", "over.safetensors")
        over = read_safetensors(self.folder / "over.safetensors")
        for name in before:
            if name.startswith("generator."):
                self.assertEqual(over[name], before[name], name)

    def test_a_loss_that_is_no_number_names_the_player_and_the_line(self):
        text = GAME.replace("generator_loss(critic(generator(normal[batch, 4])))", "mean(log(critic(generator(normal[batch, 4])) - 1e6))")
        program = self.build(text, name="broken")
        line = next(number for number, each in enumerate(text.split("\n"), 1) if "- 1e6" in each)
        self.fails(program, "train", "--no-save", says=["the loss of generator_step is nan in step 1", f"broken.grad:{line}", "Nothing was updated"])

    def test_a_loss_that_becomes_no_number_names_the_step(self):
        # The second player's weight is 0, 0.1, 0.2, 0.3 in its steps, each the second half of a round.
        text = """data points(x: f32) { train = table [[1], [2], [3], [4]] }
layer number(x) { param a: f32 = 0
    a + 0 * sum(x) }
model first(x: f32[n]) = number(x)
model second(x: f32[n]) = number(x)
train on points.train {
    batch 2
    epochs 20
    step calm { minimize (first(x) - 1)^2 over first with sgd(lr = 0.01) }
    step restless {
        let a = second(x)
        minimize 1e-6 * sqrt(0.25 - a) - a over second with sgd(lr = 0.1)
    }
}
"""
        program = self.build(text, name="restless")
        result = self.fails(program, "train", says=["the loss of restless is nan in step 4", "restless.grad:12"])
        self.assertNotIn("-nan", result.err)
        self.assertFalse((self.folder / "restless.ckpt").exists())

    def test_early_stopping_looks_at_the_step_that_is_named(self):
        text = GAME.replace("    epochs 3\n", "    epochs 30\n    stop early on generator_step after 1 epochs without lower loss\n")
        program = self.build(text, name="early")
        out = self.command(program, "train", "--no-save", "--lr", 0.05, "--log", "early.jsonl", "--json").json()
        self.assertTrue(out["stopped_early"])
        epochs = [line for line in log_lines(self.folder / "early.jsonl") if "val_loss" in line]
        self.assertIn("val_critic_step.loss", epochs[0])
        self.assertGreaterEqual(epochs[-1]["val_loss"], min(line["val_loss"] for line in epochs[:-1]))

    def test_averages_follow_the_formula(self):
        self.command(self.game, "weights", "--untrained", "--seed", 3, "--out", "first.safetensors")
        mean = read_safetensors(self.folder / "first.safetensors")
        names = [name for name in mean if name.startswith("average.")]
        self.assertEqual(len(names), 6)
        for name in names:
            self.assertEqual(mean[name], mean[name[8:]])
        for step in range(1, 6):
            self.train("average", "--seed", 3, "--optimizer", "generator_step=rmsprop", "--steps", step)
            now = self.weights("average")
            decay = min(0.9, (1 + step) / (10 + step))
            for name in names:
                expected = [decay * old + (1 - decay) * new for old, new in zip(mean[name], now[name[8:]])]
                for a, b in zip(now[name], expected):
                    self.assertAlmostEqual(a, b, delta=1e-6)
                mean[name] = now[name]
        z = [[0.1, -0.2, 0.3, 0.4]]
        (self.folder / "z.csv").write_text(",".join(map(str, z[0])) + "\n")
        plain, calm = (self.command(self.game, "predict", "z.csv", "--checkpoint", "average.ckpt", "--export", name).out for name in ("sample", "calm"))
        self.assertNotEqual(plain, calm)

    def test_the_frechet_distance_is_that_of_all_samples(self):
        # Two sets with variances (1, 4) and (4, 1) around points 3 apart, three times over and read in batches of two: 3^2 + 5 + 5 - 2 (2 + 2).
        rows = [(1, 2, 5, 1), (1, -2, 5, -1), (-1, 2, 1, 1), (-1, -2, 1, -1)] * 3
        (self.folder / "points.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
        program = self.build("""data d(x: f32[2], y: f32[2]) { all = csv("points.csv") }
model net(x: f32[n, 2]) -> f32[n, 2] { param w: f32 = 1; w * x }
train on d.all, validate on d.all { batch 2; epochs 1; minimize mean(net(x)^2) with sgd(); report far = frechet_distance(x, y) }
""", name="far")
        self.assertAlmostEqual(self.command(program, "eval", "--untrained", "--json").json()["far"], 11, places=4)

    def sample(self, *options):
        return self.command(self.game, "sample", "--untrained", "--json", *options).json()

    def test_samples(self):
        few, many = self.sample("--count", 5), self.sample("--count", 70)
        self.assertEqual(few["export"], "sample")   # judge reads what the data have
        self.assertEqual((few["samples"], many["samples"]), (5, 70))
        for a, b in zip(few["outputs"]["sample"], many["outputs"]["sample"]):
            self.assertAlmostEqual(a[0], b[0], delta=1e-5)
        self.assertNotEqual(self.sample("--count", 5, "--seed", 7), few)
        # The noise is normal: what the weights make of it does not matter, but the numbers differ.
        rows = many["outputs"]["sample"]
        self.assertEqual(len({tuple(row) for row in rows}), 70)
        # Integers with a range go round.
        picture = self.sample("--export", "picture", "--count", 6)["outputs"]["picture"]
        values = [row[0] for row in picture]
        for i, value in enumerate(values):
            self.assertLess(abs(value - i % 3), 1)
        self.command(self.game, "sample", "--untrained", "--export", "picture", "--count", 9, "--out", "grid.png")
        png = (self.folder / "grid.png").read_bytes()
        self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", png[16:24])
        self.assertGreaterEqual(width, 3 * 5)
        self.assertGreaterEqual(height, 3 * 4)
        self.command(self.game, "sample", "--untrained", "--count", 4, "--out", "four.npy")
        self.assertTrue((self.folder / "four.npy").read_bytes().startswith(b"\x93NUMPY"))
        self.fails(self.game, "sample", "--untrained", "--out", "no.png", says="which is no picture")
        self.fails(self.game, "sample", "--checkpoint", "none.ckpt", says="none.ckpt")

    def test_nothing_to_sample(self):
        program = self.build(GAME.split("export sample")[0] + "export judge(x: f32[n, 2]) = critic(x)\nexport other(x: u8[n, 2]) = critic(f32(x))\n", name="judge")
        self.fails(program, "sample", "--untrained", says="no export of this program makes something of noise")
        self.fails(program, "sample", "--untrained", "--export", "other", says="noise are floating-point numbers, or integers that have a range")
        self.command(program, "sample", "--untrained", "--export", "judge")   # who asks for it gets it


if __name__ == "__main__":
    unittest.main()
