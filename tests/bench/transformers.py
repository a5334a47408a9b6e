"""A GPT as GPT-2 has it, from which gradc's model file and every peer's program are made: learned positions, pre-norm blocks, gelu by tanh, the table of tokens is the last matrix.

Parameters in gradc's file: net.table, net.positions; of block i net.block1.i.layer_norm1, .query, .key, .value, .out, .layer_norm2, .up, .down; net.layer_norm1.
"""
import pathlib
import random
import struct
from dataclasses import dataclass

MODEL = """\
data text(window: u8[{context} + 1] < {vocabulary}) {{
    train = npy("{name}.npy")
    from "{folder}"
}}

fn gelu_by_tanh(z) = 0.5 * z * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 * z^3)))

layer block(heads: int)(x: f32[n, t, d]) {{
    let y = x |> layer_norm
    let split(z) = reshape(z, [n, t, heads, d / heads])
    let (q, k, v) = (split(y |> dense(d) as query), split(y |> dense(d) as key), split(y |> dense(d) as value))
    let scores = einsum("nqhe,nkhe->nhqk", q, k) / sqrt(d / heads)
    let seen = reshape(iota(t), [t, 1]) >= reshape(iota(t), [1, t])
    let a = x + (einsum("nhqk,nkhe->nqhe", softmax(where(seen, scores, -inf)), v) |> flatten(from = 2) |> dense(d) as out)
    a + (a |> layer_norm |> dense(4 * d) as up |> gelu_by_tanh |> dense(d) as down)
}}

model net(tokens: u8[n, t]) -> f32[n, t, {vocabulary}] {{
    param table: f32[{vocabulary}, {width}] = normal(0.02)
    param positions: f32[{context}, {width}] = normal(0.02)
    let x = table[tokens] + positions
    for i in 0..{layers} {{ x = x |> block({heads}) }}
    (x |> layer_norm) @ transpose(table)
}}

train on text.train {{
    batch {batch}
    epochs 10
    minimize cross_entropy(net(window[:, 0:-1]), window[:, 1:]) with adam(lr = 1e-3)
}}
"""


@dataclass(frozen=True)
class Transformer:
    layers: int
    width: int
    heads: int
    context: int
    vocabulary: int = 65

    kind = "transformer"
    convolutional = False

    @property
    def name(self) -> str:
        return f"gpt_{self.layers}_{self.width}_{self.context}"

    @property
    def title(self) -> str:
        return f"GPT {self.layers} x {self.width}, context {self.context}"

    @property
    def rows(self) -> int:
        """Of a sample that dense layers see."""
        return self.context

    @property
    def dense(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the dense layers of a block, and the last matrix."""
        d = self.width
        return [(d, d)] * 4 + [(d, 4 * d), (4 * d, d), (d, self.vocabulary)]

    @property
    def parameters(self) -> int:
        d = self.width
        return (self.vocabulary + self.context) * d + self.layers * (12 * d * d + 13 * d) + 2 * d

    def products(self) -> list[float]:
        """FLOP of one sample, forward: dense layers, both products of attention, the last matrix."""
        d, t = self.width, self.context
        return [2.0 * t * (self.layers * (12 * d * d + 2 * t * d) + self.vocabulary * d)]

    def flop(self, batch: int) -> float:
        return 3 * batch * sum(self.products())

    def model(self, batch: int, folder: pathlib.Path) -> str:
        self.write_data(folder)
        return MODEL.format(batch=batch, folder=folder, name=self.name, layers=self.layers, width=self.width, heads=self.heads, context=self.context, vocabulary=self.vocabulary)

    def write_data(self, folder: pathlib.Path) -> None:
        """Windows of tokens, u8 [2048, context + 1]: each token is often one of three that follow from the one before, so that there is something to learn."""
        file = folder / f"{self.name}.npy"
        if file.exists():
            return
        draw, windows = random.Random(1), 2048   # 100 steps of 16 in an epoch
        token, tokens = 0, bytearray()
        for _ in range(windows * (self.context + 1)):
            token = (5 * token + draw.randrange(3) + 1) % self.vocabulary if draw.random() < 0.8 else draw.randrange(self.vocabulary)
            tokens.append(token)
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({windows}, {self.context + 1}), }}".ljust(117) + "\n"
        file.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + tokens)


GPTS = {network.name: network for network in (Transformer(4, 128, 4, 64), Transformer(6, 384, 6, 256))}
