"""The GPT of transformers.py in PyTorch: queries, keys and values by one product, attention by its fused kernel."""
import torch
import torch.nn.functional as F

from peer import Parameters
from transformers import Transformer


def linear(file: Parameters, *names: str) -> torch.nn.Linear:
    """One or several of our dense layers side by side."""
    w, b = (torch.cat([torch.from_numpy(file.tensor(f"{name}.{part}")) for name in names], -1) for part in "wb")
    layer = torch.nn.Linear(*w.shape)
    layer.weight.data, layer.bias.data = w.t().contiguous(), b
    return layer


def norm(file: Parameters, name: str) -> torch.nn.LayerNorm:
    gain, bias = (torch.from_numpy(file.tensor(f"{name}.{part}")) for part in ("gain", "bias"))
    layer = torch.nn.LayerNorm(len(gain), eps=1e-5)
    layer.weight.data, layer.bias.data = gain, bias
    return layer


class Block(torch.nn.Module):
    def __init__(self, heads: int, file: Parameters, name: str):
        super().__init__()
        self.heads = heads
        self.first, self.second = norm(file, f"{name}.layer_norm1"), norm(file, f"{name}.layer_norm2")
        self.qkv = linear(file, f"{name}.query", f"{name}.key", f"{name}.value")
        self.out, self.up, self.down = (linear(file, f"{name}.{part}") for part in ("out", "up", "down"))

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.first(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh"))


class GPT(torch.nn.Module):
    def __init__(self, network: Transformer, file: Parameters):
        super().__init__()
        self.table, self.positions = (torch.nn.Parameter(torch.from_numpy(file.tensor(f"net.{name}"))) for name in ("table", "positions"))
        self.blocks = torch.nn.ModuleList(Block(network.heads, file, f"net.block1.{i}") for i in range(network.layers))
        self.norm = norm(file, "net.layer_norm1")

    def forward(self, tokens):
        x = F.embedding(tokens, self.table) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.table.t()
