"""PyTorch eager, training the same dense network as a gradc program from the same weights, as fast as it can: fused Adam,
gradients set to None, inputs already float and in memory.

A small server, so that its blocks can be interleaved with the other side's:
    losses N        -> the losses of the first N steps from the start, without shuffling, as JSON
    measure SECONDS -> {"step_ms": median, "step_ms_min": least, "steps": count}
"""
import argparse
import gzip
import json
import struct
import sys
import time

import numpy
import torch


def idx(path):
    raw = gzip.open(path).read()
    rank = raw[3]
    shape = struct.unpack_from(f">{rank}I", raw, 4)
    return numpy.frombuffer(raw, numpy.uint8, offset=4 + 4 * rank).reshape(shape)


def safetensors(path):
    raw = open(path, "rb").read()
    length = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    return {name: numpy.frombuffer(raw, numpy.float32, (entry["data_offsets"][1] - entry["data_offsets"][0]) // 4,
                                   8 + length + entry["data_offsets"][0]).reshape(entry["shape"]).copy() for name, entry in header.items()}


def network(path):
    """Dense layers with ReLU between: the matrices of the file in the order of their names, each followed by its bias."""
    tensors = safetensors(path)
    weights = sorted((name for name, value in tensors.items() if value.ndim == 2), key=lambda name: (len(name), name))
    layers = [torch.nn.Flatten()]
    for name in weights:
        w = torch.from_numpy(tensors[name])
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data = w.t().contiguous()
        layer.bias.data = torch.from_numpy(tensors[name.removesuffix("w") + "b"])
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.from_numpy(idx(options.data + "/train-images-idx3-ubyte.gz").astype(numpy.float32) / 255)
    labels = torch.from_numpy(idx(options.data + "/train-labels-idx1-ubyte.gz").astype(numpy.int64))
    batches = [(images[i : i + options.batch], labels[i : i + options.batch]) for i in range(0, len(images) - options.batch + 1, options.batch)]
    criterion = torch.nn.CrossEntropyLoss()

    def start():
        model = network(options.weights)
        return model, torch.optim.Adam(model.parameters(), lr=options.lr, fused=True)

    def step(model, optimizer, batch):
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    model, optimizer = start()
    at = 0
    for line in sys.stdin:
        command, argument = line.split()
        if command == "losses":
            fresh = start()
            answer = [step(*fresh, batches[i % len(batches)]).item() for i in range(int(argument))]
        else:
            times, end = [], time.perf_counter() + float(argument)
            while (before := time.perf_counter()) < end:
                step(model, optimizer, batches[at % len(batches)])
                times.append(time.perf_counter() - before)
                at += 1
            times.sort()
            answer = {"step_ms": times[len(times) // 2] * 1e3, "step_ms_min": times[0] * 1e3, "steps": len(times)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
