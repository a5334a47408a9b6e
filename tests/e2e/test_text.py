"""Texts as data, and generation: windows of bytes, characters and pairs; the same tokens with the sessions of an export as from the whole context at once."""
import json
import math
import unittest

from common import EndToEnd

# A text that a small network learns by heart in seconds: the letters in order, again and again, with a word that is no ASCII.
LINE = "abcdefghijklmnopqrstuvwxyz n\u00e9e\n"

MODEL = """// A tiny decoder with one attention head, on a text of one line.
data tale(window: token[9]{bytes}) {{
    all          = text("tale.txt", tokens = "{tokens}", vocabulary = {size})
    train, valid = split(all, 0.8)
}}

layer attention(x: f32[n, t, d]) {{
    let (q, k, v) = (x |> dense(d), x |> dense(d), x |> dense(d))
    let (keys, values, seen) = if incremental {{
        session keys: f32[n, steps, d] = 0
        session values: f32[n, steps, d] = 0
        let here = reshape(iota(steps) == position, [1, steps, 1])
        keys   <- where(here, k, keys)
        values <- where(here, v, values)
        (keys, values, iota([1, steps], 1) <= position)
    }} else {{
        (k, v, iota([t, t], 1) <= iota([t, t], 0))
    }}
    let scores = einsum("nqe,nke->nqk", q, keys) / sqrt(d)
    einsum("nqk,nke->nqe", softmax(where(seen, scores, -inf)), values) |> dense(d)
}}

model net(tokens: token[n, t]) {{
    param places: f32[8, 16] = normal(0.1)
    let place = if incremental {{ one_hot(reshape(position, [1]), 8) @ places }} else {{ places }}
    let x = (one_hot(tokens, tale.vocabulary) |> dense(16)) + place
    x + (x |> layer_norm |> attention) |> layer_norm |> dense(tale.vocabulary)
}}

train on tale.train, validate on tale.valid {{
    batch 8
    for 300 steps
    let loss = cross_entropy(net(window[:, 0:-1]), window[:, 1:])
    minimize loss with adam(lr = 0.01)
    report bits = {bits}
}}

export next(token: token[n] < tale.vocabulary) for 8 steps = net(reshape(token, [n, 1])) |> flatten
export whole(tokens: token[n, 8] < tale.vocabulary) = net(tokens)
"""


# The same of the library's blocks, which know themselves what a session is to keep.
BLOCKS = MODEL.split("layer attention")[0] + """
model net(tokens: token[n, t]) {{
    let words = embedding(tale.vocabulary, 16)
    let x = words(tokens){places}
    for i in 0..2 {{ x = x |> encoder_block(2, 32, causal = true, {block}) }}
    (x |> {norm}) @ transpose(words.table)
}}

train""" + MODEL.split("\ntrain")[1]
LEARNED = dict(places=" |> learned_positions(8)(if incremental { position } else { 0 })", block='activation = gelu, norm = "pre"', norm="layer_norm")
SINUSOIDAL = dict(places=" + sinusoidal_positions(t, 16, if incremental { position } else { 0 })", block="rate = 0.1", norm="as_it_is")
ROTARY = dict(places="", block='activation = swiglu, norm = "pre", normalisation = rms_norm, rotary = true', norm="rms_norm")


def model(tokens="characters", size=40, bytes=""):
    bits = "bits(loss) / mean(f32(bytes[:, 1:]))" if bytes else "bits(loss)"
    return MODEL.format(tokens=tokens, size=size, bytes=bytes, bits=bits)


def blocks(parts):
    return BLOCKS.format(tokens="characters", size=40, bytes="", bits="bits(loss)", **parts)


