"""Tuned programs: other code, the same numbers, and what was measured is remembered for the next build."""
import shutil
import unittest

from common import GRADC, SMALL, EndToEnd, log_lines, write_small_data

LAST = {"GRADC_TUNED_CHOICE": "1000"}   # nothing is measured: the last candidate of each product wins


class Tuned(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_small_data(cls.folder)
        cls.source = cls.folder / "small.grad"
        cls.source.write_text(SMALL.replace("dense(8)", "dense(40)"))

    def make(self, name, *options, **more):
        result = self.command(GRADC, "build", self.source, "-o", self.folder / name, *options, **more)
        return self.folder / name, result.out

    def losses(self, program):
        log = self.folder / f"{program.name}.jsonl"
        self.command(program, "train", "--log", log, "--quiet", "--no-save")
        return [line["loss"] for line in log_lines(log) if "loss" in line]

    def kernels(self):
        return self.command(GRADC, "dump", "--stage", "kernels", self.source).out

    def tearDown(self):
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def test_bits_do_not_depend_on_choices(self):
        plain, said = self.make("plain")
        self.assertNotIn("tuned", said)
        tuned, said = self.make("tuned", "--tune", env=LAST)
        self.assertRegex(said, r"tuned (\d+) products \(\1 measured now\): [1-9]")
        self.assertEqual(self.losses(tuned), self.losses(plain))
        self.assertNotEqual(tuned.read_bytes(), plain.read_bytes())

    def test_choices_are_remembered(self):
        self.assertNotIn("tuned", self.kernels())
        tuned, _ = self.make("first", "--tune", env=LAST)
        self.assertIn(" vectors of ", self.kernels())
        self.assertIn(", tuned;", self.kernels())
        later, _ = self.make("later")
        self.assertEqual(later.read_bytes(), tuned.read_bytes())
        _, said = self.make("again", "--tune")
        self.assertIn("(0 measured now)", said)

    def test_without_a_cache_a_choice_is_for_one_build(self):
        off = {"GRADC_CACHE": "off"}
        plain, _ = self.make("untuned", env=off)
        tuned, _ = self.make("once", "--tune", env={**off, **LAST})
        after, _ = self.make("after", env=off)
        self.assertNotEqual(tuned.read_bytes(), plain.read_bytes())
        self.assertEqual(after.read_bytes(), plain.read_bytes())

    def test_measuring(self):
        plain, _ = self.make("by_model")
        tuned, said = self.make("measured", "--tune")
        self.assertRegex(said, r"tuned (\d+) products \(\1 measured now\)")
        self.assertEqual(self.losses(tuned), self.losses(plain))
        result = self.command(GRADC, "run", self.source, "--tune", "train", "--quiet", "--no-save", "--epochs", 1)
        self.assertEqual(result.err, "")


if __name__ == "__main__":
    unittest.main()
