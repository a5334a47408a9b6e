"""The GPT of transformers.py in JAX."""
import jax
import jax.numpy as jnp

from peer import Parameters
from transformers import Transformer


def parameters(network: Transformer, file: Parameters) -> dict:
    dense = lambda *names: tuple(jnp.concatenate([jnp.array(file.tensor(f"{name}.{part}")) for name in names], -1) for part in "wb")
    norm = lambda name: tuple(jnp.array(file.tensor(f"{name}.{part}")) for part in ("gain", "bias"))
    block = lambda name: {"first": norm(f"{name}.layer_norm1"), "second": norm(f"{name}.layer_norm2"), "qkv": dense(f"{name}.query", f"{name}.key", f"{name}.value")} | {
        part: dense(f"{name}.{part}") for part in ("out", "up", "down")}
    return {"table": jnp.array(file.tensor("net.table")), "positions": jnp.array(file.tensor("net.positions")), "norm": norm("net.layer_norm1"),
            "blocks": [block(f"net.block1.{i}") for i in range(network.layers)]}


def logits(network: Transformer, p: dict, tokens, storage):
    def dense(x, layer):
        return jnp.matmul(x.astype(storage), layer[0].astype(storage)) + layer[1].astype(storage)

    def norm(x, layer):
        x = x.astype(jnp.float32)
        centre = x - jnp.mean(x, -1, keepdims=True)
        return centre * jax.lax.rsqrt(jnp.mean(centre * centre, -1, keepdims=True) + 1e-5) * layer[0] + layer[1]

    n, t = tokens.shape
    x = p["table"][tokens] + p["positions"]
    for block in p["blocks"]:
        q, k, v = (part.reshape(n, t, network.heads, -1) for part in jnp.split(dense(norm(x, block["first"]), block["qkv"]), 3, -1))
        x = x + dense(jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(n, t, -1), block["out"])
        x = x + dense(jax.nn.gelu(dense(norm(x, block["second"]), block["up"]), approximate=True), block["down"])
    return jnp.matmul(norm(x, p["norm"]).astype(storage), p["table"].T.astype(storage))