class Text(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "tale.txt").write_text(LINE * 120)
        cls.program = cls.build(model(), name="tale")
        cls.command(cls.program, "train", "--quiet", "--checkpoint", "tale.ckpt")
        cls.characters = sorted(set(LINE))

    def generate(self, *options, program=None):
        return self.command(program or self.program, "generate", *options)

    def logits(self, tokens, program=None):
        """Of the export over a whole window, behind each of its eight tokens."""
        (self.folder / "tokens.csv").write_text(",".join(map(str, tokens)) + "\n")
        flat = self.command(program or self.program, "predict", "--export", "whole", "tokens.csv", "--json").json()["outputs"]["whole"][0]
        return [flat[i * 40:(i + 1) * 40] for i in range(8)]

    def test_it_learns_and_says_how_well(self):
        figures = self.command(self.program, "eval", "--json").json()
        self.assertLess(figures["bits"], 0.7)
        self.assertAlmostEqual(figures["bits"], figures["loss"] / math.log(2), places=5)
        self.assertIn(f"{len(self.characters)} characters", self.command(self.program, "info").out)
        self.assertEqual(self.generate("--prompt", "abcd", "--length", "26", "--temperature", "0").out, LINE)

    def the_same_with_and_without_sessions(self, program):
        tokens = [self.characters.index(c) for c in "xyz n\n\na"]
        (self.folder / "steps.csv").write_text("".join(f"{t}\n" for t in tokens))
        steps = self.command(program, "predict", "--export", "next", "steps.csv", "--json").json()["outputs"]["next"]
        for step, position in zip(steps, self.logits(tokens, program), strict=True):
            for a, b in zip(step, position, strict=True):
                self.assertAlmostEqual(a, b, places=4)
        # When eight tokens are read, a new session begins with the last four of them.
        text = "abc"
        window = [self.characters.index(c) for c in text]
        for _ in range(12):
            if len(window) == 9:
                window = window[4:]
            at = self.logits((window + [0] * 8)[:8], program)[len(window) - 1][:len(self.characters)]
            window.append(at.index(max(at)))
            text += self.characters[window[-1]]
        self.assertEqual(self.generate("--prompt", "abc", "--length", "12", "--temperature", "0", program=program).out, text + "\n")

    def test_the_same_tokens_as_without_sessions(self):
        self.the_same_with_and_without_sessions(self.program)

    def test_the_same_tokens_with_the_library_s_blocks(self):
        for name, parts in ("learned", LEARNED), ("sinusoidal", SINUSOIDAL), ("rotary", ROTARY):
            with self.subTest(name):
                program = self.build(blocks(parts), name=name)
                self.command(program, "train", "--quiet", "--checkpoint", f"{name}.ckpt")
                self.assertLess(self.command(program, "eval", "--json").json()["bits"], 1)
                self.the_same_with_and_without_sessions(program)

    def test_seeds(self):
        options = ("--prompt", "a", "--length", "40", "--temperature", "3")
        texts = {seed: self.generate(*options, "--seed", seed).out for seed in (1, 2)}
        self.assertEqual(self.generate(*options, "--seed", 1).out, texts[1])
        self.assertNotEqual(texts[1], texts[2])
        self.assertEqual(self.generate(*options, "--seed", 1, "--threads", 2).out, texts[1])
        greedy = self.generate("--prompt", "a", "--length", "40", "--temperature", "0").out
        self.assertEqual(self.generate(*options, "--top-k", 1).out, greedy)

    def test_prompts(self):
        self.assertIn("the prompt has 9 tokens, 'next' looks back at most 8", self.generate_fails("--prompt", "abcdefghi"))
        self.assertIn("the prompt, line 2: the character 'A' (U+0041) is not in the vocabulary", self.generate_fails("--prompt", "a\nA"))
        self.assertIn("the prompt is empty", self.generate_fails("--prompt", ""))
        self.assertIn("'whole' keeps nothing from token to token", self.generate_fails("--export", "whole"))
        self.assertEqual(self.generate("--length", "5", "--temperature", "0").out, LINE[:5] + "\n")
        told = self.generate("--prompt", "ab", "--length", "0", "--json").json()
        self.assertEqual((told["prompt"], told["text"], told["prompt_tokens"]), ("ab", "", 2))

    def generate_fails(self, *options):
        return self.command(self.program, "generate", *options, code=1).err

    def test_a_session_lasts_so_many_steps(self):
        (self.folder / "steps.csv").write_text("1\n" * 9)
        self.assertIn("a session of 'next' is 8 steps", self.command(self.program, "predict", "--export", "next", "steps.csv", code=1).err)

    def test_resuming_gives_the_same_bits(self):
        """Windows are drawn under the seed, epoch by epoch; the vocabulary of the checkpoint is the text's."""
        for name, steps in (("half", 170), ("full", 340)):
            self.command(self.program, "train", "--quiet", "--steps", steps, "--checkpoint", f"{name}.ckpt")
        self.command(self.program, "train", "--quiet", "--steps", 340, "--resume", "half.ckpt")
        for name in ("half", "full"):
            self.command(self.program, "weights", "--checkpoint", f"{name}.ckpt", "--out", f"{name}.safetensors")
        # Schedules and counters go by the planned steps, which adam without a schedule does not read.
        self.assertEqual((self.folder / "half.safetensors").read_bytes(), (self.folder / "full.safetensors").read_bytes())

    def test_pairs(self):
        """Bits per byte from pairs: the data say how many bytes a token is. Characters that are parts of tokens come out whole."""
        program = self.build(model("pairs", 300, ", bytes: u8[9]"), name="pairs")
        self.command(program, "train", "--quiet", "--checkpoint", "pairs.ckpt")
        figures = self.command(program, "eval", "--json").json()
        self.assertLess(figures["bits"], figures["loss"] / math.log(2) / 1.2)
        self.assertIn("pairs:", self.command(program, "info").out)
        told = json.loads(self.generate("--prompt", "abc", "--length", "60", "--temperature", "0", "--json", program=program).out)
        self.assertNotIn("\ufffd", told["text"])
        self.assertIn(" n\u00e9e\nabc", told["text"])
        (self.folder / "other").mkdir()
        (self.folder / "other" / "tale.txt").write_text("A text that has nothing to do with the one before, 12345.\n" * 20)
        again = json.loads(self.generate("--prompt", "abc", "--length", "60", "--temperature", "0", "--json", "--data", "other", program=program).out)
        self.assertEqual(again["text"], told["text"])   # the checkpoint's pairs, not those of what lies there now

    def test_bytes_that_are_no_text(self):
        (self.folder / "noise").mkdir()
        (self.folder / "noise" / "tale.txt").write_bytes(bytes(range(256)) * 8)
        program = self.build(model("bytes", 256), name="bytes")
        self.command(program, "train", "--quiet", "--no-save", "--steps", 3, "--data", "noise")
        told = json.loads(self.generate("--untrained", "--data", "noise", "--prompt", "\u00e9", "--length", "30", "--temperature", "9", "--json", program=program).out)
        self.assertEqual((told["prompt_tokens"], told["tokens"]), (2, 30))
        self.assertIn("\ufffd", told["text"])

    def test_texts_that_cannot_be_read(self):
        def fails(content):
            (self.folder / "bad").mkdir(exist_ok=True)
            (self.folder / "bad" / "tale.txt").write_bytes(content)
            return self.command(self.program, "train", "--quiet", "--no-save", "--data", "bad", code=1).err
        self.assertIn("tale.txt' is empty", fails(b""))
        self.assertIn("tokens here, a window of 'window' is 9", fails(b"abcdefgh"))
        self.assertIn("line 2: byte 0xff is no UTF-8", fails(b"abc\nab\xff"))
        self.assertIn("different characters, more than `vocabulary = 40`", fails("".join(map(chr, range(32, 90))).encode() * 9))
        self.assertIn("No such file", self.command(self.program, "train", "--quiet", "--no-save", "--data", "nowhere", code=1).err)
        (self.folder / "bad" / "tale.txt").write_text(LINE * 10 + "ABCDEFGHIJ" * 20)
        self.assertIn("is not in the vocabulary, which has those of the training text", self.command(self.program, "eval", "--data", "bad", code=1).err)


if __name__ == "__main__":
    unittest.main()
