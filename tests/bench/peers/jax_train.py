"""JAX training a network as fast as it can: one jitted step (forward, backward, Adam) whose parameters and moments are donated.

--mode  f32 | bf16 (products of bf16, summed in f32; parameters and moments stay f32)
"""
import jax
import jax.numpy as jnp

import jax_gpt
from peer import GPTS, NETWORKS, Batches, Parameters, Trainer, arguments
from networks import SIDE, after, block, shortcut, walk

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def main() -> None:
    options = arguments()
    storage = jnp.bfloat16 if options.mode == "bf16" else jnp.float32

    def apply(layers, x, shape, parameters):
        """x through the layers; `parameters` is an iterator over those of each layer that has some, in the order of `walk`."""
        for layer in layers:
            kind = layer[0]
            if kind == "block":
                kept = x
                main = apply(block(*layer[1:]), x, shape, parameters)
                x = jax.nn.relu(main + apply(shortcut(layer[1], layer[2], shape[2]), kept, shape, parameters))
            elif kind == "conv":
                w, *b = next(parameters)
                _, _, _, stride, padding, _ = layer
                x = jax.lax.conv_general_dilated(x.astype(storage), w.astype(storage), (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))
                x = x + b[0].astype(storage) if b else x
            elif kind == "dense":
                w, b = next(parameters)
                x = jnp.matmul(x.astype(storage), w.astype(storage)) + b.astype(storage)
            elif kind == "lstm":
                w, u, b = (part.astype(storage) for part in next(parameters))

                def step(state, z):
                    i, f, g, o = jnp.split(z + jnp.matmul(state[0], u), 4, -1)
                    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
                    return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

                zero = jnp.zeros((len(x), layer[1]), storage)
                (x, _), _ = jax.lax.scan(step, (zero, zero), jnp.matmul(x[..., 0].astype(storage).swapaxes(0, 1), w) + b)
            elif kind == "norm":
                gain, bias = next(parameters)
                wide = x.astype(jnp.float32)
                mean, square = jnp.mean(wide, (0, 1, 2)), jnp.mean(wide * wide, (0, 1, 2))
                x = ((wide - mean) * (jax.lax.rsqrt(square - mean * mean + 1e-5) * gain) + bias).astype(x.dtype)
            elif kind == "pool":
                size = (1, layer[1], layer[1], 1)
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, size, size, "VALID")
            elif kind == "relu":
                x = jax.nn.relu(x)
            elif kind == "flatten":
                x = x.reshape(x.shape[0], -1)
            elif kind == "mean":
                x = jnp.mean(x, (1, 2))
            *_, (last, before) = walk([layer], shape)
            shape = after(last, before)
        return x

    gpt = GPTS.get(options.network)
    layers = () if gpt else NETWORKS[options.network].layers

    def loss_of(parameters, images, labels):
        x = jax_gpt.logits(gpt, parameters, images, storage) if gpt else apply(layers, images, (SIDE, SIDE, 1), iter(parameters))
        logits = x.astype(jnp.float32)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1))

    def update(state, images, labels):
        parameters, first, second, t, rate = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, images, labels)
        t = t + 1
        first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
        second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients)
        step_size, scale = rate / (1 - BETA1**t), 1 / (1 - BETA2**t)
        parameters = jax.tree.map(lambda p, m, v: p - step_size * m / (jnp.sqrt(v * scale) + EPSILON), parameters, first, second)
        return loss, (parameters, first, second, t, rate)

    jitted = jax.jit(update, donate_argnums=0)

    def start(rate: float):
        file = Parameters(options.weights)
        parameters = jax_gpt.parameters(gpt, file) if gpt else [tuple(map(jnp.array, file.next(layer[0]))) for layer, _ in walk(layers) if layer[0] in file.KINDS]
        zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)
        return parameters, zeros(), zeros(), jnp.float32(0), jnp.float32(rate)

    def convert(images, labels):
        return jnp.array(images.astype("int32") if gpt else images), jnp.array(labels.astype("int32"))

    Trainer(jax.__version__, start, lambda state, batch: jitted(state, *batch), jax.block_until_ready,
            Batches(options.data, options.batch, convert)).serve()


if __name__ == "__main__":
    main()
