"""What is trained: networks on 28 x 28 pictures, on text, and adversaries, with Adam and cross-entropy. And what a step of it costs at the least."""
import pathlib
from dataclasses import dataclass

from adversaries import DCGAN, Adversaries
from networks import LARGE, LENET, LSTM, RESNET, SMALL, VGG, Network
from transformers import GPTS, Transformer

MODEL = """\
data fashion(image: u8[28, 28], label: u8 < 10) {{
    train = idx("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    test  = idx("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    from "/usr/share/datasets/fashion-mnist"
}}

model net(image: f32[n, 28, 28]) -> f32[n, 10] {{
{body}
}}

train on fashion.train {{
    batch {batch}
    epochs 10
    let logits = net(image / 255)
    minimize cross_entropy(logits, label) with adam(lr = 1e-3)
    report accuracy = accuracy(logits, label)
}}

export predict(image: u8[n, 28, 28]) = softmax(net(image / 255))
"""


@dataclass(frozen=True)
class Comparison:
    """Losses of the first steps of two sides are the same if they differ by less than `bound` of their mean."""
    steps: int
    rate: float    # of learning
    bound: float


@dataclass(frozen=True)
class Workload:
    network: Network | Transformer | Adversaries
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

    @property
    def comparison(self) -> Comparison:
        """Adam divides small gradients by their own size, so that differences of rounding grow, the faster the larger the rate and the deeper the network. README.md says what was
        tried: peers are to agree far within the bound, and a mistake is not."""
        f32 = self.precision == "f32"
        if self.network == DCGAN:
            return Comparison(8, 1e-5, 1e-4)
        if isinstance(self.network, Transformer):   # 100 steps of the larger one take minutes
            return Comparison(100 if self.network.width < 256 else 10, 1e-3, 1e-3)
        if self.network in (VGG, RESNET):
            return Comparison(20 if self.batch <= 32 else 10, 1e-5, 5e-5 if f32 else 2e-3)
        return Comparison(100, 1e-4, 5e-3 if f32 else 1e-2)

    def model(self, folder: pathlib.Path) -> str:
        """The model file; what it reads beside pictures is written into the folder."""
        if not isinstance(self.network, Network):
            return self.network.model(self.batch, folder)
        return MODEL.format(body=self.network.body(), batch=self.batch)


DENSE = [Workload(network, batch) for network in (SMALL, LARGE) for batch in (1, 32, 128, 512)] + [Workload(LARGE, 512, "bf16")]
CONVOLUTIONAL = [Workload(network, batch) for network in (LENET, VGG, RESNET) for batch in (32, 128)] + [Workload(VGG, 128, "bf16")]
TRANSFORMERS = [Workload(network, batch) for network in GPTS.values() for batch in (8, 16)]
ADVERSARIAL = [Workload(DCGAN, batch) for batch in (16, 64)]
RECURRENT = [Workload(LSTM, batch) for batch in (32, 128)]
WORKLOADS = DENSE + CONVOLUTIONAL + TRANSFORMERS + ADVERSARIAL + RECURRENT
