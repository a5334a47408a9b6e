"""The classifier on 60,000 real images: accuracy, size, what it depends on, how long it takes to build."""
import math
import re
import resource
import unittest

from common import EndToEnd, FASHION, GRADC, MODELS, log_lines


@unittest.skipUnless(FASHION.exists(), "package dataset-fashion-mnist is not installed")
class Fashion(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        cls.program = cls.build("fashion_mlp")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cls.build_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        cls.log = cls.folder / "log.jsonl"
        cls.trained = cls.command(cls.program, "train", "--epochs", 1, "--log", cls.log)

    def test_one_epoch_reaches_80_percent(self):
        self.assertGreater(self.command(self.program, "eval", "--json").json()["accuracy"], 0.80)

    def test_an_epoch_has_whole_batches(self):
        self.assertEqual(sum("step" in line and "loss" in line and "epoch" in line and "validation" not in line for line in log_lines(self.log)), 60000 // 128)

    def test_the_log_has_the_learning_rate_of_each_step(self):
        rates = [line["lr"] for line in log_lines(self.log) if "lr" in line]
        self.assertEqual(len(rates), 60000 // 128)
        for t, rate in enumerate(rates, 1):   # cosine(2e-3, warmup = 200)
            done = min(max((t - 1 - 200) / (len(rates) - 200), 0), 1)
            self.assertAlmostEqual(rate, min(t / 200, 1) * 2e-3 * 0.5 * (1 + math.cos(math.pi * done)), delta=1e-12)

    def test_plain_lines_in_a_pipe(self):
        self.assertIn("epoch 1/1", self.trained.out)
        self.assertNotIn("\r", self.trained.out)
        self.assertNotIn("\033", self.trained.out)

    def test_prediction_is_a_distribution(self):
        outputs = self.command(self.program, "predict", "--index", "0:70", "--json").json()["outputs"]
        rows = next(iter(outputs.values()))
        self.assertEqual(len(rows), 70)
        for row in rows:
            self.assertEqual(len(row), 10)
            self.assertAlmostEqual(sum(row), 1, places=5)

    def test_chunks_change_no_bit_of_a_prediction(self):
        def rows(index):
            return next(iter(self.command(self.program, "predict", "--index", index, "--json").json()["outputs"].values()))

        whole = rows("0:70")   # chunks of 64 and 1
        self.assertEqual(rows("3:5"), whole[3:5])
        self.assertEqual(rows("69"), whole[69:70])

    def test_executable_is_small(self):
        self.assertLess(self.program.stat().st_size, 2_000_000)

    def test_executable_needs_libc_and_libm_alone(self):
        needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\]", self.command("readelf", "-d", self.program).out))
        self.assertLessEqual(needed, {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"})

    def test_info_counts_parameters(self):
        info = self.command(self.program, "info", "--json").json()
        self.assertEqual(info["parameters"], 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10)
        self.assertGreater(info["kernels"], 0)
        self.assertIn("peak memory", self.command(self.program, "info").out)

    def test_profile_names_lines(self):
        out = self.command(self.program, "train", "--steps", 20, "--profile", "--no-save", "--quiet").out
        self.assertIn("GFLOP/s", out)
        self.assertRegex(out, r"fashion_mlp\.grad:\d+")

    def test_bench_has_its_figures(self):
        figures = self.command(self.program, "bench", "--json", "--seconds", "0.1").json()
        self.assertLessEqual({"step_ms", "step_ms_min", "samples_per_s", "gflops", "predict_us"}, set(figures))

    def test_the_process_takes_what_the_plan_says(self):
        # Beside the plan: the program's own tables, the order of the samples, the C library's heap.
        figures = self.command(self.program, "bench", "--json", "--seconds", "0.1", "--threads", 1).json()
        info = self.command(self.program, "info", "--json", "--threads", 1).json()
        self.assertEqual(figures["plan_bytes"], info["peak_bytes"])
        self.assertEqual(info["peak_bytes"], info["variable_bytes"] + info["arena_bytes"] + info["scratch_bytes"] + info["constant_bytes"])
        self.assertLess(figures["own_bytes"], figures["plan_bytes"] + 2_000_000)
        self.assertGreater(figures["own_bytes"], info["arena_bytes"])

    def test_build_is_quick(self):
        # The aim is 2 s on an idle machine; tests share theirs, so this is processor time, and a bound that only a mistake breaks.
        self.assertLess(self.build_seconds, 20)

    def test_second_build_takes_its_kernels_from_the_cache(self):
        again = self.folder / "again"
        build = [GRADC, "build", MODELS / "fashion_mlp.grad", "-o", again, "-v"]
        self.assertRegex(self.command(*build).out, r"(?m)^(\d+) kernels, \1 of them from the cache$")
        self.assertEqual(again.read_bytes(), self.program.read_bytes())
        self.assertRegex(self.command(*build, env={"GRADC_CACHE": "off"}).out, r"kernels, 0 of them from the cache")
        self.assertEqual(again.read_bytes(), self.program.read_bytes())

    def test_width_is_set_at_build(self):
        wide = self.folder / "narrow"
        self.command(GRADC, "build", MODELS / "fashion_mlp.grad", "--set", "width=32", "-o", wide)
        self.assertEqual(self.command(wide, "info", "--json").json()["parameters"], 784 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10)


if __name__ == "__main__":
    unittest.main()
