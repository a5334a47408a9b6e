#!/usr/bin/env python3
"""Compares attention, transformer blocks, layer_norm, rms_norm, embeddings and label smoothing, as gradc compiles them, with PyTorch in double precision.

    python tests/oracle/attention.py [--gradc build/gradc] [--only WORD] [--keep FOLDER]          (a Python with PyTorch; tests/oracle/run finds it)

Cases and how they are run: convolutions.py. Values and the derivatives by everything that goes in must agree to 1e-5 of the largest element of each.
"""
import sys

import torch
import torch.nn.functional as F

import convolutions
from convolutions import Case


def projections(prefix, d, m):
    shapes = {}
    for name, rows in (("query", d), ("key", m), ("value", m), ("out", d)):
        shapes |= {f"{prefix}{name}.w": [rows, d], f"{prefix}{name}.b": [d]}
    return shapes


def seen_of(lengths, places):
    """True where a place is padding, as PyTorch has its masks."""
    return torch.arange(places)[None, :] >= torch.tensor(lengths)[:, None]


def torch_attention(p, prefix, heads, x, memory, hidden_pairs=None, hidden_places=None):
    w = {name: p[f"{prefix}{name}.w"].T for name in ("query", "key", "value", "out")}
    bias = torch.cat([p[f"{prefix}{name}.b"] for name in ("query", "key", "value")])
    y, _ = F.multi_head_attention_forward(
        x.transpose(0, 1), memory.transpose(0, 1), memory.transpose(0, 1), x.shape[2], heads, None, bias, None, None, False, 0.0, w["out"], p[f"{prefix}out.b"], attn_mask=hidden_pairs,
        key_padding_mask=hidden_places, need_weights=False, use_separate_proj_weight=True, q_proj_weight=w["query"], k_proj_weight=w["key"], v_proj_weight=w["value"])
    return y.transpose(0, 1)


def behind(t, s=None):
    return torch.ones(t, s or t, dtype=torch.bool).triu(1)


def gradc_lengths(lengths, places):
    return f"iota([{len(lengths)}, {places}], 1) < reshape({list(lengths)}, [{len(lengths)}, 1])"


def attention(kind, n, t, d, heads, causal=False, lengths=None, pairs=False):
    mask = f", mask = {gradc_lengths(lengths, t)}" if lengths else f", mask = (iota([{t}, {t}], 0) * 3 + iota([{t}, {t}], 1)) % 4 != 3" if pairs else ""
    every_fourth = (torch.arange(t)[:, None] * 3 + torch.arange(t)[None, :]) % 4 == 3

    def result(x, p):
        return torch_attention(p, "", heads, x, x, behind(t) if causal else every_fourth if pairs else None, seen_of(lengths, t) if lengths else None)

    given = mask.removeprefix(", ")
    return Case(kind, f"multi_head_attention({heads}, causal = {str(causal).lower()})" + (f"({given})" if given else ""), [n, t, d], result, projections("", d, d))


def cross(n, t, d, heads, s, m, lengths=None):
    mask = f", mask = {gradc_lengths(lengths, s)}" if lengths else ""

    def result(x, p):
        return torch_attention(p, "", heads, x, p["m"], None, seen_of(lengths, s) if lengths else None)

    return Case("cross attention", f"multi_head_attention({heads})(m{mask})", [n, t, d], result, projections("", d, m), inputs={"m": [n, s, m]})


ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


def feed(prefix, activation, x, p):
    z = x @ p[f"{prefix}up.w"] + p[f"{prefix}up.b"]
    if activation == "swiglu":
        a, b = z.chunk(2, -1)
        z = F.silu(a) * b
    else:
        z = ACTIVATIONS[activation](z)
    return z @ p[f"{prefix}down.w"] + p[f"{prefix}down.b"]


def normal(p, name, kind="layer_norm"):
    d = p[f"{name}.gain"].shape
    return (lambda y: F.layer_norm(y, d, p[f"{name}.gain"], p[f"{name}.bias"], 1e-5)) if kind == "layer_norm" else (lambda y: F.rms_norm(y, d, p[f"{name}.gain"], 1e-5))


