"""Determinism: the same seed gives the same bits, with any number of threads, killed and resumed at any moment."""
import os
import signal
import subprocess
import time
import unittest

from common import EndToEnd, SMALL, log_lines, write_small_data


class Resume(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_small_data(cls.folder)
        cls.program = cls.build(SMALL, name="small")

    def train(self, name, *options):
        self.command(self.program, "train", "--checkpoint", f"{name}.ckpt", "--log", f"{name}.jsonl", "--quiet", *options)
        return self.weights(name)

    def weights(self, name):
        self.command(self.program, "weights", "--checkpoint", f"{name}.ckpt", "--out", f"{name}.safetensors")
        return (self.folder / f"{name}.safetensors").read_bytes()

    def steps(self, name):
        """What does not depend on the clock."""
        return [(line.get("step"), line.get("epoch"), line.get("loss")) for line in log_lines(self.folder / f"{name}.jsonl")]

    def test_same_seed_gives_identical_logs_and_weights(self):
        self.assertEqual(self.train("one", "--seed", 5), self.train("two", "--seed", 5))
        self.assertEqual((self.folder / "one.jsonl").read_text(), (self.folder / "two.jsonl").read_text())

    def test_another_seed_gives_another_run(self):
        self.assertNotEqual(self.train("five", "--seed", 5), self.train("six", "--seed", 6))

    def test_the_number_of_threads_changes_no_bit(self):
        self.assertEqual(self.train("alone", "--threads", 1), self.train("team", "--threads", 3))
        self.assertEqual(self.steps("alone"), self.steps("team"))

    def test_stopping_and_resuming_changes_no_bit(self):
        for optimizer in ("adam", "sgd", "nesterov"):
            whole = self.train(f"whole-{optimizer}", "--optimizer", optimizer, "--epochs", 5)
            self.train(f"parts-{optimizer}", "--optimizer", optimizer, "--steps", 37)   # in the middle of an epoch
            self.command(self.program, "train", "--resume", f"parts-{optimizer}.ckpt", "--epochs", 5, "--quiet")
            self.assertEqual(self.weights(f"parts-{optimizer}"), whole, optimizer)

    def test_figures_that_depend_on_the_epoch_are_those_of_the_end_of_training(self):
        program = self.build(SMALL.replace("    report accuracy", "    report grown = min(1, epoch / 3)\n    report accuracy"), name="grown")
        self.command(program, "train", "--epochs", 2, "--quiet", "--checkpoint", "grown.ckpt")
        self.assertAlmostEqual(self.command(program, "eval", "--checkpoint", "grown.ckpt", "--json").json()["grown"], 2 / 3, places=5)

    def test_kill_at_any_moment(self):
        # Long enough to be killed in, with a checkpoint after each step.
        options = ["train", "--steps", 3000, "--seed", 9]
        self.command(self.program, *options, "--checkpoint", "calm.ckpt", "--quiet")
        calm = self.weights("calm")
        arguments = [str(part) for part in (self.program, *options, "--checkpoint", "killed.ckpt", "--checkpoint-every", 1, "--quiet")]
        checkpoint = self.folder / "killed.ckpt"
        kills = 0
        for delay in (0.02, 0.005, 0.013, 0.03):
            process = subprocess.Popen(arguments, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            end = time.monotonic() + 60
            before = os.stat(checkpoint).st_mtime_ns if checkpoint.exists() else 0
            while process.poll() is None and time.monotonic() < end and (not checkpoint.exists() or os.stat(checkpoint).st_mtime_ns == before):
                time.sleep(0.002)
            time.sleep(delay)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            message = process.communicate()[1].decode()
            self.assertIn(process.returncode, (0, -signal.SIGKILL), message)
            arguments = [str(part) for part in (self.program, "train", "--resume", "killed.ckpt", "--steps", 3000, "--checkpoint-every", 1, "--quiet")]
        self.assertGreater(kills, 0, "the runs were over before they could be killed")
        self.command(self.program, "train", "--resume", "killed.ckpt", "--steps", 3000, "--quiet")
        self.assertEqual(self.weights("killed"), calm)

    def test_weights_go_out_and_come_in(self):
        first = self.train("source")
        self.command(self.program, "train", "--init", "source.safetensors", "--steps", 1, "--lr", 0, "--optimizer", "sgd", "--checkpoint", "copy.ckpt", "--quiet")
        self.assertEqual(self.weights("copy"), first)

    def test_without_shuffling_the_seed_of_the_order_does_not_matter(self):
        self.train("start", "--steps", 1)
        common = ["--init", "start.safetensors", "--no-shuffle"]
        self.assertEqual(self.train("ordered-1", "--seed", 1, *common), self.train("ordered-2", "--seed", 2, *common))
        self.assertNotEqual(self.train("shuffled-1", "--seed", 1, *common[:2]), self.train("shuffled-2", "--seed", 2, *common[:2]))


if __name__ == "__main__":
    unittest.main()
