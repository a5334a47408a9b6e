"""The networks that are trained and asked: layers as data, from which gradc's model file and every peer's program are made.

    ("flatten",)  ("relu",)  ("dense", units)
    ("conv", filters, size, stride, padding, bias)   numbers of zeros around; kernels are [size, size, channels, filters]
    ("norm",)                                         batch normalisation
    ("pool", size)                                    the largest of size x size, without overlap
    ("mean",)                                         of all positions of a channel
    ("lstm", units)                                   along the rows of a picture; its last state
    ("block", filters, stride)                        conv, norm, relu, conv, norm of 3 x 3, to which the input is added, then relu; an input of another shape goes
                                                      through a convolution of 1 x 1 and a norm first
"""
from collections.abc import Iterator
from dataclasses import dataclass

SIDE = 28   # of the pictures, which have one channel
Layer = tuple
Shape = tuple[int, ...]   # of one sample: height, width, channels; or units


def block(filters: int, stride: int) -> list[Layer]:
    """The layers of a block that its input goes through."""
    return [("conv", filters, 3, stride, 1, False), ("norm",), ("relu",), ("conv", filters, 3, 1, 1, False), ("norm",)]


def shortcut(filters: int, stride: int, channels: int) -> list[Layer]:
    return [] if stride == 1 and channels == filters else [("conv", filters, 1, stride, 0, False), ("norm",)]


def after(layer: Layer, shape: Shape) -> Shape:
    kind = layer[0]
    if kind == "conv":
        _, filters, size, stride, padding, _ = layer
        return (shape[0] + 2 * padding - size) // stride + 1, (shape[1] + 2 * padding - size) // stride + 1, filters
    if kind == "pool":
        return shape[0] // layer[1], shape[1] // layer[1], shape[2]
    if kind == "flatten":
        size = 1
        for extent in shape:
            size *= extent
        return (size,)
    return (shape[-1],) if kind == "mean" else (layer[1],) if kind in ("dense", "lstm") else shape


def walk(layers: list[Layer] | tuple[Layer, ...], shape: Shape = (SIDE, SIDE, 1)) -> Iterator[tuple[Layer, Shape]]:
    """Each layer but blocks, which are what they consist of, in the order in which parameters are named; with the shape that it gets."""
    for layer in layers:
        if layer[0] != "block":
            yield layer, shape
            shape = after(layer, shape)
            continue
        inner = list(walk(block(*layer[1:]), shape))
        yield from inner
        yield from walk(shortcut(layer[1], layer[2], shape[2]), shape)
        shape = after(*inner[-1])
        yield ("relu",), shape


