"""What is trained: networks on 28 x 28 pictures, with Adam and cross-entropy. And what a step of it costs at the least."""
from dataclasses import dataclass

from networks import LARGE, LENET, RESNET, SMALL, VGG, Network

MODEL = """\
data fashion(image: u8[28, 28], label: u8 < 10) {{
    train = idx("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    test  = idx("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    from "/usr/share/datasets/fashion-mnist"
}}

model net(image: f32[n, 28, 28]) -> f32[n, 10] {{
{body}
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
    network: Network
    batch: int
    precision: str = "f32"      # or bf16: products of bf16, sums and weights f32

    @property
    def name(self) -> str:
        """Of files, and of rows in the JSON file."""
        return f"{self.network.name}_b{self.batch}" + ("" if self.precision == "f32" else "_" + self.precision)

    @property
    def title(self) -> str:
        return f"{self.network.title} @ {self.batch}" + ("" if self.precision == "f32" else " " + self.precision)

    @property
    def parameters(self) -> int:
        return self.network.parameters

    @property
    def flop(self) -> float:
        return self.network.flop(self.batch)

    @property
    def state_bytes(self) -> float:
        """Weights and Adam's two moments. A step reads and writes all of them."""
        return 12.0 * self.parameters

    def limit_ms(self, gflops: float, gbytes: float) -> float:
        return (self.flop / gflops + 2 * self.state_bytes / gbytes) * 1e-6

    def model(self, validate: bool = True) -> str:
        return MODEL.format(body=self.network.body(), batch=self.batch, validate=", validate on fashion.test" if validate else "")


DENSE = [Workload(network, batch) for network in (SMALL, LARGE) for batch in (1, 32, 128, 512)] + [Workload(LARGE, 512, "bf16")]
CONVOLUTIONAL = [Workload(network, batch) for network in (LENET, VGG, RESNET) for batch in (32, 128)] + [Workload(VGG, 128, "bf16")]
WORKLOADS = DENSE + CONVOLUTIONAL
