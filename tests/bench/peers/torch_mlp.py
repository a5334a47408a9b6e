"""PyTorch training a dense network as fast as it can: fused Adam, gradients set to None, inputs in memory as floats.

--mode  eager | compile (the network and its loss under torch.compile), and for bf16 eager-autocast | compile-autocast (f32 weights)
        | compile-bf16 (everything in bf16, weights and optimizer too)
"""
import torch

from peer import Batches, Trainer, arguments, dense_layers


def network(path: str) -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    for w, b in dense_layers(path):
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(w).t().contiguous(), torch.from_numpy(b)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    how, _, precision = options.mode.partition("-")
    storage = torch.bfloat16 if precision == "bf16" else torch.float32

    def convert(images, labels):
        return torch.from_numpy(images).to(storage), torch.from_numpy(labels.astype("int64"))

    def start(rate: float):
        model = network(options.weights).to(storage)
        criterion = torch.nn.CrossEntropyLoss()

        def loss_of(images, labels):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
                logits = model(images)
            return criterion(logits.float(), labels)

        if how == "compile":
            loss_of = torch.compile(loss_of)
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
