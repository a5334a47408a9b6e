"""What decides which blocks count and what is reported: dropped blocks, cores apart, ratios, limits, merging. No clock is read."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import kernels
import report
import results
from machine import State
from measure import Block, Rounds, difference, interleave, spread
from steps import best_peer
from networks import LARGE, LENET, LSTM, RESNET, SMALL, walk
from adversaries import DCGAN
from transformers import GPTS
from workloads import Workload


def rounds(ours: list[Block], theirs: list[Block]) -> Rounds:
    return Rounds(near=200, free=50, blocks={"gradc": ours, "peer": theirs})


class Blocks(unittest.TestCase):
    def test_ratio_is_taken_round_by_round_where_both_count(self):
        ours = [Block(1, 100, 130, 60, True), Block(1, 100, 130, 60, True), Block(50, 100, 130, 60, False), Block(1, 100, 130, 60, True), Block(1, 100, 130, 60, True)]
        theirs = [Block(2, 100, 130, 60, True), Block(4, 80, 130, 60, True), Block(1, 100, 130, 60, True), Block(3, 100, 130, 60, True), Block(2, 100, 130, 60, True)]
        r = rounds(ours, theirs)
        self.assertEqual(r.ratio("peer", "gradc").as_list()[0], 2)   # rounds 2 (another peak) and 3 (ours not quiet) do not count
        self.assertEqual(r.ms("gradc"), 1)
        self.assertEqual(r.dropped(), 0.1)

    def test_blocks_of_a_disturbed_machine_count_only_for_want_of_others(self):
        calm, apart, busy = Block(1, 100, 130, 60, True), Block(9, 100, 360, 60, True), Block(8, 100, 130, 40, True)
        enough = rounds([calm] * 3 + [apart] * 9 + [busy] * 9, [calm] * 21)
        self.assertFalse(enough.disturbed())
        self.assertEqual(enough.ms("gradc"), 1)
        self.assertEqual(rounds([calm] * 2 + [busy] * 3 + [apart] * 9, [calm] * 14).ms("gradc"), 8)
        few = rounds([calm] * 2 + [apart] * 3, [calm] * 5)
        self.assertTrue(few.disturbed())
        self.assertEqual(few.ms("gradc"), 9)
        self.assertEqual(few.ratio("peer", "gradc").as_list(), [1, 1, 1])   # never between cores near and apart

    def test_interleaving_stops_when_there_is_enough_and_drops_what_moved(self):
        class Machine:
            least_ping, most_memory = 130.0, {2: 60.0}
            peaks = iter([100.0, 100.0, 90.0] + [100.0] * 100)

            def state(self, threads):
                return State([next(self.peaks)] * threads, 130.0, 60.0)

        class Side:
            def __init__(self, key):
                self.key = self.name = key

            def measure(self, seconds):
                return 1.0

        result = interleave([Side("gradc"), Side("peer")], Machine(), 2, 0.1, 2)
        self.assertEqual([block.quiet for block in result.blocks["gradc"]], [True, True, True])
        self.assertEqual([block.quiet for block in result.blocks["peer"]], [False, True, True])

    def test_spread_is_quartiles(self):
        self.assertEqual(spread([1, 2, 3, 4, 5]).as_list(), [3, 2, 4])


class Figures(unittest.TestCase):
    def test_limit(self):
        w = Workload(SMALL, 32)
        self.assertEqual(w.parameters, 203530)
        self.assertEqual(w.flop, 2 * 32 * (784 * 256 * 2 + 256 * 10 * 3))
        self.assertAlmostEqual(w.limit_ms(100, 100), (w.flop / 100 + 24 * w.parameters / 100) * 1e-6)

    def test_convolutional_networks(self):
        self.assertEqual(LENET.parameters, 6 * 26 + 16 * 151 + 401 * 120 + 121 * 84 + 85 * 10)
        self.assertEqual(LENET.products()[:2], [2 * 28 * 28 * 6 * 25, 2 * 10 * 10 * 16 * 25 * 6])
        self.assertEqual(sum(layer[0] == "conv" for layer, _ in walk(RESNET.layers)), 19 + 2)   # and two shortcuts
        self.assertEqual([shape for layer, shape in walk(RESNET.layers) if layer[0] == "mean"], [(7, 7, 64)])
        self.assertEqual(RESNET.body().count("relu("), 9)

    def test_transformers(self):
        small = GPTS["gpt_4_128_64"]
        self.assertEqual(small.parameters, 65 * 128 + 64 * 128 + 4 * (4 * (128 * 128 + 128) + 128 * 512 + 512 + 512 * 128 + 128 + 4 * 128) + 2 * 128)
        self.assertEqual(small.flop(2), 3 * 2 * 2 * (64 * (4 * (4 * 128 * 128 + 2 * 128 * 512) + 128 * 65) + 4 * 2 * 64 * 64 * 128))
        self.assertEqual(kernels.products([Workload(small, 8)]), {(512, 128, 65): True, (512, 128, 128): True, (512, 128, 512): True, (512, 512, 128): True})
        self.assertEqual(kernels.convolutions([Workload(small, 8)]), {})
        with tempfile.TemporaryDirectory() as folder:
            text = Workload(small, 8).model(pathlib.Path(folder))
            self.assertIn("block(4)", text)
            file = (pathlib.Path(folder) / "gpt_4_128_64.npy").read_bytes()
            self.assertEqual(len(file), 128 + 2048 * 65)
            self.assertLess(max(file[128:]), 65)

    def test_recurrent_networks(self):
        self.assertEqual(LSTM.parameters, (28 + 128 + 1) * 512 + 1290)
        self.assertEqual(LSTM.flop(1), 2 * (28 * 28 * 512 * 2 + 28 * 128 * 512 * 3 + 1280 * 3))
        self.assertEqual((LSTM.kind, kernels.products([Workload(LSTM, 8)])), ("recurrent", {}))
        self.assertIn("lstm(128, sequence = false)", Workload(LSTM, 8).model(pathlib.Path()))

    def test_adversaries(self):
        self.assertEqual(DCGAN.flop(1), 2 * (64 * 3136 * (1 + 2) + (49 * 16 * 64 * 32 + 196 * 16 * 32) * (1 + 3) + 196 * 16 * 32 * (2 * 2 + 2) + (49 * 16 * 32 * 64 + 3136) * (2 * 3 + 2)))
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("batch 16", Workload(DCGAN, 16).model(pathlib.Path(folder)))
            self.assertEqual({file.name: file.stat().st_size for file in pathlib.Path(folder).iterdir()},
                             {"dcgan_image.npy": 128 + 1024 * 784, "dcgan_first.npy": 128 + 1024 * 64 * 4, "dcgan_second.npy": 128 + 1024 * 64 * 4})

    def test_losses(self):
        self.assertEqual(difference([1, 2], [1, 2]), 0)
        self.assertAlmostEqual(difference([1, 2.3], [1, 2]), 0.2)
        self.assertEqual(difference([1], [1, 2]), float("inf"))

    def test_a_peer_with_other_losses_is_not_the_best(self):
        row = {"sides": {"gradc": {}, "jax": {"ratio": [1.1, 1, 2], "same_losses": False}, "eager": {"ratio": [2.0, 1, 2], "same_losses": True}}}
        self.assertEqual(best_peer(row), "eager")

    def test_kernel_summary(self):
        def row(mflop, share, other):
            return {"mflop": mflop, "chosen": "gradc", "figures": [{"name": "gradc", "share": share}, {"name": "fused", "share": 1}, {"name": "x", "share": 0.1}, {"name": "y", "share": other}]}

        text = kernels.summary([row(1, 0.5, 0.6), row(8, 0.95, 0.9), row(8, 0.89, 0.9)])
        self.assertIn("All shapes: ahead of the best library on 1 of 3, level (within 2%) on 1, behind on 1.", text)
        self.assertIn("on 1 of 2.", text)

    def test_summary_of_convolutions_counts_by_channels_and_form(self):
        def row(channels, direct, winograd, other, size=3):
            found = {"direct": direct, "F(4x4)": winograd, "oneDNN direct": other}
            return {"which": "forward", "side": 28, "channels": channels, "filters": 64, "size": size, "stride": 1, "chosen": "F(4x4)" if winograd else "direct",
                    "figures": [{"name": name, "share": share, "gflops": 100 * share} for name, share in found.items() if share]}

        rows = [row(32, 0.9, 2.0, 1.0), row(64, 0.7, 1.2, 1.0), row(16, 0.61, 0, 0.9), row(1, 0.1, 0, 0.2, 5)]
        text = kernels.summary(rows)
        self.assertIn("ahead of the best library on 2 of 4, level (within 2%) on 0, behind on 2: 28x28, 1 to 64, 5x5 forward (0.50); 28x28, 16 to 64, 3x3 forward (0.68).", text)
        self.assertIn("As sums, 32 channels and over: 80% of the peak beside them or more on 1 of 2, not on 28x28, 64 to 64, 3x3 forward (70%).", text)
        self.assertIn("As sums, 16 channels: 60% of the peak beside them or more on 1 of 1.", text)
        self.assertIn("140% of the peak beside them or more on 1 of 2, not on 28x28, 64 to 64, 3x3 forward (120%).", text)
        self.assertEqual(kernels.table(rows)[1:][2], ["28x28, 16 to 64, 3x3", "forward", "*61.0", "-", "90.0", "61%", "61%", "0.68"])

    def test_shapes_know_whether_an_input_gradient_occurs(self):
        self.assertEqual(kernels.products([Workload(LARGE, 8)]), {(8, 1024, 10): True, (8, 784, 1024): False, (8, 1024, 1024): True})
        self.assertEqual(kernels.convolutions([Workload(LENET, 8)]), {(32, 28, 1, 6, 5, 1, 2): False, (32, 14, 6, 16, 5, 1, 0): True})
        self.assertEqual(kernels.convolutions([Workload(LARGE, 8)]), kernels.products([Workload(LENET, 8)]))

    def test_newer_rows_replace_older_ones_of_the_same_key(self):
        step = lambda name, threads, ms: {"workload": name, "title": {"vgg_b32": "VGG-like @ 32", "mlp_256_b1": "784-256-10 @ 1", "gpt_4_128_64_b8": "GPT 4 x 128, context 64 @ 8"}[name], "threads": threads, "ms": ms}
        old = {"date": "then", "steps": [step("mlp_256_b1", 1, 1), step("gpt_4_128_64_b8", 1, 5), step("vgg_b32", 1, 2)], "kernels": [{"which": "forward", "batch": 1, "in": 2, "out": 3}],
               "start": {"compiling": [{"model": "a", "s": 1}], "first_step": []}}
        new = {"date": "now", "steps": [step("vgg_b32", 2, 3), step("vgg_b32", 1, 4)], "kernels": [{"which": "forward", "batch": 32, "side": 28}],
               "start": {"compiling": [{"model": "a", "s": 2}, {"model": "models/resnet20.grad", "s": 3}], "first_step": []}}
        both = results.merged(old, new)
        self.assertEqual([(row["workload"], row["threads"], row["ms"]) for row in both["steps"]], [("mlp_256_b1", 1, 1), ("vgg_b32", 1, 4), ("vgg_b32", 2, 3), ("gpt_4_128_64_b8", 1, 5)])
        self.assertEqual(both["date"], "now")
        self.assertEqual([row["s"] for row in both["start"]["compiling"]], [2, 3])
        kinds = [results.of_kind(both, kind) for kind in results.KINDS]
        self.assertEqual([len(found["steps"]) for found in kinds if found], [1, 2, 1])
        self.assertEqual([found["kernels"] for found in kinds if "kernels" in found], [both["kernels"][:1], both["kernels"][1:]])
        self.assertEqual(kinds[1]["start"]["compiling"], [{"model": "models/resnet20.grad", "s": 3}])
        self.assertEqual(results.of_kind({"steps": old["steps"][:1]}, "convolutional"), {})

    def test_tables_are_replaced_between_their_comments(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "a.md"
            mark = "<!-- {}: written by tests/bench/run --update-readme -->\n\nold\n\n<!-- end of {} -->\n"
            file.write_text("before\n" + mark.format("one", "one") + "between\n" + mark.format("two", "two"))
            report.replace_between(file, "two", ["new"])
            self.assertEqual(file.read_text(), "before\n" + mark.format("one", "one") + "between\n" + mark.format("two", "two").replace("old", "new"))

    def test_markdown(self):
        self.assertEqual(report.markdown([["a", "b"], ["1", "2"]]), "| a | b |\n| --- | ---: |\n| 1 | 2 |")


if __name__ == "__main__":
    unittest.main()
