"""A generator and a critic that train in turn, as DCGAN (Radford, Metz and Chintala 2016) on 28 x 28 pictures: from here come gradc's model file and every peer's program.

A step is a round: the critic's update on one batch and the generator's on the next. Noise is data, so that all sides see the same.
"""
import gzip
import pathlib
import random
import struct
from array import array
from dataclasses import dataclass

NOISE, SAMPLES = 64, 1024
IMAGES = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"

MODEL = """\
data pictures(image: u8[28, 28], first: f32[{noise}], second: f32[{noise}]) {{
    train = npy("dcgan_image.npy", "dcgan_first.npy", "dcgan_second.npy")
    from "{folder}"
}}

model generator(z: f32[n, {noise}]) -> f32[n, 28, 28, 1] {{
    z |> dense(7 * 7 * 64) |> reshape([n, 7, 7, 64]) |> batch_norm |> relu
      |> conv_transpose2d(32, 4, stride = 2) |> batch_norm |> relu |> conv_transpose2d(1, 4, stride = 2) |> tanh
}}

model critic(x: f32[n, 28, 28, 1]) -> f32[n] {{
    x |> conv2d(32, 4, stride = 2) |> leaky_relu(0.2) |> conv2d(64, 4, stride = 2) |> batch_norm |> leaky_relu(0.2) |> flatten |> dense(1) |> flatten(from = 0)
}}

fn surprise(z) = mean(max(z, 0) + log1p(exp(-abs(z))))

train on pictures.train {{
    batch {batch}
    epochs 10
    step d {{
        let real = reshape(image, [batch, 28, 28, 1]) / 127.5 - 1
        minimize surprise(critic(stop_gradient(generator(first)))) + surprise(-critic(real)) over critic with adam(lr = 2e-4, beta1 = 0.5)
    }}
    step g {{
        minimize surprise(-critic(generator(second))) over generator with adam(lr = 2e-4, beta1 = 0.5)
    }}
}}
"""


@dataclass(frozen=True)
class Adversaries:
    name: str = "dcgan"
    title: str = "DCGAN"

    kind = "adversarial"
    convolutional = False   # no kernels of its own are measured
    dense = ()
    rows = 1

    # FLOP of each layer of one sample, forward.
    GENERATOR = (2.0 * NOISE * 3136, 2.0 * 49 * 16 * 64 * 32, 2.0 * 196 * 16 * 32)
    CRITIC = (2.0 * 196 * 16 * 32, 2.0 * 49 * 16 * 32 * 64, 2.0 * 3136)

    @property
    def parameters(self) -> int:
        return (NOISE + 1) * 3136 + 2 * 64 + 16 * 64 * 32 + 32 + 2 * 32 + 16 * 32 + 1 + 16 * 32 + 32 + 16 * 32 * 64 + 64 + 2 * 64 + 3137

    def flop(self, batch: int) -> float:
        """Of a round: the generator once and the critic twice with gradients of its parameters; then both, with gradients through the critic to the generator's parameters."""
        g, c = sum(self.GENERATOR), sum(self.CRITIC)
        return batch * (g + 2 * (3 * c - self.CRITIC[0]) + 3 * g - self.GENERATOR[0] + 2 * c)

    def model(self, batch: int, folder: pathlib.Path) -> str:
        if not (folder / "dcgan_second.npy").exists():
            self.write_data(folder)
        return MODEL.format(batch=batch, folder=folder, noise=NOISE)

    def write_data(self, folder: pathlib.Path) -> None:
        with gzip.open(IMAGES) as file:
            pixels = file.read(16 + SAMPLES * 784)[16:]
        draw = random.Random(1)
        noise = lambda: array("f", (draw.gauss(0, 1) for _ in range(SAMPLES * NOISE))).tobytes()
        for name, kind, shape, data in (("image", "|u1", (SAMPLES, 28, 28), pixels), ("first", "<f4", (SAMPLES, NOISE), noise()), ("second", "<f4", (SAMPLES, NOISE), noise())):
            header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
            (folder / f"dcgan_{name}.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


DCGAN = Adversaries()
