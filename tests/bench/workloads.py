"""What is trained: dense networks on 28 x 28 pictures, with Adam and cross-entropy. And what a step of it costs at the least."""
from dataclasses import dataclass

MODEL = """\
data fashion(image: u8[28, 28], label: u8 < 10) {{
    train = idx("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    test  = idx("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    from "/usr/share/datasets/fashion-mnist"
}}

model net(image: f32[n, 28, 28]) -> f32[n, 10] {{
    image |> flatten |> {layers}
}}

train on fashion.train{validate} {{
    batch {batch}
    epochs 10
    let logits = net(image / 255)
    minimize cross_entropy(logits, label) with adam(lr = 1e-3)
    report accuracy = accuracy(logits, label)
}}

export predict(image: u8[n, 28, 28]) = softmax(net(image / 255))
"""
# Losses are compared over so many steps at a tenth of the learning rate: at 1e-3 the rounding errors of two peers, too, grow to several
# percent within 100 steps, because Adam divides small gradients by their own size.
COMPARED_STEPS, COMPARED_RATE = 100, 1e-4
# The largest difference, of the curve's mean, that still counts as the same curve.
SAME_LOSS = {"f32": 5e-3, "bf16": 1e-2}


@dataclass(frozen=True)
class Workload:
    widths: tuple[int, ...]     # inputs, hidden layers, outputs
    batch: int
    precision: str = "f32"      # or bf16: products of bf16, sums and weights f32

    @property
    def network(self) -> str:
        return "-".join(map(str, self.widths))

    @property
    def name(self) -> str:
        """Of files, and of rows in the JSON file."""
        return f"mlp_{'_'.join(map(str, self.widths[1:-1]))}_b{self.batch}" + ("" if self.precision == "f32" else "_" + self.precision)

    @property
    def title(self) -> str:
        return f"{self.network} @ {self.batch}" + ("" if self.precision == "f32" else " " + self.precision)

    @property
    def layers(self) -> list[tuple[int, int]]:
        return list(zip(self.widths, self.widths[1:]))

    @property
    def parameters(self) -> int:
        return sum((k + 1) * n for k, n in self.layers)

    @property
    def flop(self) -> float:
        """Of the matrix products of a step; the first layer needs no input gradient."""
        return sum(2.0 * self.batch * k * n * (2 if i == 0 else 3) for i, (k, n) in enumerate(self.layers))

    @property
    def state_bytes(self) -> float:
        """Weights and Adam's two moments. A step reads and writes all of them."""
        return 12.0 * self.parameters

    def limit_ms(self, gflops: float, gbytes: float) -> float:
        return (self.flop / gflops + 2 * self.state_bytes / gbytes) * 1e-6

    def model(self, validate: bool = True) -> str:
        hidden = "".join(f"dense({n}, init = he_normal) |> relu |> " for _, n in self.layers[:-1])
        return MODEL.format(layers=f"{hidden}dense({self.widths[-1]})", batch=self.batch, validate=", validate on fashion.test" if validate else "")


SMALL, LARGE = (784, 256, 10), (784, 1024, 1024, 10)
WORKLOADS = [Workload(widths, batch) for widths in (SMALL, LARGE) for batch in (1, 32, 128, 512)] + [Workload(LARGE, 512, "bf16")]


def kernel_shapes() -> list[tuple[int, int, int]]:
    """(batch, inputs, outputs, whether an input gradient occurs) of every layer above."""
    return sorted({(w.batch, k, n, int(i > 0)) for w in WORKLOADS for i, (k, n) in enumerate(w.layers)}, key=lambda s: (s[1:], s[0]))
