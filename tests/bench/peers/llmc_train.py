"""llm.c training a GPT: its own step on the processor, compiled as its Makefile does, where build/peers/llm.c is a checkout of it."""
import ctypes
import os
import pathlib
import subprocess
import sys

import numpy

from peer import GPTS, Batches, Parameters, Trainer, arguments

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2] / "build" / "peers" / "llm.c"
MAGIC, VERSION = 20240326, 3


def library() -> ctypes.CDLL:
    source, compiled = HERE / "llmc.c", CHECKOUT / "libllmc.so"
    if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["gcc", "-Ofast", "-march=native", "-fopenmp", "-DOMP", "-shared", "-fPIC", "-w", f"-I{CHECKOUT}", source, "-o", compiled, "-lm"], check=True, stdout=sys.stderr)
    loaded = ctypes.CDLL(str(compiled))
    loaded.start.argtypes = [ctypes.c_char_p]
    loaded.step.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_float]
    loaded.step.restype = ctypes.c_float
    return loaded


def write_checkpoint(path: pathlib.Path, network, file: Parameters) -> None:
    """Our weights in its order: each tensor of all layers, matrices [outputs, inputs]."""
    header = numpy.zeros(256, numpy.int32)
    header[:8] = MAGIC, VERSION, network.context, network.vocabulary, network.layers, network.heads, network.width, network.vocabulary
    of_layers = lambda part: [file.tensor(f"net.block1.{i}.{part}") for i in range(network.layers)]
    matrices = lambda *parts: [numpy.concatenate([m.T for m in group]) for group in zip(*(of_layers(f"{part}.w") for part in parts))]
    biases = lambda *parts: [numpy.concatenate(group) for group in zip(*(of_layers(f"{part}.b") for part in parts))]
    norm = lambda name: [of_layers(f"{name}.gain"), of_layers(f"{name}.bias")]
    qkv = ("query", "key", "value")
    tensors = [[file.tensor("net.table")], [file.tensor("net.positions")], *norm("layer_norm1"), matrices(*qkv), biases(*qkv), matrices("out"), biases("out"), *norm("layer_norm2"),
               matrices("up"), biases("up"), matrices("down"), biases("down"), [file.tensor("net.layer_norm1.gain")], [file.tensor("net.layer_norm1.bias")]]
    path.write_bytes(header.tobytes() + b"".join(numpy.ascontiguousarray(t, numpy.float32).tobytes() for group in tensors for t in group))


def main() -> None:
    options = arguments()
    sys.stdout = os.fdopen(os.dup(1), "w")   # it prints what it does
    os.dup2(2, 1)
    llmc = library()
    checkpoint = pathlib.Path(options.weights).with_suffix(".llmc")
    network = GPTS[options.network]
    write_checkpoint(checkpoint, network, Parameters(options.weights))
    as_ints = lambda inputs, targets: (numpy.ascontiguousarray(inputs, numpy.int32), numpy.ascontiguousarray(targets, numpy.int32))

    def start(rate: float):
        llmc.start(str(checkpoint).encode())
        return rate

    def step(rate, batch):
        inputs, targets = batch
        return llmc.step(inputs.ctypes.data, targets.ctypes.data, *inputs.shape, rate), rate

    version = subprocess.run(["git", "-C", CHECKOUT, "describe", "--always"], stdout=subprocess.PIPE, text=True).stdout.strip()
    Trainer(version or "?", start, step, lambda loss: None, Batches(options.data, options.batch, as_ints)).serve()


if __name__ == "__main__":
    main()