def block_shapes(parts, norms, d, m, hidden, activation, kind):
    shapes = {}
    for part in parts:
        shapes |= projections(f"{part}.", d, d if part == "self" else m)
    shapes |= {"feed.up.w": [d, hidden], "feed.up.b": [hidden], "feed.down.w": [hidden // 2 if activation == "swiglu" else hidden, d], "feed.down.b": [d]}
    for i in range(norms):
        shapes |= {f"norm{i + 1}.gain": [d]} | ({f"norm{i + 1}.bias": [d]} if kind == "layer_norm" else {})
    return shapes


def own_attention(p, prefix, heads, x, memory, seen, rotary=False):
    """The formula, for what PyTorch's function has not: positions by turning, and queries that may look nowhere and get zeros. seen: [n or 1, 1, t or 1, s]."""
    def split(y, name):
        y = (y @ p[f"{prefix}{name}.w"] + p.get(f"{prefix}{name}.b", 0)).unflatten(-1, (heads, -1))
        return (rotated(y, p) if rotary and name != "value" else y).transpose(1, 2)

    q, k, v = split(x, "query"), split(memory, "key"), split(memory, "value")
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~seen, -1e30)
    y = (scores.softmax(-1) * seen) @ v
    return y.transpose(1, 2).flatten(2) @ p[f"{prefix}out.w"] + p.get(f"{prefix}out.b", 0)


def own_case(kind, options, mask, n, t, d, heads, seen, rotary=False):
    call = f"multi_head_attention({heads}{options})" + (f"(mask = {mask})" if mask else "")
    return Case(kind, call, [n, t, d], lambda x, p: own_attention(p, "", heads, x, x, seen, rotary), {name: shape for name, shape in projections("", d, d).items() if "bias = false" not in options or name.endswith("w")})


def block(n, t, d, heads, hidden, memory=None, causal=False, activation="relu", norm="post", kind="layer_norm", lengths=None, seen_lengths=None, rotary=False):
    """The lecture's blocks, part after part. lengths: what of x is no padding; seen_lengths: the same of memory."""

    def result(x, p):
        hidden_pairs, padding = behind(t) if causal or memory else None, seen_of(lengths, t) if lengths else None
        if rotary:
            seen = torch.ones(1, 1, t, t, dtype=torch.bool) if hidden_pairs is None else ~hidden_pairs[None, None]
            parts = [lambda y: own_attention(p, "self.", heads, y, y, seen & ~padding[:, None, None, :] if lengths else seen, True)]
        else:
            parts = [lambda y: torch_attention(p, "self.", heads, y, y, hidden_pairs, padding)]
        if memory:
            parts.append(lambda y: torch_attention(p, "cross.", heads, y, p["m"], None, seen_of(seen_lengths, memory[0]) if seen_lengths else None))
        parts.append(lambda y: feed("feed.", activation, y, p))
        for i, part in enumerate(parts):
            normalise = normal(p, f"norm{i + 1}", kind)
            x = normalise(x + part(x)) if norm == "post" else x + part(normalise(x))
        return x

    options = f'activation = {activation}, norm = "{norm}", normalisation = {kind}' + (", rotary = true" if rotary else "")
    masks = ([f"mask = {gradc_lengths(lengths, t)}"] if lengths else []) + ([f"memory_mask = {gradc_lengths(seen_lengths, memory[0])}"] if seen_lengths else [])
    if memory:
        call = f"decoder_block({heads}, {hidden}, {options})({', '.join(['m', *masks])})"
        return Case("decoder_block", call, [n, t, d], result, block_shapes(["self", "cross"], 3, d, memory[1], hidden, activation, kind), inputs={"m": [n, *memory]})
    call = f"encoder_block({heads}, {hidden}, causal = {str(causal).lower()}, {options})" + (f"({masks[0]})" if masks else "")
    return Case("encoder_block", call, [n, t, d], result, block_shapes(["self"], 2, d, d, hidden, activation, kind))


def layer(n, t, d, heads, hidden, norm_first):
    """PyTorch's own encoder layer."""

    def result(x, p):
        made = torch.nn.TransformerEncoderLayer(d, heads, hidden, 0.0, "gelu", batch_first=True, norm_first=norm_first).double()
        names = {"linear1": "feed.up", "linear2": "feed.down", "self_attn.out_proj": "self.out"}
        values = {f"{theirs}.{a}": p[f"{ours}.{b}"].T if b == "w" else p[f"{ours}.{b}"] for theirs, ours in names.items() for a, b in (("weight", "w"), ("bias", "b"))}
        values |= {f"norm{i}.{a}": p[f"norm{i}.{b}"] for i in (1, 2) for a, b in (("weight", "gain"), ("bias", "bias"))}
        values["self_attn.in_proj_weight"] = torch.cat([p[f"self.{name}.w"].T for name in ("query", "key", "value")])
        values["self_attn.in_proj_bias"] = torch.cat([p[f"self.{name}.b"] for name in ("query", "key", "value")])
        return torch.func.functional_call(made, values, (x,))

    case = block(n, t, d, heads, hidden, activation="gelu", norm="pre" if norm_first else "post")
    case.result = result
    return case


def rotated(x, p):
    n, t, h, e = x.shape
    angle = torch.arange(t).double()[:, None] / 10000 ** (2 * torch.arange(e // 2).double() / e)
    turned = torch.view_as_complex(torch.stack([x[..., : e // 2], x[..., e // 2 :]], -1)) * torch.polar(torch.ones_like(angle), angle)[None, :, None]
    return torch.cat([turned.real, turned.imag], -1)


def waves(x, p):
    t, d = x.shape[1:]
    angle = torch.arange(t).double()[:, None] / 10000 ** (2 * torch.arange(d // 2).double() / d)
    return x * torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def cases():
    for n, t, d, heads in ((2, 7, 12, 3), (1, 1, 4, 1), (3, 16, 32, 4), (2, 33, 16, 2), (1, 65, 64, 2)):
        yield attention("self-attention", n, t, d, heads)
        yield attention("causal attention", n, t, d, heads, causal=True)
    yield attention("padding mask", 3, 9, 8, 2, lengths=[9, 4, 1])
    yield attention("padding mask", 2, 32, 32, 4, lengths=[17, 32])
    yield attention("mask of pairs", 2, 11, 12, 3, pairs=True)
    yield cross(2, 7, 12, 3, 5, 9)
    yield cross(2, 5, 16, 4, 31, 16)
    yield cross(3, 4, 8, 1, 9, 8, lengths=[1, 9, 5])
    yield own_case("looks nowhere", "", gradc_lengths([0, 5], 6), 2, 6, 8, 2, ~seen_of([0, 5], 6)[:, None, None, :])
    yield own_case("rotary attention", ", rotary = true", "", 2, 9, 12, 3, torch.ones(1, 1, 9, 9, dtype=torch.bool), rotary=True)
    yield own_case("rotary attention", ", causal = true, rotary = true", "", 3, 17, 32, 4, ~behind(17)[None, None], rotary=True)
    yield own_case("no bias", ", causal = true, bias = false", "", 1, 5, 6, 3, ~behind(5)[None, None])
    # Every way to put a block together, with lengths that fill no lanes and one head now and then.
    ways = [(norm, kind, activation) for norm in ("post", "pre") for kind in ("layer_norm", "rms_norm") for activation in ("relu", "gelu", "silu", "swiglu")]
    for i, (norm, kind, activation) in enumerate(ways):
        n, t, heads = 1 + i % 3, (3, 7, 9, 12, 17)[i % 5], (1, 2, 4)[i % 3]
        options = {"norm": norm, "kind": kind, "activation": activation, "rotary": i % 4 == 1}
        lengths = [t - j * 2 for j in range(n)] if i % 2 else None
        yield block(n, t, 16, heads, 24, causal=i % 4 >= 2, lengths=lengths, **options)
        s = (5, 16, 11)[i % 3]
        yield block(n, t, 16, heads, 24, (s, 12), lengths=lengths, seen_lengths=[s - j * 2 for j in range(n)] if i % 4 < 2 else None, **options)
    for norm in ("post", "pre"):
        yield block(2, 7, 12, 3, 20, norm=norm)
        yield block(2, 9, 16, 2, 24, causal=True, norm=norm, activation="gelu", kind="rms_norm")
        yield block(2, 6, 8, 2, 12, (5, 10), norm=norm)
        yield layer(3, 10, 16, 4, 33, norm == "pre")
    yield block(2, 7, 8, 2, 24, activation="swiglu")
    yield block(2, 17, 32, 4, 64, (13, 32), activation="silu", norm="pre", kind="rms_norm")
    for shape in ([3, 5], [2, 7, 12], [4, 33, 128], [16, 10, 200]):
        d = shape[-1:]
        yield Case("layer_norm", "layer_norm", shape, lambda x, p: F.layer_norm(x, x.shape[-1:], p["gain"], p["bias"], 1e-5), {"gain": d, "bias": d})
        yield Case("rms_norm", "rms_norm", shape, lambda x, p: F.rms_norm(x, x.shape[-1:], p["gain"], 1e-5), {"gain": d})
    for n, t, vocabulary, width in ((3, 7, 11, 5), (4, 33, 30, 64), (2, 100, 7, 16), (1, 1, 3, 1), (64, 32, 96, 128)):
        tokens = (torch.arange(n)[:, None] * 13 + torch.arange(t)[None, :] ** 2) % vocabulary
        text = f"(iota([{n}, {t}], 0) * 13 + iota([{n}, {t}], 1) * iota([{n}, {t}], 1)) % {vocabulary}"
        # Added to x, so that the layer has a pipe to stand in.
        yield Case("embedding", f"look_up({vocabulary}, {width}, {text})", [n, t, width], lambda x, p, i=tokens: x + F.embedding(i, p["e.table"]), {"e.table": [vocabulary, width]})
    yield Case("tied embedding", "tied(11, 6)", [2, 5, 11], lambda x, p: F.embedding((torch.arange(10) % 7).reshape(2, 5), p["e.table"]) @ p["e.table"].T * x, {"e.table": [11, 6]})
    yield Case("rotary", "rotary_positions", [2, 9, 3, 8], rotated)
    yield Case("learned positions", "learned_positions(9)", [2, 5, 12], lambda x, p: x + p["table"][:5], {"table": [9, 12]})
    yield Case("sinusoidal", "wavy", [2, 7, 10], waves)
    yield Case("patches", "patches(3)", [2, 6, 9, 2], lambda x, p: F.unfold(x.permute(0, 3, 1, 2), 3, stride=3).unflatten(1, (2, 9)).permute(0, 3, 2, 1).flatten(2))
    yield Case("swiglu", "swiglu", [3, 4, 10], lambda x, p: F.silu(x[..., :5]) * x[..., 5:])
    labels = torch.arange(12) * 5 % 7
    yield Case("label smoothing", "smoothed(0.1)", [12, 7], lambda x, p: F.cross_entropy(x, labels, label_smoothing=0.1)[None])
    yield Case("cumulative sum", "cumulative_sum", [3, 4, 19], lambda x, p: x.cumsum(-1))
    yield Case("top-k", "best(3)", [5, 17], lambda x, p: x.topk(3)[0])
    yield Case("gather", "picked", [3, 8], lambda x, p: x.gather(1, (torch.arange(15) * 11 % 8).reshape(3, 5)))


convolutions.HEAD += """
layer look_up(vocabulary: int, width: int, tokens)(x) { let e = embedding(vocabulary, width); x + e(tokens) }
layer tied(vocabulary: int, width: int)(x) { let e = embedding(vocabulary, width); e(reshape(iota(10) % 7, [2, 5])) @ transpose(e.table) * x }
fn smoothed(x, a) = reshape(cross_entropy(x, (iota(12) * 5) % 7, smoothing = a), [1])
fn wavy(x) = x * sinusoidal_positions(shape(x)[1], shape(x)[2])
fn best(x, k) { let (v, i) = top_k(x, k)
    v }
fn picked(x) = gather(x, reshape((iota(15) * 11) % 8, [3, 5]), axis = 1, batch = 1)
"""

if __name__ == "__main__":
    sys.exit(convolutions.main(cases))