@dataclass(frozen=True)
class Network:
    name: str      # in names of files and rows
    title: str
    layers: tuple[Layer, ...]

    @property
    def dense(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each dense layer."""
        return [(shape[-1], layer[1]) for layer, shape in walk(self.layers) if layer[0] == "dense"]

    rows = 1       # of a sample that dense layers see

    @property
    def convolutional(self) -> bool:
        return any(layer[0] == "conv" for layer, _ in walk(self.layers))

    @property
    def kind(self) -> str:
        return "convolutional" if self.convolutional else "recurrent" if any(layer[0] == "lstm" for layer in self.layers) else "dense"

    @property
    def parameters(self) -> int:
        count = {"conv": lambda l, s: l[2] * l[2] * s[2] * l[1] + l[1] * l[5], "dense": lambda l, s: (s[-1] + 1) * l[1], "norm": lambda l, s: 2 * s[-1],
                 "lstm": lambda l, s: (s[1] + l[1] + 1) * 4 * l[1]}
        return sum(count[layer[0]](layer, shape) for layer, shape in walk(self.layers) if layer[0] in count)

    def products(self) -> list[float]:
        """FLOP of each layer that multiplies, for one sample, forward."""
        result = []
        for layer, shape in walk(self.layers):
            out = after(layer, shape)
            if layer[0] == "conv":
                result.append(2.0 * out[0] * out[1] * out[2] * layer[2] * layer[2] * shape[2])
            elif layer[0] == "dense":
                result.append(2.0 * shape[-1] * out[-1])
            elif layer[0] == "lstm":   # of the rows; of the states
                result += [2.0 * shape[0] * size * 4 * layer[1] for size in (shape[1], layer[1])]
        return result

    def flop(self, batch: int) -> float:
        """Of a training step, convolutions as sums; the first layer needs no input gradient."""
        return batch * sum(product * (2 if i == 0 else 3) for i, product in enumerate(self.products()))

    def body(self) -> str:
        """The body of gradc's model, from an image [n, 28, 28] on."""
        say = {"flatten": lambda l: "flatten", "relu": lambda l: "relu", "norm": lambda l: "batch_norm", "pool": lambda l: f"max_pool({l[1]})", "mean": lambda l: "global_avg_pool",
               "dense": lambda l: f"dense({l[1]})", "lstm": lambda l: f"lstm({l[1]}, sequence = false)",
               "conv": lambda l: f"conv2d({l[1]}, {l[2]}, stride = {l[3]}, padding = {l[4]}{'' if l[5] else ', bias = false'})"}
        lines, shape, number = [f"let x0 = {'reshape(image, [n, 28, 28, 1])' if self.convolutional else 'image'}"], (SIDE, SIDE, 1), 0
        pipe = lambda layers: " |> ".join(say[layer[0]](layer) for layer in layers)
        for layer in self.layers:
            if layer[0] == "block":
                extra = shortcut(layer[1], layer[2], shape[2])
                lines.append(f"let y{number} = x{number} |> {pipe(block(*layer[1:]))}")
                lines.append(f"let x{number + 1} = relu(y{number} + {f'(x{number} |> {pipe(extra)})' if extra else f'x{number}'})")
                for inner, before in walk([layer], shape):
                    shape = after(inner, before)
            else:
                lines.append(f"let x{number + 1} = x{number} |> {pipe([layer])}")
                shape = after(layer, shape)
            number += 1
        return "\n".join(f"    {line}" for line in [*lines, f"x{number}"])


def perceptron(*widths: int) -> Network:
    layers: list[Layer] = [("flatten",)]
    for units in widths[1:-1]:
        layers += [("dense", units), ("relu",)]
    return Network(f"mlp_{'_'.join(map(str, widths[1:-1]))}", "-".join(map(str, widths)), (*layers, ("dense", widths[-1])))


def convolutions(filters: int, count: int) -> list[Layer]:
    return [("conv", filters, 3, 1, 1, True), ("relu",)] * count


SMALL, LARGE = perceptron(784, 256, 10), perceptron(784, 1024, 1024, 10)
LENET = Network("lenet", "LeNet-5", (("conv", 6, 5, 1, 2, True), ("relu",), ("pool", 2), ("conv", 16, 5, 1, 0, True), ("relu",), ("pool", 2), ("flatten",),
                                     ("dense", 120), ("relu",), ("dense", 84), ("relu",), ("dense", 10)))
VGG = Network("vgg", "VGG-like", (*convolutions(32, 2), ("pool", 2), *convolutions(64, 2), ("pool", 2), *convolutions(128, 2), ("flatten",), ("dense", 256), ("relu",), ("dense", 10)))
RESNET = Network("resnet20", "ResNet-20", (("conv", 16, 3, 1, 1, False), ("norm",), ("relu",), *[("block", 16, 1)] * 3, ("block", 32, 2), *[("block", 32, 1)] * 2, ("block", 64, 2),
                                           *[("block", 64, 1)] * 2, ("mean",), ("dense", 10)))
LSTM = Network("lstm", "LSTM 128", (("lstm", 128), ("dense", 10)))
NETWORKS = {network.name: network for network in (SMALL, LARGE, LENET, VGG, RESNET, LSTM)}
