"""Mistakes of users: each is told in words, with exit status 1; none crashes, nothing already saved is lost."""
import os
import random
import unittest

from common import EndToEnd, SMALL, write_idx, write_small_data


class Errors(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rows, cls.labels = write_small_data(cls.folder)
        cls.program = cls.build(SMALL, name="small")
        cls.command(cls.program, "train", "--steps", 10, "--quiet")
        cls.checkpoint = (cls.folder / "small.ckpt").read_bytes()

    def data(self, name):
        folder = self.folder / name
        folder.mkdir()
        write_small_data(folder)
        return folder

    def train(self, folder, **expected):
        self.fails(self.program, "train", "--data", folder, "--no-save", **expected)

    # ---- data

    def test_missing_file(self):
        folder = self.data("missing")
        (folder / "y.idx").unlink()
        self.train(folder, says=["y.idx", "No such file"])

    def test_missing_folder(self):
        self.train(self.folder / "nowhere", says="nowhere")

    def test_truncated_data(self):
        folder = self.data("truncated")
        raw = (folder / "x.idx").read_bytes()
        for length in (0, 3, 9, len(raw) - 1):
            (folder / "x.idx").write_bytes(raw[:length])
            self.train(folder, says="x.idx")

    def test_not_idx_at_all(self):
        folder = self.data("text")
        (folder / "x.idx").write_text("these are no pictures\n" * 50)
        self.train(folder, says=["x.idx", "no IDX file"])

    def test_other_shape(self):
        folder = self.data("shape")
        write_idx(folder / "x.idx", self.rows, [100, 8])
        self.train(folder, says=["x.idx", "8", "u8[4]"])

    def test_other_number_of_labels(self):
        folder = self.data("counts")
        write_idx(folder / "y.idx", self.labels[:-1], [199])
        self.train(folder, says=["200", "199"])

    def test_label_out_of_range(self):
        folder = self.data("range")
        write_idx(folder / "y.idx", self.labels[:-1] + [7], [200])
        self.train(folder, says=["y.idx", "label", "7"])

    def test_damaged_gzip(self):
        folder = self.data("gzip")
        text = SMALL.replace("x.idx", "x.idx.gz")
        program = self.build(text, name="zipped")
        write_idx(folder / "x.idx.gz", self.rows, [200, 4])
        self.command(program, "train", "--data", folder, "--steps", 1, "--no-save", "--quiet")
        raw = bytearray((folder / "x.idx.gz").read_bytes())
        (folder / "x.idx.gz").write_bytes(raw[: len(raw) // 2])
        self.fails(program, "train", "--data", folder, "--no-save", says="x.idx.gz")
        raw[len(raw) // 2] ^= 0xFF
        (folder / "x.idx.gz").write_bytes(raw)
        self.fails(program, "train", "--data", folder, "--no-save", says="x.idx.gz")

    def test_batch_larger_than_the_data(self):
        folder = self.data("few")
        write_small_data(folder, 5)
        self.train(folder, says=["batch", "5"])

    # ---- checkpoints

    def test_no_checkpoint(self):
        self.fails(self.program, "eval", "--checkpoint", "none.ckpt", says="none.ckpt")

    def test_truncated_checkpoint(self):
        for length in (0, 4, 100, len(self.checkpoint) - 1):
            (self.folder / "short.ckpt").write_bytes(self.checkpoint[:length])
            self.fails(self.program, "train", "--resume", "short.ckpt", says="short.ckpt")
            self.fails(self.program, "eval", "--checkpoint", "short.ckpt", says="short.ckpt")

    def test_damaged_checkpoint(self):
        source = random.Random(1)
        for _ in range(30):
            raw = bytearray(self.checkpoint)
            raw[source.randrange(len(raw))] ^= 1 << source.randrange(8)
            (self.folder / "damaged.ckpt").write_bytes(raw)
            self.fails(self.program, "eval", "--checkpoint", "damaged.ckpt", says="damaged.ckpt")

    def test_checkpoint_of_another_model(self):
        other = self.build(SMALL.replace("dense(8)", "dense(9)"), name="other")
        self.fails(other, "eval", "--checkpoint", "small.ckpt", says=["small.ckpt", "another model"])

    def test_weights_of_another_model(self):
        self.command(self.program, "weights", "--out", "weights.safetensors")
        other = self.build(SMALL.replace("dense(8)", "dense(9)"), name="nine")
        self.fails(other, "train", "--init", "weights.safetensors", "--no-save", says="weights.safetensors")
        (self.folder / "bad.safetensors").write_bytes((self.folder / "weights.safetensors").read_bytes()[:-3])
        self.fails(self.program, "train", "--init", "bad.safetensors", "--no-save", says="bad.safetensors")

    # ---- output

    def test_unwritable_checkpoint(self):
        self.fails(self.program, "train", "--checkpoint", "no/such/folder/a.ckpt", says="no/such/folder")

    def test_unwritable_log(self):
        self.fails(self.program, "train", "--log", "no/such/log.jsonl", "--no-save", says="no/such/log.jsonl")

    def test_full_disk_keeps_the_old_checkpoint(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        self.fails(self.program, "weights", "--out", "/dev/full", says="/dev/full")

    def test_failed_save_leaves_what_was_there(self):
        folder = self.folder / "kept"
        folder.mkdir()
        (folder / "kept.ckpt").write_bytes(self.checkpoint)
        # A limit on the size of files, as on a full disk: the new checkpoint cannot be written whole.
        script = f"ulimit -f 0; trap '' XFSZ; exec {self.program} train --steps 2 --checkpoint {folder}/kept.ckpt --quiet"
        self.fails("bash", "-c", script, says="kept.ckpt")
        self.assertEqual((folder / "kept.ckpt").read_bytes(), self.checkpoint)
        self.assertEqual([path.name for path in folder.iterdir()], ["kept.ckpt"])

    # ---- options

    def test_unknown_optimizer(self):
        self.fails(self.program, "train", "--optimizer", "adan", "--no-save", says="did you mean 'adam'")

    def test_unknown_setting(self):
        self.fails(self.program, "train", "--set", "rat=1", "--no-save", says="rat")

    def test_unknown_option_and_command(self):
        self.fails(self.program, "train", "--epoch", 3, says="--epochs", code=2)
        self.fails(self.program, "tarin", says="train", code=2)

    # ---- numbers

    def test_loss_that_is_not_finite_names_step_and_line(self):
        text = SMALL.replace("minimize cross_entropy(logits, label)", "minimize mean(log(logits - 100))")
        program = self.build(text, name="nan")
        result = self.fails(program, "train", "--no-save", says=["step 1", "nan.grad:"])
        self.assertIn(f"nan.grad:{1 + text[: text.index('minimize')].count(chr(10))}", result.err)

    def test_divergence_keeps_the_last_checkpoint(self):
        self.command(self.program, "train", "--steps", 3, "--checkpoint", "diverging.ckpt", "--quiet")
        before = (self.folder / "diverging.ckpt").read_bytes()
        self.fails(self.program, "train", "--optimizer", "sgd", "--lr", "1e38", "--steps", 500, "--checkpoint", "diverging.ckpt", "--quiet", says="step")
        self.assertEqual((self.folder / "diverging.ckpt").read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
