#!/usr/bin/env python3
"""Compares convolution, pooling, up-sampling, padding and normalisation, as gradc compiles them, with PyTorch in double precision.

    python tests/oracle/convolutions.py [--gradc build/gradc] [--only WORD] [--keep FOLDER]          (a Python with PyTorch; tests/oracle/run finds it)

Every case is a model without input: its image is a parameter `x`, its output y a state, its loss the sum of y times fixed numbers. A program
of many cases starts from our values (a safetensors file), makes one step of an optimizer that puts the gradient in the place of the parameters, and
its weights are written out: y and the derivatives by the image, the kernel and the bias. They must agree to 1e-5 of the largest element of each.
"""
import argparse
import concurrent.futures
import itertools
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F

TOLERANCE = 1e-5
CASES_IN_A_PROGRAM = 32

HEAD = """// Cases of tests/oracle/convolutions.py.
optimizer derivative() { param <- grad }
fn weighed(y) = sum(y * (f32((reshape(iota(product(shape(y))), shape(y)) * 7919) % 101) / 50 - 0.5))
"""


def pair(value):
    return list(value) if isinstance(value, (list, tuple)) else [value, value]


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def margins(extents, size, stride, padding, dilation=1):
    """[(before, behind)] by axis; "same" as TensorFlow has it: ceil(extent / stride) positions, the odd one behind."""
    result = []
    for e, k, s, d, p in zip(extents, pair(size), pair(stride), pair(dilation), pair(padding)):
        total = max((math.ceil(e / s) - 1) * s + d * (k - 1) + 1 - e, 0) if padding == "same" else 0
        result.append((total // 2, total - total // 2) if isinstance(padding, str) else (p, p))
    return result


def padded(x, around, mode="constant", value=0.0):
    """x: n c h w."""
    (a, b), (c, d) = around
    return F.pad(x, (c, d, a, b), mode=mode, **({"value": value} if mode == "constant" else {}))


class Case:
    """call: what gradc applies to x, `as f` where it has parameters; shapes: those of f's parameters; result(x, p): the same in PyTorch; start: of states;
    inputs: of further tensors that the call names, which p has, too."""

    def __init__(self, kind, call, image, result, shapes=(), states=(), inputs=(), spread=0.5):
        self.kind, self.call, self.image, self.result, self.shapes, self.states, self.inputs = kind, call, list(image), result, dict(shapes), dict(states), dict(inputs)
        self.spread = spread   # standard deviation of parameters


def text(value):
    return f'"{value}"' if isinstance(value, str) else str(value)


def conv(kind, image, filters, size, stride=1, padding="same", dilation=1, groups=1, mode="zero"):
    c = image[3]
    rows, columns = pair(size)

    def result(x, p):
        around = margins(image[1:3], size, stride, padding, dilation)
        seen = padded(nchw(x), around, {"zero": "constant", "edge": "replicate", "reflect": "reflect"}[mode])
        return nhwc(F.conv2d(seen, p["k"].permute(3, 2, 0, 1), p["b"], pair(stride), 0, pair(dilation), groups))

    call = f"conv2d({filters}, {size}, {stride}, {text(padding)}, {dilation}, {groups}, padding_mode = {text(mode)})"
    return Case(kind, call, image, result, {"k": [rows, columns, c // groups, filters], "b": [filters]})


def depthwise(image, size, stride, padding, multiplier):
    c = image[3]
    case = conv("depthwise_conv2d", image, c * multiplier, size, stride, padding, 1, c)
    case.call = f"depthwise_conv2d({size}, {stride}, {text(padding)}, multiplier = {multiplier})"
    case.shapes = {f"conv.{name}": shape for name, shape in case.shapes.items()}
    inner = case.result
    case.result = lambda x, p: inner(x, {"k": p["conv.k"], "b": p["conv.b"]})
    return case


def conv1d(image, filters, size, stride, padding, dilation, groups):
    n, t, c = image
    case = conv("conv1d", [n, t, 1, c], filters, [size, 1], [stride, 1], padding if isinstance(padding, str) else [padding, 0], [dilation, 1], groups)
    inner = case.result
    case.result = lambda x, p: inner(x.unsqueeze(2), {"k": p["k"].unsqueeze(1), "b": p["b"]}).squeeze(2)
    case.call = f"conv1d({filters}, {size}, {stride}, {text(padding)}, {dilation}, {groups})"
    case.image, case.shapes = image, {"k": [size, c // groups, filters], "b": [filters]}
    return case


def transposed(image, filters, size, stride, padding, dilation=1):
    n, h, w, c = image
    rows, columns = pair(size)

    def result(x, p):
        kernel = p["k"].permute(2, 3, 0, 1)
        if padding != "same":
            return nhwc(F.conv_transpose2d(nchw(x), kernel, p["b"], stride, 0 if padding == "valid" else padding, 0, 1, dilation))
        # The adjoint of a convolution over s h pixels: what falls into its padding is lost, what no window reads is 0.
        whole = F.conv_transpose2d(nchw(x), kernel, None, stride, 0, 0, 1, dilation)
        extents = [h * stride, w * stride]
        whole = F.pad(whole, (0, max(extents[1] - whole.shape[3], 0), 0, max(extents[0] - whole.shape[2], 0)))
        (a, _), (b, _) = margins(extents, size, stride, padding, dilation)
        return nhwc(whole[:, :, a : a + extents[0], b : b + extents[1]] + p["b"].view(1, -1, 1, 1))

    return Case("conv_transpose2d", f"conv_transpose2d({filters}, {size}, {stride}, {text(padding)}, {dilation})", image, result, {"k": [rows, columns, c, filters], "b": [filters]})


def pool(name, image, size, stride, padding):
    def result(x, p):
        around = margins(image[1:3], size, stride, padding)
        if name == "max_pool":
            return nhwc(F.max_pool2d(padded(nchw(x), around, value=-math.inf), size, stride))
        if not isinstance(padding, str):
            return nhwc(F.avg_pool2d(nchw(x), size, stride, padding, count_include_pad=False))
        total, count = (F.avg_pool2d(padded(y, around), size, stride, divisor_override=1) for y in (nchw(x), torch.ones_like(nchw(x))))
        return nhwc(total / count)

    return Case(name, f"{name}({size}, {stride}, {text(padding)})", image, result)


def batch_norm(image):
    count = math.prod(image[:-1])

    def result(x, p):
        mean, var = p["mu"].clone(), p["var"].clone()
        y = F.batch_norm(x.reshape(count, -1), mean, var, p["gain"], p["bias"], True, 0.1, 1e-5).reshape(x.shape)
        # PyTorch's running variance divides by the count less one.
        return y, {"mu": mean, "var": 0.9 * p["var"] + (var - 0.9 * p["var"]) * (count - 1) / count}

    c = [image[-1]]
    return Case("batch_norm", "batch_norm", image, result, {"gain": c, "bias": c}, {"mu": c, "var": c})


def group_norm(image, groups):
    def result(x, p):
        return F.group_norm(x.movedim(-1, 1), groups, p["gain"], p["bias"]).movedim(1, -1)

    return Case("group_norm", f"group_norm({groups})", image, result, {"gain": image[-1:], "bias": image[-1:]})


def cases():
    grid = itertools.product
    images = [[2, 7, 6, 3], [2, 5, 8, 3], [1, 9, 9, 3]]
    for i, (stride, padding, dilation) in enumerate(grid((1, 2, 3), ("same", "valid", 1, 2), (1, 2))):
        yield conv("conv2d", images[i % 3], 5, 3, stride, padding, dilation)
    for size, stride, padding in grid((1, 2, [3, 2], 5), (1, 2), ("same", "valid")):
        yield conv("conv2d", [2, 6, 7, 4], 3, size, stride, padding)
    yield conv("conv2d", [1, 3, 3, 1], 1, 3, 1, "valid")
    yield conv("conv2d", [1, 1, 1, 2], 3, 3, 1, "same")
    yield conv("conv2d", [2, 7, 6, 3], 4, [2, 3], [2, 1], [0, 1], [1, 2])
    for channels, filters, stride, size in ((1, 6, 1, 5), (6, 16, 1, 5), (16, 16, 1, 3), (16, 32, 2, 3), (32, 32, 1, 3), (32, 64, 2, 1), (64, 32, 1, 3)):
        yield conv("conv2d", [4, 14, 14, channels], filters, size, stride)
    for groups, stride, padding in grid((2, 4), (1, 2), ("same", "valid", 1)):
        yield conv("conv2d, groups", [2, 7, 6, 4], 8, 3, stride, padding, 1, groups)
    yield conv("conv2d, groups", [2, 7, 6, 6], 9, [3, 2], 1, "same", 2, 3)
    yield conv("conv2d, groups", [2, 8, 8, 32], 32, 3, 1, "same", 1, 2)
    for mode, stride, padding in grid(("edge", "reflect"), (1, 2), ("same", 2, [1, 0])):
        yield conv(f"conv2d, {mode}", [2, 6, 7, 3], 4, 3, stride, padding, mode=mode)
    for multiplier, stride, padding in grid((1, 2), (1, 2, 3), ("same", "valid")):
        yield depthwise([2, 7, 8, 3], 3, stride, padding, multiplier)
    yield depthwise([2, 8, 8, 32], 3, 1, "same", 1)
    for stride, padding, (dilation, groups) in grid((1, 2, 3), ("same", "valid", 1), ((1, 1), (2, 1), (1, 2))):
        yield conv1d([2, 9, 4], 6, 3, stride, padding, dilation, groups)
    for size, stride, padding in grid((1, 2, 3, 4), (1, 2, 3), ("same", "valid", 1)):
        if padding == 1 and size == 1:
            continue
        yield transposed([2, 4, 5, 3], 4, size, stride, padding)
    for stride, padding in grid((1, 2), ("same", "valid", 1)):
        yield transposed([2, 3, 5, 2], 3, [3, 2], stride, padding, 2)
    yield transposed([2, 7, 7, 32], 16, 4, 2, "same")
    for name, size, stride, padding in grid(("max_pool", "avg_pool"), (2, 3), (1, 2, 3), ("same", "valid", 1)):
        yield pool(name, [2, 7, 6, 3], size, stride, padding)
    yield pool("max_pool", [4, 14, 14, 16], 2, 2, "valid")
    yield pool("avg_pool", [4, 14, 14, 16], 2, 2, "valid")
    for factor in (1, 2, 3, 4):
        yield Case("upsample", f"upsample_nearest({factor})", [2, 3, 4, 3], lambda x, p, f=factor: nhwc(F.interpolate(nchw(x), scale_factor=f, mode="nearest")))
        yield Case("upsample", f"upsample_bilinear({factor})", [2, 3, 4, 3], lambda x, p, f=factor: nhwc(F.interpolate(nchw(x), scale_factor=f, mode="bilinear", align_corners=False)))
    yield Case("upsample", "upsample_bilinear([2, 3])", [2, 1, 5, 2], lambda x, p: nhwc(F.interpolate(nchw(x), scale_factor=(2, 3), mode="bilinear", align_corners=False)))
    for mode, other in (("edge", "replicate"), ("reflect", "reflect"), ("zero", "constant")):
        yield Case("pad2d", f'pad2d([2, 1], [0, 3], "{mode}")', [2, 4, 5, 3], lambda x, p, m=other: nhwc(padded(nchw(x), [(2, 0), (1, 3)], m)))
    yield Case("global", "global_avg_pool", [2, 5, 6, 3], lambda x, p: x.mean((1, 2)))
    yield Case("global", "global_max_pool", [2, 5, 6, 3], lambda x, p: x.amax((1, 2)))
    yield Case("global", "global_avg_pool", [9, 7, 7, 16], lambda x, p: x.mean((1, 2)))
    for image in ([3, 5, 4, 6], [16, 7], [16, 14, 14, 16], [12, 9, 11, 24]):
        yield batch_norm(image)
    for groups in (1, 2, 6):
        yield group_norm([2, 5, 4, 6], groups)


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        piece = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)


def read_safetensors(path):
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    result = {}
    for name, entry in header.items():
        begin, end = (8 + length + at for at in entry["data_offsets"])
        result[name] = torch.frombuffer(bytearray(raw[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    return result


def run(command, folder):
    result = subprocess.run([str(part) for part in command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    if result.returncode:
        sys.exit(f"{' '.join(str(part) for part in command)}: exit code {result.returncode}\n{result.stdout}")


def compare(group, number, folder, gradc, *options):
    """[(case, relative errors by what they are of)] for the cases of one program, built with these options."""
    generator = torch.Generator().manual_seed(number)
    source, start, expected = HEAD, {}, []
    for i, case in enumerate(group):
        name = f"c{i}"
        values = {"x": torch.randn(case.image, generator=generator)}
        for parameter, shape in case.shapes.items():
            values[f"f.{parameter}"] = torch.randn(shape, generator=generator) * case.spread
        for state, shape in case.states.items():
            values[f"f.{state}"] = torch.rand(shape, generator=generator) + 0.5
        for key, shape in case.inputs.items():
            values[key] = torch.randn(shape, generator=generator)
        double = {key: value.double().requires_grad_(key[2:] not in case.states) for key, value in values.items()}
        y = case.result(double["x"], {key.removeprefix("f."): value for key, value in double.items() if key != "x"})
        y, wanted = y if isinstance(y, tuple) else (y, {})
        weights = ((torch.arange(y.numel()) * 7919) % 101).double() / 50 - 0.5
        (y.flatten() * weights).sum().backward()
        wanted = {f"f.{key}": value for key, value in wanted.items()}
        wanted |= {"y": y.detach()} | {key: value.grad for key, value in double.items() if value.grad is not None}
        expected.append(wanted)
        start |= {f"{name}.{key}": value for key, value in values.items()} | {f"{name}.y": torch.zeros(y.shape)}
        pinned = " as f" if case.shapes else ""
        inputs = "".join(f"param {key}: f32{list(shape)} = zeros(); " for key, shape in case.inputs.items())
        source += f"model {name}() {{ param x: f32{case.image} = zeros(); {inputs}let z = x |> {case.call}{pinned}; state y: f32{list(y.shape)} = 0; y <- z; weighed(z) }}\n"
    losses = " + ".join(f"c{i}()" for i in range(len(group)))
    source += f"train for 1 steps {{ minimize {losses} with derivative() }}\n"
    program = f"cases{number}"
    (folder / f"{program}.grad").write_text(source)
    write_safetensors(folder / f"{program}.start", start)
    run([gradc, "build", f"{program}.grad", "-o", program, *options], folder)
    run([folder / program, "train", "--init", f"{program}.start", "--checkpoint", f"{program}.ckpt", "--quiet", "--threads", "1"], folder)
    run([folder / program, "weights", "--checkpoint", f"{program}.ckpt", "--out", f"{program}.out"], folder)
    actual = read_safetensors(folder / f"{program}.out")
    results = []
    for i, (case, wanted) in enumerate(zip(group, expected)):
        errors = {}
        largest = max(value.abs().max().item() for value in wanted.values())
        for key, value in wanted.items():
            own = value.abs().max().item()   # a derivative that is 0 but for rounding, as by the bias of keys, is measured by the others
            got = actual[f"c{i}.{key}"]
            assert list(got.shape) == list(value.shape), f"{case.call}: {key} is {list(got.shape)}, in PyTorch {list(value.shape)}"
            errors[key] = ((got.double() - value).abs().max() / max(own if own > 1e-9 * largest else largest, 1e-30)).item()
        results.append((case, errors))
    return results


def main(cases):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gradc", default=os.environ.get("GRADC", "build/gradc"))
    parser.add_argument("--only", default="", help="cases whose kind contains this word")
    parser.add_argument("--keep", help="work in this folder and leave it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [case for case in cases() if options.only in case.kind]
    groups = [chosen[i : i + CASES_IN_A_PROGRAM] for i in range(0, len(chosen), CASES_IN_A_PROGRAM)]
    with tempfile.TemporaryDirectory(prefix="oracle-") as temporary:
        folder = pathlib.Path(options.keep or temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        gradc = os.path.abspath(options.gradc)
        with concurrent.futures.ThreadPoolExecutor(2) as pool_of_two:
            results = [row for rows in pool_of_two.map(lambda item: compare(item[1], item[0], folder, gradc), enumerate(groups)) for row in rows]
    failed = 0
    kinds = {}
    for case, errors in results:
        where = max(errors, key=lambda key: errors[key] if errors[key] == errors[key] else math.inf)
        error = errors[where]
        count, worst = kinds.get(case.kind, (0, 0.0))
        kinds[case.kind] = (count + 1, max(worst, error))
        if not error <= TOLERANCE:
            failed += 1
            print(f"TOO LARGE: {error:.1e} in {where} of {case.call} of {case.image}")
    print(f"{'operation':<18} {'cases':>5} {'worst':>9}   relative to the largest element, of values and gradients")
    for kind, (count, worst) in kinds.items():
        print(f"{kind:<18} {count:5} {worst:9.1e}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(cases))
