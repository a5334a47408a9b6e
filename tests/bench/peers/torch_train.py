"""PyTorch training a network as fast as it can: fused Adam, gradients set to None, inputs in memory as floats, images channels last.

--mode  eager | compile (the network and its loss under torch.compile), and for bf16 eager-autocast | compile-autocast (f32 weights)
        | compile-bf16 (everything in bf16, weights and optimizer too)
"""
import torch

from peer import GPTS, NETWORKS, Batches, Parameters, Trainer, arguments
from networks import SIDE, after, block, shortcut, walk
from torch_gpt import GPT


class Flatten(torch.nn.Module):
    def forward(self, x):   # in the order of channels last, which costs nothing
        return x.permute(0, 2, 3, 1).flatten(1)


class Lstm(torch.nn.Module):
    def __init__(self, w, u, b):
        super().__init__()
        self.lstm = torch.nn.LSTM(len(w), len(u), batch_first=True)
        for name, data in (("weight_ih_l0", w.T), ("weight_hh_l0", u.T), ("bias_ih_l0", b), ("bias_hh_l0", 0 * b)):
            getattr(self.lstm, name).data = torch.from_numpy(data).contiguous()
        self.lstm.bias_hh_l0.requires_grad_(False)   # one bias is trained

    def forward(self, x):
        return self.lstm(x[:, 0])[0][:, -1]


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Block(torch.nn.Module):
    def __init__(self, layer, shape, parameters):
        super().__init__()
        self.main = sequence(block(*layer[1:]), shape, parameters)
        self.side = sequence(shortcut(layer[1], layer[2], shape[2]), shape, parameters)

    def forward(self, x):
        return torch.relu(self.main(x) + self.side(x))


def module(layer, shape, parameters: Parameters) -> torch.nn.Module:
    kind = layer[0]
    if kind == "conv":
        _, filters, size, stride, padding, bias = layer
        conv = torch.nn.Conv2d(shape[2], filters, size, stride, padding, bias=bias)
        kernel, *rest = parameters.next("conv")
        conv.weight.data = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        if bias:
            conv.bias.data = torch.from_numpy(rest[0])
        return conv
    if kind == "dense":
        w, b = parameters.next("dense")
        linear = torch.nn.Linear(*w.shape)
        linear.weight.data, linear.bias.data = torch.from_numpy(w).t().contiguous(), torch.from_numpy(b)
        return linear
    if kind == "lstm":
        return Lstm(*parameters.next("lstm"))
    if kind == "norm":
        parameters.next("norm")   # ones and zeros
        return torch.nn.BatchNorm2d(shape[2])
    if kind == "block":
        return Block(layer, shape, parameters)
    return {"flatten": Flatten, "relu": torch.nn.ReLU, "mean": Mean}[kind]() if kind != "pool" else torch.nn.MaxPool2d(layer[1])


def sequence(layers, shape, parameters: Parameters) -> torch.nn.Sequential:
    modules = []
    for layer in layers:
        modules.append(module(layer, shape, parameters))
        *_, (last, before) = walk([layer], shape)
        shape = after(last, before)
    return torch.nn.Sequential(*modules)


def network(name: str, path: str) -> torch.nn.Module:
    if name in GPTS:
        return GPT(GPTS[name], Parameters(path))
    return sequence(NETWORKS[name].layers, (SIDE, SIDE, 1), Parameters(path)).to(memory_format=torch.channels_last)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    how, _, precision = options.mode.partition("-")
    storage = torch.bfloat16 if precision == "bf16" else torch.float32

    def convert(images, labels):
        if options.network in GPTS:
            return torch.from_numpy(images.astype("int64")), torch.from_numpy(labels.astype("int64"))
        return torch.from_numpy(images).permute(0, 3, 1, 2).to(storage), torch.from_numpy(labels.astype("int64"))

    model = network(options.network, options.weights).to(storage)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    criterion = torch.nn.CrossEntropyLoss()

    def loss_of(images, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            logits = model(images)
        return criterion(logits.float().flatten(0, -2), labels.flatten())

    if how == "compile":
        loss_of = torch.compile(loss_of)

    def start(rate: float):
        model.load_state_dict(first)
        return loss_of, torch.optim.Adam(model.parameters(), lr=rate, fused=True)

    def step(state, batch):
        loss_of, optimizer = state
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*batch)
        loss.backward()
        optimizer.step()
        return loss.detach(), state

    Trainer(torch.__version__, start, step, lambda loss: None, Batches(options.data, options.batch, convert)).serve()


if __name__ == "__main__":
    main()
