"""PyTorch's side of generation: the network of models/gpt.grad from our weights, one token at a time with a KV cache, batch 1.

    ./gpt weights --out gpt.safetensors && tests/bench/peers/torch_generate.py gpt.safetensors --threads 1 [--compile]

Prints JSON: tokens_per_s, and the greedy tokens, which are to be ours. The loop does what `generate` does: the likeliest of the logits, the cache begun anew
from its later half when it is full.
"""
import argparse
import json
import struct
import time

import torch
import torch.nn.functional as F


def read_weights(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    return {name: torch.frombuffer(bytearray(data[slice(*entry["data_offsets"])]), dtype=torch.float32).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


class Network:
    def __init__(self, weights, heads):
        self.w, self.heads = weights, heads
        self.words, self.places = weights["gpt.words.table"], weights["gpt.places.table"]
        self.context, self.width = self.places.shape
        self.layers = len({name.split(".")[2] for name in weights if name.startswith("gpt.encoder_block1.")})
        self.keys = [torch.zeros(heads, self.context, self.width // heads) for _ in range(self.layers)]
        self.values = [torch.zeros_like(k) for k in self.keys]
        # Weights as F.linear takes them, and q, k, v in one product.
        blocks = [f"gpt.encoder_block1.{i}." for i in range(self.layers)]
        join = lambda b, part, axis: torch.cat([weights[f"{b}self.{name}.{part}"] for name in ("query", "key", "value")], axis)
        norm = lambda name: (weights[name + ".gain"], weights[name + ".bias"])
        self.blocks = [dict(n1=norm(b + "norm1"), n2=norm(b + "norm2"), qkv=(join(b, "w", 1).T.contiguous(), join(b, "b", 0)), out=self.linear(b + "self.out"),
                            up=self.linear(b + "feed.up"), down=self.linear(b + "feed.down")) for b in blocks]
        self.norm = norm("gpt.layer_norm1")

    def linear(self, name):
        return self.w[name + ".w"].T.contiguous(), self.w[name + ".b"]

    def step(self, token, position):
        """Logits behind one token. `token`: i64[1]. A position that is a tensor is for torch.compile: one graph for all of them, which looks at the whole cache."""
        d, fixed = self.width, isinstance(position, torch.Tensor)
        x = self.words[token] + self.places[position]
        seen = (torch.arange(self.context) <= position)[None] if fixed else None
        for block, keys, values in zip(self.blocks, self.keys, self.values):
            q, k, v = F.linear(F.layer_norm(x, (d,), *block["n1"], 1e-5), *block["qkv"]).view(3, self.heads, 1, -1)
            if fixed:
                keys.index_copy_(1, position, k)
                values.index_copy_(1, position, v)
                y = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen)
            else:
                keys[:, position] = k[:, 0]
                values[:, position] = v[:, 0]
                y = F.scaled_dot_product_attention(q, keys[:, :position + 1], values[:, :position + 1])
            x = x + F.linear(y.reshape(1, d), *block["out"])
            x = x + F.linear(F.gelu(F.linear(F.layer_norm(x, (d,), *block["n2"], 1e-5), *block["up"])), *block["down"])
        return F.linear(F.layer_norm(x, (d,), *self.norm, 1e-5), self.words)[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--known", type=int, default=155, help="tokens that have a meaning")
    parser.add_argument("--first", type=int, default=0, help="token of the prompt")
    parser.add_argument("--compile", action="store_true")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    with torch.inference_mode():
        network = Network(read_weights(o.weights), o.heads)
        compiled = torch.compile(network.step) if o.compile else None
        step = (lambda token, position: compiled(token, torch.tensor([position]))) if o.compile else network.step

        def write(count):
            tokens, window = [o.first], [o.first]
            logits = step(torch.tensor([o.first]), 0)
            while len(tokens) <= count:
                token = logits[:o.known].argmax().view(1)
                tokens.append(int(token))
                if len(window) == network.context:
                    window = window[-(network.context // 2):]
                    for i, t in enumerate(window):
                        step(torch.tensor([t]), i)
                logits = step(token, len(window))
                window.append(tokens[-1])
            return tokens[1:]

        tokens = write(200)
        rates, start = [], time.perf_counter()
        while time.perf_counter() - start < o.seconds:
            begin = time.perf_counter()
            write(200)
            rates.append(200 / (time.perf_counter() - begin))
    print(json.dumps({"tokens_per_s": sorted(rates)[len(rates) // 2], "tokens": tokens}))


if __name__ == "__main__":
    main()
