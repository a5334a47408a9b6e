"""JAX training a dense network as fast as it can: one jitted step (forward, backward, Adam) whose parameters and moments are donated.

--mode  f32 | bf16 (products of bf16, summed in f32; parameters and moments stay f32)
"""
import jax
import jax.numpy as jnp

from peer import Batches, Trainer, arguments, dense_layers

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def main() -> None:
    options = arguments()
    storage = jnp.bfloat16 if options.mode == "bf16" else jnp.float32

    def loss_of(parameters, images, labels):
        x = images
        for i, (w, b) in enumerate(parameters):
            x = jnp.matmul(x.astype(storage), w.astype(storage)) + b.astype(storage)
            if i + 1 < len(parameters):
                x = jax.nn.relu(x)
        logits = x.astype(jnp.float32)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

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
        parameters = [(jnp.array(w), jnp.array(b)) for w, b in dense_layers(options.weights)]
        zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)
        return parameters, zeros(), zeros(), jnp.float32(0), jnp.float32(rate)

    def convert(images, labels):
        return jnp.array(images), jnp.array(labels.astype("int32"))

    Trainer(jax.__version__, start, lambda state, batch: jitted(state, *batch), jax.block_until_ready,
            Batches(options.data, options.batch, convert)).serve()


if __name__ == "__main__":
    main()
