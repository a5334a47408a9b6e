"""The adversaries of adversaries.py in PyTorch: fused Adam, channels last.

--mode  eager | compile (both losses under torch.compile)
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from peer import Parameters, Trainer, arguments
from rounds import Rounds


class Flatten(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Images(nn.Module):
    def forward(self, x):   # [n, 7 * 7 * 64], channels last
        return x.unflatten(1, (7, 7, 64)).permute(0, 3, 1, 2)


def linear(file: Parameters, name: str) -> nn.Linear:
    w, b = (torch.from_numpy(file.tensor(f"{name}.{part}")) for part in "wb")
    layer = nn.Linear(*w.shape)
    layer.weight.data, layer.bias.data = w.t().contiguous(), b
    return layer


def convolution(file: Parameters, name: str, transposed: bool = False) -> nn.Module:
    k, b = (torch.from_numpy(file.tensor(f"{name}.{part}")) for part in "kb")
    layer = (nn.ConvTranspose2d if transposed else nn.Conv2d)(k.shape[2], k.shape[3], 4, 2, 1)
    layer.weight.data = (k.permute(2, 3, 0, 1) if transposed else k.permute(3, 2, 0, 1)).contiguous(memory_format=torch.channels_last)
    layer.bias.data = b
    return layer


def generator(file: Parameters) -> nn.Module:
    part = lambda name: f"generator.{name}"
    return nn.Sequential(linear(file, part("dense1")), Images(), nn.BatchNorm2d(64), nn.ReLU(), convolution(file, part("conv_transpose2d1"), True), nn.BatchNorm2d(32), nn.ReLU(),
                         convolution(file, part("conv_transpose2d2"), True), nn.Tanh())


def critic(file: Parameters) -> nn.Module:
    part = lambda name: f"critic.{name}"
    return nn.Sequential(convolution(file, part("conv2d1")), nn.LeakyReLU(0.2), convolution(file, part("conv2d2")), nn.BatchNorm2d(64), nn.LeakyReLU(0.2), Flatten(), linear(file, part("dense1")), nn.Flatten(0))


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    file = Parameters(options.weights)
    g, c = (made.to(memory_format=torch.channels_last) for made in (generator(file), critic(file)))
    first = [{name: tensor.clone() for name, tensor in network.state_dict().items()} for network in (g, c)]

    def critics_loss(images, noise):
        with torch.no_grad():
            fake = g(noise)
        return F.softplus(c(fake)).mean() + F.softplus(-c(images)).mean()

    def generators_loss(noise):
        return F.softplus(-c(g(noise))).mean()

    losses = [torch.compile(loss) if options.mode == "compile" else loss for loss in (critics_loss, generators_loss)]

    def convert(images, noise, next_noise):
        return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(noise), torch.from_numpy(next_noise)

    def start(rate: float):
        for network, weights in zip((g, c), first):
            network.load_state_dict(weights)
        return [torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999), fused=True) for network in (c, g)]

    def update(loss_of, optimizer, trained, other, *inputs):
        trained.requires_grad_(True), other.requires_grad_(False)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*inputs)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def step(state, batch):
        images, noise, next_noise = batch
        a = update(losses[0], state[0], c, g, images, noise)
        b = update(losses[1], state[1], g, c, next_noise)
        return (a, b), state

    Trainer(torch.__version__, start, step, lambda loss: None, Rounds(options.data, options.batch, convert)).serve()


if __name__ == "__main__":
    main()
